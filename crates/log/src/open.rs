//! Opening a partition's directory: after a clean stop by looking at next to nothing, after anything else by
//! verifying what may not have reached the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use milena_partition::ProducerEntry;
use milena_records::{BatchHeader, Offset};

use crate::checkpoint::{self, Durability};
use crate::config::LogConfig;
use crate::entries::Entries;
use crate::epochs::EpochCache;
use crate::error::{Damage, Error};
use crate::flush::FlushState;
use crate::fs::Stat;
use crate::log::{EPOCHS, Log, PARTITION_METADATA};
use crate::log_dir::LastShutdown;
use crate::names::{self, CLEANED, DELETED, INDEX, LOG, SNAPSHOT, SWAP, TEMPORARY, TIME_INDEX, TopicId};
use crate::scan::{Found, Scanner};
use crate::segment::{Place, Segment};
use crate::snapshot;
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

/// One step of rebuilding what is derived from the log.
#[derive(Debug)]
pub enum ReplayEvent<'a> {
    /// Start from these producers, as of this offset. At most once, and first.
    Snapshot(&'a [ProducerEntry], Offset),
    /// Then apply this batch.
    Batch(&'a BatchHeader),
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// An unfinished write at the end that was cut off.
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
            epochs: epochs.clone().unwrap_or_default(),
            snapshots: files.snapshots.clone(),
            deleted: files.deleted.iter().map(|base| (*base, options.now_ms)).collect(),
            // Whoever created the directory may have died before it was durable.
            flush: Arc::new(Mutex::new(FlushState::new(
                options.recovery_point,
                options.shutdown != LastShutdown::Clean,
            ))),
            hints: Arc::default(),
            offline: false,
        };
        if options.shutdown == LastShutdown::Unclean {
            log.epochs_changed |= log.epochs.truncate_from_end(options.recovery_point);
        }
        let mut opening =
            Opening { log, options, report: OpenReport::default(), all_headers: epochs.is_none() };
        opening.load_segments(&files)?;
        let snapshot = opening.newest_snapshot();
        let snapshot_offset = snapshot.as_ref().map_or(Offset::ZERO, |(_, offset)| *offset);
        if let Some((entries, offset)) = &snapshot {
            replay(ReplayEvent::Snapshot(entries, *offset));
        }
        opening.walk_all(snapshot_offset, replay)?;
        opening.finish()
    }

    /// Shows `visit` the headers of the newest batches, oldest first: at least those in the last `max_bytes`.
    ///
    /// A snapshot in Kafka's format holds one batch per producer, not the window of five that a client may
    /// repeat (PR-14). After a clean stop nothing else is replayed; an owner who wants the windows back, so that a
    /// producer may repeat what the stop left unanswered, finds them here at the price of a read or two.
    pub fn recent_batches(&self, max_bytes: u64, visit: &mut dyn FnMut(&BatchHeader)) -> Result<(), Error> {
        let newest = self.segments.iter().rev().find(|segment| segment.size > 0);
        let Some(segment) = newest else { return Ok(()) };
        let place = self.place();
        let path = place.path(segment.base_offset, LOG);
        let file = segment.log_file(place)?;
        let start = segment.floor_of_byte(place, segment.size.saturating_sub(max_bytes))?;
        let mut scanner = Scanner::new(&*file, start, segment.size, segment.base_offset);
        loop {
            match scanner.next(|_, _| false).map_err(Error::io("read", &path))? {
                Found::Batch { header, .. } => visit(&header),
                Found::End => return Ok(()),
                Found::Bad(damage) => {
                    return Err(Error::Damaged { path, position: scanner.position(), damage });
                }
            }
        }
    }

    /// Gives `replay` the newest snapshot and the batches behind it once more: after a truncation.
    pub fn replay(&self, replay: &mut dyn FnMut(ReplayEvent<'_>)) -> Result<(), Error> {
        let mut from = self.log_start;
        if let Some((entries, offset)) = newest_snapshot(self, self.log_end) {
            replay(ReplayEvent::Snapshot(&entries, offset));
            from = offset;
        }
        for segment in &self.segments[self.segment_of(from)..] {
            let place = self.place();
            let path = place.path(segment.base_offset, LOG);
            let file = segment.log_file(place)?;
            let start = segment.floor_position(place, from)?;
            let mut scanner = Scanner::new(&*file, start, segment.size, segment.base_offset);
            loop {
                match scanner.next(|_, _| false).map_err(Error::io("read", &path))? {
                    Found::Batch { header, .. } if header.base_offset >= from => {
                        replay(ReplayEvent::Batch(&header));
                    }
                    Found::Batch { .. } => {}
                    Found::End => break,
                    Found::Bad(damage) => {
                        return Err(Error::Damaged { path, position: scanner.position(), damage });
                    }
                }
            }
        }
        Ok(())
    }
}

