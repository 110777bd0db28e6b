//! A file of fixed-size entries that only grows: the common part of `.index`, `.timeindex` and `.txnindex`.
//!
//! The newest entries are kept in memory until [`PENDING_ENTRIES`] have gathered, so that small appends
//! do not pay two more writes each. Losing them costs nothing: opening after a crash derives them from the
//! log again. Nothing else is kept in memory: a look-up is a binary search by positioned reads.

use std::io::{self, IoSlice};

use crate::fs::{File, read_exact_at, read_up_to, write_all_at};

/// Entries gathered before they are written.
pub(crate) const PENDING_ENTRIES: usize = 32;

/// One entry of a file.
pub(crate) trait Entry: Copy {
    /// Bytes of an entry.
    const SIZE: usize;
    /// Appends the entry's bytes.
    fn encode(self, into: &mut Vec<u8>);
    /// Reads an entry from exactly [`Entry::SIZE`] bytes.
    fn decode(bytes: &[u8]) -> Self;
}

/// Entry of `.index`: a batch begins at `position` whose last offset is the segment's base plus `relative`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub relative: u32,
    pub position: u32,
}

impl Entry for IndexEntry {
    const SIZE: usize = 8;

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let (relative, position) = bytes.split_at(4);
        Self { relative: big_endian(relative), position: big_endian(position) }
    }
}

/// Entry of `.timeindex`: up to the batch that ends at `relative`, no record is newer than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative: u32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let (timestamp, relative) = bytes.split_at(8);
        let timestamp = i64::from_be_bytes(timestamp.try_into().expect("split at eight bytes"));
        Self { timestamp, relative: big_endian(relative) }
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("an entry has four bytes here"))
}

/// The entries: some in the file, the newest in memory.
#[derive(Debug)]
pub(crate) struct Entries<E> {
    written: usize,
    pending: Vec<E>,
    last: Option<E>,
}

impl<E: Entry> Entries<E> {
    /// No entries; the file is empty.
    pub fn new() -> Self {
        Self { written: 0, pending: Vec::new(), last: None }
    }

    /// The entries of an existing file of `len` bytes; what follows the last whole entry is ignored.
    pub fn open(file: &dyn File, len: u64) -> io::Result<Self> {
        let written = len as usize / E::SIZE;
        let mut entries = Self { written, pending: Vec::new(), last: None };
        if written > 0 {
            entries.last = Some(entries.get(file, written - 1)?);
        }
        Ok(entries)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.written + self.pending.len()
    }

    /// The newest entry.
    pub fn last(&self) -> Option<E> {
        self.last
    }

    /// How many entries are in the file, and those that are not yet.
    pub fn parts(&self) -> (usize, &[E]) {
        (self.written, &self.pending)
    }

    /// Whether so many entries wait that they should be written.
    pub fn is_due(&self) -> bool {
        self.pending.len() >= PENDING_ENTRIES
    }

    /// Whether any entry waits to be written.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Adds an entry in memory.
    pub fn push(&mut self, entry: E) {
        self.pending.push(entry);
        self.last = Some(entry);
    }

    /// Writes what waits. On an error it waits on.
    pub fn write_pending(&mut self, file: &dyn File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.pending.len() * E::SIZE);
        for entry in &self.pending {
            entry.encode(&mut bytes);
        }
        write_all_at(file, &mut [IoSlice::new(&bytes)], (self.written * E::SIZE) as u64)?;
        self.written += self.pending.len();
        self.pending = Vec::new();
        Ok(())
    }

    /// Entry number `at`.
    pub fn get(&self, file: &dyn File, at: usize) -> io::Result<E> {
        match at.checked_sub(self.written) {
            Some(at) => Ok(self.pending[at]),
            None => read_exact_at(file, (at * E::SIZE) as u64, E::SIZE).map(|bytes| E::decode(&bytes)),
        }
    }

    /// Number of leading entries for which `holds` is true; it must not become true again after it was false.
    pub fn partition_point(&self, file: &dyn File, holds: impl Fn(&E) -> bool) -> io::Result<usize> {
        let pending = self.pending.partition_point(&holds);
        if pending > 0 {
            return Ok(self.written + pending);
        }
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            if holds(&self.get(file, middle)?) { low = middle + 1 } else { high = middle }
        }
        let mut bytes = Vec::new();
        read_up_to(file, &mut bytes, (low * E::SIZE) as u64, (high - low) * E::SIZE)?;
        let block: Vec<E> = bytes.chunks_exact(E::SIZE).map(E::decode).collect();
        Ok(low + block.partition_point(holds))
    }

    /// Keeps the first `len` entries.
    pub fn truncate(&mut self, file: &dyn File, len: usize) -> io::Result<()> {
        if len >= self.len() {
            return Ok(());
        }
        if len < self.written {
            file.set_len((len * E::SIZE) as u64)?;
            self.written = len;
        }
        self.pending.truncate(len - self.written);
        self.last = if len == 0 { None } else { Some(self.get(file, len - 1)?) };
        Ok(())
    }
}

/// Entries below which reading them all costs less than another step of the search.
const BLOCK: usize = 256;
