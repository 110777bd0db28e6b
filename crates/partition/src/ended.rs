//! Markers that come too late, for producers that keep their epoch.
//!
//! A client before KIP-890 uses one epoch for many transactions. A marker of the last one that was held up on the way, and
//! whose repeat has ended that transaction long ago, is then like one of the transaction that is open now, and would end
//! it: commit half of it, or abort what its client commits (KIP-1228). Kafka cannot tell them apart. Our coordinator
//! says with each marker which transaction it ends, and to which leader epoch it is sent. A leader remembers what it
//! ended in its epoch; markers sent to an earlier epoch it refuses.

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, ProducerId};

use crate::markers::Marker;
use crate::producers::Producers;

/// What the coordinator says beside a marker. Not part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkerAddress {
    /// Names the transaction: greater for a later one of the same producer. Never 0.
    pub sequence: u64,
    /// The leader epoch that the coordinator sends it to.
    pub leader_epoch: LeaderEpoch,
}

/// Producers whose last ended transaction is remembered; beyond them the one that ended first is forgotten.
const ENDED_KEPT: usize = 10_000;

impl Producers {
    /// Whether the marker belongs to a transaction that ended here in this leader epoch, while another one is open or
    /// no newer coordinator asks. Then nothing is to be written.
    pub fn is_late(&self, marker: &Marker, address: &MarkerAddress) -> bool {
        let id = marker.producer_id;
        let ended = self.ended.get(&id.0).is_some_and(|last| address.sequence <= *last);
        // A newer coordinator's epoch must get into the log, see `check_marker`.
        let is_known =
            self.by_id.get(&id.0).is_some_and(|it| marker.coordinator_epoch <= it.coordinator_epoch);
        ended && (is_known || self.open_since(id).is_some()) && !is_on(Bug::T13)
    }

    /// A marker that was addressed so is in the log of this leader: it was just written, or found to be there already,
    /// perhaps by an earlier leader.
    pub fn ended(&mut self, producer_id: ProducerId, address: &MarkerAddress) {
        if self.ended.len() >= ENDED_KEPT && !self.ended.contains_key(&producer_id.0) {
            let first = self.ended.iter().min_by_key(|(_, sequence)| **sequence).map(|(id, _)| *id);
            first.map(|first| self.ended.remove(&first));
        }
        let last = self.ended.entry(producer_id.0).or_default();
        *last = address.sequence.max(*last);
    }
}

#[cfg(test)]
mod tests {
    use milena_records::{BatchHeader, Offset, ProducerEpoch, TransactionResult};

    use super::*;

    fn marker(coordinator_epoch: i32) -> Marker {
        Marker {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(0),
            coordinator_epoch,
            result: TransactionResult::Commit,
            transaction_version: 0,
        }
    }

    /// A marker of producer 7 in the log.
    fn batch() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0),
            batch_length: 66,
            partition_leader_epoch: LeaderEpoch(3),
            magic: 2,
            crc: 0,
            attributes: 0x30,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(0),
            base_sequence: -1,
            record_count: 1,
        }
    }

    #[test]
    fn what_ended_in_this_leader_epoch_does_not_end_again() {
        let at = |sequence| MarkerAddress { sequence, leader_epoch: LeaderEpoch(3) };
        let mut producers = Producers::default();
        assert!(!producers.is_late(&marker(1), &at(5)));
        producers.record_marker(&batch(), TransactionResult::Commit, 1);
        producers.ended(ProducerId(7), &at(5));
        for (coordinator_epoch, sequence, want) in
            [(1, 4, true), (1, 5, true), (1, 6, false), (2, 5, false), (2, 6, false)]
        {
            let late = producers.is_late(&marker(coordinator_epoch), &at(sequence));
            assert_eq!(late, want, "coordinator {coordinator_epoch} sequence {sequence}");
        }
        producers.ended(ProducerId(7), &at(2));
        assert!(producers.is_late(&marker(1), &at(5)));
        producers.forget_verifications();
        assert!(!producers.is_late(&marker(1), &at(5)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..ENDED_KEPT as i64 + 10 {
            let address = MarkerAddress { sequence: id as u64 + 1, leader_epoch: LeaderEpoch(0) };
            producers.ended(ProducerId(id), &address);
        }
        assert_eq!(producers.ended.len(), ENDED_KEPT);
        assert!(!producers.ended.contains_key(&9) && producers.ended.contains_key(&10));
    }
}
