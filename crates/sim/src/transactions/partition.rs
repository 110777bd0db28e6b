//! A replicated partition as far as transactions go: logs, what each replica knows of producers, a high watermark.
//!
//! Replication itself is right here; what it must do is the business of the other simulation. A leader change loses
//! what the new leader had not fetched, and everything that is known is known from the log.

use milena_bugs::{Bug, is_on};
use milena_partition::{
    Guard, MarkerAddress, MarkerFence, MarkerVerdict, Producers, SequenceRefusal, SequenceVerdict,
};
use milena_records::{BatchHeader, Offset, ProducerEpoch, ProducerId, TransactionResult};
use milena_txn::{ProducerIdAndEpoch, Refusal, TransactionVersion};

use super::message::{Failure, Marker, Produce, Request, Unit};
use crate::random::Random;

const REPLICAS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    producer: ProducerIdAndEpoch,
    leader_epoch: i32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Data { sequence: i32, unit: Unit },
    Marker { commit: bool, coordinator_epoch: i32 },
}

#[derive(Debug, Default)]
struct Replica {
    log: Vec<Entry>,
    producers: Producers,
}

/// Who waits for the high watermark.
#[derive(Debug)]
pub(super) enum Waiter {
    Client(Request),
    Coordinator(Marker),
}

#[derive(Debug)]
pub(super) struct Partition {
    replicas: Vec<Replica>,
    leader: usize,
    pub(super) leader_epoch: i32,
    high_watermark: usize,
    /// With the log end that must be replicated.
    waiting: Vec<(usize, Waiter)>,
    pub(super) is_deleted: bool,
    /// How far a reader of committed data has come.
    read_to: usize,
}

/// What a leader does with a batch.
pub(super) enum Taken {
    /// It is in the log; the client waits for its replication.
    Waits,
    Failed(Failure),
    /// The coordinator must be asked first.
    Ask(Guard),
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            replicas: (0..REPLICAS).map(|_| Replica::default()).collect(),
            leader: 0,
            leader_epoch: 0,
            high_watermark: 0,
            waiting: Vec::new(),
            is_deleted: false,
            read_to: 0,
        }
    }
}

impl Entry {
    fn header(&self, offset: usize) -> BatchHeader {
        const TRANSACTIONAL: i16 = 0x10;
        const CONTROL: i16 = 0x20;
        let (attributes, base_sequence) = match self.kind {
            Kind::Data { sequence, .. } => (TRANSACTIONAL, sequence),
            Kind::Marker { .. } => (TRANSACTIONAL | CONTROL, -1),
        };
        BatchHeader {
            base_offset: Offset(offset as i64),
            batch_length: 100,
            partition_leader_epoch: milena_records::LeaderEpoch(self.leader_epoch),
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId(self.producer.producer_id),
            producer_epoch: ProducerEpoch(self.producer.epoch),
            base_sequence,
            record_count: 1,
        }
    }
}

impl Replica {
    fn append(&mut self, entry: Entry) {
        let header = entry.header(self.log.len());
        match entry.kind {
            Kind::Data { .. } => self.producers.record(&header),
            Kind::Marker { commit, coordinator_epoch } => {
                self.producers.record_marker(&header, result(commit), coordinator_epoch);
            }
        }
        self.log.push(entry);
    }

    fn replayed(log: &[Entry]) -> Self {
        let mut replica = Self::default();
        log.iter().for_each(|entry| replica.append(*entry));
        replica
    }
}

fn result(commit: bool) -> TransactionResult {
    if commit { TransactionResult::Commit } else { TransactionResult::Abort }
}

impl Partition {
    fn lead(&mut self) -> &mut Replica {
        &mut self.replicas[self.leader]
    }

    /// A batch arrives, or comes back from the coordinator with its guard.
    pub(super) fn produce(&mut self, request: &Request, produce: Produce, guard: Option<Guard>) -> Taken {
        let kind = Kind::Data { sequence: produce.sequence, unit: produce.unit };
        let entry = Entry { producer: produce.producer, leader_epoch: self.leader_epoch, kind };
        let leader = self.lead();
        let header = entry.header(leader.log.len());
        let end = match leader.producers.check(&header) {
            Err(SequenceRefusal::FencedEpoch { .. }) => {
                return Taken::Failed(Failure::Refused(Refusal::ProducerFenced));
            }
            Err(_) => return Taken::Failed(Failure::Broken),
            Ok(SequenceVerdict::Duplicate(known)) => known.last_offset.0 as usize + 1,
            Ok(SequenceVerdict::Accept) => {
                if guard.is_none()
                    && !is_on(Bug::T2)
                    && let Some(guard) = leader.producers.verify(&header, produce.adds, 0)
                {
                    return Taken::Ask(guard);
                }
                if leader.producers.check_transaction(&header, guard).is_err() {
                    return Taken::Failed(Failure::Broken);
                }
                leader.append(entry);
                leader.log.len()
            }
        };
        self.waiting.push((end, Waiter::Client(request.clone())));
        Taken::Waits
    }

