//! Writes partitions that exercise every file, for Apache's `kafka-dump-log` to read:
//! `cargo run -p milena-log --example log_write DIR && tests/java/dump_log.sh DIR LIBS`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use milena_log::fs::RealFs;
use milena_log::{Checkpoint, CheckpointEntry, Log, LogConfig, LogDir, Storage, TopicId};
use milena_partition::{ProducerEntry, Producers};
use milena_records::{
    BatchBuilder, Compression, LeaderEpoch, Offset, ProducerEpoch, ProducerId, StoredBatch,
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().nth(1).ok_or("usage: log_write DIR")?;
    let fs = Arc::new(RealFs);
    let dir = LogDir::open(fs.clone(), Path::new(&root))?;
    let storage = Storage::new(fs, Storage::DEFAULT_OPEN_FILES);
    let mut ends = Vec::new();
    for (partition, config) in [
        LogConfig { segment_bytes: 300_000, ..LogConfig::default() },
        LogConfig { segment_bytes: 20_000, index_interval_bytes: 200, ..LogConfig::default() },
        LogConfig { index_interval_bytes: 0, ..LogConfig::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.partition_path("events", partition as i32);
        let end = write(&storage, &path, partition as u8, config)?;
        ends.push(CheckpointEntry { topic: "events".into(), partition: partition as i32, offset: end });
    }
    dir.write_checkpoint(Checkpoint::RecoveryPoint, &ends)?;
    dir.write_checkpoint(Checkpoint::HighWatermark, &ends)?;
    dir.mark_clean(1)?;
    println!("{ends:?}");
    Ok(())
}

fn write(storage: &Arc<Storage>, path: &Path, seed: u8, config: LogConfig) -> Result<Offset, Box<dyn Error>> {
    let mut log = Log::create(storage, path, TopicId([seed + 1; 16]), Arc::new(config), 0)?;
    let mut producers = Producers::default();
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for round in 0..400i64 {
        let codec = codecs[round as usize % codecs.len()];
        let batch = batch(log.log_end(), round, codec);
        let header = batch.header();
        let info = log.append(&[batch], 0)?;
        producers.record(&header);
        if info.rolled {
            log.take_snapshot(&producers.entries(), info.log_end)?;
        }
    }
    let entries: Vec<ProducerEntry> = producers.entries();
    Ok(log.close(&entries)?)
}

/// Times jump back and forth, and every third batch has none.
fn batch(base: Offset, round: i64, codec: Compression) -> StoredBatch {
    let count = 1 + round % 17;
    let producer = ProducerId(round % 3);
    let mut builder = BatchBuilder::new(codec).producer(producer, ProducerEpoch(0), base.0 as i32);
    for at in 0..count {
        let time = if round % 3 == 2 { -1 } else { 1_790_000_000_000 + (round * 7919) % 1000 * 60 + at };
        let value = vec![b'a' + (at % 26) as u8; (round * 131 % 900) as usize];
        builder.push(time, Some(format!("key-{at}").as_bytes()), Some(&value), &[]);
    }
    let mut batch = builder.build();
    batch.stamp(base, LeaderEpoch((round / 150) as i32));
    batch
}
