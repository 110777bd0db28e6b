//! Requests as coordinator and partition leaders serve them.

use super::World;
use super::message::{Call, Place, Request, Unit};
use crate::{
    AddOffsets, AddPartitions, Answer, Command, CommitOffsets, EndTransaction, InitProducerId,
    ProducerIdAndEpoch, Refusal, State,
};

impl World {
    pub(super) fn serve(&mut self, request: Request) -> Result<Option<ProducerIdAndEpoch>, Refusal> {
        let Request { id, unit, call, .. } = request;
        let (transactional_id, now_ms) = (id.clone(), self.now_ms);
        match call {
            Call::Init { expected } => {
                let before = self.transactions.find(&id).cloned();
                if let Some(it) = before.filter(|it| it.state() == State::Ongoing) {
                    self.oracle.cut(&id, it.sequence());
                }
                let fresh_producer_id = self.fresh_producer_id();
                let timeout_ms = super::TIMEOUT_MS;
                let init =
                    InitProducerId { transactional_id, now_ms, timeout_ms, expected, fresh_producer_id };
                match self.apply(Command::InitProducerId(init)) {
                    Answer::Initialized(it) => it.map(Some),
                    other => panic!("{other:?} to InitProducerId"),
                }
            }
            Call::Add { producer, place } => self.add(&id, unit, producer, place).map(|()| None),
            Call::Produce { producer, place, adds } => {
                if self.partitions[&place].is_deleted {
                    return Err(Refusal::TransactionAbortable);
                }
                if adds {
                    self.add(&id, unit, producer, place)?;
                } else {
                    self.transactions.check_partition(&id, producer, place.0, place.1)?;
                }
                self.partitions.get_mut(&place).expect("a place").append(producer, unit).map(|()| None)
            }
            Call::AddGroup { producer } => {
                let group = "g".to_owned();
                let add = AddOffsets { transactional_id, now_ms, producer, group };
                let Answer::Added(added) = self.apply(Command::AddOffsets(add)) else { unreachable!() };
                added?;
                self.oracle.added(&id, self.transactions.find(&id).expect("known").sequence(), unit);
                Ok(None)
            }
            Call::Offsets { producer, adds: adds_group } => {
                let (group, group_command) = ("g".to_owned(), bytes::Bytes::new());
                let commit =
                    CommitOffsets { transactional_id, now_ms, producer, group, adds_group, group_command };
                let Answer::OffsetsAdmitted(admitted) = self.apply(Command::CommitOffsets(commit)) else {
                    unreachable!()
                };
                admitted?;
                self.oracle.added(&id, self.transactions.find(&id).expect("known").sequence(), unit);
                self.pending.push((producer, unit));
                Ok(None)
            }
            Call::End { producer, commit, bumps } => {
                let needs = self.transactions.needs_producer_id(&id);
                let fresh_producer_id = needs.then(|| self.fresh_producer_id());
                let end = EndTransaction {
                    transactional_id,
                    now_ms,
                    producer,
                    commit,
                    bumps,
                    fresh_producer_id: fresh_producer_id.filter(|_| !self.random.one_in(4)),
                };
                match self.apply(Command::EndTransaction(end)) {
                    Answer::Ended(it) => it.map(Some),
                    other => panic!("{other:?} to EndTxn"),
                }
            }
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
        let Answer::Added(added) = self.apply(Command::AddPartitions(add)) else { unreachable!() };
        added?;
        self.oracle.added(id, self.transactions.find(id).expect("known").sequence(), unit);
        Ok(())
    }
}
