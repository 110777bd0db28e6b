//! A whole node on a disk that fails.

use crate::machine::{Changes, StateMachine};
use crate::message::LogId;
use crate::sim_disk::{Fault, SimDisk};
use crate::state::StateStore;
use crate::wal::{Position, Wal};
use crate::{GroupId, Node, NodeConfig, NodeId, ProposeError};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Remembers the commands.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<BTreeSet<Bytes>>>);

impl StateMachine for Words {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        *self.0.lock().unwrap() = pairs.map(|(key, _)| key).collect();
    }

    fn apply(&mut self, _index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        changes.put(command.clone(), Bytes::new());
        self.0.lock().unwrap().insert(command.clone());
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

fn config(dir: &std::path::Path) -> NodeConfig {
    NodeConfig {
        segment_bytes: 4096,
        snapshot_entries: 20,
        keep_entries: 0,
        ..NodeConfig::single(dir, NodeId(1))
    }
}

/// Proposes until the disk fails; what was acknowledged, and how it ended.
async fn propose_until_failure(
    disk: &SimDisk,
    dir: &std::path::Path,
) -> (BTreeSet<Bytes>, Option<ProposeError>) {
    let mut acknowledged = BTreeSet::new();
    let Ok(node) = Node::open_on(Arc::new(disk.clone()), config(dir)).await else {
        return (acknowledged, None);
    };
    let mut end = None;
    if let Ok(group) = node.start(GroupId::CLUSTER, Words::default()).await {
        for n in 0..60 {
            let word = Bytes::from(format!("word {n:0>100}"));
            match group.propose(word.clone()).await {
                Ok(_) => drop(acknowledged.insert(word)),
                Err(error) => {
                    assert_eq!(group.propose(word).await, Err(error.clone()), "it stays stopped");
                    end = Some(error);
                    break;
                }
            }
        }
        if let Some(ProposeError::Stopped { reason }) = &end {
            assert_eq!(group.stopped().await, *reason);
        }
    }
    node.shutdown().await;
    (acknowledged, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_fault_stops_the_group_with_its_reason_and_loses_nothing_acknowledged() {
    for (fault, words) in [
        (Fault::PowerLoss, "the power is gone"),
        (Fault::Full, "no storage space"),
        (Fault::FlushFails, "flush failed"),
    ] {
        let mut reasons = 0;
        for at in (0..120).step_by(5) {
            let dir = tempfile::tempdir().unwrap();
            let disk = SimDisk::default().with_fault(at, fault);
            let (acknowledged, end) = propose_until_failure(&disk, dir.path()).await;
            if let Some(end) = end {
                let ProposeError::Stopped { reason } = &end else { panic!("{end:?}") };
                assert!(reason.contains(words), "{fault:?} at {at}: {reason}");
                reasons += 1;
            }
            let mut luck = at;
            let after = disk.after_power_loss(|| {
                luck = luck.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                luck >> 63 == 1
            });
            let node = Node::open_on(Arc::new(after), config(dir.path())).await.unwrap();
            let found = Words::default();
            node.start(GroupId::CLUSTER, found.clone()).await.unwrap();
            let found = found.0.lock().unwrap().clone();
            assert!(found.is_superset(&acknowledged), "{fault:?} at {at}");
            node.shutdown().await;
        }
        assert!(reasons > 5, "{fault:?} struck {reasons} times while proposing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_is_full_for_a_while_ends_nothing_and_loses_nothing() {
    for at in (0..120).step_by(5) {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::default().with_fault(at, Fault::FullFor(1 + at % 7));
        let (acknowledged, end) = propose_until_failure(&disk, dir.path()).await;
        assert_eq!((acknowledged.len(), end), (60, None), "{at}");
        assert!(disk.tripped(), "{at}");
        let node = Node::open_on(Arc::new(disk), config(dir.path())).await.unwrap();
        let found = Words::default();
        node.start(GroupId::CLUSTER, found.clone()).await.unwrap();
        assert_eq!(*found.0.lock().unwrap(), acknowledged, "{at}");
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_group_stops_when_its_applied_state_cannot_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimDisk::default();
    let node = Node::open_on(Arc::new(disk.clone()), config(dir.path())).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Words::default()).await.unwrap();
    // Before the last command, as nobody can tell when sled has it: the log takes it all the same.
    let disk = disk.with_fault(0, Fault::ForeignFails);
    let last = group.propose(Bytes::from_static(b"the last for a long time")).await;
    // Should the group stop at once, nobody may be told that it was applied.
    assert!(matches!(last, Ok(_) | Err(ProposeError::Stopped { .. })), "{last:?}");
    let stopped = tokio::time::timeout(Duration::from_secs(20), group.stopped()).await;
    let reason = stopped.expect("it goes on with a state that is not kept");
    assert!(reason.contains("applied state of") && reason.contains("the device has failed"), "{reason}");
    assert!(disk.tripped());
    node.shutdown().await;
}

/// What a majority has is applied here though this disk may not have it yet. A process that is killed then leaves a state
/// that is ahead of its log, perhaps where the log still has what an earlier leader wrote in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_that_ends_otherwise_than_the_applied_state_is_cut() {
    for behind in [0, 1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<SimDisk> = Arc::default();
        let node = Node::open_on(disk.clone(), config(dir.path())).await.unwrap();
        let group = node.start(GroupId::CLUSTER, Words::default()).await.unwrap();
        for n in 0..5 {
            group.propose(Bytes::from(format!("word {n}"))).await.unwrap();
        }
        let index = group.applied_index() - behind;
        node.shutdown().await;

        let (wal, _) = Wal::open(disk.clone(), &dir.path().join("raft"), 4096).unwrap();
        wal.close();
        let state_dir = dir.path().join("state");
        let (store, _) = StateStore::open(disk.clone(), &state_dir, wal.identity(), 1 << 20).unwrap();
        let (tree, mut applied) = store.group(GroupId::CLUSTER).unwrap();
        applied.last = Some(LogId { term: 2, index });
        tree.store(std::iter::empty(), &applied).unwrap();
        tree.flush().unwrap();
        drop(tree);
        store.close();

        let node = Node::open_on(disk, config(dir.path())).await.unwrap();
        let found = Words::default();
        let group = node.start(GroupId::CLUSTER, found.clone()).await.unwrap();
        let next = group.propose(Bytes::from_static(b"the next word")).await.unwrap();
        assert!(next.index > index, "{behind}: {next:?}");
        assert_eq!(found.0.lock().unwrap().len(), 6, "{behind}");
        node.shutdown().await;
    }
}

/// The same, where the log only ends before the state does: the entries between are in no log, so whoever lacks them must
/// find them in a snapshot, however old the last one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_ahead_of_its_log_is_in_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<SimDisk> = Arc::default();
    let node = Node::open_on(disk.clone(), config(dir.path())).await.unwrap();
    let group = node.start(GroupId::CLUSTER, Words::default()).await.unwrap();
    for n in 0..6 {
        group.propose(Bytes::from(format!("word {n}"))).await.unwrap();
        if n == 2 {
            group.trigger_snapshot().await.unwrap();
            while group.status().snapshot_index.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let index = group.applied_index();
    node.shutdown().await;

    let (wal, _) = Wal::open(disk.clone(), &dir.path().join("raft"), 4096).unwrap();
    let last = wal.positions(GroupId::CLUSTER.0).last.unwrap();
    wal.truncate_after(GroupId::CLUSTER.0, Some(Position { index: index - 2, ..last })).unwrap();
    wal.close();

    for start in 0..2 {
        let node = Node::open_on(disk.clone(), config(dir.path())).await.unwrap();
        let group = node.start(GroupId::CLUSTER, Words::default()).await.unwrap();
        let status = group.status();
        assert!(status.purged_index.unwrap() >= index, "{start}: {status:?}");
        assert!(status.snapshot_index >= status.purged_index, "{start}: {status:?}");
        node.shutdown().await;
    }
}
