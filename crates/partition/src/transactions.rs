//! Transactions that are open in a partition, by producer and by where they began.
//!
//! A function of the log, like everything here: a transaction opens with its first batch and ends with its
//! marker. The leader, its followers and recovery feed the same batches in and get the same answers, the entries
//! of `.txnindex` among them (catalogue row T11).

use std::collections::BTreeMap;

use milena_records::{Offset, ProducerId, TransactionResult};

/// A transaction whose marker is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Offset of its first record here.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// Its records are not for consumers that read committed.
    pub aborted: bool,
    /// Where the next transaction that was open then begins; behind the marker if there was none. Readers of the
    /// index who want nothing behind it need not look further (KIP-98).
    pub last_stable_offset: Offset,
}

/// The transactions of one partition that have no marker yet: at most one per producer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    by_producer: BTreeMap<i64, Offset>,
    by_offset: BTreeMap<Offset, i64>,
}

impl OpenTransactions {
    /// A transactional batch of `producer` begins at `offset`. Only the first one of a transaction matters.
    pub fn begin(&mut self, producer: ProducerId, offset: Offset) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.by_producer.entry(producer.0) {
            vacant.insert(offset);
            self.by_offset.insert(offset, producer.0);
        }
    }

    /// The marker of `producer` is at `offset`. `None` if no transaction of it is open: nothing ends then.
    pub fn complete(
        &mut self,
        producer: ProducerId,
        offset: Offset,
        result: TransactionResult,
    ) -> Option<CompletedTransaction> {
        let first_offset = self.by_producer.remove(&producer.0)?;
        self.by_offset.remove(&first_offset);
        Some(CompletedTransaction {
            producer_id: producer,
            first_offset,
            last_offset: offset,
            aborted: result == TransactionResult::Abort,
            last_stable_offset: self.first_offset().unwrap_or(offset + 1),
        })
    }

    /// Where the open transaction of `producer` begins.
    pub fn first_offset_of(&self, producer: ProducerId) -> Option<Offset> {
        self.by_producer.get(&producer.0).copied()
    }

    /// Where the oldest open transaction begins.
    pub fn first_offset(&self) -> Option<Offset> {
        self.by_offset.first_key_value().map(|(offset, _)| *offset)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.by_producer.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }
}
