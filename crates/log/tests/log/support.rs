//! Batches, logs on a memory file system, and what a log holds.

use std::path::Path;
use std::sync::Arc;

use milena_log::fs::MemoryFs;
use milena_log::{
    Error, LastShutdown, Log, LogConfig, OpenOptions, OpenReport, ReplayEvent, Storage, TopicId,
};
use milena_records::{
    BatchBuilder, BatchHeader, Compression, LeaderEpoch, Offset, ProducerEpoch, ProducerId, StoredBatch,
};

pub const DIR: &str = "/orders-0";
pub const TOPIC: TopicId = TopicId([7; 16]);

/// A batch of `count` records of `size` bytes; record `i` has time `timestamp + i`.
pub fn batch(base: i64, count: usize, size: usize, timestamp: i64) -> StoredBatch {
    batch_of(base, count, size, timestamp, 0, Compression::None)
}

pub fn batch_of(
    base: i64,
    count: usize,
    size: usize,
    timestamp: i64,
    epoch: i32,
    codec: Compression,
) -> StoredBatch {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(9), ProducerEpoch(0), base as i32);
    for index in 0..count {
        let value = vec![(base as usize + index) as u8; size];
        builder.push(timestamp + index as i64, None, Some(&value), &[]);
    }
    let mut batch = builder.build();
    batch.stamp(Offset(base), LeaderEpoch(epoch));
    batch
}

/// Small segments and dense indexes.
pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 2000, index_interval_bytes: 150, ..LogConfig::default() }
}

pub struct Rig {
    pub fs: MemoryFs,
    pub storage: Arc<Storage>,
    pub config: Arc<LogConfig>,
}

impl Rig {
    pub fn new(config: LogConfig) -> Self {
        let fs = MemoryFs::new();
        let storage = Storage::new(Arc::new(fs.clone()), 4);
        Self { fs, storage, config: Arc::new(config) }
    }

    pub fn create(&self) -> Result<Log, Error> {
        Log::create(&self.storage, Path::new(DIR), TOPIC, Arc::clone(&self.config), 0)
    }

    pub fn open(&self, options: &OpenOptions) -> Result<(Log, OpenReport), Error> {
        self.open_and_replay(options).map(|(log, report, _)| (log, report))
    }

    /// Opens, and returns the base offsets replayed; a snapshot at offset `n` shows as `-n`.
    pub fn open_and_replay(&self, options: &OpenOptions) -> Result<(Log, OpenReport, Vec<i64>), Error> {
        // A process that starts has no file open yet.
        let storage = Storage::new(Arc::new(self.fs.clone()), 4);
        let mut replayed = Vec::new();
        let mut replay = |event: ReplayEvent<'_>| match event {
            ReplayEvent::Snapshot(_, offset) => replayed.push(-offset.0),
            ReplayEvent::Batch(header) | ReplayEvent::Marker(header, ..) => {
                replayed.push(header.base_offset.0);
            }
        };
        let (log, report) =
            Log::open(&storage, Path::new(DIR), Arc::clone(&self.config), options, &mut replay)?;
        Ok((log, report, replayed))
    }
}

pub fn options(shutdown: LastShutdown, recovery_point: i64) -> OpenOptions {
    OpenOptions { recovery_point: Offset(recovery_point), ..OpenOptions::new(shutdown, 0) }
}

/// All batches from the log start on, as bytes, read with `max_bytes` at a time.
pub fn content(log: &Log, max_bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut at = log.log_start();
    while at < log.log_end() {
        let slice = log.read(at, max_bytes, log.log_end(), true).unwrap();
        assert!(slice.next_offset > at, "{slice:?} at {at}");
        all.extend_from_slice(&slice.bytes);
        at = slice.next_offset;
    }
    all
}

/// First and last offsets of the batches in `bytes`.
pub fn extents(mut bytes: &[u8]) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).unwrap();
        header.verify_crc(&bytes[..header.total_size()]).unwrap();
        found.push((header.base_offset.0, header.last_offset().0));
        bytes = &bytes[header.total_size()..];
    }
    found
}

pub fn bytes_of(batches: &[StoredBatch]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.to_bytes()).collect()
}
