//! What a partition remembers of each idempotent producer, and what it accepts from it next.
//!
//! The state is a function of the log: the leader checks a batch against it before the append
//! ([`Producers::check`]) and everybody, leader or not, records what was appended ([`Producers::record`]).
//! A restart rebuilds it from the newest snapshot and the batches behind it. Rules: KIP-98, KIP-360;
//! test ids PR-14 to PR-18.

use std::collections::{BTreeMap, VecDeque};

use milena_bugs::{Bug, is_on};
use milena_records::{BatchHeader, Offset, ProducerEpoch, ProducerId};

use crate::transactions::OpenTransactions;
use crate::verification::Verification;

/// Batches kept per producer id: a client may have this many requests in flight, so each of them can
/// come again and must be answered with the offset of its first arrival (PR-14).
pub const BATCHES_KEPT: usize = 5;

/// Sequence numbers wrap from this value to zero.
const LAST_SEQUENCE: i32 = i32::MAX;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of the first record.
    pub first_sequence: i32,
    /// Sequence of the last record, inclusive.
    pub last_sequence: i32,
    /// Offset of the last record, inclusive.
    pub last_offset: Offset,
    /// Last offset minus base offset; never negative.
    pub offset_delta: i32,
    /// Largest timestamp of the batch, in milliseconds; answered again to a repeat on LogAppendTime topics.
    pub timestamp: i64,
}

impl BatchMetadata {
    fn of(batch: &BatchHeader) -> Self {
        Self {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        }
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }
}

/// A producer as Kafka's `.snapshot` file holds it: only its last batch, not the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record, -1 if none is known.
    pub last_sequence: i32,
    /// Offset of its last record, -1 if none is known.
    pub last_offset: Offset,
    /// Last offset minus base offset of its last batch.
    pub offset_delta: i32,
    /// Timestamp of its last batch, in milliseconds.
    pub timestamp: i64,
    /// Epoch of the transaction coordinator that wrote its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 if none.
    pub current_transaction_first_offset: Offset,
}

/// What to do with a batch that passed the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceVerdict {
    /// New: append it.
    Accept,
    /// Already in the log: do not append, answer with the remembered batch.
    Duplicate(BatchMetadata),
}

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceRefusal {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a gap, or a repeat from before the remembered window.
    #[error("producer {producer_id}: sequence {got} does not follow {expected_after}")]
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// Last sequence in the log, -1 at the start of an epoch.
        expected_after: i32,
        /// First sequence of the refused batch.
        got: i32,
    },
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of the producer has written.
    #[error("producer {producer_id}: epoch {got} is older than {current}")]
    FencedEpoch {
        /// The producer.
        producer_id: i64,
        /// Newest epoch known.
        current: i16,
        /// Epoch of the refused batch.
        got: i16,
    },
    /// INVALID_TXN_STATE: a batch outside a transaction while one of the same producer is open here (PR-20).
    #[error("producer {producer_id}: a transaction is open since offset {first_offset}")]
    TransactionOpen {
        /// The producer.
        producer_id: i64,
        /// First offset of the open transaction.
        first_offset: i64,
    },
    /// INVALID_TXN_STATE: nobody asked the coordinator whether there is a transaction here.
    #[error("producer {producer_id}: the batch is not part of an ongoing transaction")]
    NotVerified {
        /// The producer.
        producer_id: i64,
    },
    /// NOT_ENOUGH_REPLICAS, so that the batch is sent again and asked about again: since the coordinator was asked a
    /// marker came, or another leader epoch began.
    #[error("producer {producer_id}: the coordinator's answer is about an earlier transaction or leader")]
    Outdated {
        /// The producer.
        producer_id: i64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    batches: VecDeque<BatchMetadata>,
    pub(crate) timestamp: i64,
    pub(crate) coordinator_epoch: i32,
}

impl Producer {
    /// One of whom `batch` is the first thing known.
    pub(crate) fn new(batch: &BatchHeader) -> Self {
        Self {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            timestamp: batch.max_timestamp,
            coordinator_epoch: -1,
        }
    }

    /// Sequences begin anew with an epoch.
    pub(crate) fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    /// The remembered batch that `batch` repeats.
    fn repeated(&self, batch: &BatchHeader) -> Option<&BatchMetadata> {
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        self.batches.iter().find(|known| known.first_sequence == first && known.last_sequence == last)
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

/// All producers of one partition.
///
/// Bounded by time, not by number, as in Kafka: [`Producers::expire`] forgets the idle ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    pub(crate) by_id: BTreeMap<i64, Producer>,
    /// Transactions without a marker.
    pub(crate) open: OpenTransactions,
    /// Ended transactions whose marker may still be lost: their first offset, and their marker's.
    pub(crate) unreplicated: BTreeMap<Offset, Offset>,
    /// Questions to the coordinator about transactions that are not open here. Not part of the log.
    pub(crate) verifications: BTreeMap<i64, Verification>,
    /// By producer, the last transaction that ended here in this leader epoch. Not part of the log.
    pub(crate) ended: BTreeMap<i64, u64>,
    /// Questions so far: the name of the newest.
    pub(crate) questions: u64,
    /// First sequences of refused batches, of producers that have nothing in the log. Not part of the log.
    pub(crate) refused: BTreeMap<i64, Refused>,
}

/// The lowest sequence that an unknown producer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    epoch: ProducerEpoch,
    lowest: i32,
    at_ms: i64,
}

