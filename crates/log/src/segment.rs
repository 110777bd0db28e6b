//! One segment: a `.log` file of batches, its two sparse indexes and its aborted transactions, and what is kept of them in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_partition::OpenTransactions;
use milena_records::{BatchHeader, ControlRecord, Offset};

use crate::aborted::AbortedTransaction;
use crate::cache::FileKey;
use crate::config::LogConfig;
use crate::entries::{Entries, Entry, IndexEntry, TimeEntry};
use crate::error::Error;
use crate::fs::{File, Open, read_exact_at};
use crate::names::{self, DELETED, INDEX, LOG, TIME_INDEX, TXN_INDEX};
use crate::scan::Batches;
use crate::storage::Storage;

/// A record time and the offset it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// The offset, -1 for none.
    pub offset: Offset,
}

impl TimestampOffset {
    /// No record has a time.
    pub const NONE: Self = Self { timestamp: -1, offset: Offset::NONE };
}

/// Where a log's files are: its directory, and the storage that opens them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub storage: &'a Storage,
    pub dir: &'a Path,
}

impl Place<'_> {
    pub fn path(&self, offset: Offset, suffix: &str) -> PathBuf {
        names::file(self.dir, offset, suffix)
    }
}

/// What an append needs to know of a batch to place and index it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchExtent {
    pub last_offset: Offset,
    pub max_timestamp: i64,
    pub size: u64,
}

