//! From files to a log: which segments are walked, what in them is verified, what is cut and what refused.

use std::sync::Arc;

use milena_partition::OpenTransactions;
use milena_records::{BatchHeader, Offset};

use crate::aborted;
use crate::checkpoint::Durability;
use crate::entries::Entries;
use crate::error::{Damage, Error};
use crate::log::Log;
use crate::log_dir::LastShutdown;
use crate::names::{LOG, TXN_INDEX};
use crate::open::{DamagePolicy, Files, OpenOptions, OpenReport, TornTail};
use crate::replay::{ReplayEvent, newest_snapshot};
use crate::scan::{Found, Scanner};
use crate::segment::{Place, Segment, TimestampOffset};

/// A log on its way from files to memory.
pub(crate) struct Recovery<'a> {
    pub log: Log,
    pub options: &'a OpenOptions,
    pub report: OpenReport,
    /// The epochs are lost and must be gathered from all batches.
    pub all_headers: bool,
    /// Transactions without a marker, as far as the walk has come.
    pub transactions: OpenTransactions,
}

impl Recovery<'_> {
    /// Loads, walks, cuts.
    pub fn run(
        mut self,
        files: &Files,
        replay: &mut dyn FnMut(ReplayEvent<'_>),
    ) -> Result<(Log, OpenReport), Error> {
        self.load_segments(files)?;
        let aborted_are_right = self.load_aborted(files)?;
        // Behind the recovery point a power failure may have taken what a newer snapshot counts on.
        let trusted = match self.options.shutdown {
            LastShutdown::Unclean => self.options.recovery_point,
            _ => Offset(i64::MAX),
        };
        let snapshot = newest_snapshot(&self.log, trusted).filter(|_| aborted_are_right);
        let offset = snapshot.as_ref().map_or(Offset::ZERO, |(_, offset)| *offset);
        if let Some((entries, offset)) = &snapshot {
            for open in entries.iter().filter(|entry| entry.current_transaction_first_offset >= Offset::ZERO)
            {
                self.transactions.begin(open.producer_id, open.current_transaction_first_offset);
            }
            replay(ReplayEvent::Snapshot(entries, *offset));
        }
        self.forget_aborted(offset)?;
        self.walk_all(offset, replay)?;
        let (log, report) = self.finish()?;
        if offset > log.log_end() {
            // What the snapshot told was cut off.
            replay(ReplayEvent::Snapshot(&[], Offset::ZERO));
            log.replay(replay)?;
        }
        Ok((log, report))
    }

    /// Loads the indexes of aborted transactions. Returns whether they can be right as far as a snapshot goes.
    fn load_aborted(&mut self, files: &Files) -> Result<bool, Error> {
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        let mut right = true;
        for at in 0..self.log.segments.len() {
            let end = self.log.segments.get(at + 1).map_or(Offset(i64::MAX), |next| next.base_offset);
            let segment = &mut self.log.segments[at];
            let base = segment.base_offset;
            let Some(len) = files.aborted.get(&base).filter(|len| **len > 0) else { continue };
            let loaded = segment.aborted_file(place).and_then(|file| aborted::load(&*file, *len, base, end));
            let path = place.path(base, TXN_INDEX);
            let (entries, whole) = loaded.map_err(Error::io("open", &path))?;
            segment.aborted = entries;
            if !whole && self.options.shutdown != LastShutdown::Unclean {
                tracing::warn!(path = %path.display(), "aborted transactions are gathered from the log");
                right = false;
            }
        }
        Ok(right)
    }

    /// Aborted transactions whose markers the walk will come by are derived from them.
    fn forget_aborted(&mut self, from: Offset) -> Result<(), Error> {
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        self.log.segments.iter_mut().try_for_each(|segment| segment.truncate_aborted(place, from))
    }

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
                segment.newest =
                    TimestampOffset { timestamp: last.timestamp, offset: *base + i64::from(last.relative) };
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
            if base > expected && self.lost_before(at) {
                expected = self.without_lost(at, expected)?;
                break;
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
                        let control = aborted::read_control(&*file, &header, position)
                            .map_err(Error::io("read", &path))?;
                        segment.learn_transaction(&header, control, &mut self.transactions);
                        ReplayEvent::of(&header, control).into_iter().for_each(&mut *replay);
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
        segment.write_aborted(place)?;
        if (rebuild || dirty) && !is_last {
            segment.seal(place)?;
            self.log.flush.lock().expect("nobody else has it yet").sealed.push(segment.base_offset);
        } else if segment.has_due_entries() {
            segment.write_entries(place)?;
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
        self.log.sync_segments_before(cut.at)?;
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

    /// Whether the batches missing before segment `at` were lost with the power: a segment begins where the one before
    /// it ends, and compaction, which leaves gaps, keeps to what the recovery point's checkpoint covers. So the name of a
    /// segment proves nothing of what lay before it.
    fn lost_before(&self, at: usize) -> bool {
        // Kafka's cleaner heeds no recovery point; the checkpoint that says how far it got follows at once.
        let whole_from = self.options.recovery_point.max(self.options.cleaned_to);
        let is_unclean = self.options.shutdown == LastShutdown::Unclean;
        at > 0 && is_unclean && self.log.segments[at].base_offset > whole_from
    }

    /// Ends the log at `end`, where batches are missing before segment `at`. Those that follow are never cut off
    /// unasked.
    fn without_lost(&mut self, at: usize, end: Offset) -> Result<Offset, Error> {
        let later = &self.log.segments[at..];
        let (bytes, base) = (later.iter().map(|segment| segment.size).sum(), later[0].base_offset);
        let damage = Damage::Gap { from: end, to: base };
        if bytes > 0 && self.options.damage == DamagePolicy::Refuse {
            return Err(self.damaged(at, 0, damage));
        }
        while self.log.segments.len() > at {
            self.remove_segment(self.log.segments.len() - 1)?;
        }
        let (storage, dir) = (Arc::clone(&self.log.storage), self.log.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        let segment = &mut self.log.segments[at - 1];
        let (path, position) = (place.path(segment.base_offset, LOG), segment.size);
        segment.rescan(place, position, self.log.config.index_interval_bytes)?;
        self.report.torn_tail = Some(TornTail { path, position, bytes, damage, log_end: end });
        Ok(end)
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
        log.restore_cleaned_to(options.cleaned_to);
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
