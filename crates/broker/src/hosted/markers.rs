//! Appending a coordinator's marker, which ends a producer's transaction in this partition.

use std::sync::Arc;

use milena_partition::{AppendRefusal, Marker, MarkerAddress, MarkerFence, MarkerVerdict};
use milena_records::ControlRecord;
use milena_wire::ErrorCode;

use super::append::{Appended, StorageFault};
use super::{Hosted, State};
use crate::clock;

/// Why a marker was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MarkerRefusal {
    #[error(transparent)]
    Replica(#[from] AppendRefusal),
    #[error(transparent)]
    Fenced(#[from] MarkerFence),
    #[error("the marker was sent to another leader epoch")]
    OtherEpoch,
    #[error("the log cannot be written; see the broker's log")]
    Storage,
    #[error("the partition is being deleted or the broker shuts down")]
    Closed,
}

impl From<StorageFault> for MarkerRefusal {
    fn from(_: StorageFault) -> Self {
        Self::Storage
    }
}

impl MarkerRefusal {
    /// Kafka's code for it. Anything but the fences is tried again.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Replica(AppendRefusal::NotLeader { .. }) | Self::OtherEpoch | Self::Closed => {
                ErrorCode::NotLeaderOrFollower
            }
            Self::Replica(AppendRefusal::NotEnoughReplicas { .. }) => ErrorCode::NotEnoughReplicas,
            Self::Fenced(MarkerFence::ProducerEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
            Self::Fenced(MarkerFence::CoordinatorEpoch { .. }) => ErrorCode::TransactionCoordinatorFenced,
            Self::Storage => ErrorCode::KafkaStorageError,
        }
    }
}

impl Hosted {
    /// Appends a marker, always for all in-sync replicas (TX-8). One that is in the log already succeeds without being
    /// written again (T10). It counts once it is replicated: await [`Hosted::replicated`] unless
    /// [`Appended::replicated`] says that it is. With an `address` it is known which transaction it ends, and one that
    /// was sent to another leader epoch is refused.
    pub(crate) fn append_marker(
        self: &Arc<Self>,
        marker: &Marker,
        address: Option<&MarkerAddress>,
    ) -> Result<Appended, MarkerRefusal> {
        let now = clock::unix_ms();
        let flush_messages = self.config.load().flush_messages();
        let appended = self
            .with(|state| state.append_marker(marker, address, flush_messages, now))
            .ok_or(MarkerRefusal::Closed)??;
        self.after_append(&appended);
        Ok(appended)
    }
}

impl State {
    fn append_marker(
        &mut self,
        marker: &Marker,
        address: Option<&MarkerAddress>,
        flush_messages: i64,
        now: i64,
    ) -> Result<Appended, MarkerRefusal> {
        self.replica.check_append(true)?;
        let leader_epoch = self.replica.leadership().leader_epoch;
        if address.is_some_and(|address| address.leader_epoch != leader_epoch) {
            return Err(MarkerRefusal::OtherEpoch);
        }
        let verdict = match address.is_some_and(|address| self.producers.is_late(marker, address)) {
            true => MarkerVerdict::AlreadyWritten,
            false => self.producers.check_marker(marker)?,
        };
        if verdict == MarkerVerdict::AlreadyWritten {
            self.remember_end(marker, address);
            // Where it is is not remembered; it lies below the log end.
            return Ok(self.present(self.log.log_end(), flush_messages));
        }
        let mut batch = ControlRecord::end_transaction(
            marker.result,
            marker.coordinator_epoch,
            marker.producer_id,
            marker.producer_epoch,
            now,
        );
        batch.stamp(self.log.log_end(), leader_epoch);
        let appended = self.write(batch, flush_messages, now)?;
        self.producers.marker_written(marker);
        self.remember_end(marker, address);
        Ok(appended)
    }

    fn remember_end(&mut self, marker: &Marker, address: Option<&MarkerAddress>) {
        if let Some(address) = address {
            self.producers.ended(marker.producer_id, address);
        }
    }
}
