//! Transactions as the cleaner passes them: whose records are aborted, and which marker has nothing left to tell.
//!
//! A marker may go only when no batch of its transaction is left: a reader who still finds aborted records without
//! their marker would take them for committed, and who rebuilds producers would wait for the marker for ever
//! (catalogue row T9; KAFKA-8351, KAFKA-14055).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use milena_bugs::{Bug, is_on};
use milena_records::{BatchHeader, BatchRecords, ControlRecord, Offset, TransactionResult};

/// An aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
}

/// The transactions around the batch at hand, in the order of offsets.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Aborted ones that have not begun yet, the next one last.
    ahead: Vec<AbortedTransaction>,
    /// Aborted ones that have begun, by producer, and whether a batch of theirs was seen.
    aborted: HashMap<i64, bool>,
    /// Producers of which a batch of a committed transaction was seen.
    committed: HashSet<i64>,
}

impl Transactions {
    /// Before the first batch; `aborted` in any order.
    pub fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut ahead = aborted.to_vec();
        ahead.sort_unstable_by_key(|it| std::cmp::Reverse(it.first_offset));
        Self { ahead, ..Self::default() }
    }

    /// Passes a batch. Whether it can be discarded: data of an aborted transaction, or a marker of whose transaction
    /// no batch is left.
    pub fn discards(&mut self, header: &BatchHeader, body: &Bytes) -> bool {
        while let Some(next) = self.ahead.last().filter(|next| next.first_offset <= header.last_offset()) {
            self.aborted.entry(next.producer_id).or_insert(false);
            self.ahead.pop();
        }
        let producer = header.producer_id.0;
        if header.is_control() {
            return self.passes_marker(producer, header, body);
        }
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&producer) {
            Some(seen) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(producer);
                false
            }
        }
    }

    fn passes_marker(&mut self, producer: i64, header: &BatchHeader, body: &Bytes) -> bool {
        let seen = match read_control(header, body) {
            Some(ControlRecord::EndTransaction { result: TransactionResult::Abort, .. }) => {
                self.aborted.remove(&producer).unwrap_or(false)
            }
            Some(ControlRecord::EndTransaction { result: TransactionResult::Commit, .. }) => {
                self.committed.remove(&producer)
            }
            Some(ControlRecord::Other(_)) => true,
            // Emptied before.
            None => false,
        };
        !seen || is_on(Bug::T9)
    }
}

/// The record of a control batch, if there is one.
fn read_control(header: &BatchHeader, body: &Bytes) -> Option<ControlRecord> {
    let records = BatchRecords::of(*header, body.clone(), 64 << 10).ok()?;
    let record = records.iter().next()?.ok()?;
    ControlRecord::parse(record.key, record.value)
}

/// Finds aborted transactions by their markers.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    open: HashMap<i64, Offset>,
    aborted: Vec<AbortedTransaction>,
}

impl Finder {
    /// Passes a batch, in the order of offsets.
    pub fn see(&mut self, header: &BatchHeader, batch: &Bytes) {
        let producer_id = header.producer_id.0;
        if header.is_control() {
            let first_offset = self.open.remove(&producer_id);
            let record = read_control(header, &batch.slice(BatchHeader::SIZE..));
            let is_abort = matches!(
                record,
                Some(ControlRecord::EndTransaction { result: TransactionResult::Abort, .. })
            );
            if let Some(first_offset) = first_offset.filter(|_| is_abort) {
                let last_offset = header.last_offset();
                self.aborted.push(AbortedTransaction { producer_id, first_offset, last_offset });
            }
        } else if header.is_transactional() {
            self.open.entry(producer_id).or_insert(header.base_offset);
        }
    }

    /// Whether a transaction that began before `offset` has no marker yet.
    pub fn is_any_open_before(&self, offset: Offset) -> bool {
        self.open.values().any(|first| *first < offset)
    }

    /// Those found, in the order of their markers.
    pub fn aborted(self) -> Vec<AbortedTransaction> {
        self.aborted
    }
}
