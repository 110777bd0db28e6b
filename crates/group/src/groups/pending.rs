//! Offsets of open transactions: committed, not visible, until the transaction is decided (TX-8, TX-10).
//!
//! Of the offsets for one partition the one that was committed last counts, in the order of the log, not of the
//! decisions: so an offset that becomes visible takes the older pending ones with it, whatever becomes of their
//! transactions.

use std::ops::RangeInclusive;

use prost::Message;

use super::offsets::Committed;
use super::pairs::{pending_key, put_group};
use super::{Changes, Entry, Groups};
use crate::event::TopicId;
use crate::fence::{Claim, check_txn_commit};
use crate::refusal::Refusal;
use crate::stored;

/// What the offset will be if the transaction commits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingOffset {
    topic: String,
    committed: Committed,
    producer_epoch: i32,
    index: u64,
}

impl PendingOffset {
    fn to_stored(&self) -> stored::PendingOffset {
        stored::PendingOffset {
            offset: Some(self.committed.to_stored(&self.topic)),
            producer_epoch: self.producer_epoch,
            index: self.index,
        }
    }

    pub fn from_stored(stored: stored::PendingOffset) -> Self {
        let offset = stored.offset.unwrap_or_default();
        Self {
            topic: offset.topic.clone(),
            committed: Committed::from_stored(offset),
            producer_epoch: stored.producer_epoch,
            index: stored.index,
        }
    }
}

impl Groups {
    pub(super) fn commit_pending(
        &mut self,
        index: u64,
        command: &stored::TxnCommitOffsets,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let group = &command.group;
        if !self.entries.contains_key(group) {
            if command.generation >= 0 {
                return Err(Refusal::IllegalGeneration);
            }
            let phase_time_ms = command.leader_time_ms;
            let record = stored::Group { phase_time_ms, ..stored::Group::default() };
            put_group(group, &record, changes);
            self.entries.insert(group.clone(), Entry { record, ..Entry::default() });
        }
        let entry = self.entries.get_mut(group).ok_or(Refusal::GroupIdNotFound)?;
        let claim = Claim {
            member_id: &command.member_id,
            instance_id: command.instance_id.as_deref(),
            generation: command.generation,
        };
        check_txn_commit(&entry.record, entry.record.state(), entry.record.generation, &claim)?;
        for it in &command.offsets {
            let Some(topic_id) = TopicId::from_stored(&it.topic_id) else { continue };
            let pending = PendingOffset {
                topic: it.topic.clone(),
                committed: Committed {
                    offset: it.offset,
                    leader_epoch: it.leader_epoch,
                    metadata: it.metadata.clone(),
                    commit_time_ms: command.leader_time_ms,
                    expire_time_ms: None,
                },
                producer_epoch: command.producer_epoch,
                index,
            };
            let key = pending_key(group, topic_id, it.partition, command.producer_id);
            changes.put(key, pending.to_stored().encode_to_vec());
            entry.pending.insert((topic_id, it.partition, command.producer_id), pending);
        }
        Ok(())
    }

    /// The transaction of this producer is decided, in the entry that is being applied: what it committed in these
    /// groups becomes visible, or is dropped. What another epoch of the producer left is dropped in any case (T12).
    pub fn settle<'a>(
        &mut self,
        groups: impl IntoIterator<Item = &'a str>,
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
        changes: &mut dyn Changes,
    ) {
        for group in groups {
            if let Some(entry) = self.entries.get_mut(group) {
                entry.settle(group, producer_id, producer_epoch.into(), commit, changes);
            }
        }
    }

    /// Whether a transaction may still change the offset of this partition: UNSTABLE_OFFSET_COMMIT (88) for readers
    /// that require a stable one (OF-2).
    pub fn has_pending(&self, group: &str, topic_id: TopicId, partition: i32) -> bool {
        self.entries.get(group).is_some_and(|entry| entry.has_pending(topic_id, partition))
    }

    /// Topic id, partition and producer id of every pending offset of the group.
    pub fn pending<'a>(&'a self, group: &str) -> impl Iterator<Item = (TopicId, i32, i64)> + use<'a> {
        self.entries.get(group).into_iter().flat_map(|entry| entry.pending.keys().copied())
    }
}

impl Entry {
    pub(super) fn has_pending(&self, topic_id: TopicId, partition: i32) -> bool {
        self.pending.range(of_partition(topic_id, partition)).next().is_some()
    }

    /// Drops what open transactions committed for the partition.
    pub(super) fn drop_pending(
        &mut self,
        group: &str,
        topic_id: TopicId,
        partition: i32,
        changes: &mut dyn Changes,
    ) {
        self.drop_older_pending(group, topic_id, partition, u64::MAX, changes);
    }

    pub(super) fn drop_pending_of_topic(
        &mut self,
        group: &str,
        topic_id: TopicId,
        changes: &mut dyn Changes,
    ) {
        self.drop_pending_if(group, changes, |(id, ..), _| *id == topic_id);
    }

    pub(super) fn drop_all_pending(&mut self, group: &str, changes: &mut dyn Changes) {
        self.drop_pending_if(group, changes, |_, _| true);
    }

    fn settle(
        &mut self,
        group: &str,
        producer_id: i64,
        producer_epoch: i32,
        commit: bool,
        changes: &mut dyn Changes,
    ) {
        let mut visible = Vec::new();
        self.drop_pending_if(group, changes, |(topic_id, partition, of), pending| {
            if *of != producer_id {
                return false;
            }
            if commit && pending.producer_epoch == producer_epoch {
                visible.push((*topic_id, *partition, pending.clone()));
            }
            true
        });
        for (topic_id, partition, PendingOffset { topic, committed, index, .. }) in visible {
            self.drop_older_pending(group, topic_id, partition, index, changes);
            self.put_offset(group, topic_id, &topic, partition, committed, changes);
        }
    }

    fn drop_older_pending(
        &mut self,
        group: &str,
        topic_id: TopicId,
        partition: i32,
        index: u64,
        changes: &mut dyn Changes,
    ) {
        let all = self.pending.range(of_partition(topic_id, partition));
        let older: Vec<_> = all.filter(|(_, it)| it.index < index).map(|(key, _)| *key).collect();
        for key in older {
            self.pending.remove(&key);
            changes.delete(pending_key(group, topic_id, partition, key.2));
        }
    }

    fn drop_pending_if(
        &mut self,
        group: &str,
        changes: &mut dyn Changes,
        mut goes: impl FnMut(&(TopicId, i32, i64), &PendingOffset) -> bool,
    ) {
        self.pending.retain(|key, pending| {
            let goes = goes(key, pending);
            if goes {
                let (topic_id, partition, producer_id) = *key;
                changes.delete(pending_key(group, topic_id, partition, producer_id));
            }
            !goes
        });
    }
}

fn of_partition(topic_id: TopicId, partition: i32) -> RangeInclusive<(TopicId, i32, i64)> {
    (topic_id, partition, i64::MIN)..=(topic_id, partition, i64::MAX)
}
