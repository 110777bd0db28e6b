//! A leader that is cut off, and the requests that wait at it.

use super::*;
use crate::hosted::{Unsettled, settle};

#[tokio::test]
async fn what_all_replicas_have_is_acknowledged_behind_what_is_waited_for_in_vain() {
    let (mut cut_off, mut whole) = (Cluster::new(2, 1).await, Cluster::new(2, 1).await);
    for cluster in [&mut cut_off, &mut whole] {
        cluster.elect(0, &[0, 1]);
        cluster.settle().await;
    }
    cut_off.node(1).fetchers.stop(PartitionKey::of(&cut_off.node(1).hosted));
    let append = |cluster: &Cluster| {
        let hosted = Arc::clone(&cluster.node(0).hosted);
        let appended = hosted.append(batch(&["a"]), Acks::All, true, None).unwrap();
        assert!(!appended.replicated);
        Unsettled { hosted, appended, acks: Acks::All }
    };
    let batches = [append(&cut_off), append(&whole), append(&cut_off), append(&whole)];
    whole.settle().await;
    let codes = settle(&batches, Instant::now() + PATIENCE, std::future::ready(())).await;
    let want = [ErrorCode::NotLeaderOrFollower, ErrorCode::None].repeat(2);
    assert_eq!(codes, want);
}
