//! What a log costs beside the system calls under it, in the same run:
//! `cargo run --release -p milena-log --example log_bench [DIR] [MIB]`.
//!
//! CPU seconds of the calling thread per GiB moved, median of five rounds; and what partitions cost in number:
//! to create, close, open and hold. The disk matters little as long as the data fits the page cache.

use std::error::Error;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use milena_log::fs::{FileSystem, Open, RealFs, write_all_at};
use milena_log::{LastShutdown, Log, LogConfig, LogDir, OpenOptions, Storage, TopicId};
use milena_records::{BatchBuilder, BatchHeader, Compression, LeaderEpoch, Offset, StoredBatch};

const ROUNDS: usize = 5;
const PARTITIONS: usize = 1000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().unwrap_or_else(|| "log-bench".into()));
    let total = args.next().map_or(Ok(256), |mib| mib.parse::<usize>())? << 20;
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root)?;
    println!("{:<34} {:>10} {:>10}", "CPU s/GiB", "system", "log");
    for (name, size, together) in [
        ("append, batches of 1 MiB", 1 << 20, 1),
        ("append, batches of 16 KiB", 16 << 10, 1),
        ("append, batches of 1 KiB", 1 << 10, 1),
        ("append, 1 KiB, 64 in one call", 1 << 10, 64),
    ] {
        let (mut raw, mut log) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            raw.push(raw_append(&root, total, size, together)?);
            log.push(log_append(&root, total, size, together)?);
        }
        row(name, &mut raw, &mut log);
    }
    for (name, size) in [("read 1 MiB, batches of 1 MiB", 1 << 20), ("read 1 MiB, batches of 1 KiB", 1 << 10)]
    {
        let log = filled(&root, total, size)?;
        let (mut raw, mut read) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            raw.push(raw_read(&root, log.size_bytes() as usize)?);
            read.push(log_read(&log)?);
        }
        row(name, &mut raw, &mut read);
        drop(log);
        std::fs::remove_dir_all(root.join("t-0"))?;
    }
    partitions(&root)?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

fn row(name: &str, raw: &mut [f64], log: &mut [f64]) {
    let median = |figures: &mut [f64]| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    println!("{name:<34} {:>10.3} {:>10.3}", median(raw), median(log));
}

/// CPU seconds of this thread so far.
fn cpu() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e9)
}

fn per_gib(seconds: f64, bytes: usize) -> f64 {
    seconds * (1u64 << 30) as f64 / bytes as f64
}

fn body(size: usize) -> StoredBatch {
    let mut builder = BatchBuilder::new(Compression::None);
    // Overhead of a batch with one record of this kind.
    builder.push(1_790_000_000_000, None, Some(&vec![7; size - 72]), &[]);
    builder.build()
}

fn raw_append(root: &Path, total: usize, size: usize, together: usize) -> Outcome<f64> {
    let path = root.join("raw");
    let file = RealFs.open(&path, Open::Truncate)?;
    // Sizes that do not divide a page cost more; compare like with like.
    let bytes = body(size).to_bytes();
    let start = cpu()?;
    for at in 0..total / size / together {
        let mut pieces = vec![IoSlice::new(&bytes); together];
        write_all_at(&*file, &mut pieces, (at * together * bytes.len()) as u64)?;
    }
    let spent = cpu()? - start;
    std::fs::remove_file(path)?;
    Ok(per_gib(spent, total / size * bytes.len()))
}

fn log_append(root: &Path, total: usize, size: usize, together: usize) -> Outcome<f64> {
    let storage = Storage::new(Arc::new(RealFs), Storage::DEFAULT_OPEN_FILES);
    let dir = root.join("t-0");
    let mut log = Log::create(&storage, &dir, TopicId([1; 16]), Arc::default(), 0)?;
    let template = body(size);
    let mut batches: Vec<StoredBatch> = (0..together).map(|_| template.clone()).collect();
    log.append(&[stamped(template, 0)], 0)?;
    let before = log.size_bytes();
    let start = cpu()?;
    for _ in 0..total / size / together {
        for (offset, batch) in (log.log_end().0..).zip(&mut batches) {
            batch.stamp(Offset(offset), LeaderEpoch(0));
        }
        log.append(&batches, 0)?;
    }
    let spent = cpu()? - start;
    let written = (log.size_bytes() - before) as usize;
    drop(log);
    std::fs::remove_dir_all(dir)?;
    Ok(per_gib(spent, written))
}

