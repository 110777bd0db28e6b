//! Opening a partition's directory: after a clean stop by looking at next to nothing, after anything else by
//! verifying what may not have reached the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, Offset};

use crate::checkpoint;
use crate::cleaner;
use crate::config::LogConfig;
use milena_partition::{EpochCache, OpenTransactions};

use crate::epochs;
use crate::error::{Damage, Error};
use crate::flush::FlushState;
use crate::fs::Stat;
use crate::log::{EPOCHS, Log, PARTITION_METADATA};
use crate::log_dir::LastShutdown;
use crate::names::{self, DELETED, INDEX, LOG, SNAPSHOT, TEMPORARY, TIME_INDEX, TXN_INDEX, TopicId};
use crate::recovery::Recovery;
use crate::replay::ReplayEvent;
use crate::storage::Storage;

/// What the owner knows before a log is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How the process that wrote last ended.
    pub shutdown: LastShutdown,
    /// Offset below which everything is durable, from the checkpoint; 0 if unknown.
    pub recovery_point: Offset,
    /// Log start offset from the checkpoint; 0 if unknown.
    pub log_start: Offset,
    /// What to do about damage.
    pub damage: DamagePolicy,
    /// Bytes at the end of each segment from the recovery point's on that are verified after a crash of the
    /// process alone, where only the very last write can be torn; and that are verified below the recovery
    /// point, too. An owner of very many partitions lowers it to bound the time of a restart.
    pub verify_tail_bytes: u64,
    /// Offset below which it has been compacted, from the checkpoint; 0 if never.
    pub cleaned_to: Offset,
    /// The wall clock.
    pub now_ms: i64,
}

impl OpenOptions {
    /// Options for a log with no checkpoints, damage refused.
    pub fn new(shutdown: LastShutdown, now_ms: i64) -> Self {
        Self {
            shutdown,
            recovery_point: Offset::ZERO,
            log_start: Offset::ZERO,
            damage: DamagePolicy::Refuse,
            verify_tail_bytes: 16 << 20,
            cleaned_to: Offset::ZERO,
            now_ms,
        }
    }
}

/// What to do about bytes that no torn write explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagePolicy {
    /// Fail with [`Error::Damaged`]; the partition stays offline and its files untouched.
    #[default]
    Refuse,
    /// An operator has decided to lose everything from the damage on.
    CutThere,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What was cut off the end: an unfinished write, or names of segments whose batches are gone.
    pub torn_tail: Option<TornTail>,
    /// Base offsets of segments whose indexes were written anew.
    pub indexes_rebuilt: Vec<Offset>,
    /// Batches looked at, header only or whole.
    pub batches_walked: u64,
    /// Bytes of batches whose checksum was computed.
    pub bytes_verified: u64,
}

/// What was cut off the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub path: PathBuf,
    /// Its length now.
    pub position: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// What was wrong with them.
    pub damage: Damage,
    /// The log end offset now.
    pub log_end: Offset,
}

