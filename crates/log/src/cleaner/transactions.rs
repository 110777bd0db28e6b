//! Transactions as the cleaner passes them: whose records are aborted, and which marker has nothing left to tell.
//!
//! A marker may go only when no batch of its transaction is left: a reader who still finds aborted records without
//! their marker would take them for committed, and who rebuilds producers would wait for the marker for ever
//! (catalogue row T9; KAFKA-8351, KAFKA-14055).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use milena_bugs::{Bug, is_on};
use milena_records::{BatchHeader, ControlRecord, Offset, TransactionResult};

use crate::aborted::AbortedTransaction;

/// The transactions around the batch at hand, in the order of offsets.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Aborted ones that have not begun yet, the next one last.
    ahead: Vec<AbortedTransaction>,
    /// Aborted ones that have begun, by producer, and whether a batch of theirs was seen.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers of which a batch of a committed transaction was seen.
    committed: HashSet<i64>,
    /// The aborted one whose marker was passed last, if a batch of it was seen.
    ended: Option<AbortedTransaction>,
}

impl Transactions {
    /// Before the first batch, which lies at `from` or behind; `aborted` in any order.
    ///
    /// Those whose markers lie before `from` are over. Their markers do not pass, so they would never end, and all that
    /// their producers commit later would count as aborted.
    pub fn new(aborted: &[AbortedTransaction], from: Offset) -> Self {
        let mut ahead: Vec<_> = aborted.iter().filter(|it| it.last_offset >= from).copied().collect();
        ahead.sort_unstable_by_key(|it| std::cmp::Reverse(it.first_offset));
        Self { ahead, ..Self::default() }
    }

    /// Passes a batch. Whether it can be discarded: data of an aborted transaction, or a marker of whose transaction
    /// no batch is left.
    pub fn discards(&mut self, header: &BatchHeader, body: &Bytes) -> bool {
        while let Some(next) = self.ahead.last().filter(|next| next.first_offset <= header.last_offset()) {
            self.aborted.insert(next.producer_id.0, (*next, false));
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
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(producer);
                false
            }
        }
    }

    /// The aborted transaction that the marker just passed has ended, if a batch of it was seen: for the index of the
    /// segment that the marker stays in.
    pub fn take_ended(&mut self) -> Option<AbortedTransaction> {
        self.ended.take()
    }

    fn passes_marker(&mut self, producer: i64, header: &BatchHeader, body: &Bytes) -> bool {
        let seen = match ControlRecord::of(header, body) {
            Some(ControlRecord::EndTransaction { result: TransactionResult::Abort, .. }) => {
                self.ended = self.aborted.remove(&producer).filter(|(_, seen)| *seen).map(|(ended, _)| ended);
                self.ended.is_some()
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