fn stamped(mut batch: StoredBatch, offset: i64) -> StoredBatch {
    batch.stamp(Offset(offset), LeaderEpoch(0));
    batch
}

fn filled(root: &Path, total: usize, size: usize) -> Outcome<Log> {
    let storage = Storage::new(Arc::new(RealFs), Storage::DEFAULT_OPEN_FILES);
    let mut log = Log::create(&storage, &root.join("t-0"), TopicId([1; 16]), Arc::default(), 0)?;
    let template = body(size);
    for at in 0..total / size {
        log.append(&[stamped(template.clone(), at as i64)], 0)?;
    }
    Ok(log)
}

fn raw_read(root: &Path, total: usize) -> Outcome<f64> {
    let file = RealFs.open(&root.join("t-0/00000000000000000000.log"), Open::Existing)?;
    let start = cpu()?;
    let mut held = Bytes::new();
    for at in 0..total >> 20 {
        let mut bytes = Vec::with_capacity(1 << 20);
        file.read_at(&mut bytes, (at << 20) as u64)?;
        held = Bytes::from(bytes);
    }
    let spent = cpu()? - start;
    assert_eq!(held.len(), 1 << 20);
    Ok(per_gib(spent, total))
}

fn log_read(log: &Log) -> Outcome<f64> {
    let start = cpu()?;
    let (mut at, mut bytes) = (Offset::ZERO, 0);
    while at < log.log_end() {
        let slice = log.read(at, 1 << 20, log.log_end(), true)?;
        bytes += slice.bytes.len();
        at = slice.next_offset;
    }
    Ok(per_gib(cpu()? - start, bytes))
}

/// Creates, fills, closes, opens and holds many partitions.
fn partitions(root: &Path) -> Outcome<()> {
    let storage = Storage::new(Arc::new(RealFs), Storage::DEFAULT_OPEN_FILES);
    let log_dir = LogDir::open(Arc::new(RealFs), root)?;
    let dirs: Vec<PathBuf> = (0..PARTITIONS).map(|at| root.join(format!("t-{at}"))).collect();
    let config = Arc::<LogConfig>::default();
    let started = Instant::now();
    let created: Result<Vec<Log>, _> =
        dirs.iter().map(|dir| Log::create(&storage, dir, TopicId([1; 16]), Arc::clone(&config), 0)).collect();
    let mut logs = created?;
    println!("create {PARTITIONS} partitions: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    let (alone, together) = logs.split_at_mut(PARTITIONS / 10);
    for log in alone {
        log.append(&[stamped(body(1000), 0)], 0)?;
    }
    println!(
        "first append to 100 of them, each made durable: {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let started = Instant::now();
    let synced = log_dir.sync_all()?;
    for log in together {
        log.creation_is_durable(&synced);
        log.append(&[stamped(body(1000), 0)], 0)?;
    }
    println!("to the other 900, made durable together: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    for log in &mut logs {
        for at in 1..200 {
            log.append(&[stamped(body(1000), at)], 0)?;
        }
    }
    let started = Instant::now();
    for log in logs.drain(..PARTITIONS / 10) {
        log.close(&[])?;
    }
    println!("close 100 of them: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    for log in logs {
        log.close_unsynced(&[])?;
    }
    log_dir.sync_all()?;
    println!("close the other 900 and sync once: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let held_before = resident()?;
    for shutdown in [LastShutdown::Clean, LastShutdown::ProcessCrash] {
        let storage = Storage::new(Arc::new(RealFs), Storage::DEFAULT_OPEN_FILES);
        let options = OpenOptions { recovery_point: Offset(200), ..OpenOptions::new(shutdown, 0) };
        let started = Instant::now();
        let opened: Result<Vec<(Log, _)>, _> = dirs
            .iter()
            .map(|dir| Log::open(&storage, dir, Arc::clone(&config), &options, &mut |_| {}))
            .collect();
        let opened = opened?;
        println!("open them after {shutdown:?}: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
        if shutdown == LastShutdown::Clean {
            let held = resident()?.saturating_sub(held_before);
            println!("resident memory of one idle partition: {} bytes", held / PARTITIONS);
        }
        drop(opened);
    }
    Ok(())
}

fn resident() -> Outcome<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    Ok(text.split(' ').nth(1).unwrap_or_default().parse::<usize>()? * 4096)
}

const _: () = assert!(BatchHeader::SIZE < 72);
