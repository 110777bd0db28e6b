//! A partition's leader as far as transactions go: it never loses anything, and knows what is open.

use std::collections::BTreeMap;

use super::message::{Marker, Unit};
use crate::{ProducerIdAndEpoch, Refusal, TransactionVersion};

#[derive(Debug, Default)]
pub struct Partition {
    producers: BTreeMap<i64, Producer>,
    pub is_deleted: bool,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    open: Option<Unit>,
    coordinator_epoch: u64,
    closed_sequence: u64,
}

/// What a marker did.
pub enum Marked {
    /// Written; it closed this.
    Closed(Option<Unit>),
    /// It was there before.
    Repeat,
    /// From a coordinator that was replaced.
    CoordinatorFenced,
}

impl Partition {
    pub fn append(&mut self, producer: ProducerIdAndEpoch, unit: Unit) -> Result<(), Refusal> {
        let ProducerIdAndEpoch { producer_id, epoch } = producer;
        let known = self.producers.entry(producer_id).or_insert(Producer {
            epoch,
            open: None,
            coordinator_epoch: 0,
            closed_sequence: 0,
        });
        if epoch < known.epoch {
            return Err(Refusal::ProducerFenced);
        }
        let other = known.open.filter(|open| *open != unit);
        assert!(other.is_none(), "{unit:?} of {producer:?} is written while {other:?} is open");
        known.epoch = epoch;
        known.open = Some(unit);
        Ok(())
    }

    pub fn mark(&mut self, marker: &Marker) -> Marked {
        let ProducerIdAndEpoch { producer_id, epoch } = marker.producer;
        let known = self.producers.entry(producer_id).or_insert(Producer {
            epoch: -1,
            open: None,
            coordinator_epoch: 0,
            closed_sequence: 0,
        });
        if marker.term < known.coordinator_epoch {
            return Marked::CoordinatorFenced;
        }
        let is_late = match marker.version {
            TransactionVersion::V2 => epoch <= known.epoch,
            // An old client's next transaction has the same epoch; only the sequence tells.
            TransactionVersion::V0 => epoch < known.epoch || marker.sequence <= known.closed_sequence,
        };
        if is_late {
            return Marked::Repeat;
        }
        known.epoch = epoch;
        known.coordinator_epoch = marker.term;
        known.closed_sequence = marker.sequence;
        Marked::Closed(known.open.take())
    }

    /// What is open, of any producer.
    pub fn open(&self) -> impl Iterator<Item = (i64, Unit)> {
        self.producers.iter().filter_map(|(id, it)| Some((*id, it.open?)))
    }
}
