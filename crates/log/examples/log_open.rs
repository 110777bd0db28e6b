//! Opens every partition of a data directory, Kafka's own included, reads it through and says what it found:
//! `cargo run -p milena-log --example log_open DIR`. Work on a copy: opening may cut a torn tail.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use milena_log::fs::RealFs;
use milena_log::{
    Checkpoint, DirEntryKind, LastShutdown, Log, LogConfig, LogDir, OpenOptions, ReplayEvent, Storage,
};
use milena_records::{Offset, batches};

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("usage: log_open DIR")?;
    let fs = Arc::new(RealFs);
    let dir = LogDir::open(fs.clone(), Path::new(&root))?;
    let storage = Storage::new(fs, Storage::DEFAULT_OPEN_FILES);
    println!("{:?}", dir.meta_properties()?);
    let recovery_points = dir.read_checkpoint(Checkpoint::RecoveryPoint)?;
    let last_run = dir.begin()?;
    let shutdown = last_run.shutdown;
    println!("{last_run:?}, {} recovery points", recovery_points.len());
    for found in dir.partitions()? {
        let DirEntryKind::Partition { topic, partition } = found.kind else { continue };
        let known = recovery_points.iter().find(|known| known.topic == topic && known.partition == partition);
        let options = OpenOptions {
            recovery_point: known.map_or(Offset::ZERO, |known| known.offset),
            ..OpenOptions::new(shutdown, 0)
        };
        let (mut snapshots, mut replayed) = (0, 0);
        let (log, report) =
            Log::open(&storage, &found.path, Arc::new(LogConfig::default()), &options, &mut |event| {
                match event {
                    ReplayEvent::Snapshot(entries, _) => snapshots = entries.len(),
                    ReplayEvent::Batch(_) | ReplayEvent::Marker(..) => replayed += 1,
                }
            })?;
        let count = read_through(&log)?;
        if count == 0 && shutdown == LastShutdown::Clean {
            continue;
        }
        println!(
            "{topic}-{partition} {} {}..{} {} bytes, {} segments, {count} batches, {snapshots} producers, {replayed} \
             replayed, newest {:?}, epochs {:?}, {report:?}",
            log.topic_id(),
            log.log_start(),
            log.log_end(),
            log.size_bytes(),
            log.segment_count(),
            log.max_timestamp(log.log_end()),
            log.epochs().entries(),
        );
    }
    Ok(())
}

/// Reads all batches, checks each, and finds each by its time.
fn read_through(log: &Log) -> Result<usize, Box<dyn Error>> {
    let (mut at, mut count) = (log.log_start(), 0);
    while at < log.log_end() {
        let slice = log.read(at, 1 << 20, log.log_end(), true)?;
        for batch in batches(&slice.bytes) {
            let (header, bytes) = batch?;
            header.verify_crc(&bytes)?;
            count += 1;
            let found = log.offset_for_timestamp(header.max_timestamp, log.log_end())?;
            if header.max_timestamp >= 0 && found.is_none_or(|found| found.offset > header.last_offset()) {
                return Err(format!("time {} of {header:?} gives {found:?}", header.max_timestamp).into());
            }
        }
        at = slice.next_offset;
    }
    Ok(count)
}
