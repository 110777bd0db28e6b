//! A node without peers: starts at once, keeps its state, says why it stops.

mod support;

use milena_quorum::{GroupId, Node, NodeConfig, NodeId, OpenError, ProposeError};
use std::collections::BTreeMap;
use support::{Map, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_directory_leads_both_groups_and_keeps_state_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut want = BTreeMap::new();
    for round in 0..3u32 {
        let node = Node::open(NodeConfig::single(dir.path(), NodeId(7))).await.unwrap();
        let map = Map::default();
        let cluster = node.start(GroupId::CLUSTER, map.clone()).await.unwrap();
        let coordination = node.start(GroupId::COORDINATION, Map::default()).await.unwrap();
        assert!(cluster.leader().borrow().is_self);
        assert!(coordination.leader().borrow().is_self);
        assert_eq!(map.pairs(), want, "round {round}");
        for n in 0..50 {
            let (key, value) = (format!("{round}-{n}"), format!("value {n}"));
            let done = cluster.propose(put(&key, &value)).await.unwrap();
            assert_eq!(done.answer, "absent");
            assert!(cluster.read_index().await.unwrap() >= done.index);
            want.insert(key.into_bytes(), value.into_bytes());
        }
        assert_eq!(map.pairs(), want);
        // The second round ends without a goodbye, as a kill would.
        if round != 1 {
            node.shutdown().await;
            assert_eq!(cluster.stopped().await, "shutdown");
        } else {
            node.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_keep_their_order_and_their_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let map = Map::default();
    let group = node.start(GroupId::COORDINATION, map.clone()).await.unwrap();
    let commands = (0..100).map(|n| put("key", &n.to_string())).collect();
    let answers = group.propose_many(commands).await;
    let got: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().answer).collect();
    let mut want = vec!["absent".to_owned()];
    want.extend((0..99).map(|n| format!("was {n}")));
    assert_eq!(got, want);
    node.shutdown().await;
}

/// The lease by which a broker acknowledges is drawn from this: without it a broker alone stops after its last write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_alone_is_always_acknowledged_by_its_quorum() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Map::default()).await.unwrap();
    for write in ["a", "b"] {
        group.propose(put("key", write)).await.unwrap();
        assert_eq!(group.vitals().quorum_acked_ago, Some(std::time::Duration::ZERO), "after {write}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_commands_and_second_starts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Map::default()).await.unwrap();
    let size = milena_quorum::MAX_COMMAND + 1;
    let refused = group.propose(vec![0; size].into()).await;
    assert_eq!(refused, Err(ProposeError::TooLarge { size, max: milena_quorum::MAX_COMMAND }));
    let again = node.start(GroupId::CLUSTER, Map::default()).await.map(drop);
    assert!(matches!(again, Err(OpenError::AlreadyRunning(name)) if name == "cluster"));
    node.shutdown().await;
    let late = group.propose(put("a", "b")).await;
    assert_eq!(late, Err(ProposeError::Stopped { reason: "shutdown".to_owned() }));
}

#[tokio::test]
async fn runtime_of_one_thread_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Map::default()).await.unwrap();
    let done = group.propose(put("a", "b")).await.unwrap();
    assert_eq!(group.read_index().await, Ok(done.index));
    node.shutdown().await;
}
