//! Who may begin a transaction in a partition: the leader asks the coordinator first (KIP-890).
//!
//! Otherwise a batch that was long on its way would open a transaction after the coordinator has ended it, and nobody would
//! ever end it again (catalogue row T2). A [`Guard`] stands for one question. A marker, or another leader epoch, takes
//! it back, so that an answer about the transaction before does not let a batch into the next one (T3). A marker of the
//! transaction before does not: where each transaction has an epoch of its own, the two are told apart.

use milena_bugs::{Bug, is_on};
use milena_records::{BatchHeader, Offset, ProducerEpoch, ProducerId};

use crate::markers::Marker;
use crate::producers::{Producers, SequenceRefusal};

/// A question to the coordinator that is still worth its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Questions count from 1.
    id: u64,
    /// The producer takes a new epoch for each transaction, and begins with sequence 0 in each partition.
    begins_at_zero: bool,
}

impl Guard {
    /// For batches that nobody asks about: `transaction.partition.verification.enable=false`.
    pub const WAIVED: Self = Self { id: 0, begins_at_zero: false };
}

/// A question under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verification {
    epoch: ProducerEpoch,
    id: u64,
    begins_at_zero: bool,
    pub(crate) asked_at_ms: i64,
}

/// Questions per partition; beyond them the oldest is given up.
const QUESTIONS_KEPT: usize = 10_000;

impl Producers {
    /// Whether the coordinator must be asked before `batch` may be appended, and the guard to append it with then.
    /// Nothing is asked for batches outside of transactions, repeats, and transactions that are open here.
    pub fn verify(&mut self, batch: &BatchHeader, begins_at_zero: bool, now_ms: i64) -> Option<Guard> {
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        let is_settled = !batch.is_transactional()
            || !id.is_some()
            || self.is_open(id, epoch)
            || self.by_id.get(&id.0).is_some_and(|known| epoch < known.epoch)
            || self.repeated(batch).is_some();
        if is_settled {
            return None;
        }
        if let Some(asked) = self.verifications.get_mut(&id.0).filter(|asked| asked.epoch == epoch) {
            asked.asked_at_ms = now_ms;
            asked.begins_at_zero &= begins_at_zero;
            return Some(Guard { id: asked.id, begins_at_zero });
        }
        if self.verifications.len() >= QUESTIONS_KEPT {
            let oldest = self.verifications.iter().min_by_key(|(_, asked)| asked.id).map(|(id, _)| *id);
            oldest.map(|oldest| self.verifications.remove(&oldest));
        }
        self.questions += 1;
        let asked = Verification { epoch, id: self.questions, begins_at_zero, asked_at_ms: now_ms };
        self.verifications.insert(id.0, asked);
        Some(Guard { id: asked.id, begins_at_zero })
    }

    /// Whether a batch that [`Producers::check`] accepts may be appended as far as transactions go: `guard` is the one
    /// that its question had, if the coordinator said yes.
    pub fn check_transaction(
        &self,
        batch: &BatchHeader,
        guard: Option<Guard>,
    ) -> Result<(), SequenceRefusal> {
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        if !batch.is_transactional() || self.is_open(id, epoch) || is_on(Bug::T2) {
            return Ok(());
        }
        let Some(guard) = guard else { return Err(SequenceRefusal::NotVerified { producer_id: id.0 }) };
        if guard == Guard::WAIVED {
            return Ok(());
        }
        let asked = self.verifications.get(&id.0).filter(|asked| asked.epoch == epoch);
        if asked.is_none_or(|asked| asked.id != guard.id) && !is_on(Bug::T3) {
            return Err(SequenceRefusal::Outdated { producer_id: id.0 });
        }
        if guard.begins_at_zero && batch.base_sequence != 0 && !self.by_id.contains_key(&id.0) {
            let got = batch.base_sequence;
            return Err(SequenceRefusal::OutOfOrder { producer_id: id.0, expected_after: -1, got });
        }
        Ok(())
    }

    /// A marker of this epoch is in the log. The answer to a producer that takes a new epoch for each transaction is about the
    /// one that begins with the marker's epoch, not about the one that the marker ended: the marker of the
    /// transaction before often comes while the next one is asked about.
    pub(crate) fn take_back_up_to(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        let survives =
            |asked: &Verification| asked.epoch > epoch || asked.epoch == epoch && asked.begins_at_zero;
        if self.verifications.get(&id.0).is_some_and(|asked| !survives(asked)) {
            self.verifications.remove(&id.0);
        }
    }

    /// The leader has written `marker`. Before `transaction.version` 2 it carries the epoch of the transaction that it ended,
    /// whatever protocol the producer's batches spoke.
    pub fn marker_written(&mut self, marker: &Marker) {
        let id = marker.producer_id.0;
        let ended = |asked: &Verification| asked.epoch <= marker.producer_epoch;
        if marker.transaction_version < 2 && self.verifications.get(&id).is_some_and(ended) {
            self.verifications.remove(&id);
        }
    }

    /// Another leader epoch has begun: answers that are on their way no longer count, nor does what ended in the epoch
    /// before.
    pub fn forget_verifications(&mut self) {
        self.verifications.clear();
        self.ended.clear();
    }

    /// Whether a transaction of this very epoch is open here.
    fn is_open(&self, id: ProducerId, epoch: ProducerEpoch) -> bool {
        self.open_since(id).is_some() && self.by_id.get(&id.0).is_some_and(|known| known.epoch == epoch)
    }

    /// Where the open transaction of a producer begins.
    pub(crate) fn open_since(&self, id: ProducerId) -> Option<Offset> {
        self.open.first_offset_of(id)
    }
}
