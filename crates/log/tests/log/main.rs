//! The log as its owner sees it, on a file system in memory that fails, tears and forgets.

mod behaviour;
mod cleaner;
mod compacted;
mod compaction_model;
mod crash;
mod damage;
mod data_dir;
mod kafka_files;
mod model;
mod real_files;
mod support;
mod transactions;
