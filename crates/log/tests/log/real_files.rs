//! The operating system's files do what the ones in memory do.

use std::io::ErrorKind;
use std::sync::Arc;

use milena_log::fs::RealFs;
use milena_log::{LastShutdown, Log, LogConfig, LogDir, Storage};
use milena_records::Offset;

use crate::support::*;

#[test]
fn a_log_lives_through_rolls_reads_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let root = LogDir::open(Arc::new(RealFs), &dir.path().join("data")).unwrap();
    let path = root.partition_path("orders", 0);
    let config = Arc::new(LogConfig { segment_bytes: 50_000, ..LogConfig::default() });
    let mut storage = Storage::new(Arc::new(RealFs), 3);
    let mut log = Log::create(&storage, &path, TOPIC, Arc::clone(&config), 0).unwrap();
    let mut written = Vec::new();
    for round in 0..6i64 {
        for _ in 0..10 {
            let base = log.log_end().0;
            // Small ones are copied together, large ones handed over in pieces.
            let batches = [batch(base, 1, 10, base), batch(base + 1, 2, 30_000, base)];
            let batches = if round % 2 == 0 { &batches[..1] } else { &batches[..] };
            written.extend(bytes_of(batches));
            log.append(batches, 0).unwrap();
        }
        for max_bytes in [1, 1000, 1 << 20] {
            assert!(content(&log, max_bytes) == written, "round {round}, {max_bytes} bytes at a time");
        }
        assert!(storage.open_files() <= 3);
        let (end, shutdown) = match round % 3 {
            0 => (log.close(&[]).unwrap(), LastShutdown::Clean),
            1 => {
                let end = log.close_unsynced(&[]).unwrap();
                root.sync_all().unwrap();
                (end, LastShutdown::Clean)
            }
            _ => {
                drop(log);
                (Offset(0), LastShutdown::ProcessCrash)
            }
        };
        storage = Storage::new(Arc::new(RealFs), 3);
        log = Log::open(&storage, &path, Arc::clone(&config), &options(shutdown, end.0), &mut |_| {})
            .unwrap()
            .0;
    }
    let found = log.offset_for_timestamp(log.log_end().0 - 3, log.log_end()).unwrap().unwrap();
    assert!(found.timestamp >= log.log_end().0 - 3, "{found:?}");
}

#[test]
fn a_directory_is_locked_against_others() {
    let dir = tempfile::tempdir().unwrap();
    let first = LogDir::open(Arc::new(RealFs), dir.path()).unwrap();
    let second = LogDir::open(Arc::new(RealFs), dir.path()).unwrap_err();
    assert_eq!(second.io_kind(), Some(ErrorKind::WouldBlock));
    first.mark_running(3).unwrap();
    drop(first);
    let again = LogDir::open(Arc::new(RealFs), dir.path()).unwrap();
    let last_run = again.begin().unwrap();
    assert_eq!((last_run.shutdown, last_run.broker_epoch), (LastShutdown::ProcessCrash, Some(3)));
}
