//! InitProducerId: a client begins, or begins again (TX-2, TX-3; KIP-360).

use std::collections::BTreeSet;

use super::end::Ending;
use super::{Answer, Applied, Changes, Transactions};
use crate::command::InitProducerId;
use crate::refusal::Refusal;
use crate::state::{State, TransactionVersion};
use crate::transaction::{Partitions, ProducerIdAndEpoch, Transaction};

impl Transactions {
    pub(super) fn init_producer_id(
        &mut self,
        index: u64,
        command: &InitProducerId,
        changes: &mut dyn Changes,
    ) -> Applied {
        let transactional_id = &command.transactional_id;
        let Some(known) = self.entries.get(transactional_id) else {
            // Also for a client that says who it is: its transactional id has expired meanwhile.
            let fresh = ProducerIdAndEpoch { producer_id: command.fresh_producer_id, epoch: 0 };
            self.put(transactional_id, Transaction::empty(fresh, None, command), changes);
            return Answer::Initialized(Ok(fresh)).into();
        };
        match known.initialize(command) {
            Err(refusal) => Answer::Initialized(Err(refusal)).into(),
            Ok(Step::Repeat) => Answer::Initialized(Ok(known.producer)).into(),
            Ok(Step::Go { producer, last }) => {
                self.put(transactional_id, Transaction::empty(producer, last, command), changes);
                Answer::Initialized(Ok(producer)).into()
            }
            Ok(Step::Fence) => {
                let ending = Ending {
                    commit: false,
                    version: TransactionVersion::V2,
                    fresh_producer_id: Some(command.fresh_producer_id),
                    // Whoever is fenced must not take this abort for its own and go on.
                    ended: None,
                    // A client that named itself may ask again under the same name.
                    last: command.expected,
                };
                let settled = self.decide(index, transactional_id, command.now_ms, ending, changes);
                Applied { answer: Answer::Initialized(Err(Refusal::ConcurrentTransactions)), settled }
            }
        }
    }
}

/// What InitProducerId does to a known transactional id.
enum Step {
    /// The answer went astray; here it is again.
    Repeat,
    /// The client goes on as this.
    Go { producer: ProducerIdAndEpoch, last: Option<ProducerIdAndEpoch> },
    /// The open transaction is aborted first; the client asks again.
    Fence,
}

impl Transaction {
    fn initialize(&self, command: &InitProducerId) -> Result<Step, Refusal> {
        let is_repeat = command.expected.is_some() && command.expected == self.last;
        if !is_repeat && command.expected.is_some_and(|expected| expected != self.successor()) {
            return Err(Refusal::ProducerFenced);
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort => Err(Refusal::ConcurrentTransactions),
            _ if is_repeat => Ok(Step::Repeat),
            State::Ongoing => Ok(Step::Fence),
            State::Empty
            | State::CompleteCommit
            | State::CompleteAbort
            | State::Dead
            | State::PrepareEpochFence => {
                let last = command.expected;
                let producer = if self.producer.is_exhausted() {
                    ProducerIdAndEpoch { producer_id: command.fresh_producer_id, epoch: 0 }
                } else {
                    self.producer.bumped()
                };
                Ok(Step::Go { producer, last })
            }
        }
    }

    fn empty(
        producer: ProducerIdAndEpoch,
        last: Option<ProducerIdAndEpoch>,
        command: &InitProducerId,
    ) -> Self {
        Self {
            producer,
            last,
            next_producer_id: None,
            ended: None,
            timeout_ms: command.timeout_ms,
            state: State::Empty,
            version: TransactionVersion::V0,
            partitions: Partitions::default(),
            groups: BTreeSet::new(),
            start_time_ms: None,
            update_time_ms: command.now_ms,
            sequence: 0,
        }
    }
}
