//! The coordinator: applies what requests ask for, sends markers, sweeps. Its log is always right; its leader changes.

use std::collections::BTreeMap;

use milena_txn::{
    AddOffsets, AddPartitions, Answer, Applied, Command, CommitOffsets, EndTransaction, InitProducerId,
    MarkersOutcome, MarkersWritten, ProducerIdAndEpoch, Refusal, State, TimeOut, Transactions,
};

use super::message::{Call, Enlist, Failure, Marker, Message, Place, Request, Unit};
use super::{TIMEOUT_MS, World};

pub(super) struct Coordinator {
    /// Raft term: the coordinator epoch.
    term: u64,
    index: u64,
    fresh: i64,
    pub(super) state: Transactions,
    /// What is stored; `None` deletes nothing that was there before the run.
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    initial: Transactions,
    log: Vec<Vec<u8>>,
    /// Offsets of open transactions: by whom, and of which.
    pub(super) pending: Vec<(ProducerIdAndEpoch, Unit)>,
}

/// The proposal that records a written marker.
pub(super) fn written(marker: Marker, now_ms: i64) -> Command {
    let (topic_id, partition) = marker.place;
    Command::MarkersWritten(MarkersWritten {
        transactional_id: marker.id,
        now_ms,
        producer: marker.producer,
        sequence: marker.sequence,
        partitions: [(topic_id, "topic", partition)].into_iter().collect(),
    })
}

