//! Decisions: EndTxn, time-outs, fencing (TX-6, TX-7, TX-9).

use milena_bugs::{Bug, is_on};

use super::{Answer, Applied, Changes, Settled, Transactions};
use crate::command::{EndTransaction, TimeOut};
use crate::refusal::Refusal;
use crate::state::{State, TransactionVersion};
use crate::transaction::{ProducerIdAndEpoch, Transaction};

/// How a transaction ends.
pub(super) struct Ending {
    pub commit: bool,
    pub version: TransactionVersion,
    /// Used if the bump uses up the epochs.
    pub fresh_producer_id: Option<i64>,
    /// Whose EndTxn is from now on a repeat of this one.
    pub ended: Option<ProducerIdAndEpoch>,
    /// Whose InitProducerId from now on is answered with the bumped epoch, not with another.
    pub last: Option<ProducerIdAndEpoch>,
}

impl Transactions {
    pub(super) fn end_transaction(
        &mut self,
        index: u64,
        command: &EndTransaction,
        changes: &mut dyn Changes,
    ) -> Applied {
        let refused = |refusal| Answer::Ended(Err(refusal)).into();
        let transactional_id = &command.transactional_id;
        let Some(known) = self.entries.get(transactional_id) else {
            return refused(Refusal::InvalidProducerIdMapping);
        };
        match known.end(command) {
            Err(refusal) => refused(refusal),
            Ok(None) => Answer::Ended(Ok(known.producer)).into(),
            Ok(Some(version)) => {
                let ending = Ending {
                    commit: command.commit,
                    version,
                    fresh_producer_id: command.fresh_producer_id,
                    ended: Some(command.producer),
                    last: if version == TransactionVersion::V2 { Some(command.producer) } else { known.last },
                };
                let settled = self.decide(index, transactional_id, command.now_ms, ending, changes);
                let producer = self.entries[transactional_id].successor();
                Applied { answer: Answer::Ended(Ok(producer)), settled }
            }
        }
    }

    pub(super) fn time_out(&mut self, index: u64, command: &TimeOut, changes: &mut dyn Changes) -> Applied {
        let is_due = |it: &Transaction| {
            let named = it.sequence == command.sequence
                && it.deadline_ms().is_some_and(|deadline| deadline < command.now_ms);
            it.state == State::Ongoing && (named || is_on(Bug::T8))
        };
        let Some(known) = self.entries.get(&command.transactional_id).filter(|it| is_due(it)) else {
            return Answer::TimedOut(false).into();
        };
        let ending = Ending {
            commit: false,
            version: TransactionVersion::V2,
            fresh_producer_id: Some(command.fresh_producer_id),
            // The client may still find out by an abort of its own and then go on, as at Kafka.
            ended: Some(known.producer),
            last: Some(known.producer),
        };
        let settled = self.decide(index, &command.transactional_id, command.now_ms, ending, changes);
        Applied { answer: Answer::TimedOut(true), settled }
    }

    /// The decision. The transactional id is known and none of its transactions lacks markers.
    pub(super) fn decide(
        &mut self,
        index: u64,
        transactional_id: &str,
        now_ms: i64,
        ending: Ending,
        changes: &mut dyn Changes,
    ) -> Option<Settled> {
        let known = &self.entries[transactional_id];
        assert!(!known.state.is_prepared(), "{transactional_id} is decided already: {known:?}");
        let mut transaction = known.clone();
        let groups: Vec<String> = std::mem::take(&mut transaction.groups).into_iter().collect();
        let settled = (!groups.is_empty()).then_some(Settled {
            producer: transaction.producer,
            groups,
            commit: ending.commit,
        });
        if transaction.state != State::Ongoing {
            // The abort of a transaction that nothing was added to.
            transaction.sequence = index;
            transaction.start_time_ms = Some(now_ms);
        }
        if ending.version == TransactionVersion::V2 && !is_on(Bug::T1) {
            if transaction.producer.is_exhausted() {
                transaction.next_producer_id = ending.fresh_producer_id;
            }
            transaction.producer = transaction.producer.bumped();
        }
        transaction.version = ending.version;
        transaction.ended = ending.ended;
        transaction.last = ending.last;
        transaction.state = State::prepared(ending.commit);
        transaction.update_time_ms = now_ms;
        if transaction.partitions.is_empty() {
            transaction.complete();
        }
        if is_on(Bug::T10) && transaction.state.is_prepared() {
            self.set(transactional_id, transaction);
        } else {
            self.put(transactional_id, transaction, changes);
        }
        settled
    }
}

impl Transaction {
    /// What EndTxn comes to: an end of this version, or `None` for a repeat of the last one.
    fn end(&self, command: &EndTransaction) -> Result<Option<TransactionVersion>, Refusal> {
        let version = if command.bumps { TransactionVersion::V2 } else { TransactionVersion::V0 };
        if let Some(decision) = self.state.decision()
            && self.ended == Some(command.producer)
            && self.version == version
        {
            return match (decision == command.commit, self.state.is_prepared()) {
                (true, true) => Err(Refusal::ConcurrentTransactions),
                (true, false) => Ok(None),
                (false, _) => Err(Refusal::InvalidTxnState),
            };
        }
        let takes_repeat_for_new = is_on(Bug::T5) && command.producer.bumped() == self.producer;
        if !takes_repeat_for_new {
            self.check(command.producer)?;
        }
        match self.state {
            State::Ongoing => {}
            // The client cannot know whether anything was added: its partitions are added by its records.
            State::Empty | State::CompleteCommit | State::CompleteAbort
                if command.bumps && !command.commit && !is_on(Bug::T6) => {}
            State::Empty
            | State::CompleteCommit
            | State::CompleteAbort
            | State::PrepareCommit
            | State::PrepareAbort
            | State::Dead
            | State::PrepareEpochFence => return Err(Refusal::InvalidTxnState),
        }
        if command.bumps && self.producer.is_exhausted() && command.fresh_producer_id.is_none() {
            return Err(Refusal::NeedsProducerId);
        }
        Ok(Some(version))
    }

    /// The last marker is written, or none was needed.
    pub(super) fn complete(&mut self) {
        self.state = self.state.completed();
        self.producer = self.successor();
        self.next_producer_id = None;
    }
}
