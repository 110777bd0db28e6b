//! What is on disk can be lost or damaged in part: the rest must make up for it, or say so.

mod support;

use milena_quorum::{GroupId, Node, NodeConfig, NodeId, OpenError};
use std::collections::BTreeMap;
use std::path::Path;
use support::{Map, put};

const GROUP: GroupId = GroupId::COORDINATION;

fn config(dir: &Path) -> NodeConfig {
    NodeConfig {
        segment_bytes: 16 << 10,
        snapshot_bytes: 64 << 10,
        snapshot_entries: 100,
        keep_entries: 10,
        ..NodeConfig::single(dir, NodeId(1))
    }
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Fills a directory until its log is purged, and answers the state at the end.
async fn fill(dir: &Path) -> Pairs {
    let node = Node::open(config(dir)).await.unwrap();
    let map = Map::default();
    let group = node.start(GROUP, map.clone()).await.unwrap();
    let mut next = 0;
    while group.status().snapshot_index < Some(500) || group.status().purged_index < Some(400) {
        let commands = (next..next + 50).map(|n| put(&format!("key {n}"), &n.to_string())).collect();
        for answer in group.propose_many(commands).await {
            answer.unwrap();
        }
        next += 50;
    }
    node.shutdown().await;
    map.pairs()
}

/// Opens a directory; the state it has, and what was set aside.
async fn found(dir: &Path) -> Result<Pairs, OpenError> {
    let node = Node::open(config(dir)).await?;
    let map = Map::default();
    node.start(GROUP, map.clone()).await?;
    let pairs = map.pairs();
    node.shutdown().await;
    Ok(pairs)
}

fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(file, bytes).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn newest_segment(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir.join("raft")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_or_unreadable_state_is_rebuilt_from_snapshot_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let want = fill(dir.path()).await;
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    assert_eq!(found(dir.path()).await.unwrap(), want);
    for n in 1..3 {
        for name in ["conf", "db"] {
            spoil(&dir.path().join("state").join(name));
        }
        assert_eq!(found(dir.path()).await.unwrap(), want);
        assert!(dir.path().join(format!("state.broken-{n}")).is_dir());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_of_another_log_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    std::fs::remove_dir_all(dir.path().join("raft")).unwrap();
    assert_eq!(found(dir.path()).await.unwrap(), Pairs::new());
    assert!(dir.path().join("state.broken-1").is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_log_without_state_and_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let want = fill(dir.path()).await;
    let snapshot = dir.path().join("raft/coordination.snapshot");
    spoil(&snapshot);
    // The stored state still reaches far enough, and a new snapshot is made of it.
    assert_eq!(found(dir.path()).await.unwrap(), want);
    spoil(&snapshot);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    match found(dir.path()).await {
        Err(OpenError::StateMissing { group, purged, have }) => {
            assert_eq!((group.as_str(), have), ("coordination", 0));
            assert!(purged > 0);
        }
        other => panic!("{:?}", other.map(|pairs| pairs.len())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_log_is_refused_with_file_and_position() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    let segment = newest_segment(dir.path());
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the head of the segment, so that everything behind it is at stake.
    bytes[45] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    match found(dir.path()).await {
        Err(OpenError::Damaged(damage)) => assert_eq!((damage.file, damage.position), (segment.clone(), 0)),
        other => panic!("{:?}", other.map(|pairs| pairs.len())),
    }
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "evidence is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directory_copied_from_a_running_node_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(config(dir.path())).await.unwrap();
    let map = Map::default();
    let group = node.start(GROUP, map.clone()).await.unwrap();
    for round in 0..5 {
        for n in 0..40 {
            group.propose(put(&format!("key {n}"), &format!("{round}"))).await.unwrap();
        }
        // As after a kill: whatever was only in memory is gone. sled's files may be caught in the
        // middle of a write, which it may then refuse.
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        assert_eq!(found(copy.path()).await.unwrap(), map.pairs(), "round {round}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_group_does_not_keep_the_segments_of_a_busy_one() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(config(dir.path())).await.unwrap();
    let quiet = Map::default();
    let cluster = node.start(GroupId::CLUSTER, quiet.clone()).await.unwrap();
    let busy = node.start(GROUP, Map::default()).await.unwrap();
    cluster.propose(put("quiet", "as a mouse")).await.unwrap();
    let first = dir.path().join("raft/0000000001.log");
    let until_deleted = async {
        let mut next = 0;
        while first.exists() {
            let commands = (next..next + 50).map(|n| put(&format!("key {n}"), &n.to_string())).collect();
            busy.propose_many(commands).await;
            next += 50;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), until_deleted).await.expect("deleted in time");
    node.shutdown().await;
    let node = Node::open(config(dir.path())).await.unwrap();
    let found = Map::default();
    node.start(GroupId::CLUSTER, found.clone()).await.unwrap();
    assert_eq!(found.pairs(), quiet.pairs());
    node.shutdown().await;
}
