//! How whoever waits hears of a group's end.

use super::*;
use crate::suite::Nothing;
use crate::{Node, NodeConfig};
use futures_util::stream;
use std::future::pending;

/// As one is that reached the channel of the core between its last look there and its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_request_that_nobody_has_is_told_that_the_group_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Nothing).await.unwrap();
    let room = group.room_for(&Bytes::new()).await.unwrap();
    let left = Submitted { handle: group.clone(), outcome: stream::pending().boxed(), _room: room };
    let outcome = tokio::spawn(left.outcome());
    let changing = group.clone();
    let change = tokio::spawn(async move { changing.changed(pending::<Result<(), _>>()).await });
    node.shutdown().await;
    let reason = "shutdown".to_owned();
    assert_eq!(outcome.await.unwrap(), Err(ProposeError::Stopped { reason: reason.clone() }));
    assert_eq!(change.await.unwrap(), Err(ChangeError::Stopped { reason }));
    // What is answered is told, however late.
    assert_eq!(unless_ended(&group.inner.raft, async { 7 }).await, Some(7));
}

/// A core that has panicked has not been told to stop, and who looks after the process must hear the difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_whose_core_panicked_does_not_say_that_it_was_shut_down() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Nothing).await.unwrap();
    let _ = group.inner.raft.with_raft_state(|_| panic!("for the test")).await;
    assert_eq!(group.stopped().await, PANICKED);
    let refused = group.propose(Bytes::from_static(b"too late")).await;
    assert_eq!(refused, Err(ProposeError::Stopped { reason: PANICKED.to_owned() }));
    node.shutdown().await;
    assert_eq!(group.stopped().await, PANICKED);
}