impl Log {
    /// Opens the log in `dir`, giving `replay` what the owner needs to rebuild its producers (PR-17).
    ///
    /// After a clean stop only file sizes, the last index entries, and what lies behind them and behind the
    /// newest producer snapshot are looked at. After a crash every batch from the recovery point on is verified,
    /// indexes are rebuilt, and an unfinished write at the very end is cut off. Damage below the recovery point,
    /// or with valid batches behind it, is never cut off unasked (DS-4; NATS lost half its messages that way).
    pub fn open(
        storage: &Arc<Storage>,
        dir: &Path,
        config: Arc<LogConfig>,
        options: &OpenOptions,
        replay: &mut dyn FnMut(ReplayEvent<'_>),
    ) -> Result<(Self, OpenReport), Error> {
        let topic_id = read_topic_id(storage, dir)?;
        cleaner::finish_swaps(storage, dir)?;
        let files = Files::list(storage, dir)?;
        let epochs = read_epochs(storage, dir);
        let mut log = Self {
            storage: Arc::clone(storage),
            dir: dir.into(),
            topic_id,
            config,
            segments: Vec::new(),
            log_start: options.log_start,
            log_end: Offset::ZERO,
            epochs_changed: false,
            latest_saved_epoch: epochs.as_ref().map_or(LeaderEpoch::NONE, EpochCache::latest),
            epochs: epochs.clone().unwrap_or_default(),
            snapshots: files.snapshots.clone(),
            deleted: files.deleted.iter().map(|base| (*base, options.now_ms)).collect(),
            // Whoever created the directory may have died before it was durable.
            flush: Arc::new(Mutex::new(FlushState::new(
                options.recovery_point,
                options.shutdown != LastShutdown::Clean,
            ))),
            hints: Arc::default(),
            cleaned_to: Offset::ZERO,
            swaps: 0,
            offline: false,
        };
        if options.shutdown == LastShutdown::Unclean {
            log.epochs_changed |= log.epochs.truncate_from_end(options.recovery_point);
        }
        let recovery = Recovery {
            log,
            options,
            report: OpenReport::default(),
            all_headers: epochs.is_none(),
            transactions: OpenTransactions::default(),
        };
        recovery.run(&files, replay)
    }
}

/// What a partition's directory holds.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Segments by base offset.
    pub logs: BTreeMap<Offset, Stat>,
    /// Lengths of offset indexes by base offset.
    pub indexes: BTreeMap<Offset, u64>,
    /// Lengths of time indexes by base offset.
    pub time_indexes: BTreeMap<Offset, u64>,
    /// Lengths of indexes of aborted transactions by base offset.
    pub aborted: BTreeMap<Offset, u64>,
    snapshots: Vec<Offset>,
    deleted: Vec<Offset>,
}

impl Files {
    fn list(storage: &Storage, dir: &Path) -> Result<Self, Error> {
        let mut files = Self::default();
        for entry in storage.fs.list(dir).map_err(Error::io("list", dir))? {
            let path = dir.join(&entry.name);
            if entry.name.ends_with(TEMPORARY) {
                // Whoever wrote it died before it counted.
                storage.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
                continue;
            }
            let Some((offset, suffix)) = names::parse(&entry.name) else { continue };
            match suffix {
                LOG => drop(files.logs.insert(offset, entry.stat)),
                INDEX => drop(files.indexes.insert(offset, entry.stat.len)),
                TIME_INDEX => drop(files.time_indexes.insert(offset, entry.stat.len)),
                TXN_INDEX => drop(files.aborted.insert(offset, entry.stat.len)),
                SNAPSHOT => files.snapshots.push(offset),
                _ if suffix.ends_with(DELETED) && !files.deleted.contains(&offset) => {
                    files.deleted.push(offset)
                }
                _ => {}
            }
        }
        files.snapshots.sort_unstable();
        Ok(files)
    }
}

fn read_topic_id(storage: &Storage, dir: &Path) -> Result<TopicId, Error> {
    let path = dir.join(PARTITION_METADATA);
    let text = checkpoint::read(&*storage.fs, &path)?
        .ok_or_else(|| checkpoint::damaged(&path, "the file with the topic id is missing"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id: "));
    id.and_then(|id| id.trim().parse().ok()).ok_or_else(|| checkpoint::damaged(&path, "no topic id in it"))
}

/// The epochs' file, or `None` if it cannot be used and the batches must tell.
fn read_epochs(storage: &Storage, dir: &Path) -> Option<EpochCache> {
    let path = dir.join(EPOCHS);
    match checkpoint::read(&*storage.fs, &path) {
        Ok(Some(text)) => match epochs::decode(&text) {
            Ok(epochs) => return Some(epochs),
            Err(_) if is_on(Bug::R6) => return Some(EpochCache::default()),
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "leader epochs are gathered from the log")
            }
        },
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "leader epochs are gathered from the log"),
    }
    None
}
