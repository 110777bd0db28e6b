//! Compaction: of each key only the newest record stays (`cleanup.policy=compact`).
//!
//! As in Kafka a cleaning has two passes. The first reads the dirty section and notes where each key's newest
//! record is ([`offset_map`]); the second writes segments anew without what is superseded, group by group
//! ([`rewrite`]), and each group takes the place of its segments at once ([`swap`]). Offsets never change.
//!
//! A [`Cleaning`] works on closed segments only, which nobody writes to, and so holds no lock: its owner calls
//! [`Log::begin_cleaning`] and [`Log::swap`] under the partition's lock and everything in between without. A
//! truncation, or the removal of a segment, makes the swap answer that it came too late. Rules: KIP-58, KIP-98,
//! KIP-354, KIP-534; test ids CP-1 to CP-10.

mod offset_map;
mod rewrite;
mod rules;
mod source;
mod survey;
mod swap;
mod transactions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_partition::ProducerEntry;
use milena_records::{BatchRecords, Offset, ProducerEpoch};

use crate::aborted::{self, AbortedTransaction};
use crate::cache::FileKey;
use crate::config::LogConfig;
use crate::error::{Damage, Error};
use crate::fs::Open;
use crate::log::Log;
use crate::names::{self, LOG, TXN_INDEX};
use crate::segment::Segment;
use crate::storage::Storage;

use offset_map::OffsetMap;
use rewrite::CleanedSegment;
use rules::{Outcome, Rules};
use source::BatchSource;
use transactions::Transactions;

pub use survey::Cleanable;
pub(crate) use swap::finish_swaps;

/// Most bytes that one batch may inflate to here. A larger one is left as it is: none of its records is dropped, none
/// supersedes another.
const INFLATE_LIMIT: usize = 256 << 20;

/// What a cleaning may use, and the time.
#[derive(Clone, Debug)]
pub struct CleaningOptions {
    /// Bytes for the table of keys; 24 of them per key.
    pub map_bytes: usize,
    /// How full the table may get, 0 to 1 (`log.cleaner.io.buffer.load.factor`).
    pub load_factor: f64,
    /// Bytes read and written at a time; a larger batch is read whole.
    pub io_bytes: usize,
    /// `delete.retention.ms` of the topic.
    pub delete_retention_ms: i64,
    /// The wall clock.
    pub now_ms: i64,
}

/// Told how many bytes were just read or written; may wait, and answers whether to go on.
pub type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

/// What a cleaning has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleaningStats {
    /// Bytes read by the first pass.
    pub mapped_bytes: u64,
    /// Keys in the table.
    pub keys: u64,
    /// Keys that the table has room for.
    pub key_capacity: u64,
    /// Bytes of batches read by the second pass.
    pub bytes_before: u64,
    /// Bytes of batches written by it.
    pub bytes_after: u64,
    /// Records read by it.
    pub records_before: u64,
    /// Records that stayed.
    pub records_after: u64,
    /// Records without a key, which are dropped (CP-7).
    pub keyless: u64,
}

/// Why a cleaning ends early.
#[derive(Debug, thiserror::Error)]
pub enum CleaningError {
    /// A file cannot be read or written, or is damaged.
    #[error(transparent)]
    Fault(#[from] Error),
    /// The owner's [`Pace`] answered no.
    #[error("the cleaning was given up")]
    GivenUp,
}

/// A closed segment as the cleaning found it.
#[derive(Clone, Debug)]
struct View {
    base: Offset,
    /// Where the next one begins.
    end: Offset,
    size: u64,
    index_bytes: usize,
    time_index_bytes: usize,
    modified_ms: i64,
    /// Entries in the file of its aborted transactions, and those that could not be written.
    aborted: (usize, Vec<AbortedTransaction>),
    /// Names the segment for as long as it is that one.
    key: FileKey,
}

/// A cleaning on its way.
#[derive(Debug)]
pub struct Cleaning {
    storage: Arc<Storage>,
    dir: Box<Path>,
    config: Arc<LogConfig>,
    options: CleaningOptions,
    generation: u64,
    range: Cleanable,
    /// Of the log start up to the end of the range.
    segments: Vec<View>,
    /// How many of them are done.
    done: usize,
    /// The rest of the log: there the markers may be of transactions that begin in the range.
    behind: Vec<View>,
    /// What the last batch of each producer is, by producer id.
    producers: HashMap<i64, LastOfProducer>,
    aborted: Vec<AbortedTransaction>,
    map: Option<OffsetMap>,
    /// Where the newest batch ends that the first pass read, if only in part.
    tail: Offset,
    transactions: Transactions,
    stats: CleaningStats,
}

/// The batch that tells a producer's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastOfProducer {
    /// Its last data, which ends here.
    Data(Offset),
    /// Only a marker of this epoch.
    Marker(ProducerEpoch),
}

