//! One group's part of the log: its vote, its positions, and where each entry stands.

use super::record::Kind;
use bytes::Bytes;
use std::collections::VecDeque;

/// Term and index of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub term: u64,
    pub index: u64,
}

/// A vote as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredVote {
    pub term: u64,
    pub node: u64,
    pub committed: bool,
}

/// Where an entry stands, and its payload while it is worth keeping in memory.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub term: u64,
    pub segment: u32,
    pub position: u32,
    pub payload_len: u32,
    pub kind: Kind,
    pub payload: Option<Bytes>,
}

/// The live entries of a group: contiguous from `first`.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    pub vote: Option<StoredVote>,
    pub committed: Option<Position>,
    /// The commit index that is in the file; written along with the next entries.
    pub committed_recorded: Option<Position>,
    pub purged: Option<Position>,
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots at the front whose payload is no longer in memory.
    evicted: usize,
    cached_bytes: usize,
}

impl GroupLog {
    /// The last entry, or where the log was purged to.
    pub(crate) fn last(&self) -> Option<Position> {
        match self.slots.back() {
            Some(slot) => Some(Position { term: slot.term, index: self.end() - 1 }),
            None => self.purged,
        }
    }

    /// Index after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Index of the first live entry, or of the next one if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Number of live entries.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of an entry.
    pub(crate) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Oldest segment that still holds a live entry.
    pub(crate) fn oldest_segment(&self) -> Option<u32> {
        self.slots.front().map(|slot| slot.segment)
    }

    /// Takes the next entry. `Err` says why it cannot be the next one.
    pub(crate) fn push(&mut self, index: u64, slot: Slot) -> Result<(), String> {
        if self.slots.is_empty() {
            self.first = index;
        } else if index != self.end() {
            return Err(format!("entry {index} follows entry {}", self.end() - 1));
        }
        if let Some(last) = self.slots.back()
            && slot.term < last.term
        {
            return Err(format!("entry {index} of term {} follows term {}", slot.term, last.term));
        }
        match &slot.payload {
            Some(payload) => self.cached_bytes += payload.len(),
            None if self.evicted == self.slots.len() => self.evicted += 1,
            None => return Err(format!("entry {index} has no payload behind one that has")),
        }
        self.slots.push_back(slot);
        Ok(())
    }

    /// Drops the entries above `last`; all of them with `None`.
    pub(crate) fn truncate_after(&mut self, last: Option<u64>) {
        let end = last.map_or(0, |last| last + 1);
        let keep = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.slots.len() > keep {
            let slot = self.slots.pop_back().expect("longer than what is kept");
            self.cached_bytes -= slot.payload.map_or(0, |payload| payload.len());
        }
        self.evicted = self.evicted.min(self.slots.len());
    }

    /// Drops the entries up to and with `upto`.
    pub(crate) fn purge(&mut self, upto: Position) {
        while self.first <= upto.index
            && let Some(slot) = self.slots.pop_front()
        {
            self.first += 1;
            self.evicted = self.evicted.saturating_sub(1);
            self.cached_bytes -= slot.payload.map_or(0, |payload| payload.len());
        }
        if self.slots.is_empty() {
            self.first = upto.index + 1;
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// Forgets payloads from the oldest on, until at most `limit` bytes are left in memory or
    /// the first is reached that `written` says is not in the file yet.
    pub(crate) fn evict(&mut self, limit: usize, written: (u32, u64)) {
        while self.cached_bytes > limit
            && let Some(slot) = self.slots.get_mut(self.evicted)
            && (slot.segment, u64::from(slot.position)) < written
        {
            self.cached_bytes -= slot.payload.take().map_or(0, |payload| payload.len());
            self.evicted += 1;
        }
    }
}
