//! Appends the batches of one partition's directory to a new one, batch by batch as they once arrived:
//! `log_copy FROM TO SEGMENT_BYTES INDEX_INTERVAL_BYTES`. With the settings that `FROM` was written with, all
//! `.log`, `.index` and `.timeindex` files come out equal byte for byte, also if Apache Kafka wrote it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use milena_log::fs::RealFs;
use milena_log::{LastShutdown, Log, LogConfig, OpenOptions, Storage};
use milena_records::{BatchHeader, StoredBatch, batches};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, segment_bytes, index_interval_bytes] = &args[..] else {
        return Err("usage: log_copy FROM TO SEGMENT_BYTES INDEX_INTERVAL_BYTES".into());
    };
    let config = Arc::new(LogConfig {
        segment_bytes: segment_bytes.parse()?,
        index_interval_bytes: index_interval_bytes.parse()?,
        ..LogConfig::default()
    });
    let storage = Storage::new(Arc::new(RealFs), Storage::DEFAULT_OPEN_FILES);
    let options = OpenOptions::new(LastShutdown::Clean, 0);
    let (source, _) = Log::open(&storage, Path::new(from), Arc::clone(&config), &options, &mut |_| {})?;
    let mut target = Log::create(&storage, Path::new(to), source.topic_id(), config, 0)?;
    let mut at = source.log_start();
    while at < source.log_end() {
        let slice = source.read(at, 1 << 20, source.log_end(), true)?;
        for batch in batches(&slice.bytes) {
            let (header, bytes) = batch?;
            let batch =
                StoredBatch { header_bytes: header.to_bytes(), body: bytes.slice(BatchHeader::SIZE..) };
            target.append(&[batch], 0)?;
        }
        at = slice.next_offset;
    }
    println!("{} batches end at {}", to, target.close(&[])?);
    Ok(())
}