/// How long a refusal is remembered, and a question, in milliseconds: longer than a client retries a batch by default.
const REFUSAL_KEPT_MS: i64 = 300_000;

/// Refusals remembered per partition; further ones are not.
const REFUSALS_KEPT: usize = 1000;

impl Producers {
    /// Decides on a batch as the producer sent it. Changes nothing; batches without a producer id pass.
    pub fn check(&self, batch: &BatchHeader) -> Result<SequenceVerdict, SequenceRefusal> {
        let id = batch.producer_id.0;
        if id < 0 {
            return Ok(SequenceVerdict::Accept);
        }
        // No state: expired, or all its records were deleted. Any sequence is accepted (PR-16), but not one whose
        // predecessor was turned away a moment ago: that one comes again.
        let Some(producer) = self.by_id.get(&id) else {
            return match self.refused.get(&id).filter(|_| !is_on(Bug::P10)) {
                Some(it) if it.epoch == batch.producer_epoch && batch.base_sequence > it.lowest => {
                    Err(SequenceRefusal::OutOfOrder {
                        producer_id: id,
                        expected_after: it.lowest - 1,
                        got: batch.base_sequence,
                    })
                }
                _ => Ok(SequenceVerdict::Accept),
            };
        };
        if batch.producer_epoch < producer.epoch {
            return Err(SequenceRefusal::FencedEpoch {
                producer_id: id,
                current: producer.epoch.0,
                got: batch.producer_epoch.0,
            });
        }
        let first = batch.base_sequence;
        if batch.producer_epoch > producer.epoch {
            self.check_outside_transaction(batch)?;
            return if first == 0 {
                Ok(SequenceVerdict::Accept)
            } else {
                Err(SequenceRefusal::OutOfOrder { producer_id: id, expected_after: -1, got: first })
            };
        }
        if let Some(known) = producer.repeated(batch) {
            return Ok(SequenceVerdict::Duplicate(*known));
        }
        self.check_outside_transaction(batch)?;
        // -1, and thus 0 next, where a marker began the epoch.
        let expected_after = producer.last_sequence();
        if first == next_sequence(expected_after) {
            Ok(SequenceVerdict::Accept)
        } else {
            Err(SequenceRefusal::OutOfOrder { producer_id: id, expected_after, got: first })
        }
    }

    /// A batch outside of transactions must not come while one of its producer is open (PR-20).
    fn check_outside_transaction(&self, batch: &BatchHeader) -> Result<(), SequenceRefusal> {
        match self.open_since(batch.producer_id) {
            Some(open) if !batch.is_transactional() => Err(SequenceRefusal::TransactionOpen {
                producer_id: batch.producer_id.0,
                first_offset: open.0,
            }),
            _ => Ok(()),
        }
    }

    /// The remembered batch that `batch` repeats, in the same epoch.
    pub(crate) fn repeated(&self, batch: &BatchHeader) -> Option<&BatchMetadata> {
        let producer = self.by_id.get(&batch.producer_id.0)?;
        if producer.epoch == batch.producer_epoch { producer.repeated(batch) } else { None }
    }

    /// Remembers that a batch was turned away with an error that makes its client send it again, such as
    /// NOT_ENOUGH_REPLICAS. A later batch of the same producer, sent at the same time, must not take its place:
    /// Kafka would accept it as the first of an unknown producer, out of order (catalogue row P10).
    pub fn refused(&mut self, batch: &BatchHeader, now_ms: i64) {
        let id = batch.producer_id.0;
        if id < 0 || self.by_id.contains_key(&id) {
            return;
        }
        let new = Refused { epoch: batch.producer_epoch, lowest: batch.base_sequence, at_ms: now_ms };
        if let Some(known) = self.refused.get_mut(&id) {
            let is_lower = known.epoch == new.epoch && new.lowest < known.lowest;
            if new.epoch > known.epoch || is_lower { *known = new } else { known.at_ms = now_ms }
        } else if self.refused.len() < REFUSALS_KEPT {
            self.refused.insert(id, new);
        }
    }