    /// A marker arrives. Returns whether the coordinator is told at once that nothing is left to do.
    pub(super) fn mark(&mut self, marker: Marker) -> Option<Marker> {
        let coordinator_epoch = marker.term as i32;
        let leader_epoch = self.leader_epoch;
        if marker.leader_epoch != leader_epoch && !is_on(Bug::T13) {
            return None;
        }
        let address = MarkerAddress {
            sequence: marker.sequence,
            leader_epoch: milena_records::LeaderEpoch(leader_epoch),
        };
        let leader = self.lead();
        let asked = milena_partition::Marker {
            producer_id: ProducerId(marker.producer.producer_id),
            producer_epoch: ProducerEpoch(marker.producer.epoch),
            coordinator_epoch,
            result: result(marker.commit),
            transaction_version: match marker.version {
                TransactionVersion::V0 => 0,
                TransactionVersion::V2 => 2,
            },
        };
        let verdict = match leader.producers.is_late(&asked, &address) {
            true => Ok(MarkerVerdict::AlreadyWritten),
            false => leader.producers.check_marker(&asked),
        };
        match verdict {
            Err(MarkerFence::CoordinatorEpoch { .. }) => return None,
            Err(MarkerFence::ProducerEpoch { .. }) => return Some(marker),
            Ok(MarkerVerdict::AlreadyWritten) => {}
            Ok(MarkerVerdict::Append) => {
                let kind = Kind::Marker { commit: marker.commit, coordinator_epoch };
                leader.append(Entry { producer: marker.producer, leader_epoch, kind });
                leader.producers.marker_written(&asked);
            }
        }
        leader.producers.ended(asked.producer_id, &address);
        let end = leader.log.len();
        self.waiting.push((end, Waiter::Coordinator(marker)));
        None
    }

    /// A follower fetches so many entries; returns whom the high watermark releases.
    pub(super) fn replicate(&mut self, random: &mut Random, all: bool) -> Vec<Waiter> {
        for at in 0..REPLICAS {
            let missing = self.replicas[self.leader].log.len() - self.replicas[at].log.len();
            let count = if all { missing } else { random.below(missing + 1) };
            let from = self.replicas[at].log.len();
            for offset in from..from + count {
                let entry = self.replicas[self.leader].log[offset];
                self.replicas[at].append(entry);
            }
        }
        let least = self.replicas.iter().map(|it| it.log.len()).min().expect("has replicas");
        self.high_watermark = self.high_watermark.max(least);
        let high_watermark = self.high_watermark;
        self.replicas.iter_mut().for_each(|it| it.producers.committed_to(Offset(high_watermark as i64)));
        self.waiting.extract_if(.., |(end, _)| *end <= high_watermark).map(|(_, waiter)| waiter).collect()
    }

    /// Another replica leads; returns who waited at the old leader.
    pub(super) fn elect(&mut self, random: &mut Random) -> Vec<Waiter> {
        self.leader = random.below(REPLICAS);
        self.leader_epoch += 1;
        let log = self.replicas[self.leader].log.clone();
        assert!(log.len() >= self.high_watermark, "the new leader lacks what was committed");
        for replica in &mut self.replicas {
            let common = replica.log.iter().zip(&log).take_while(|(a, b)| a == b).count();
            if common < replica.log.len() {
                *replica = Replica::replayed(&log[..common]);
            }
        }
        let leader = &mut self.replicas[self.leader];
        leader.producers.forget_verifications();
        // Whoever followed knows what the log says, no less and no more (T11).
        let replayed = Replica::replayed(&log);
        assert_eq!(
            leader.producers.entries(),
            replayed.producers.entries(),
            "producers are not those of the log"
        );
        std::mem::take(&mut self.waiting).into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// First offset whose fate is open, or that is not replicated.
    fn last_stable_offset(&self) -> usize {
        let high_watermark = Offset(self.high_watermark as i64);
        let unstable = self.replicas[self.leader].producers.first_unstable_offset(high_watermark);
        unstable.map_or(self.high_watermark, |it| (it.0 as usize).min(self.high_watermark))
    }

    /// A consumer that reads committed goes on: transactions whose records it passes, and whether it sees them.
    pub(super) fn read(&mut self) -> Vec<(Unit, bool)> {
        let end = self.last_stable_offset();
        let mut read = Vec::new();
        let from = self.read_to.min(end);
        let log = &self.replicas[self.leader].log;
        for (offset, entry) in log.iter().enumerate().take(end).skip(from) {
            let Kind::Data { unit, .. } = entry.kind else { continue };
            let ends = |it: &&Entry| {
                it.producer.producer_id == entry.producer.producer_id
                    && matches!(it.kind, Kind::Marker { .. })
            };
            let marker = log[offset..self.high_watermark].iter().find(ends);
            let Some(Entry { kind: Kind::Marker { commit, .. }, .. }) = marker else {
                panic!("{unit:?} at {offset} is below the last stable offset {end} and has no marker");
            };
            read.push((unit, *commit));
        }
        self.read_to = self.read_to.max(end);
        read
    }

    /// Whether the record is in the log that everybody has.
    pub(super) fn has(&self, produce: Produce) -> bool {
        let kind = Kind::Data { sequence: produce.sequence, unit: produce.unit };
        let log = &self.replicas[self.leader].log[..self.high_watermark];
        log.iter().any(|it| it.producer == produce.producer && it.kind == kind)
    }

    /// A transaction of the producer that has no marker at the leader.
    pub(super) fn open(&self, producer_id: i64) -> Option<Unit> {
        let of_it = |it: &&Entry| it.producer.producer_id == producer_id;
        match self.replicas[self.leader].log.iter().rfind(of_it)?.kind {
            Kind::Data { unit, .. } => Some(unit),
            Kind::Marker { .. } => None,
        }
    }

    /// Whether everything is replicated, decided and read.
    pub(super) fn is_at_rest(&self) -> bool {
        let end = self.replicas[self.leader].log.len();
        self.last_stable_offset() == end && self.read_to == end
    }
}
