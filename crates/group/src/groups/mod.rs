//! The replicated half: every group's last generation and every committed offset.

mod expiry;
mod membership;
mod offsets;
mod pairs;
mod pending;

use std::collections::BTreeMap;

pub(crate) use expiry::Subscription;
pub use offsets::Committed;
pub use pairs::RestoreError;

use crate::command::Command;
use crate::event::TopicId;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};
use offsets::TopicOffsets;
use pending::PendingOffset;

/// State of all groups, a function of the log alone.
///
/// Reads do not lock and do not change anything. A read that a client must be able to rely on belongs
/// behind a confirmation of leadership (ReadIndex): this value may be that of a leader that was replaced.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    entries: BTreeMap<String, Entry>,
}

/// One group: a record always, offsets perhaps.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    record: stored::Group,
    offsets: BTreeMap<TopicId, TopicOffsets>,
    /// By topic, partition and producer id.
    pending: BTreeMap<(TopicId, i32, i64), PendingOffset>,
}

/// What applying a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The change of membership took effect; the group now has this revision.
    Membership {
        /// Log index of the command.
        revision: u64,
    },
    /// The group was not at the revision that the command builds on; nothing changed.
    Stale,
    /// One verdict per item of the batch.
    Commits(Vec<Result<(), Refusal>>),
    /// TxnOffsetCommit: for all offsets.
    OffsetsPending(Result<(), Refusal>),
    /// For all, or one verdict per partition.
    OffsetsDeleted(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// Whether the group was deleted.
    GroupDeleted(Result<(), Refusal>),
    /// What expiry or a topic's deletion took away.
    Removed {
        /// Committed offsets.
        offsets: u64,
        /// Groups with nothing left.
        groups: u64,
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

impl Groups {
    /// Applies the committed command at log position `index`, which grows from call to call. Cannot refuse:
    /// what does not fit the state changes nothing, and the answer says so.
    pub fn apply(&mut self, index: u64, command: &Command, changes: &mut dyn Changes) -> Answer {
        match &command.0 {
            Kind::FormGeneration(it) => self.form_generation(index, it, changes),
            Kind::StoreAssignment(it) => self.store_assignment(index, it, changes),
            Kind::ReplaceMember(it) => self.replace_member(index, it, changes),
            Kind::EmptyGroup(it) => self.empty_group(index, it, changes),
            Kind::DeleteGroup(it) => Answer::GroupDeleted(self.delete_group(it, changes)),
            Kind::CommitBatch(it) => Answer::Commits(self.commit_batch(it, changes)),
            Kind::DeleteOffsets(it) => Answer::OffsetsDeleted(self.delete_offsets(it, changes)),
            Kind::ExpireOffsets(it) => self.expire_offsets(it, changes),
            Kind::DeleteTopics(it) => self.delete_topics(it, changes),
            Kind::TxnCommitOffsets(it) => Answer::OffsetsPending(self.commit_pending(index, it, changes)),
        }
    }

    /// Number of groups, those with offsets only included.
    pub fn group_count(&self) -> usize {
        self.entries.len()
    }

    /// Whether the group exists, with members or offsets or neither.
    pub fn contains(&self, group: &str) -> bool {
        self.entries.contains_key(group)
    }

    pub(crate) fn record(&self, group: &str) -> Option<&stored::Group> {
        self.entries.get(group).map(|entry| &entry.record)
    }

    /// In the order of group ids.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, &stored::Group)> {
        self.entries.iter().map(|(group, entry)| (group.as_str(), &entry.record))
    }
}
