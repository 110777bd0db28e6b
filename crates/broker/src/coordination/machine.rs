//! The state machine of the `coordination` group as Raft drives it: consumer groups and transactions in one log.
//!
//! They share it so that the decision about a transaction and the fate of the offsets in it are one entry. A command
//! that begins with [`TRANSACTION`] is about transactions; all others are about groups. Stored pairs are told apart by
//! their keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use milena_group::Groups;
use milena_quorum::{Changes, StateMachine};
use milena_txn::{Command, KEY_PREFIX, MarkersOutcome, Settled, Transactions};
use tracing::error;

use crate::transactions::{Completions, Due};

/// First byte of a command about transactions. Protobuf has no tag that begins with it, so no command about groups
/// does.
pub(crate) const TRANSACTION: u8 = 0;

/// What applying a command answered.
pub(crate) enum Applied {
    /// A command about groups.
    Group(milena_group::Answer),
    /// A command about transactions.
    Transaction(Decided),
}

/// What a command about transactions came to.
pub(crate) struct Decided {
    /// What the transactions say.
    pub(crate) answer: milena_txn::Answer,
    /// What the groups say, where offsets were to be stored and the transactions agreed.
    pub(crate) offsets: Option<Result<(), milena_group::Refusal>>,
}

/// Answers of `apply` by log index, until the proposer collects them. Bounded: on a broker that proposed none
/// of them nobody does, and the oldest go.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<u64, Applied>>>);

impl Answers {
    const KEPT: usize = 16_384;

    fn put(&self, index: u64, answer: Applied) {
        let mut answers = self.0.lock().unwrap();
        answers.insert(index, answer);
        if answers.len() > Self::KEPT {
            answers.pop_first();
        }
    }

    /// The answer of the command at `index`.
    pub(crate) fn take(&self, index: u64) -> Option<Applied> {
        self.0.lock().unwrap().remove(&index)
    }
}

/// The group's state, and what others learn when it is applied. Clones mean the same.
#[derive(Clone, Default)]
pub(crate) struct CoordinationState {
    pub(crate) groups: Arc<RwLock<Groups>>,
    pub(crate) transactions: Arc<RwLock<Transactions>>,
    pub(crate) answers: Answers,
    /// Transactions whose markers are due.
    pub(crate) due: Arc<Due>,
    /// Who waits for a transaction to be complete.
    pub(crate) completions: Completions,
}

/// [`CoordinationState`] under Raft.
pub(crate) struct CoordinationMachine(CoordinationState);

impl CoordinationMachine {
    /// Keeps `state` as the log says.
    pub(crate) fn new(state: CoordinationState) -> Self {
        Self(state)
    }

    fn apply_transaction(&mut self, index: u64, command: &Command, changes: &mut Changes) -> Applied {
        let applied = self.0.transactions.write().unwrap().apply(index, command, &mut Pairs(changes));
        // The same entry decides what becomes of the offsets.
        if let Some(Settled { producer, groups: names, commit }) = &applied.settled {
            let mut groups = self.0.groups.write().unwrap();
            let names = names.iter().map(String::as_str);
            groups.settle(names, producer.producer_id, producer.epoch, *commit, &mut Pairs(changes));
        }
        let offsets = match (command, &applied.answer) {
            (Command::CommitOffsets(it), milena_txn::Answer::OffsetsAdmitted(Ok(()))) => {
                Some(self.store_offsets(index, it, changes))
            }
            _ => None,
        };
        self.signal(command, &applied.answer);
        Applied::Transaction(Decided { answer: applied.answer, offsets })
    }

    /// The groups' half of a commit that the transactions have agreed to.
    fn store_offsets(
        &mut self,
        index: u64,
        command: &milena_txn::CommitOffsets,
        changes: &mut Changes,
    ) -> Result<(), milena_group::Refusal> {
        let stored = match milena_group::Command::decode(command.group_command.clone()) {
            Ok(stored) => stored,
            Err(error) => {
                error!(index, %error, "offsets of a transaction cannot be read");
                return Err(milena_group::Refusal::CoordinatorNotAvailable);
            }
        };
        match self.0.groups.write().unwrap().apply(index, &stored, &mut Pairs(changes)) {
            milena_group::Answer::OffsetsPending(outcome) => outcome,
            other => {
                error!(index, ?other, "a command that is none for offsets of a transaction");
                Err(milena_group::Refusal::CoordinatorNotAvailable)
            }
        }
    }

