//! Markers: the control batches by which a coordinator ends a producer's transaction in a partition.
//!
//! The leader checks a marker before it is appended ([`Producers::check_marker`]) and everybody records it once it is in
//! the log ([`Producers::record_marker`]). Rules: KIP-98, KIP-890, KIP-1228; catalogue rows T3, T8, T10.

use milena_records::{BatchHeader, Offset, ProducerEpoch, ProducerId, TransactionResult};

use crate::producers::{Producer, Producers};
use crate::transactions::CompletedTransaction;

/// What a coordinator decided about a producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// Epoch to write: with transactions of version 2 the one after the transaction's, which fences it from then on.
    pub producer_epoch: ProducerEpoch,
    /// Epoch of the coordinator that decided; an older one is a zombie's.
    pub coordinator_epoch: i32,
    /// Commit or abort.
    pub result: TransactionResult,
    /// Feature level `transaction.version` of the transaction: from 2 on the marker's epoch must be higher than the
    /// transaction's (KIP-1228).
    pub transaction_version: i8,
}

/// What to do with a marker that passed the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerVerdict {
    /// Append it.
    Append,
    /// The log has it: it was delivered before. Nothing is to be written.
    AlreadyWritten,
}

/// Why a marker is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MarkerFence {
    /// INVALID_PRODUCER_EPOCH: the transaction that it would end is over, another one has begun.
    #[error("producer {producer_id}: marker epoch {got}, producer epoch {current}")]
    ProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// Newest epoch known.
        current: i16,
        /// Epoch of the marker.
        got: i16,
    },
    /// TRANSACTION_COORDINATOR_FENCED: a later coordinator has written already.
    #[error("producer {producer_id}: coordinator epoch {got} is older than {current}")]
    CoordinatorEpoch {
        /// The producer.
        producer_id: i64,
        /// Newest epoch known.
        current: i32,
        /// Epoch of the marker.
        got: i32,
    },
}

impl Producers {
    /// Decides on a marker. A marker of a producer that is not known here is appended, as its epoch fences what may
    /// still be on its way.
    pub fn check_marker(&self, marker: &Marker) -> Result<MarkerVerdict, MarkerFence> {
        let Some(producer) = self.by_id.get(&marker.producer_id.0) else { return Ok(MarkerVerdict::Append) };
        let is_open = self.open.first_offset_of(marker.producer_id).is_some();
        let least = match is_open && marker.transaction_version >= 2 {
            true => producer.epoch.0.saturating_add(1),
            false => producer.epoch.0,
        };
        if marker.producer_epoch.0 < least {
            return Err(MarkerFence::ProducerEpoch {
                producer_id: marker.producer_id.0,
                current: producer.epoch.0,
                got: marker.producer_epoch.0,
            });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Err(MarkerFence::CoordinatorEpoch {
                producer_id: marker.producer_id.0,
                current: producer.coordinator_epoch,
                got: marker.coordinator_epoch,
            });
        }
        // A new coordinator's marker is written though nothing is open: its epoch must be known before the next
        // transaction, which the old coordinator could end otherwise.
        let is_repeat = !is_open
            && marker.producer_epoch == producer.epoch
            && marker.coordinator_epoch == producer.coordinator_epoch;
        Ok(if is_repeat { MarkerVerdict::AlreadyWritten } else { MarkerVerdict::Append })
    }

    /// Remembers a marker that is in the log, and tells which transaction it ended. Never refuses: what is in the log
    /// is true.
    pub fn record_marker(
        &mut self,
        batch: &BatchHeader,
        result: TransactionResult,
        coordinator_epoch: i32,
    ) -> Option<CompletedTransaction> {
        let id = batch.producer_id;
        if !id.is_some() {
            return None;
        }
        self.refused.remove(&id.0);
        self.take_back_up_to(id, batch.producer_epoch);
        let producer = self.by_id.entry(id.0).or_insert_with(|| Producer::new(batch));
        producer.enter_epoch(batch.producer_epoch);
        producer.timestamp = batch.max_timestamp;
        producer.coordinator_epoch = coordinator_epoch;
        let completed = self.open.complete(id, batch.last_offset(), result)?;
        self.unreplicated.insert(completed.first_offset, completed.last_offset);
        Some(completed)
    }

    /// First offset whose fate is open: that of the oldest transaction without a marker, or with one that is not
    /// below `high_watermark` yet and may still be lost with its leader.
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        let mut unreplicated = self.unreplicated.iter();
        let undecided = unreplicated.find(|(_, marker)| **marker >= high_watermark).map(|(first, _)| *first);
        [undecided, self.open.first_offset()].into_iter().flatten().min()
    }

    /// Forgets ended transactions whose markers are below the high watermark; they were kept for the last stable
    /// offset only.
    pub fn committed_to(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }
}

#[cfg(test)]
#[path = "markers_tests.rs"]
mod tests;