/// A group of segments written anew as one, ready to take their place: [`Log::swap`].
#[derive(Debug)]
pub struct CleanedGroup {
    cleaned: CleanedSegment,
    replaced: Vec<View>,
    generation: u64,
    /// Where the section ends in which the records are that supersede those dropped here.
    relies_on: Offset,
    /// The last marker that was dropped.
    dropped_marker: Option<Offset>,
}

impl Log {
    /// Begins to clean `range`, which [`Log::cleanable`] told. `producers` are those of the partition now: their last
    /// batches stay, if only as empty ones (CP-6).
    ///
    /// Cheap. Only one cleaning of a log may be under way. Before its first swap everything up to the end of the range
    /// must have been flushed.
    pub fn begin_cleaning(
        &self,
        range: Cleanable,
        producers: &[ProducerEntry],
        options: CleaningOptions,
    ) -> Result<Cleaning, Error> {
        let generation = self.online_state()?.generation;
        let last = |entry: &ProducerEntry| match entry.last_offset {
            Offset(..0) => LastOfProducer::Marker(entry.epoch),
            offset => LastOfProducer::Data(offset),
        };
        let view = |at: usize, segment: &Segment| View {
            base: segment.base_offset,
            end: self.segment_end(at),
            size: segment.size,
            index_bytes: segment.index_bytes(),
            time_index_bytes: segment.time_index_bytes(),
            modified_ms: segment.modified_ms,
            aborted: {
                let (written, pending) = segment.aborted.parts();
                (written, pending.to_vec())
            },
            key: segment.key(),
        };
        let views = self.segments.iter().enumerate().map(|(at, segment)| view(at, segment));
        let (segments, behind) = views.partition(|view| view.end <= range.end);
        Ok(Cleaning {
            storage: Arc::clone(&self.storage),
            dir: self.dir.clone(),
            config: Arc::clone(&self.config),
            options,
            generation,
            range,
            segments,
            behind,
            done: 0,
            producers: producers.iter().map(|entry| (entry.producer_id.0, last(entry))).collect(),
            aborted: Vec::new(),
            map: None,
            tail: Offset::NONE,
            transactions: Transactions::default(),
            stats: CleaningStats::default(),
        })
    }
}

