//! The root of a data directory.

use std::path::Path;
use std::sync::Arc;

use milena_log::fs::{FileSystem, MemoryFs, Open};
use milena_log::{Checkpoint, CheckpointEntry, DirEntryKind, LastShutdown, LogDir, MetaProperties};
use milena_records::Offset;

fn open(fs: &MemoryFs) -> LogDir {
    LogDir::open(Arc::new(fs.clone()), Path::new("/var/data")).unwrap()
}

fn text(fs: &MemoryFs, name: &str) -> String {
    String::from_utf8(fs.content(&Path::new("/var/data").join(name)).unwrap()).unwrap()
}

#[test]
fn a_directory_has_one_owner() {
    let fs = MemoryFs::new();
    let first = open(&fs);
    let second = LogDir::open(Arc::new(fs.clone()), Path::new("/var/data")).unwrap_err();
    assert_eq!(second.io_kind(), Some(std::io::ErrorKind::WouldBlock));
    drop(first);
    open(&fs);
}

#[test]
fn meta_properties_read_back_also_as_kafka_writes_them() {
    let fs = MemoryFs::new();
    let dir = open(&fs);
    assert_eq!(dir.meta_properties().unwrap(), None);
    let meta = MetaProperties { cluster_id: "c".into(), node_id: 3, directory_id: "d".into() };
    dir.write_meta_properties(&meta).unwrap();
    assert_eq!(dir.meta_properties().unwrap(), Some(meta.clone()));
    let path = Path::new("/var/data/meta.properties");
    let kafka = "#\n#Sat Nov 21 01:00:00 UTC 2026\ncluster.id=c\nversion=1\ndirectory.id=d\nnode.id=3\n";
    fs.edit(path, |bytes| *bytes = kafka.into());
    assert_eq!(dir.meta_properties().unwrap(), Some(meta));
    fs.edit(path, |bytes| *bytes = b"version=0\n".to_vec());
    let error = dir.meta_properties().unwrap_err().to_string();
    assert!(error.starts_with("/var/data/meta.properties is damaged at position 0: version"), "{error}");
}

#[test]
fn checkpoints_are_kafkas_text() {
    let fs = MemoryFs::new();
    let dir = open(&fs);
    for (kind, file) in [
        (Checkpoint::RecoveryPoint, "recovery-point-offset-checkpoint"),
        (Checkpoint::HighWatermark, "replication-offset-checkpoint"),
        (Checkpoint::LogStart, "log-start-offset-checkpoint"),
    ] {
        assert_eq!(dir.read_checkpoint(kind).unwrap(), []);
        let entry = |topic: &str, partition, offset| CheckpointEntry {
            topic: topic.into(),
            partition,
            offset: Offset(offset),
        };
        let entries = [entry("a-b", 0, 17), entry("c", 12, 0)];
        dir.write_checkpoint(kind, &entries).unwrap();
        assert_eq!(text(&fs, file), "0\n2\na-b 0 17\nc 12 0\n");
        assert_eq!(dir.read_checkpoint(kind).unwrap(), entries);
        fs.edit(&Path::new("/var/data").join(file), |bytes| bytes.truncate(9));
        assert!(dir.read_checkpoint(kind).is_err());
        fs.edit(&Path::new("/var/data").join(file), Vec::clear);
        assert_eq!(dir.read_checkpoint(kind).unwrap(), [], "as Kafka creates it");
    }
}

fn ended(dir: &LogDir) -> (LastShutdown, Option<i64>) {
    let last_run = dir.begin().unwrap();
    (last_run.shutdown, last_run.broker_epoch)
}

