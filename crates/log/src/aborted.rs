//! `.txnindex`: the aborted transactions of a segment, by the offsets of their markers, in Kafka's format.
//!
//! Entries are 34 bytes, written when a marker is appended, on leaders and followers alike, and found again by binary
//! search. A segment without an aborted transaction has no such file. Opening never trusts what lies behind
//! the newest producer snapshot: those entries are derived from the log once more.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use milena_partition::CompletedTransaction;
use milena_records::{BatchHeader, ControlRecord, Offset, ProducerId};

use crate::entries::{Entries, Entry};
use crate::error::Error;
use crate::fs::{File, read_exact_at, read_up_to};
use crate::log::Log;
use crate::names::TXN_INDEX;

/// An aborted transaction, as consumers that read committed are told of it (FE-7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// Every transaction whose marker lies behind this one began here or later.
    pub last_stable_offset: Offset,
}

impl From<&CompletedTransaction> for AbortedTransaction {
    fn from(completed: &CompletedTransaction) -> Self {
        Self {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: completed.last_stable_offset,
        }
    }
}

/// Version of an entry, its first two bytes.
const VERSION: i16 = 0;

impl Entry for AbortedTransaction {
    const SIZE: usize = 2 + 4 * 8;

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&VERSION.to_be_bytes());
        for number in [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0]
        {
            into.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Self {
        let (version, numbers) = bytes.split_at(2);
        let number = |at: usize| {
            let bytes = numbers[at * 8..][..8].try_into().expect("an entry has four numbers");
            i64::from_be_bytes(bytes)
        };
        // A version that is not known makes an entry that cannot be right, so that the index is made anew.
        let known = version == VERSION.to_be_bytes();
        Self {
            producer_id: ProducerId(if known { number(0) } else { -1 }),
            first_offset: Offset(number(1)),
            last_offset: Offset(number(2)),
            last_stable_offset: Offset(number(3)),
        }
    }
}

impl AbortedTransaction {
    /// Whether it can be the last entry of a segment that holds offsets from `base` to `end`.
    pub(crate) fn looks_right(&self, base: Offset, end: Offset) -> bool {
        self.producer_id.is_some()
            && (base..end).contains(&self.last_offset)
            && (Offset::ZERO..self.last_offset).contains(&self.first_offset)
            && self.last_stable_offset > self.first_offset
    }
}

/// The index of one segment, to be searched without the log at hand.
#[derive(Debug)]
pub struct AbortedIndex {
    file: Arc<dyn File>,
    path: PathBuf,
    written: usize,
    pending: Vec<AbortedTransaction>,
    /// Markers before this offset have been looked at. The log may grow between two steps of a search, and the same
    /// index is then asked again.
    from: Offset,
    /// Where the segment behind it begins; the log end if there is none.
    next: Offset,
}

impl AbortedIndex {
    /// Aborted transactions that overlap `from..to`, by the offsets of their markers. `index_at` is
    /// [`Log::aborted_index`]; the log need not be held from one call to the next.
    ///
    /// None is told twice: readers take each entry for a transaction of its own, and what is told twice outlives its
    /// marker with some of them, and hides what its producer commits next.
    pub fn search<E: From<Error>>(
        from: Offset,
        to: Offset,
        mut index_at: impl FnMut(Offset) -> Result<Option<Self>, E>,
    ) -> Result<Vec<AbortedTransaction>, E> {
        let (mut found, mut at) = (Vec::new(), Some(from));
        while let Some(next) = at {
            at = match index_at(next)? {
                Some(index) => index.collect(to, &mut found)?,
                None => None,
            };
        }
        Ok(found)
    }

    /// Adds the transactions to `found` that begin before `to` and whose markers lie where the search stands or behind.
    /// Returns where to look on, if later markers may end further ones.
    fn collect(&self, to: Offset, found: &mut Vec<AbortedTransaction>) -> Result<Option<Offset>, Error> {
        let mut visit = |entry: &AbortedTransaction| {
            if entry.last_offset >= self.from && entry.first_offset < to {
                found.push(*entry);
            }
            entry.last_stable_offset >= to
        };
        let size = AbortedTransaction::SIZE;
        let mut search = || -> io::Result<bool> {
            let mut at = self.first_behind(self.from)?;
            while at < self.written {
                let (count, mut bytes) = ((self.written - at).min(BLOCK), Vec::new());
                read_up_to(&*self.file, &mut bytes, (at * size) as u64, count * size)?;
                if bytes.len() < count * size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if bytes.chunks_exact(size).map(AbortedTransaction::decode).any(|entry| visit(&entry)) {
                    return Ok(true);
                }
                at += count;
            }
            Ok(self.pending.iter().any(&mut visit))
        };
        let complete = search().map_err(Error::io("look up in", &self.path))?;
        Ok((!complete).then_some(self.next))
    }