impl Cleaning {
    /// The first pass: notes the newest record of each key in the dirty section. Returns where the cleaning will end:
    /// the end of the range, or before it if the table of keys is full.
    pub fn map_keys(&mut self, pace: &mut Pace<'_>) -> Result<Offset, CleaningError> {
        rewrite::remove_leftovers(&self.storage, &self.dir)?;
        self.aborted = self.find_aborted()?;
        let first_dirty = self.range.first_dirty;
        let mut transactions = Transactions::new(&self.aborted, first_dirty);
        let offsets = (self.range.end - first_dirty).max(0) as u64;
        let mut map = OffsetMap::new(self.options.map_bytes, self.options.load_factor, offsets);
        map.advance_to(first_dirty + -1);
        'segments: for view in self.segments.iter().filter(|view| view.end > first_dirty) {
            let mut source = self.source(view)?;
            while let Some((header, batch)) = source.next(pace)? {
                self.stats.mapped_bytes += batch.len() as u64;
                self.tail = header.next_offset();
                if header.last_offset() < first_dirty {
                    continue;
                }
                let body = batch.slice(milena_records::BatchHeader::SIZE..);
                let is_aborted = transactions.discards(&header, &body);
                if !header.is_control() && !is_aborted {
                    let Some(records) = open_records(&source, header, body)? else { continue };
                    let mut is_full = false;
                    let visited = records.outlines(|record| {
                        if record.offset >= first_dirty
                            && let Some(key) = record.key
                        {
                            is_full = !map.put(key, record.offset);
                        }
                        !is_full
                    });
                    visited.map_err(|error| source.damaged(Damage::Records(error.to_string())))?;
                    if is_full {
                        break 'segments;
                    }
                }
                map.advance_to(header.last_offset());
            }
            map.advance_to(view.end + -1);
        }
        let end = map.latest() + 1;
        (self.stats.keys, self.stats.key_capacity) = (map.len() as u64, map.capacity() as u64);
        self.map = Some(map);
        // Without a batch in the dirty section nothing is superseded, and the end of the log is not known.
        self.segments.retain(|view| view.base < end && self.tail != Offset::NONE);
        self.transactions = Transactions::new(&self.aborted, Offset::ZERO);
        Ok(end)
    }

    /// The second pass, one group at a time, oldest first: what is left of the next segments, written and durable under
    /// names that do not count yet. `None` when all are done.
    ///
    /// # Panics
    /// If [`Cleaning::map_keys`] has not come first.
    pub fn next_group(&mut self, pace: &mut Pace<'_>) -> Result<Option<CleanedGroup>, CleaningError> {
        let map = self.map.as_ref().expect("keys are mapped first");
        let count = group_size(&self.segments[self.done..], &self.config);
        if count == 0 {
            return Ok(None);
        }
        let replaced = self.segments[self.done..self.done + count].to_vec();
        let mut cleaned =
            CleanedSegment::create(&self.storage, &self.dir, replaced[0].base, self.options.io_bytes)?;
        let mut rules = Rules {
            map,
            end: self.tail,
            producers: &self.producers,
            transactions: &mut self.transactions,
            delete_retention_ms: self.options.delete_retention_ms,
            now_ms: self.options.now_ms,
            stats: &mut self.stats,
        };
        let mut dropped_marker = None;
        for view in &replaced {
            let mut source =
                BatchSource::open(&self.storage, &self.dir, view.base, view.size, self.options.io_bytes)?;
            while let Some((header, batch)) = source.next(pace)? {
                let outcome = rules.judge(header, &batch);
                let outcome = outcome.map_err(|error| source.damaged(Damage::Records(error.to_string())))?;
                if header.is_control() && outcome == Outcome::Drop {
                    dropped_marker = Some(header.base_offset);
                }
                let before = cleaned.size();
                let ended = rules.transactions.take_ended().filter(|_| outcome != Outcome::Drop);
                cleaned.put(header, &batch, outcome, self.config.index_interval_bytes)?;
                if let Some(ended) = ended {
                    cleaned.segment.aborted.push(ended);
                }
                rules.stats.bytes_before += batch.len() as u64;
                rules.stats.bytes_after += cleaned.size() - before;
                if !pace(cleaned.size() - before) {
                    return Err(CleaningError::GivenUp);
                }
            }
        }
        cleaned.finish(replaced.last().expect("a group is not empty").modified_ms)?;
        self.done += count;
        let (generation, relies_on) = (self.generation, map.latest() + 1);
        Ok(Some(CleanedGroup { cleaned, replaced, generation, relies_on, dropped_marker }))
    }

    /// Makes the swaps durable. Not needed for safety, as a crash leaves each done or undone, but before it is noted how
    /// far the log is clean.
    pub fn sync_names(&self) -> Result<(), Error> {
        self.storage.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    /// What was done so far.
    pub fn stats(&self) -> CleaningStats {
        self.stats
    }

    fn source(&self, view: &View) -> Result<BatchSource, Error> {
        BatchSource::open(&self.storage, &self.dir, view.base, view.size, self.options.io_bytes)
    }

    /// Aborted transactions that begin in the segments to be cleaned, wherever their markers are.
    fn find_aborted(&self) -> Result<Vec<AbortedTransaction>, Error> {
        let mut found = Vec::new();
        for view in self.segments.iter().chain(&self.behind) {
            let (written, pending) = &view.aborted;
            let mut all = Vec::new();
            if *written > 0 {
                let path = names::file(&self.dir, view.base, TXN_INDEX);
                let read = || aborted::read_all(&*self.storage.fs.open(&path, Open::Existing)?, *written);
                all = read().map_err(Error::io("read", &path))?;
            }
            all.extend_from_slice(pending);
            found.extend(all.iter().filter(|it| it.first_offset < self.range.end));
            if view.base >= self.range.end && all.iter().any(|it| it.last_stable_offset >= self.range.end) {
                break;
            }
        }
        Ok(found)
    }
}

/// Name of the segment at `base` in `dir`.
fn log_path(dir: &Path, base: Offset) -> PathBuf {
    names::file(dir, base, LOG)
}

/// The records of a batch, or `None` if they are too large to be looked at.
fn open_records(
    source: &BatchSource,
    header: milena_records::BatchHeader,
    body: bytes::Bytes,
) -> Result<Option<BatchRecords>, Error> {
    match BatchRecords::of(header, body, INFLATE_LIMIT) {
        Ok(records) => Ok(Some(records)),
        Err(milena_records::RecordsError::InflatesTooFar { .. }) => Ok(None),
        Err(error) => Err(source.damaged(Damage::Records(error.to_string()))),
    }
}

/// How many of the next segments become one: as many as would fit into one as they are (they hardly ever grow), their
/// indexes included, and whose offsets an index can tell from the first base.
fn group_size(next: &[View], config: &LogConfig) -> usize {
    let Some(first) = next.first() else { return 0 };
    let (mut size, mut index, mut times) = (0, 0, 0);
    let index_limit = config.segment_index_bytes as usize;
    let fits = |view: &&View| {
        (size, index, times) = (size + view.size, index + view.index_bytes, times + view.time_index_bytes);
        size <= u64::from(config.segment_bytes)
            && index <= index_limit
            && times <= index_limit
            && view.end - first.base <= i64::from(i32::MAX)
    };
    next.iter().take_while(fits).count().max(1)
}