/// A log on its way from files to memory.
struct Opening<'a> {
    log: Log,
    options: &'a OpenOptions,
    report: OpenReport,
    /// The epochs are lost and must be gathered from all batches.
    all_headers: bool,
}

impl Opening<'_> {
    /// Opens every segment's indexes. Those that cannot be right are left empty, to be rebuilt.
    fn load_segments(&mut self, files: &Files) -> Result<(), Error> {
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        for (base, stat) in &files.logs {
            let mut segment = Segment::new(place, *base, self.options.now_ms);
            segment.size = stat.len;
            segment.modified_ms = stat.modified_ms;
            let mut load = || -> std::io::Result<()> {
                if let Some(len) = files.indexes.get(base).filter(|len| **len > 0) {
                    segment.index = Entries::open(&*segment.index_file(place)?, *len)?;
                }
                if let Some(len) = files.time_indexes.get(base).filter(|len| **len > 0) {
                    segment.times = Entries::open(&*segment.time_file(place)?, *len)?;
                }
                Ok(())
            };
            load().map_err(Error::io("open the indexes of", &place.path(*base, LOG)))?;
            if let Some(last) = segment.times.last() {
                segment.newest = crate::segment::TimestampOffset {
                    timestamp: last.timestamp,
                    offset: *base + i64::from(last.relative),
                };
            }
            self.log.segments.push(segment);
        }
        if self.log.segments.is_empty() {
            let start = self.options.log_start;
            self.log.segments.push(Segment::create(place, start, self.options.now_ms)?);
            self.log.flush.lock().expect("nobody else has it yet").names_changed = true;
        }
        Ok(())
    }

    fn newest_snapshot(&mut self) -> Option<(Vec<ProducerEntry>, Offset)> {
        newest_snapshot(&self.log, Offset(i64::MAX))
    }

    /// Walks what must be walked, oldest first.
    fn walk_all(&mut self, snapshot: Offset, replay: &mut dyn FnMut(ReplayEvent<'_>)) -> Result<(), Error> {
        let dirty_from = match self.options.shutdown {
            LastShutdown::Clean => self.log.segments.len(),
            _ => self.log.segment_of(self.options.recovery_point),
        };
        let mut expected = self.log.segments[0].base_offset;
        let mut at = 0;
        while at < self.log.segments.len() {
            let base = self.log.segments[at].base_offset;
            // A roll that failed half-way leaves an empty file, behind which the segment before it went on.
            let is_last = at + 1 == self.log.segments.len();
            if self.log.segments[at].size == 0 && at > 0 && (!is_last || base < expected) {
                self.remove_segment(at)?;
                continue;
            }
            if base < expected {
                let damage = Damage::Misplaced { expected, found: base };
                return Err(self.damaged(at, 0, damage));
            }
            let next_base = self.log.segments.get(at + 1).map(|next| next.base_offset);
            let wanted_by_replay = next_base.is_none_or(|next| next > snapshot) || self.all_headers;
            let dirty = at >= dirty_from;
            // What a process wrote to an index before it died is there; after a power failure who knows.
            let rebuild =
                (dirty && self.options.shutdown == LastShutdown::Unclean) || !self.indexes_look_right(at);
            if dirty || rebuild || wanted_by_replay || is_last {
                let from = if self.all_headers { Offset::ZERO } else { snapshot };
                expected = self.walk(at, Walk { rebuild, dirty, from, snapshot }, replay)?;
            } else {
                expected = next_base.expect("the last segment is walked");
            }
            at += 1;
        }
        self.log.log_end = expected;
        Ok(())
    }

    /// Walks segment `at`; returns the offset behind its last batch.
    fn walk(
        &mut self,
        at: usize,
        walk: Walk,
        replay: &mut dyn FnMut(ReplayEvent<'_>),
    ) -> Result<Offset, Error> {
        let Walk { rebuild, dirty, from, snapshot } = walk;
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        let options = self.options;
        let interval = self.log.config.index_interval_bytes;
        let is_last = at + 1 == self.log.segments.len();
        let segment = &mut self.log.segments[at];
        let path = place.path(segment.base_offset, LOG);
        if segment.size == 0 && !rebuild {
            return Ok(segment.base_offset);
        }
        let file = segment.log_file(place)?;
        let end = segment.size;
        let rebuild = rebuild || !segment.last_entry_matches(&*file);
        let tail = end.saturating_sub(options.verify_tail_bytes);
        let start = if rebuild {
            segment.reset(place)?;
            self.report.indexes_rebuilt.push(segment.base_offset);
            0
        } else {
            let mut start = segment.floor_position(place, from)?;
            if dirty {
                start = start.min(segment.floor_of_byte(place, tail)?);
            }
            if is_last {
                start = start.min(segment.last_indexed());
                segment.rewind_to_index();
            }
            start
        };
        let verify = |header: &BatchHeader, position: u64| {
            let undurable = header.base_offset >= options.recovery_point;
            dirty && (position >= tail || (undurable && options.shutdown == LastShutdown::Unclean))
        };
        let mut scanner = Scanner::new(&*file, start, end, segment.base_offset);
        loop {
            match scanner.next(verify).map_err(Error::io("read", &path))? {
                Found::Batch { header, position } => {
                    self.report.batches_walked += 1;
                    if verify(&header, position) {
                        self.report.bytes_verified += header.total_size() as u64;
                    }
                    if rebuild || (is_last && position >= segment.size) {
                        segment.note((&header).into(), interval);
                        if segment.index.is_due() {
                            segment.write_entries(place)?;
                        }
                    }
                    if header.partition_leader_epoch > self.log.epochs.latest() {
                        self.log.epochs_changed |=
                            self.log.epochs.assign(header.partition_leader_epoch, header.base_offset);
                    }
                    if header.base_offset >= snapshot {
                        replay(ReplayEvent::Batch(&header));
                    }
                }
                Found::End => break,
                Found::Bad(damage) => {
                    let cut =
                        Cut { at, position: scanner.position(), end, expected: scanner.expected(), damage };
                    let followed = dirty
                        && options.damage == DamagePolicy::Refuse
                        && scanner.valid_batch_behind().map_err(Error::io("read", &path))?.is_some();
                    return self.bad(cut, dirty, followed);
                }
            }
        }
        if (rebuild || dirty) && !is_last {
            segment.seal(place)?;
            self.log.flush.lock().expect("nobody else has it yet").sealed.push(segment.base_offset);
        } else {
            segment.write_due_entries(place)?;
        }
        segment.load_first_timestamp(place)?;
        Ok(scanner.expected())
    }

    /// Decides on bytes that are no batch: a torn write is cut off, everything else is refused.
    fn bad(&mut self, cut: Cut, dirty: bool, followed: bool) -> Result<Offset, Error> {
        let later = self.log.segments[cut.at + 1..].iter().any(|segment| segment.size > 0);
        let torn = dirty && !followed && !later && cut.expected >= self.options.recovery_point;
        if !torn && self.options.damage == DamagePolicy::Refuse {
            return Err(self.damaged(cut.at, cut.position, cut.damage));
        }
        while self.log.segments.len() > cut.at + 1 {
            self.remove_segment(self.log.segments.len() - 1)?;
        }
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        let segment = &mut self.log.segments[cut.at];
        let path = place.path(segment.base_offset, LOG);
        let file = segment.log_file(place)?;
        file.set_len(cut.position).and_then(|()| file.sync()).map_err(Error::io("cut", &path))?;
        segment.truncate_entries(place, cut.expected)?;
        segment.rescan(place, cut.position, self.log.config.index_interval_bytes)?;
        segment.load_first_timestamp(place)?;
        self.report.torn_tail = Some(TornTail {
            path,
            position: cut.position,
            bytes: cut.end - cut.position,
            damage: cut.damage,
            log_end: cut.expected,
        });
        let mut flush = self.log.flush.lock().expect("nobody else has it yet");
        flush.recovery_point = flush.recovery_point.min(cut.expected);
        Ok(cut.expected)
    }

    fn indexes_look_right(&self, at: usize) -> bool {
        let segment = &self.log.segments[at];
        let index = segment.index.last();
        // A crash of another broker can leave an index extended with zeros: its last entry is not larger.
        let padded = index.is_some_and(|last| last.relative == 0 && segment.index.len() > 1);
        let beyond = index.is_some_and(|last| u64::from(last.position) >= segment.size);
        let missing = segment.index.len() == 0 && segment.size > MISSING_INDEX_TOLERATED;
        let times = segment.times.last();
        let times_padded = times.is_some_and(|last| last.timestamp <= 0 && segment.times.len() > 1);
        // A segment closed in order has its newest time as the last entry, unless no batch has a time.
        let is_last = at + 1 == self.log.segments.len();
        let times_missing = segment.times.len() == 0 && segment.size > 0 && !is_last;
        !(padded || beyond || missing || times_padded || times_missing)
    }

    fn remove_segment(&mut self, at: usize) -> Result<(), Error> {
        let segment = self.log.segments.remove(at);
        segment.rename_deleted(self.log.place())?;
        self.log.deleted.push((segment.base_offset, self.options.now_ms));
        self.log.flush.lock().expect("nobody else has it yet").names_changed = true;
        Ok(())
    }

    fn damaged(&self, at: usize, position: u64, damage: Damage) -> Error {
        let path = self.log.place().path(self.log.segments[at].base_offset, LOG);
        Error::Damaged { path, position, damage }
    }

    fn finish(mut self) -> Result<(Log, OpenReport), Error> {
        let options = self.options;
        let log = &mut self.log;
        let end = log.log_end;
        if end < options.recovery_point && options.damage == DamagePolicy::Refuse {
            // Ends at a batch, yet earlier than what had been synced: no torn write does that.
            let at = log.segments.len() - 1;
            let len = log.segments[at].size;
            let damage = Damage::Gap { from: end, to: options.recovery_point };
            return Err(self.damaged(at, len, damage));
        }
        let state = &log.flush;
        let mut flush = state.lock().expect("nobody else has it yet");
        flush.recovery_point =
            if options.shutdown == LastShutdown::Clean { end } else { flush.recovery_point.min(end) };
        drop(flush);
        while let Some(at) = log.snapshots.iter().position(|snapshot| *snapshot > end) {
            log.remove_snapshot(at)?;
        }
        log.log_start = options.log_start.max(log.segments[0].base_offset);
        // An epoch that begins at the log end was assigned and not written in yet: it stays.
        log.epochs_changed |= log.epochs.truncate_from_end(end + 1);
        if log.log_start > end {
            let start = log.log_start;
            log.truncate_fully_and_start_at(start, options.now_ms)?;
        }
        if log.log_start > Offset::ZERO {
            log.epochs_changed |= log.epochs.truncate_from_start(log.log_start);
        }
        log.save_epochs(Durability::Later)?;
        Ok((self.log, self.report))
    }
}

/// How to walk a segment.
#[derive(Clone, Copy)]
struct Walk {
    /// Make its indexes anew, from its start.
    rebuild: bool,
    /// It may hold what a crash tore: verify.
    dirty: bool,
    /// Batches from here on must be seen, for producers or epochs.
    from: Offset,
    /// Those from here on are replayed.
    snapshot: Offset,
}

/// A place from which on a segment cannot be read.
struct Cut {
    at: usize,
    position: u64,
    end: u64,
    expected: Offset,
    damage: Damage,
}

/// A closed segment this small may rightly have no index entry.
const MISSING_INDEX_TOLERATED: u64 = 2 << 20;

/// What a partition's directory holds.
#[derive(Debug, Default)]
struct Files {
    logs: BTreeMap<Offset, Stat>,
    indexes: BTreeMap<Offset, u64>,
    time_indexes: BTreeMap<Offset, u64>,
    snapshots: Vec<Offset>,
    deleted: Vec<Offset>,
}

impl Files {
    fn list(storage: &Storage, dir: &Path) -> Result<Self, Error> {
        let mut files = Self::default();
        for entry in storage.fs.list(dir).map_err(Error::io("list", dir))? {
            let path = dir.join(&entry.name);
            if entry.name.ends_with(TEMPORARY) || entry.name.ends_with(CLEANED) {
                // Whoever wrote it died before it counted.
                storage.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
                continue;
            }
            let Some((offset, suffix)) = names::parse(&entry.name) else { continue };
            match suffix {
                _ if suffix.ends_with(SWAP) => {
                    let why = "an unfinished compaction of Apache Kafka; start and stop Kafka on it once";
                    return Err(checkpoint::damaged(&path, why));
                }
                LOG => drop(files.logs.insert(offset, entry.stat)),
                INDEX => drop(files.indexes.insert(offset, entry.stat.len)),
                TIME_INDEX => drop(files.time_indexes.insert(offset, entry.stat.len)),
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

/// The newest snapshot at or below `end` that can be read.
fn newest_snapshot(log: &Log, end: Offset) -> Option<(Vec<ProducerEntry>, Offset)> {
    let usable = log.snapshots.iter().rev().filter(|offset| **offset <= end);
    for offset in usable {
        let path = names::file(&log.dir, *offset, SNAPSHOT);
        let read = || {
            let file = log.storage.fs.open(&path, crate::fs::Open::Existing)?;
            let len = file.len()? as usize;
            crate::fs::read_exact_at(&*file, 0, len)
        };
        match read().map(|bytes| snapshot::decode(&bytes)) {
            Ok(Some(entries)) => return Some((entries, *offset)),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "producer snapshot is damaged, taking an older one")
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "producer snapshot cannot be read"),
        }
    }
    None
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
        Ok(Some(text)) => match EpochCache::decode(&text) {
            Ok(epochs) => return Some(epochs),
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "leader epochs are gathered from the log")
            }
        },
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "leader epochs are gathered from the log"),
    }
    None
}
