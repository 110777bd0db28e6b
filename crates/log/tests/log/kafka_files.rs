//! A directory written by Apache Kafka 4.3.1 (`tests/golden`): opened, recovered, and written again byte for byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_log::fs::RealFs;
use milena_log::{
    Checkpoint, CheckpointEntry, DirEntryKind, LastShutdown, Log, LogConfig, LogDir, OpenOptions,
    ReplayEvent, Storage,
};
use milena_partition::{ProducerEntry, Producers};
use milena_records::{BatchHeader, Offset, StoredBatch, batches};
use tempfile::TempDir;

use crate::support::extents;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kafka-4.3.1");
const END: Offset = Offset(135);

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_ms: 2500, index_interval_bytes: 300, ..LogConfig::default() })
}

/// A copy of Kafka's directory that may be changed.
fn copy() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("golden-0")).unwrap();
    for dir in ["", "golden-0"] {
        for entry in std::fs::read_dir(Path::new(GOLDEN).join(dir)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), copy.path().join(dir).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

struct Opened {
    log: Log,
    snapshot: Vec<ProducerEntry>,
    replayed: Vec<BatchHeader>,
}

fn open(path: &Path, shutdown: LastShutdown, recovery_point: Offset) -> Opened {
    let storage = Storage::new(Arc::new(RealFs), 4);
    let options = OpenOptions { recovery_point, ..OpenOptions::new(shutdown, 0) };
    let (mut snapshot, mut replayed) = (Vec::new(), Vec::new());
    let (log, report) = Log::open(&storage, path, config(), &options, &mut |event| match event {
        ReplayEvent::Snapshot(entries, _) => snapshot = entries.to_vec(),
        ReplayEvent::Batch(header) | ReplayEvent::Marker(header, ..) => replayed.push(*header),
    })
    .unwrap();
    assert_eq!(report.torn_tail, None);
    Opened { log, snapshot, replayed }
}

fn all_batches(log: &Log) -> Vec<(BatchHeader, StoredBatch)> {
    let mut all = Vec::new();
    let mut at = log.log_start();
    while at < log.log_end() {
        let slice = log.read(at, 1 << 20, log.log_end(), true).unwrap();
        for batch in batches(&slice.bytes) {
            let (header, bytes) = batch.unwrap();
            let header_bytes = header.to_bytes();
            all.push((header, StoredBatch { header_bytes, body: bytes.slice(BatchHeader::SIZE..) }));
        }
        at = slice.next_offset;
    }
    all
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| {
        path.extension().is_some_and(|suffix| ["log", "index", "timeindex"].iter().any(|it| suffix == *it))
    };
    let mut files: Vec<_> = entries.filter(is_segment).collect();
    files.sort();
    files
}

#[track_caller]
fn assert_same_segments(dir: &Path) {
    let golden = segment_files(&Path::new(GOLDEN).join("golden-0"));
    let names =
        |files: &[PathBuf]| files.iter().map(|it| it.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    let ours = segment_files(dir);
    assert_eq!(names(&ours), names(&golden));
    for (ours, golden) in ours.iter().zip(&golden) {
        assert!(
            std::fs::read(ours).unwrap() == std::fs::read(golden).unwrap(),
            "{} differs",
            golden.display()
        );
    }
}

#[test]
fn a_directory_of_kafka_opens_as_cleanly_stopped() {
    let dir = copy();
    let root = LogDir::open(Arc::new(RealFs), dir.path()).unwrap();
    let meta = root.meta_properties().unwrap().unwrap();
    assert_eq!((&*meta.cluster_id, meta.node_id), ("MkU3OEVBNTcwNTJENDM2Qg", 1));
    let entries = [CheckpointEntry { topic: "golden".into(), partition: 0, offset: END }];
    for kind in [Checkpoint::RecoveryPoint, Checkpoint::HighWatermark] {
        assert_eq!(root.read_checkpoint(kind).unwrap(), entries);
    }
    assert_eq!(root.read_checkpoint(Checkpoint::LogStart).unwrap(), []);
    let last_run = root.begin().unwrap();
    assert_eq!((last_run.shutdown, last_run.broker_epoch), (LastShutdown::Clean, Some(11)));
    let [partition] = &root.partitions().unwrap()[..] else { panic!("one partition") };
    assert_eq!(partition.kind, DirEntryKind::Partition { topic: "golden".into(), partition: 0 });

    let opened = open(&partition.path, LastShutdown::Clean, END);
    assert_eq!(
        (opened.log.log_start(), opened.log.log_end(), opened.log.segment_count()),
        (Offset(0), END, 3)
    );
    assert_eq!(opened.replayed, [], "the snapshot at the log end says it all");
    let ids = std::fs::read_to_string(partition.path.join("partition.metadata")).unwrap();
    assert_eq!(ids, format!("version: 0\ntopic_id: {}", opened.log.topic_id()));
    for (header, _) in all_batches(&opened.log) {
        let found = opened.log.offset_for_timestamp(header.max_timestamp, END).unwrap().unwrap();
        assert!(found.offset <= header.last_offset() && found.timestamp >= header.max_timestamp);
    }
}

#[test]
fn producers_replayed_from_the_batches_are_those_of_kafkas_snapshot() {
    let dir = copy();
    let clean = open(&dir.path().join("golden-0"), LastShutdown::Clean, END);
    assert_eq!(clean.snapshot.len(), 3);
    for snapshot in segment_dir_snapshots(dir.path()) {
        std::fs::remove_file(snapshot).unwrap();
    }
    let replayed = open(&dir.path().join("golden-0"), LastShutdown::Clean, END);
    assert_eq!(replayed.snapshot, []);
    let mut producers = Producers::default();
    replayed.replayed.iter().for_each(|header| producers.record(header));
    let mut want = clean.snapshot;
    want.sort_by_key(|entry| entry.producer_id.0);
    assert_eq!(producers.entries(), want);
}

fn segment_dir_snapshots(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join("golden-0")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|suffix| suffix == "snapshot")).collect()
}

#[test]
fn batches_appended_as_they_arrived_give_kafkas_files() {
    let source = copy();
    let opened = open(&source.path().join("golden-0"), LastShutdown::Clean, END);
    let target = tempfile::tempdir().unwrap();
    let path = target.path().join("golden-0");
    let storage = Storage::new(Arc::new(RealFs), 4);
    let mut log = Log::create(&storage, &path, opened.log.topic_id(), config(), 0).unwrap();
    let written = all_batches(&opened.log);
    assert!(extents(&opened.log.read(Offset(0), 1 << 20, END, true).unwrap().bytes).len() > 20);
    for (_, batch) in written {
        log.append(&[batch], 0).unwrap();
    }
    log.close(&opened.snapshot).unwrap();
    assert_same_segments(&path);
    for name in ["leader-epoch-checkpoint", "partition.metadata", "00000000000000000135.snapshot"] {
        let golden = std::fs::read(Path::new(GOLDEN).join("golden-0").join(name)).unwrap();
        assert_eq!(std::fs::read(path.join(name)).unwrap(), golden, "{name}");
    }
}

#[test]
fn recovery_makes_kafkas_indexes_anew() {
    for recovery_point in [0, 50, 135] {
        let dir = copy();
        let path = dir.path().join("golden-0");
        for file in segment_files(&path) {
            if file.extension().is_some_and(|suffix| suffix != "log") {
                std::fs::remove_file(file).unwrap();
            }
        }
        let opened = open(&path, LastShutdown::Unclean, Offset(recovery_point));
        assert_eq!(opened.log.log_end(), END);
        opened.log.close(&[]).unwrap();
        assert_same_segments(&path);
    }
}