    /// Wakes who acts on what has changed.
    fn signal(&self, command: &Command, answer: &milena_txn::Answer) {
        match command {
            Command::InitProducerId(milena_txn::InitProducerId { transactional_id, .. })
            | Command::EndTransaction(milena_txn::EndTransaction { transactional_id, .. })
            | Command::TimeOut(milena_txn::TimeOut { transactional_id, .. }) => {
                let is_due = self.0.transactions.read().unwrap().markers_due_of(transactional_id).is_some();
                if is_due {
                    self.0.due.push(transactional_id);
                }
            }
            Command::MarkersWritten(it) => {
                if *answer == milena_txn::Answer::Markers(MarkersOutcome::Complete) {
                    self.0.completions.completed(&it.transactional_id);
                }
            }
            Command::DeleteTopics { .. } => self.0.completions.all_completed(),
            Command::AddPartitions(_)
            | Command::AddOffsets(_)
            | Command::CommitOffsets(_)
            | Command::Expire(_) => {}
        }
    }
}

impl StateMachine for CoordinationMachine {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        // Written by this program and checked by the store: unreadable pairs are a bug, not a state to go on from
        // with committed offsets or transactions missing.
        let mut of_transactions = Vec::new();
        let of_groups = pairs.filter_map(|pair| match pair.0.starts_with(KEY_PREFIX) {
            true => {
                of_transactions.push(pair);
                None
            }
            false => Some(pair),
        });
        let groups = Groups::restore(of_groups);
        *self.0.groups.write().unwrap() =
            groups.unwrap_or_else(|error| panic!("stored consumer groups cannot be read: {error}"));
        let transactions = Transactions::restore(of_transactions);
        *self.0.transactions.write().unwrap() =
            transactions.unwrap_or_else(|error| panic!("stored transactions cannot be read: {error}"));
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        let answer = match command.first() {
            Some(&TRANSACTION) => Command::decode(command.slice(1..))
                .map(|command| self.apply_transaction(index, &command, changes))
                .map_err(|error| error.to_string()),
            _ => milena_group::Command::decode(command.clone())
                .map(|command| {
                    Applied::Group(self.0.groups.write().unwrap().apply(index, &command, &mut Pairs(changes)))
                })
                .map_err(|error| error.to_string()),
        };
        match answer {
            Ok(answer) => self.0.answers.put(index, answer),
            Err(error) => error!(index, %error, "command of the coordination group cannot be read"),
        }
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

/// Hands changed pairs from one crate to the other.
struct Pairs<'a>(&'a mut Changes);

impl milena_group::Changes for Pairs<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.0.remove(key);
    }
}