impl From<&BatchHeader> for BatchExtent {
    fn from(header: &BatchHeader) -> Self {
        Self {
            last_offset: header.last_offset(),
            // What compaction emptied keeps the time of records that are gone: no record is found by it.
            max_timestamp: if header.record_count > 0 { header.max_timestamp } else { -1 },
            size: header.total_size() as u64,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    /// Least offset it may hold, and its file name.
    pub base_offset: Offset,
    /// Bytes of whole batches in `.log`.
    pub size: u64,
    /// When it was created or opened; rolling goes by this where batches carry no time.
    pub created_ms: i64,
    /// When it was last appended to; retention goes by this where batches carry no time.
    pub modified_ms: i64,
    /// Max timestamp of its first batch, if it has one.
    pub first_timestamp: Option<i64>,
    /// Largest max timestamp of its batches, and the last offset of the first batch that has it.
    pub newest: TimestampOffset,
    pub index: Entries<IndexEntry>,
    pub times: Entries<TimeEntry>,
    /// Aborted transactions whose markers are here; without any there is no file.
    pub aborted: Entries<AbortedTransaction>,
    since_index_entry: u64,
    log_key: FileKey,
    index_key: FileKey,
    time_key: FileKey,
    aborted_key: FileKey,
}

impl Segment {
    /// An empty segment with its files; leftovers of the same name are emptied.
    pub fn create(place: Place<'_>, base_offset: Offset, now_ms: i64) -> Result<Self, Error> {
        let segment = Self::new(place, base_offset, now_ms);
        for (_, suffix) in segment.keys() {
            let path = place.path(base_offset, suffix);
            if suffix == TXN_INDEX {
                remove_if_there(place, &path)?;
                continue;
            }
            // Not through the cache: most of many new partitions stay idle for a while.
            place.storage.fs.open(&path, Open::Truncate).map_err(Error::io("create", &path))?;
        }
        Ok(segment)
    }

    /// An empty segment in memory.
    pub fn new(place: Place<'_>, base_offset: Offset, now_ms: i64) -> Self {
        let files = &place.storage.files;
        Self {
            base_offset,
            size: 0,
            created_ms: now_ms,
            modified_ms: now_ms,
            first_timestamp: None,
            newest: TimestampOffset::NONE,
            index: Entries::new(),
            times: Entries::new(),
            aborted: Entries::new(),
            since_index_entry: 0,
            log_key: files.new_key(),
            index_key: files.new_key(),
            time_key: files.new_key(),
            aborted_key: files.new_key(),
        }
    }

    /// Largest record time that retention goes by.
    pub fn largest_timestamp(&self) -> i64 {
        if self.newest.timestamp >= 0 { self.newest.timestamp } else { self.modified_ms }
    }

    /// Notes a batch that has been written at the end of the segment.
    pub fn note(&mut self, batch: BatchExtent, index_interval: u32) {
        if self.size == 0 {
            self.first_timestamp = Some(batch.max_timestamp).filter(|time| *time >= 0);
        }
        if batch.max_timestamp > self.newest.timestamp {
            self.newest = TimestampOffset { timestamp: batch.max_timestamp, offset: batch.last_offset };
        }
        if self.since_index_entry > u64::from(index_interval) {
            self.index
                .push(IndexEntry { relative: self.relative(batch.last_offset), position: self.size as u32 });
            self.push_time();
            self.since_index_entry = 0;
        }
        self.since_index_entry += batch.size;
        self.size += batch.size;
    }

    /// The position of the last indexed batch; what follows it must be walked to know the segment's end.
    pub fn last_indexed(&self) -> u64 {
        self.index.last().map_or(0, |entry| u64::from(entry.position))
    }

    /// Whether the last index entry points to the batch that it says it does.
    pub fn last_entry_matches(&self, log: &dyn File) -> bool {
        let Some(last) = self.index.last() else { return true };
        let header = read_exact_at(log, u64::from(last.position), BatchHeader::SIZE).ok();
        let header = header.and_then(|bytes| BatchHeader::parse(&bytes).ok());
        header.is_some_and(|header| header.last_offset() == self.absolute(last.relative))
    }

    /// Takes size, end and times over from the index up to its last entry, to walk on from there.
    pub fn rewind_to_index(&mut self) {
        self.size = self.last_indexed();
        self.since_index_entry = 0;
        self.newest = self.times.last().map_or(TimestampOffset::NONE, |last| TimestampOffset {
            timestamp: last.timestamp,
            offset: self.absolute(last.relative),
        });
    }

    /// Learns size and times again from the last index entry on, up to byte `end`, which is known to be good.
    pub fn rescan(&mut self, place: Place<'_>, end: u64, index_interval: u32) -> Result<(), Error> {
        let batches = self.batches(place)?;
        self.rewind_to_index();
        let start = self.size;
        let noted = batches.find(start, end, |header, _| {
            self.note((&header).into(), index_interval);
            Ok(None)
        });
        noted.map(|_: Option<()>| ())
    }

    /// Learns the time of the first batch, which a walk that begins later does not see.
    pub fn load_first_timestamp(&mut self, place: Place<'_>) -> Result<(), Error> {
        if self.first_timestamp.is_none() && self.size >= BatchHeader::SIZE as u64 {
            let file = self.log_file(place)?;
            let bytes = read_exact_at(&*file, 0, BatchHeader::SIZE)
                .map_err(Error::io("read", &place.path(self.base_offset, LOG)))?;
            let first = BatchHeader::parse(&bytes).ok().map(|header| header.max_timestamp);
            self.first_timestamp = first.filter(|time| *time >= 0);
        }
        Ok(())
    }

    /// Byte from which a walk finds the first batch that ends at or behind `offset`.
    pub fn floor_position(&self, place: Place<'_>, offset: Offset) -> Result<u64, Error> {
        if self.index.len() == 0 {
            return Ok(0);
        }
        let target = self.relative(offset);
        let search = || {
            let file = self.index_file(place)?;
            let after = self.index.partition_point(&*file, |entry| entry.relative <= target)?;
            after.checked_sub(1).map(|at| self.index.get(&*file, at)).transpose()
        };
        let entry = search().map_err(Error::io("look up in", &place.path(self.base_offset, INDEX)))?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// Where the last indexed batch at or before byte `limit` begins.
    pub fn floor_of_byte(&self, place: Place<'_>, limit: u64) -> Result<u64, Error> {
        if self.index.len() == 0 {
            return Ok(0);
        }
        let search = || {
            let file = self.index_file(place)?;
            let after = self.index.partition_point(&*file, |entry| u64::from(entry.position) <= limit)?;
            after.checked_sub(1).map(|at| self.index.get(&*file, at)).transpose()
        };
        let entry = search().map_err(Error::io("look up in", &place.path(self.base_offset, INDEX)))?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    /// An offset before which no record is as new as `timestamp`, by the time index.
    pub fn floor_of_time(&self, place: Place<'_>, timestamp: i64) -> Result<Offset, Error> {
        if self.times.len() == 0 {
            return Ok(self.base_offset);
        }
        let search = || {
            let file = self.time_file(place)?;
            let after = self.times.partition_point(&*file, |entry| entry.timestamp <= timestamp)?;
            after.checked_sub(1).map(|at| self.times.get(&*file, at)).transpose()
        };
        let entry = search().map_err(Error::io("look up in", &place.path(self.base_offset, TIME_INDEX)))?;
        Ok(entry.map_or(self.base_offset, |entry| self.absolute(entry.relative)))
    }

    /// Whether enough index entries have gathered to be written.
    pub fn has_due_entries(&self) -> bool {
        self.index.is_due() || self.times.is_due()
    }

    /// Writes all index entries.
    pub fn write_entries(&mut self, place: Place<'_>) -> Result<(), Error> {
        let mut write = || {
            // Times first: after a crash the walk goes on from the last index entry, and relies on the time
            // index to know what lies before.
            if self.times.is_pending() {
                let file = self.time_file(place)?;
                self.times.write_pending(&*file)?;
            }
            if self.index.is_pending() {
                let file = self.index_file(place)?;
                self.index.write_pending(&*file)?;
            }
            Ok(())
        };
        write().map_err(Error::io("write the indexes of", &place.path(self.base_offset, LOG)))?;
        self.write_aborted(place)
    }

    /// Writes aborted transactions that are not in their file yet.
    pub fn write_aborted(&mut self, place: Place<'_>) -> Result<(), Error> {
        if !self.aborted.is_pending() {
            return Ok(());
        }
        let file = self.aborted_file(place);
        let written = file.and_then(|file| self.aborted.write_pending(&*file));
        written.map_err(Error::io("write", &place.path(self.base_offset, TXN_INDEX)))
    }

    /// Follows the transactions through a batch that a walk came by, and notes those that end here aborted.
    pub fn learn_transaction(
        &mut self,
        header: &BatchHeader,
        control: Option<ControlRecord>,
        transactions: &mut OpenTransactions,
    ) {
        if let Some(ControlRecord::EndTransaction { result, .. }) = control {
            let ended = transactions.complete(header.producer_id, header.last_offset(), result);
            if let Some(ended) = ended.filter(|ended| ended.aborted) {
                self.aborted.push((&ended).into());
            }
        } else if header.is_transactional() && !header.is_control() {
            transactions.begin(header.producer_id, header.base_offset);
        }
    }

    /// Drops aborted transactions whose markers are at or behind `end`.
    pub fn truncate_aborted(&mut self, place: Place<'_>, end: Offset) -> Result<(), Error> {
        if self.aborted.last().is_none_or(|last| last.last_offset < end) {
            return Ok(());
        }
        let mut cut = || {
            let file = self.aborted_file(place)?;
            let kept = self.aborted.partition_point(&*file, |entry| entry.last_offset < end)?;
            self.aborted.truncate(&*file, kept)
        };
        cut().map_err(Error::io("truncate", &place.path(self.base_offset, TXN_INDEX)))
    }

    /// No batch will follow: the newest time becomes the last entry of the time index, and all is written.
    /// Returns whether anything had to be.
    pub fn seal(&mut self, place: Place<'_>) -> Result<bool, Error> {
        self.push_time();
        let pending = self.index.is_pending() || self.times.is_pending();
        self.write_entries(place).map(|()| pending)
    }

    /// Forgets all index entries, on disk, too, so that a walk from the start finds them anew.
    pub fn reset(&mut self, place: Place<'_>) -> Result<(), Error> {
        self.size = 0;
        self.since_index_entry = 0;
        self.first_timestamp = None;
        self.newest = TimestampOffset::NONE;
        self.index = Entries::new();
        self.times = Entries::new();
        for (key, suffix) in [(self.index_key, INDEX), (self.time_key, TIME_INDEX)] {
            let path = place.path(self.base_offset, suffix);
            place.storage.files.remove(key);
            place.storage.fs.open(&path, Open::Truncate).map_err(Error::io("reset", &path))?;
        }
        Ok(())
    }

    /// Drops index entries of batches that end at or behind `end`.
    pub fn truncate_entries(&mut self, place: Place<'_>, end: Offset) -> Result<(), Error> {
        let target = self.relative(end);
        let mut cut = || {
            let file = self.index_file(place)?;
            let kept = self.index.partition_point(&*file, |entry| entry.relative < target)?;
            self.index.truncate(&*file, kept)?;
            let file = self.time_file(place)?;
            let kept = self.times.partition_point(&*file, |entry| entry.relative < target)?;
            self.times.truncate(&*file, kept)
        };
        cut().map_err(Error::io("truncate the indexes of", &place.path(self.base_offset, LOG)))?;
        self.truncate_aborted(place, end)
    }

    /// Closes what is open and renames the files, so that they can be unlinked later.
    pub fn rename_deleted(&self, place: Place<'_>) -> Result<(), Error> {
        self.forget(place.storage);
        for (_, suffix) in self.keys().into_iter().rev() {
            let from = place.path(self.base_offset, suffix);
            let to = place.path(self.base_offset, &format!("{suffix}.{DELETED}"));
            match place.storage.fs.rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("rename", &from)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reserves room for `bytes` of batches.
    pub fn reserve(&self, place: Place<'_>, bytes: u32) -> Result<(), Error> {
        let reserved = self.log_file(place)?.reserve(u64::from(bytes));
        reserved.map_err(Error::io("reserve room for", &place.path(self.base_offset, LOG)))
    }

    /// Gives back room that was reserved and is not needed.
    pub fn give_back(&self, place: Place<'_>) -> Result<(), Error> {
        let cut = self.log_file(place)?.set_len(self.size);
        cut.map_err(Error::io("cut", &place.path(self.base_offset, LOG)))
    }

    /// Closes what is open.
    pub fn forget(&self, storage: &Storage) {
        for (key, _) in self.keys() {
            storage.files.remove(key);
        }
    }

    /// The open `.log` file.
    pub fn log_file(&self, place: Place<'_>) -> Result<Arc<dyn File>, Error> {
        self.open(place, self.log_key, LOG).map_err(|error| {
            let path = place.path(self.base_offset, LOG);
            Error::Io { action: "open", path, offset: None, source: error }
        })
    }

    /// The open `.log` file, to be walked.
    pub fn batches(&self, place: Place<'_>) -> Result<Batches, Error> {
        let path = place.path(self.base_offset, LOG);
        Ok(Batches { file: self.log_file(place)?, path, base: self.base_offset })
    }

    /// The open `.index` file.
    pub fn index_file(&self, place: Place<'_>) -> io::Result<Arc<dyn File>> {
        self.open(place, self.index_key, INDEX)
    }

    /// The open `.timeindex` file.
    pub fn time_file(&self, place: Place<'_>) -> io::Result<Arc<dyn File>> {
        self.open(place, self.time_key, TIME_INDEX)
    }

    /// The open `.txnindex` file, created if there is none.
    pub fn aborted_file(&self, place: Place<'_>) -> io::Result<Arc<dyn File>> {
        self.open(place, self.aborted_key, TXN_INDEX)
    }

    fn open(&self, place: Place<'_>, key: FileKey, suffix: &str) -> io::Result<Arc<dyn File>> {
        place.storage.files.get(key, || {
            // Indexes may be missing; they are only hints. Batches are not.
            let how = if suffix == LOG { Open::Existing } else { Open::Create };
            place.storage.fs.open(&place.path(self.base_offset, suffix), how)
        })
    }

    /// Like [`Segment::seal`], but writes nothing.
    pub fn seal_in_memory(&mut self) {
        self.push_time();
    }

    /// Bytes of the offset index.
    pub fn index_bytes(&self) -> usize {
        self.index.len() * IndexEntry::SIZE
    }

    /// Bytes of the time index.
    pub fn time_index_bytes(&self) -> usize {
        self.times.len() * TimeEntry::SIZE
    }

    /// What no other segment has, for as long as this one lives.
    pub fn key(&self) -> FileKey {
        self.log_key
    }

    fn push_time(&mut self) {
        let last = self.times.last().map_or(-1, |last| last.timestamp);
        if self.newest.timestamp > last {
            let relative = self.relative(self.newest.offset);
            self.times.push(TimeEntry { timestamp: self.newest.timestamp, relative });
        }
    }

    /// Whether `offset` can be told from the base in an index.
    pub fn can_index(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset.0 - self.base_offset.0))
    }

    fn relative(&self, offset: Offset) -> u32 {
        (offset.0 - self.base_offset.0).clamp(0, i64::from(u32::MAX)) as u32
    }

    fn absolute(&self, relative: u32) -> Offset {
        self.base_offset + i64::from(relative)
    }

    fn keys(&self) -> [(FileKey, &'static str); 4] {
        [
            (self.log_key, LOG),
            (self.index_key, INDEX),
            (self.time_key, TIME_INDEX),
            (self.aborted_key, TXN_INDEX),
        ]
    }

    /// Whether the indexes have no room for another entry (DS-1).
    pub fn indexes_full(&self, config: &LogConfig) -> bool {
        let limit = config.segment_index_bytes as usize;
        self.index.len() >= limit / IndexEntry::SIZE || self.times.len() + 1 >= limit / TimeEntry::SIZE
    }
}

fn remove_if_there(place: Place<'_>, path: &Path) -> Result<(), Error> {
    match place.storage.fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