#[test]
fn the_end_of_the_last_run_decides_what_is_trusted() {
    type Row = (&'static str, fn(&LogDir, &MemoryFs), (LastShutdown, Option<i64>));
    let table: [Row; 7] = [
        ("a new directory", |_, _| {}, (LastShutdown::Unclean, None)),
        ("stopped in order", |dir, _| dir.mark_clean(5).unwrap(), (LastShutdown::Clean, Some(5))),
        ("the process died", |dir, _| dir.mark_running(5).unwrap(), (LastShutdown::ProcessCrash, Some(5))),
        (
            "the machine died",
            |dir, fs| {
                dir.mark_running(5).unwrap();
                fs.lose_power(|_, synced, _| synced);
            },
            (LastShutdown::Unclean, Some(5)),
        ),
        (
            "died after an I/O error",
            |dir, _| {
                dir.mark_running(5).unwrap();
                dir.mark_suspect().unwrap();
            },
            (LastShutdown::Unclean, None),
        ),
        (
            "died before it was registered again after a clean stop",
            |dir, _| {
                dir.mark_running(5).unwrap();
                dir.mark_clean(5).unwrap();
                dir.begin().unwrap();
            },
            (LastShutdown::ProcessCrash, Some(5)),
        ),
        (
            "lost power before it was registered again after a clean stop",
            |dir, fs| {
                dir.mark_clean(5).unwrap();
                dir.begin().unwrap();
                fs.lose_power(|_, synced, _| synced);
            },
            (LastShutdown::Unclean, Some(5)),
        ),
    ];
    for (what, steps, want) in table {
        let fs = MemoryFs::new();
        let dir = open(&fs);
        fs.sync_dir(Path::new("/")).unwrap();
        fs.sync_dir(Path::new("/var")).unwrap();
        steps(&dir, &fs);
        assert_eq!(ended(&dir), want, "{what}");
    }
}

/// A process that dies before it hears of its registration is remembered with the run before it.
#[test]
fn processes_that_asked_for_an_epoch_are_remembered_until_one_has_it() {
    let fs = MemoryFs::new();
    let dir = open(&fs);
    fs.sync_dir(Path::new("/")).unwrap();
    fs.sync_dir(Path::new("/var")).unwrap();
    let registering = |dir: &LogDir| dir.begin().unwrap().registering;
    dir.mark_registering("new").unwrap();
    assert_eq!(registering(&dir), [""; 0], "nothing is known of what was there before");
    dir.mark_running(5).unwrap();
    dir.mark_registering("a").unwrap();
    dir.mark_registering("b").unwrap();
    assert_eq!(ended(&dir), (LastShutdown::ProcessCrash, Some(5)));
    assert_eq!(registering(&dir), ["a", "b"]);
    for number in 0..15 {
        dir.mark_registering(&number.to_string()).unwrap();
    }
    assert_eq!(registering(&dir).len(), 16);
    assert_eq!((&*registering(&dir)[0], &*registering(&dir)[15]), ("b", "14"));
    dir.mark_running(6).unwrap();
    assert_eq!(registering(&dir), [""; 0]);

    dir.mark_clean(6).unwrap();
    assert_eq!(ended(&dir), (LastShutdown::Clean, Some(6)));
    dir.mark_registering("c").unwrap();
    assert_eq!(ended(&dir), (LastShutdown::ProcessCrash, Some(6)));
    assert_eq!(registering(&dir), ["c"]);
    fs.lose_power(|_, synced, _| synced);
    assert_eq!(ended(&dir), (LastShutdown::Unclean, Some(6)), "whoever has registered");
    dir.mark_registering("d").unwrap();
    assert_eq!(ended(&dir), (LastShutdown::Unclean, Some(6)), "before the logs are recovered");
}

#[test]
fn the_clean_marker_is_kafkas_and_an_empty_one_counts() {
    let fs = MemoryFs::new();
    let dir = open(&fs);
    dir.mark_clean(42).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text(&fs, ".kafka_cleanshutdown")).unwrap();
    assert_eq!(json, serde_json::json!({"version": 0, "brokerEpoch": 42}));
    fs.edit(Path::new("/var/data/.kafka_cleanshutdown"), Vec::clear);
    assert_eq!(ended(&dir), (LastShutdown::Clean, None));
}

#[test]
fn directories_are_told_apart_by_name() {
    let fs = MemoryFs::new();
    let dir = open(&fs);
    for name in ["b-0", "a-b-12", "state", "x-01", "-3", "a-1.00000000000000000000000000000001-delete"] {
        fs.create_dir(&dir.root().join(name)).unwrap();
        fs.open(&dir.root().join(name).join("partition.metadata"), Open::Create).unwrap();
        fs.edit(&dir.root().join(name).join("partition.metadata"), |bytes| bytes.push(b'v'));
    }
    let deleted = dir.rename_deleted("b", 0, 0xab).unwrap();
    assert_eq!(deleted, dir.root().join("b-0.000000000000000000000000000000ab-delete"));
    let long = "t".repeat(249);
    fs.create_dir(&dir.partition_path(&long, 7)).unwrap();
    let stray = dir.rename_stray(&long, 7, 1).unwrap();
    assert_eq!(stray.file_name().unwrap().len(), 255);
    let found: Vec<_> = dir.partitions().unwrap().into_iter().map(|found| found.kind).collect();
    let partition = DirEntryKind::Partition { topic: "a-b".into(), partition: 12 };
    assert_eq!(found, [DirEntryKind::Deleted, partition, DirEntryKind::Deleted, DirEntryKind::Stray]);
    dir.remove(&deleted).unwrap();
    assert_eq!(dir.partitions().unwrap().len(), 3);
}