impl Coordinator {
    pub(super) fn new(state: Transactions) -> Self {
        let pairs = state.pairs().collect();
        Self {
            term: 1,
            index: 1_000_000,
            fresh: 100,
            initial: state.clone(),
            state,
            pairs,
            log: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn fresh_producer_id(&mut self) -> i64 {
        self.fresh += 1;
        self.fresh
    }

    /// The log gives the state, on whatever voter.
    pub(super) fn replay(&self) {
        let mut replayed = self.initial.clone();
        let first = self.index + 1 - self.log.len() as u64;
        for (index, bytes) in (first..).zip(&self.log) {
            let command = Command::decode(bytes.as_slice()).expect("own bytes decode");
            replayed.apply(index, &command, &mut Vec::new());
        }
        assert!(replayed == self.state, "the log gives another state");
    }
}

impl World {
    pub(super) fn coordinate(&mut self, request: Request) {
        let heard = self.decide(&request);
        self.reply(&request, heard.map_err(Failure::Refused));
    }

    fn decide(&mut self, request: &Request) -> Result<Option<ProducerIdAndEpoch>, Refusal> {
        let Request { id, unit, call, .. } = request;
        let (transactional_id, now_ms, unit) = (id.clone(), self.now_ms, *unit);
        match *call {
            Call::Init { expected } => {
                if let Some(it) = self.coordinator.state.find(id).filter(|it| it.state() == State::Ongoing) {
                    self.oracle.cut(id, it.sequence());
                }
                let fresh_producer_id = self.coordinator.fresh_producer_id();
                let timeout_ms = TIMEOUT_MS;
                let init =
                    InitProducerId { transactional_id, now_ms, timeout_ms, expected, fresh_producer_id };
                match self.apply(Command::InitProducerId(init)) {
                    Answer::Initialized(it) => it.map(Some),
                    other => panic!("{other:?} to InitProducerId"),
                }
            }
            Call::Add { producer, place } => self.add(id, unit, producer, place).map(|()| None),
            Call::AddGroup { producer } => {
                let group = "g".to_owned();
                let add = AddOffsets { transactional_id, now_ms, producer, group };
                self.added(id, unit, Command::AddOffsets(add)).map(|()| None)
            }
            Call::Offsets { producer, adds: adds_group } => {
                let (group, group_command) = ("g".to_owned(), Vec::new().into());
                let commit =
                    CommitOffsets { transactional_id, now_ms, producer, group, adds_group, group_command };
                self.added(id, unit, Command::CommitOffsets(commit))?;
                self.coordinator.pending.push((producer, unit));
                Ok(None)
            }
            Call::End { producer, commit, bumps } => {
                let needs = self.coordinator.state.needs_producer_id(id);
                let fresh = needs.then(|| self.coordinator.fresh_producer_id());
                let fresh_producer_id = fresh.filter(|_| self.random.below(4) > 0);
                let end =
                    EndTransaction { transactional_id, now_ms, producer, commit, bumps, fresh_producer_id };
                match self.apply(Command::EndTransaction(end)) {
                    Answer::Ended(it) => it.map(Some),
                    other => panic!("{other:?} to EndTxn"),
                }
            }
            Call::Produce(_) => unreachable!("goes to a partition"),
        }
    }

    fn add(
        &mut self,
        id: &str,
        unit: Unit,
        producer: ProducerIdAndEpoch,
        place: Place,
    ) -> Result<(), Refusal> {
        if self.partitions[&place].is_deleted {
            return Err(Refusal::TransactionAbortable);
        }
        let add = AddPartitions {
            transactional_id: id.to_owned(),
            now_ms: self.now_ms,
            producer,
            partitions: [(place.0, "topic", place.1)].into_iter().collect(),
        };
        self.added(id, unit, Command::AddPartitions(add))
    }

    /// Applies a command that makes something of `unit` part of the transaction.
    fn added(&mut self, id: &str, unit: Unit, command: Command) -> Result<(), Refusal> {
        match self.apply(command) {
            Answer::Added(added) | Answer::OffsetsAdmitted(added) => added?,
            other => panic!("{other:?} to an addition"),
        }
        let known = self.coordinator.state.find(id).expect("known");
        self.oracle.added(id, known.sequence(), unit);
        Ok(())
    }

    /// A partition's leader asks for a producer.
    pub(super) fn enlist(&mut self, enlist: Enlist) {
        let (id, produce) = (enlist.request.id.clone(), enlist.produce);
        let outcome = if produce.adds {
            self.add(&id, produce.unit, produce.producer, produce.place)
        } else {
            let (topic_id, partition) = produce.place;
            self.coordinator.state.check_partition(&id, produce.producer, topic_id, partition)
        };
        self.send(Message::Enlisted(enlist, outcome));
    }

    /// Applies a command as the log has it, with everything that must hold around it.
    pub(super) fn apply(&mut self, command: Command) -> Answer {
        let coordinator = &mut self.coordinator;
        let before = coordinator.state.clone();
        if let Command::TimeOut(TimeOut { transactional_id, .. }) = &command
            && let Some(it) = before.find(transactional_id).filter(|it| it.state() == State::Ongoing)
            && it.start_time_ms().is_some_and(|start| start + i64::from(TIMEOUT_MS) < self.now_ms)
        {
            self.oracle.cut(transactional_id, it.sequence());
        }
        coordinator.log.push(command.encode());
        coordinator.index += 1;
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let Applied { answer, settled } = coordinator.state.apply(coordinator.index, &command, &mut changes);
        for (key, value) in changes {
            match value {
                Some(value) => coordinator.pairs.insert(key, value),
                None => coordinator.pairs.remove(&key),
            };
        }
        if let Command::Expire(idle) = &command {
            let gone = idle.iter().filter(|it| coordinator.state.find(&it.transactional_id).is_none());
            gone.for_each(|it| self.oracle.forgotten(&it.transactional_id));
        }
        self.oracle.look(&before, &coordinator.state);
        if let Some(settled) = settled {
            let is_of_it = |(by, _): &mut (ProducerIdAndEpoch, Unit)| *by == settled.producer;
            for (_, unit) in coordinator.pending.extract_if(.., is_of_it) {
                self.oracle.outcome(unit, settled.commit);
            }
        }
        if let Command::MarkersWritten(written) = &command
            && answer == Answer::Markers(MarkersOutcome::Complete)
        {
            self.check_closed(before.find(&written.transactional_id).expect("known").producer());
        }
        answer
    }

    fn check_closed(&self, producer: ProducerIdAndEpoch) {
        for (place, partition) in self.partitions.iter().filter(|(_, it)| !it.is_deleted) {
            let open = partition.open(producer.producer_id);
            assert!(open.is_none(), "{producer:?} is complete and has {open:?} open in {place:?}");
        }
    }

    pub(super) fn send_markers(&mut self) {
        let mut markers = Vec::new();
        for due in self.coordinator.state.markers_due() {
            let places = due.partitions.iter().map(|(topic_id, _, partition)| (topic_id, partition));
            markers.extend(places.map(|place| Marker {
                term: self.coordinator.term,
                id: due.transactional_id.to_owned(),
                place,
                producer: due.producer,
                commit: due.commit,
                version: due.version,
                sequence: due.sequence,
                leader_epoch: self.partitions[&place].leader_epoch,
            }));
        }
        markers.into_iter().for_each(|marker| self.send(Message::Marker(marker)));
    }

    pub(super) fn sweep(&mut self) {
        let due: Vec<_> =
            self.coordinator.state.due(self.now_ms).map(|(id, sequence)| (id.to_owned(), sequence)).collect();
        for (transactional_id, sequence) in due {
            let fresh_producer_id = self.coordinator.fresh_producer_id();
            let now_ms = self.now_ms;
            let timeout = TimeOut { transactional_id, now_ms, sequence, fresh_producer_id };
            self.send(Message::Proposal(Command::TimeOut(timeout)));
        }
    }

    /// Another broker becomes coordinator: it has what was stored.
    pub(super) fn coordinator_fails_over(&mut self) {
        let coordinator = &mut self.coordinator;
        coordinator.term += 1;
        let restored = Transactions::restore(&coordinator.pairs).expect("own pairs restore");
        let before = std::mem::replace(&mut coordinator.state, restored);
        self.oracle.look(&before, &coordinator.state);
        assert!(before == coordinator.state, "the new coordinator knows something else");
    }
}
