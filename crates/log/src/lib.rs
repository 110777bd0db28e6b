//! The log of one partition on disk, in Kafka's own files, and the files around it in a data directory.
//!
//! [`Log`] is synchronous: its owner calls it inline, under the lock that guards the partition. What may
//! take long (fsync, unlink) is handed out as a value that runs elsewhere: [`FlushHandle`],
//! [`Log::purge_deleted`]. Every file goes through [`FileSystem`], so a test can fail, tear or lose any write.
//!
//! Layout of a partition directory, byte for byte Kafka's: `<base offset>.log`, `.index`, `.timeindex`,
//! `.txnindex`, `.snapshot`, `leader-epoch-checkpoint`, `partition.metadata`. Apache's `kafka-dump-log` reads them.
//!
//! What is left to others: which batches may be appended (`milena-records`, `milena-partition`), when to
//! flush, to apply retention or to write checkpoints (`milena-broker`).

#![warn(missing_docs)]

mod aborted;
mod append;
mod cache;
mod checkpoint;
mod cleaner;
mod config;
mod entries;
mod epochs;
mod error;
mod flush;
pub mod fs;
mod log;
mod log_dir;
mod names;
mod open;
mod read;
mod recovery;
mod replay;
mod retention;
mod scan;
mod segment;
mod snapshot;
mod storage;
mod times;
mod truncate;

pub use aborted::{AbortedIndex, AbortedTransaction};
pub use append::AppendInfo;
pub use cleaner::{Cleanable, CleanedGroup, Cleaning, CleaningError, CleaningOptions, CleaningStats, Pace};
pub use config::LogConfig;
pub use error::{Damage, Error, ReadError};
pub use flush::FlushHandle;
pub use fs::FileSystem;
pub use log::Log;
pub use log_dir::{
    Checkpoint, CheckpointEntry, DirEntryKind, LastRun, LastShutdown, LogDir, MetaProperties, PartitionDir,
    Synced,
};
pub use milena_partition::{EpochCache, EpochEnd, EpochEntry};
pub use names::TopicId;
pub use open::{DamagePolicy, OpenOptions, OpenReport, TornTail};
pub use read::{ReadPlan, Slice};
pub use replay::ReplayEvent;
pub use retention::Removed;
pub use segment::TimestampOffset;
pub use storage::Storage;