    /// Remembers a batch of data that is in the log, its offsets stamped; markers go to [`Self::record_marker`]. Never
    /// refuses: what is in the log is true.
    pub fn record(&mut self, batch: &BatchHeader) {
        let id = batch.producer_id.0;
        if id < 0 || batch.is_control() {
            return;
        }
        self.refused.remove(&id);
        let producer = self.by_id.entry(id).or_insert_with(|| Producer::new(batch));
        producer.enter_epoch(batch.producer_epoch);
        let kept = if is_on(Bug::P1) { 1 } else { BATCHES_KEPT };
        if producer.batches.len() == kept {
            producer.batches.pop_front();
        }
        producer.batches.push_back(BatchMetadata::of(batch));
        producer.timestamp = batch.max_timestamp;
        if batch.is_transactional() {
            self.open.begin(batch.producer_id, batch.base_offset);
            self.verifications.remove(&id);
        }
    }

    /// Forgets producers whose newest batch is older than `expiration_ms` at `now_ms`; a producer with an
    /// open transaction stays (PR-18). Returns how many were forgotten.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        self.refused.retain(|_, refused| now_ms.saturating_sub(refused.at_ms) < REFUSAL_KEPT_MS);
        self.verifications.retain(|_, asked| now_ms.saturating_sub(asked.asked_at_ms) < REFUSAL_KEPT_MS);
        let before = self.by_id.len();
        self.by_id.retain(|id, producer| {
            self.open.first_offset_of(ProducerId(*id)).is_some()
                || now_ms.saturating_sub(producer.timestamp) < expiration_ms
        });
        before - self.by_id.len()
    }

    /// No producers, to be rebuilt from the log. Guards given out before are not mistaken for later ones.
    pub fn emptied(&self) -> Self {
        Self { questions: self.questions, ..Self::default() }
    }

    /// Replaces the state by that of a snapshot.
    pub fn restore(&mut self, entries: &[ProducerEntry]) {
        *self = self.emptied();
        for entry in entries {
            let batches = if entry.last_sequence < 0 {
                VecDeque::new()
            } else {
                VecDeque::from([BatchMetadata {
                    first_sequence: sequence_before(entry.last_sequence, entry.offset_delta),
                    last_sequence: entry.last_sequence,
                    last_offset: entry.last_offset,
                    offset_delta: entry.offset_delta,
                    timestamp: entry.timestamp,
                }])
            };
            let open = entry.current_transaction_first_offset;
            if open.0 >= 0 && !is_on(Bug::T11) {
                self.open.begin(entry.producer_id, open);
            }
            self.by_id.insert(
                entry.producer_id.0,
                Producer {
                    epoch: entry.epoch,
                    batches,
                    timestamp: entry.timestamp,
                    coordinator_epoch: entry.coordinator_epoch,
                },
            );
        }
    }

    /// Gives back batches of the window that a snapshot does not hold: `newest` are the headers at the log's end,
    /// oldest first. A batch comes back if it leads up to those known without a gap.
    pub fn recall(&mut self, newest: &[BatchHeader]) {
        for batch in newest.iter().rev() {
            let Some(producer) = self.by_id.get_mut(&batch.producer_id.0) else { continue };
            let Some(first) = producer.batches.front() else { continue };
            let leads_up = batch.producer_epoch == producer.epoch
                && batch.last_offset() < first.base_offset()
                && next_sequence(batch.last_sequence()) == first.first_sequence;
            if leads_up && !batch.is_control() && producer.batches.len() < BATCHES_KEPT {
                producer.batches.push_front(BatchMetadata::of(batch));
            }
        }
    }

    /// The state for a snapshot or for DescribeProducers, by ascending producer id.
    pub fn entries(&self) -> Vec<ProducerEntry> {
        self.by_id
            .iter()
            .map(|(&id, producer)| {
                let last = producer.batches.back();
                let open = self.open.first_offset_of(ProducerId(id));
                ProducerEntry {
                    producer_id: ProducerId(id),
                    epoch: producer.epoch,
                    last_sequence: producer.last_sequence(),
                    last_offset: last.map_or(Offset(-1), |batch| batch.last_offset),
                    offset_delta: last.map_or(0, |batch| batch.offset_delta),
                    timestamp: producer.timestamp,
                    coordinator_epoch: producer.coordinator_epoch,
                    current_transaction_first_offset: open.unwrap_or(Offset(-1)),
                }
            })
            .collect()
    }

    /// Producers known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

fn next_sequence(last: i32) -> i32 {
    if last == LAST_SEQUENCE { 0 } else { last + 1 }
}

/// The sequence `back` records before `last`, with wrap-around.
fn sequence_before(last: i32, back: i32) -> i32 {
    if last >= back { last - back } else { LAST_SEQUENCE - (back - last - 1) }
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
