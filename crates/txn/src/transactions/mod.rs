//! The replicated state: every transactional id, and what follows from a command.

mod begin;
mod end;
mod expiry;
mod init;
mod markers;
mod pairs;
mod reads;

use std::collections::{BTreeMap, BTreeSet};

pub use markers::{MarkersDue, MarkersOutcome};
pub use pairs::{KEY_PREFIX, RestoreError};
pub use reads::Listing;

use crate::command::Command;
use crate::refusal::Refusal;
use crate::transaction::{ProducerIdAndEpoch, Transaction};

/// State of all transactional ids, a function of the log alone.
///
/// Reads do not lock and do not change anything. A read that a client must be able to rely on belongs behind a
/// confirmation of leadership (ReadIndex): this value may be that of a leader that was replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transactions {
    entries: BTreeMap<String, Transaction>,
    /// Ids of those that are decided and lack markers; follows from `entries`.
    prepared: BTreeSet<String>,
    /// Deadlines of the open ones; follows from `entries`.
    deadlines: BTreeSet<(i64, String)>,
}

/// What applying a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The reply.
    pub answer: Answer,
    /// A transaction with offsets was decided: in the same entry, the groups must make them visible or drop
    /// them.
    pub settled: Option<Settled>,
}

/// Offsets of groups whose transaction was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The producer as it committed the offsets, not as the end made it.
    pub producer: ProducerIdAndEpoch,
    /// Groups that were part of the transaction.
    pub groups: Vec<String>,
    /// Visible, or dropped.
    pub commit: bool,
}

/// The reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// InitProducerId: what the client is from now on.
    Initialized(Result<ProducerIdAndEpoch, Refusal>),
    /// AddPartitionsToTxn, AddOffsetsToTxn, or a Produce that added its partition: the same for all partitions.
    Added(Result<(), Refusal>),
    /// TxnOffsetCommit: if yes, the groups' half of the command is to be applied at the same index.
    OffsetsAdmitted(Result<(), Refusal>),
    /// EndTxn: decided. What the client is from now on; EndTxn v5 and up tells it.
    Ended(Result<ProducerIdAndEpoch, Refusal>),
    /// Whether a transaction was aborted for its age.
    TimedOut(bool),
    /// What the markers completed.
    Markers(MarkersOutcome),
    /// Transactions that became complete because nothing is left to mark in deleted topics.
    TopicsDeleted {
        /// How many.
        completed: usize,
    },
    /// Transactional ids that were forgotten.
    Expired {
        /// How many.
        removed: usize,
    },
}

/// Receives the stored pairs that a command changes.
pub trait Changes {
    /// The key now has this value.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>);
    /// The key is gone.
    fn delete(&mut self, key: Vec<u8>);
}

/// In order; `None` deletes.
impl Changes for Vec<(Vec<u8>, Option<Vec<u8>>)> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.push((key, Some(value)));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.push((key, None));
    }
}

impl From<Answer> for Applied {
    fn from(answer: Answer) -> Self {
        Self { answer, settled: None }
    }
}

impl Transactions {
    /// Applies the committed command at log position `index`, which grows from call to call and is never 0. Cannot
    /// fail: what does not fit the state changes nothing, and the answer says so.
    pub fn apply(&mut self, index: u64, command: &Command, changes: &mut dyn Changes) -> Applied {
        match command {
            Command::InitProducerId(it) => self.init_producer_id(index, it, changes),
            Command::AddPartitions(it) => Answer::Added(self.add_partitions(index, it, changes)).into(),
            Command::AddOffsets(it) => Answer::Added(self.add_offsets(index, it, changes)).into(),
            Command::CommitOffsets(it) => {
                Answer::OffsetsAdmitted(self.admit_offsets(index, it, changes)).into()
            }
            Command::EndTransaction(it) => self.end_transaction(index, it, changes),
            Command::TimeOut(it) => self.time_out(index, it, changes),
            Command::MarkersWritten(it) => Answer::Markers(self.markers_written(it, changes)).into(),
            Command::DeleteTopics { now_ms, topic_ids } => {
                let completed = self.delete_topics(*now_ms, topic_ids, changes);
                Answer::TopicsDeleted { completed }.into()
            }
            Command::Expire(idle) => Answer::Expired { removed: self.expire(idle, changes) }.into(),
        }
    }

    /// Makes this the state of the transactional id, here and in the stored pairs.
    fn put(&mut self, transactional_id: &str, transaction: Transaction, changes: &mut dyn Changes) {
        changes.put(pairs::key(transactional_id), pairs::value(&transaction));
        self.set(transactional_id, transaction);
    }

    /// As [`Self::put`], here alone.
    fn set(&mut self, transactional_id: &str, transaction: Transaction) {
        if transaction.state.is_prepared() {
            self.prepared.insert(transactional_id.to_owned());
        } else {
            self.prepared.remove(transactional_id);
        }
        let deadline = transaction.deadline_ms();
        let before = self.entries.insert(transactional_id.to_owned(), transaction);
        let deadline_before = before.and_then(|it| it.deadline_ms());
        if deadline != deadline_before {
            if let Some(before) = deadline_before {
                self.deadlines.remove(&(before, transactional_id.to_owned()));
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, transactional_id.to_owned()));
            }
        }
    }
}