impl milena_txn::Changes for Pairs<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use milena_group::{CommitInTransaction, OffsetToCommit, TopicId};
    use milena_txn::{CommitOffsets, EndTransaction, InitProducerId, Partitions, ProducerIdAndEpoch, State};

    use super::*;

    const PRODUCER: ProducerIdAndEpoch = ProducerIdAndEpoch { producer_id: 7, epoch: 0 };
    const TOPIC: TopicId = TopicId([1; 16]);

    /// A machine, and the pairs as its store has them.
    #[derive(Default)]
    struct Lab {
        state: CoordinationState,
        pairs: BTreeMap<Bytes, Bytes>,
        index: u64,
    }

    impl Lab {
        fn apply(&mut self, command: &Command) -> Decided {
            let mut bytes = vec![TRANSACTION];
            bytes.extend(command.encode());
            self.index += 1;
            let mut changes = Changes::default();
            CoordinationMachine::new(self.state.clone()).apply(self.index, &bytes.into(), &mut changes);
            for (key, value) in changes.take() {
                match value {
                    Some(value) => self.pairs.insert(key, value),
                    None => self.pairs.remove(&key),
                };
            }
            match self.state.answers.take(self.index) {
                Some(Applied::Transaction(decided)) => decided,
                _ => panic!("no answer to {command:?}"),
            }
        }

        fn restored(&self) -> CoordinationState {
            let state = CoordinationState::default();
            let mut pairs = self.pairs.clone().into_iter();
            CoordinationMachine::new(state.clone()).restore(&mut pairs);
            state
        }
    }

    fn init() -> Command {
        Command::InitProducerId(InitProducerId {
            transactional_id: "x".into(),
            now_ms: 1,
            timeout_ms: 60_000,
            expected: None,
            fresh_producer_id: PRODUCER.producer_id,
        })
    }

    fn commit_offset(offset: i64) -> Command {
        let commit = CommitInTransaction {
            group: "g".into(),
            member_id: String::new(),
            instance_id: None,
            generation: -1,
            producer_id: PRODUCER.producer_id,
            producer_epoch: PRODUCER.epoch,
            offsets: vec![OffsetToCommit {
                topic_id: TOPIC,
                topic: "t".into(),
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: String::new(),
            }],
        };
        let (command, _) = milena_group::Command::commit_in_transaction(commit, 2, 4096);
        Command::CommitOffsets(CommitOffsets {
            transactional_id: "x".into(),
            now_ms: 2,
            producer: PRODUCER,
            group: "g".into(),
            adds_group: true,
            group_command: command.encode().into(),
        })
    }

    fn end(commit: bool) -> Command {
        Command::EndTransaction(EndTransaction {
            transactional_id: "x".into(),
            now_ms: 3,
            producer: PRODUCER,
            commit,
            bumps: true,
            fresh_producer_id: None,
        })
    }

    fn offset(state: &CoordinationState) -> Option<i64> {
        state.groups.read().unwrap().offset("g", TOPIC, 0).map(|it| it.offset)
    }

    #[test]
    fn offsets_of_a_transaction_are_settled_by_the_entry_that_decides_it() {
        for (commit, expected) in [(true, Some(42)), (false, None)] {
            let mut lab = Lab::default();
            lab.apply(&init());
            assert_eq!(lab.apply(&commit_offset(42)).offsets, Some(Ok(())));
            assert_eq!(offset(&lab.state), None);
            assert!(lab.state.groups.read().unwrap().has_pending("g", TOPIC, 0));
            lab.apply(&end(commit));
            assert_eq!(offset(&lab.state), expected, "commit={commit}");
            assert!(!lab.state.groups.read().unwrap().has_pending("g", TOPIC, 0));
        }
    }

    #[test]
    fn offsets_of_a_fenced_producer_reach_no_group() {
        let mut lab = Lab::default();
        lab.apply(&init());
        // The same transactional id again: its epoch is 1 now.
        lab.apply(&init());
        let decided = lab.apply(&commit_offset(42));
        let refused = milena_txn::Answer::OffsetsAdmitted(Err(milena_txn::Refusal::ProducerFenced));
        assert_eq!((decided.answer, decided.offsets), (refused, None));
        assert!(!lab.state.groups.read().unwrap().contains("g"));
    }

    #[test]
    fn both_machines_come_back_from_the_same_pairs() {
        let mut lab = Lab::default();
        lab.apply(&init());
        lab.apply(&commit_offset(42));
        let restored = lab.restored();
        assert!(restored.groups.read().unwrap().has_pending("g", TOPIC, 0));
        assert_eq!(*restored.transactions.read().unwrap(), *lab.state.transactions.read().unwrap());
        lab.apply(&end(true));
        assert_eq!(offset(&lab.restored()), Some(42));
        let state =
            |state: CoordinationState| state.transactions.read().unwrap().find("x").map(|it| it.state());
        assert_eq!(state(lab.restored()), Some(State::CompleteCommit));
    }

    #[tokio::test]
    async fn a_decision_with_partitions_makes_markers_due() {
        let mut lab = Lab::default();
        lab.state.due.open();
        lab.apply(&init());
        let partitions: Partitions = [(milena_txn::TopicId([1; 16]), "t", 0)].into_iter().collect();
        lab.apply(&Command::AddPartitions(milena_txn::AddPartitions {
            transactional_id: "x".into(),
            now_ms: 2,
            producer: PRODUCER,
            partitions,
        }));
        lab.apply(&end(true));
        assert_eq!(lab.state.due.take().await, ["x".to_owned()].into());
    }
}
