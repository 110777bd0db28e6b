//! Batches of one request that are written and not yet as safe as was asked for: waited for together.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use milena_wire::ErrorCode;
use tokio::task::unconstrained;

use super::{Acks, Appended, Hosted};

/// A batch of a partition, and what is waited for.
pub(crate) struct Unsettled {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) appended: Appended,
    pub(crate) acks: Acks,
}

impl Unsettled {
    /// Whether its end is that all in-sync replicas have it.
    pub(crate) fn needs_replicas(&self) -> bool {
        self.acks == Acks::All && !self.appended.replicated
    }
}

/// Waits for all of `batches`, at most until `deadline`, and for none that is not there by the time `deposed` is ready:
/// cut off from its replicas, a leader would keep producers until their own time-out is over. Answers in the order of
/// `batches`.
pub(crate) async fn settle(
    batches: &[Unsettled],
    deadline: Instant,
    deposed: impl Future<Output = ()>,
) -> Vec<ErrorCode> {
    let mut deposed = pin!(deposed);
    let mut is_deposed = false;
    let mut codes = Vec::with_capacity(batches.len());
    for it in batches {
        // Looked at once in any case, also behind one that was waited for in vain: what all replicas have is acknowledged.
        let settled = pin!(unconstrained(it.hosted.settled(&it.appended, it.acks, deadline)));
        let code = tokio::select! {
            biased;
            code = settled => code,
            () = ready(()), if is_deposed => ErrorCode::NotLeaderOrFollower,
            () = &mut deposed, if !is_deposed => {
                is_deposed = true;
                ErrorCode::NotLeaderOrFollower
            }
        };
        codes.push(code);
    }
    codes
}
