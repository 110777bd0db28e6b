//! Answers of a consensus core that may end before it gives them.

use crate::types::Raft;
use openraft::async_runtime::WatchReceiver;
use std::time::Duration;

/// How long after the end of the core an answer may still come: the state machine's last batch is on its way.
const LATE: Duration = Duration::from_secs(1);

/// Waits for the end of the core.
pub(crate) async fn ended(raft: &Raft) {
    // The watch ends with it.
    let mut metrics = raft.server_metrics();
    while metrics.changed().await.is_ok() {}
}

/// What `call` to the core answers, or `None` if the core ends without answering.
///
/// A request on its way while the core goes can be left behind in the core's channel (one that was let in before the
/// channel was closed, and put there after it was emptied). Nobody answers it, and nobody drops it either as long as
/// there is a handle of the group: waiting for the answer alone would last for ever.
pub(crate) async fn unless_ended<T>(raft: &Raft, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    tokio::select! {
        biased;
        answer = &mut call => Some(answer),
        () = ended(raft) => tokio::time::timeout(LATE, call).await.ok(),
    }
}