    /// Number of the first written entry whose marker is at or behind `from`.
    fn first_behind(&self, from: Offset) -> io::Result<usize> {
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            let size = AbortedTransaction::SIZE;
            let bytes = read_exact_at(&*self.file, (middle * size) as u64, size)?;
            if AbortedTransaction::decode(&bytes).last_offset < from {
                low = middle + 1
            } else {
                high = middle
            }
        }
        Ok(low)
    }
}

/// Entries read at once.
const BLOCK: usize = 128;

impl Log {
    /// Adds aborted transactions whose markers have been appended to the index of their segments, and writes it. What
    /// cannot be written is remembered, found all the same, and tried again: the markers are in the log.
    pub fn note_aborted(&mut self, aborted: AbortedTransaction) -> Result<(), Error> {
        let at = self.segment_of(aborted.last_offset);
        let (storage, dir) = (Arc::clone(&self.storage), self.dir.clone());
        let place = crate::segment::Place { storage: &storage, dir: &dir };
        let segment = &mut self.segments[at];
        let is_first = segment.aborted.len() == 0;
        segment.aborted.push(aborted);
        let written = segment.write_aborted(place);
        if is_first {
            self.flush.lock().expect("no panic while the lock is held").names_changed = true;
        }
        written
    }

    /// Writes entries that could not be written when their markers were appended: nothing may count as durable without
    /// them.
    pub(crate) fn write_aborted(&mut self) -> Result<(), Error> {
        let (storage, dir) = (Arc::clone(&self.storage), self.dir.clone());
        let place = crate::segment::Place { storage: &storage, dir: &dir };
        self.segments.iter_mut().try_for_each(|segment| segment.write_aborted(place))
    }

    /// Whether any transaction with a marker at or behind `from` was aborted; cheap.
    pub fn has_aborted(&self, from: Offset) -> bool {
        self.segments[self.segment_of(from)..].iter().any(|segment| segment.aborted.len() > 0)
    }

    /// One step of an [`AbortedIndex::search`] for transactions whose markers lie at `from` or behind: the first index with entries,
    /// of the segment of `from` or a later one.
    pub fn aborted_index(&self, from: Offset) -> Result<Option<AbortedIndex>, Error> {
        if from >= self.log_end {
            return Ok(None);
        }
        let first = self.segment_of(from);
        let found = (first..self.segments.len()).find(|at| self.segments[*at].aborted.len() > 0);
        let Some(at) = found else { return Ok(None) };
        let (segment, place) = (&self.segments[at], self.place());
        let path = place.path(segment.base_offset, TXN_INDEX);
        let file = segment.aborted_file(place).map_err(Error::io("open", &path))?;
        let (written, pending) = segment.aborted.parts();
        let (pending, next) = (pending.to_vec(), self.segment_end(at));
        Ok(Some(AbortedIndex { file, path, written, pending, from, next }))
    }

    /// Aborted transactions that overlap `from..to`, by the offsets of their markers.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, Error> {
        AbortedIndex::search(from, to, |next| self.aborted_index(next))
    }
}

/// The first `count` entries of an index.
pub(crate) fn read_all(file: &dyn File, count: usize) -> io::Result<Vec<AbortedTransaction>> {
    let bytes = read_exact_at(file, 0, count * AbortedTransaction::SIZE)?;
    Ok(bytes.chunks_exact(AbortedTransaction::SIZE).map(AbortedTransaction::decode).collect())
}

/// Reads what a control batch says that begins at `position`; `None` for data, and for what cannot be read.
pub(crate) fn read_control(
    file: &dyn File,
    header: &BatchHeader,
    position: u64,
) -> io::Result<Option<ControlRecord>> {
    let body = header.total_size() - BatchHeader::SIZE;
    if !header.is_control() || body > LARGEST_CONTROL_BATCH {
        return Ok(None);
    }
    let bytes = read_exact_at(file, position + BatchHeader::SIZE as u64, body)?;
    Ok(ControlRecord::of(header, &bytes.into()))
}

/// Bytes of records beyond which a control batch is none that a broker wrote.
const LARGEST_CONTROL_BATCH: usize = 64 << 10;

/// The index of a segment that holds offsets from `base` to `end`, `len` bytes long, and whether that is all of it: a
/// power failure can leave garbage behind what was synced.
pub(crate) fn load(
    file: &dyn File,
    len: u64,
    base: Offset,
    end: Offset,
) -> io::Result<(Entries<AbortedTransaction>, bool)> {
    let mut entries: Entries<AbortedTransaction> = Entries::open(file, len)?;
    if entries.last().is_none_or(|last| last.looks_right(base, end)) {
        return Ok((entries, true));
    }
    let mut right = 0;
    while right < entries.len() && entries.get(file, right)?.looks_right(base, end) {
        right += 1;
    }
    entries.truncate(file, right)?;
    Ok((entries, false))
}
