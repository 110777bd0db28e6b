//! Committed offsets: written under a fence, read, deleted.

use std::collections::{BTreeMap, BTreeSet};

use milena_bugs::{Bug, is_on};
use prost::Message;

use super::expiry::Subscription;
use super::pairs::{offset_key, put_group};
use super::{Answer, Changes, Entry, Groups};
use crate::event::TopicId;
use crate::fence::{Claim, check_commit};
use crate::refusal::Refusal;
use crate::stored;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch as committed; -1 if the client did not say (KIP-320).
    pub leader_epoch: i32,
    /// Unchanged, as committed.
    pub metadata: String,
    /// Leader's clock when it was proposed, milliseconds since 1970.
    pub commit_time_ms: i64,
    /// When it expires, if the request named its own retention.
    pub expire_time_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct TopicOffsets {
    pub name: String,
    pub partitions: BTreeMap<i32, Committed>,
}

impl TopicOffsets {
    pub fn new(name: String) -> Self {
        Self { name, partitions: BTreeMap::new() }
    }
}

impl Committed {
    pub(super) fn to_stored(&self, topic: &str) -> stored::Offset {
        stored::Offset {
            topic: topic.to_owned(),
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_time_ms: self.commit_time_ms,
            expire_time_ms: self.expire_time_ms,
        }
    }

    pub(super) fn from_stored(stored: stored::Offset) -> Self {
        Self {
            offset: stored.offset,
            leader_epoch: stored.leader_epoch,
            metadata: stored.metadata,
            commit_time_ms: stored.commit_time_ms,
            expire_time_ms: stored.expire_time_ms,
        }
    }
}

impl Groups {
    /// The offset committed for one partition.
    pub fn offset(&self, group: &str, topic_id: TopicId, partition: i32) -> Option<&Committed> {
        self.entries.get(group)?.offsets.get(&topic_id)?.partitions.get(&partition)
    }

    /// All offsets of the group, topic by topic, partitions ascending; none for an unknown group (OF-1).
    pub fn offsets<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = (TopicId, &'a str, i32, &'a Committed)> + use<'a> {
        self.entries.get(group).into_iter().flat_map(|entry| &entry.offsets).flat_map(|(id, topic)| {
            topic.partitions.iter().map(|(partition, it)| (*id, topic.name.as_str(), *partition, it))
        })
    }

    /// Topics that offsets belong to. A new leader compares them with the cluster's topics, and reports
    /// those that are gone as [`Event::TopicsDeleted`](crate::Event::TopicsDeleted): that event may have
    /// been lost with its predecessor.
    pub fn topic_ids(&self) -> BTreeSet<TopicId> {
        let of = |entry: &'_ Entry| {
            let pending: BTreeSet<TopicId> = entry.pending.keys().map(|(id, ..)| *id).collect();
            entry.offsets.keys().copied().chain(pending).collect::<Vec<_>>()
        };
        self.entries.values().flat_map(of).collect()
    }

    pub(super) fn commit_batch(
        &mut self,
        batch: &stored::CommitBatch,
        changes: &mut dyn Changes,
    ) -> Vec<Result<(), Refusal>> {
        batch.items.iter().map(|item| self.commit_item(batch.leader_time_ms, item, changes)).collect()
    }

    fn commit_item(
        &mut self,
        time_ms: i64,
        item: &stored::CommitItem,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        if !self.entries.contains_key(&item.group) {
            if item.generation >= 0 {
                return Err(Refusal::GroupIdNotFound);
            }
            // A simple consumer's first commit makes the group, without a protocol type.
            let record = stored::Group { phase_time_ms: time_ms, ..stored::Group::default() };
            put_group(&item.group, &record, changes);
            self.entries.insert(item.group.clone(), Entry { record, ..Entry::default() });
        }
        let Some(entry) = self.entries.get_mut(&item.group) else {
            return Err(Refusal::GroupIdNotFound);
        };
        let claim = Claim {
            member_id: &item.member_id,
            instance_id: item.instance_id.as_deref(),
            generation: item.generation,
        };
        // What was valid when it was proposed may not be any more.
        if !is_on(Bug::G4) {
            check_commit(&entry.record, entry.record.state(), entry.record.generation, &claim)?;
        }

        let expire_time_ms = item.retention_ms.map(|retention| time_ms.saturating_add(retention));
        for it in &item.offsets {
            let Some(topic_id) = TopicId::from_stored(&it.topic_id) else { continue };
            let committed = Committed {
                offset: it.offset,
                leader_epoch: it.leader_epoch,
                metadata: it.metadata.clone(),
                commit_time_ms: time_ms,
                expire_time_ms,
            };
            entry.drop_pending(&item.group, topic_id, it.partition, changes);
            entry.put_offset(&item.group, topic_id, &it.topic, it.partition, committed, changes);
        }
        Ok(())
    }

    pub(super) fn delete_offsets(
        &mut self,
        command: &stored::DeleteOffsets,
        changes: &mut dyn Changes,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let entry = self.entries.get_mut(&command.group).ok_or(Refusal::GroupIdNotFound)?;
        let subscription = Subscription::for_deletion(&entry.record)?;
        let mut verdicts = Vec::with_capacity(command.partitions.len());
        for it in &command.partitions {
            let Some(topic_id) = TopicId::from_stored(&it.topic_id) else {
                verdicts.push(Ok(()));
                continue;
            };
            let name = entry.offsets.get(&topic_id).map(|topic| topic.name.as_str());
            if name.is_some_and(|name| subscription.includes(name)) {
                verdicts.push(Err(Refusal::GroupSubscribedToTopic));
                continue;
            }
            entry.remove_offset(&command.group, topic_id, it.partition, changes);
            entry.drop_pending(&command.group, topic_id, it.partition, changes);
            verdicts.push(Ok(()));
        }
        Ok(verdicts)
    }

    pub(super) fn delete_topics(
        &mut self,
        command: &stored::DeleteTopics,
        changes: &mut dyn Changes,
    ) -> Answer {
        let mut removed = 0;
        for topic_id in command.topic_ids.iter().filter_map(|id| TopicId::from_stored(id)) {
            for (group, entry) in &mut self.entries {
                entry.drop_pending_of_topic(group, topic_id, changes);
                let Some(topic) = entry.offsets.remove(&topic_id) else { continue };
                for partition in topic.partitions.into_keys() {
                    changes.delete(offset_key(group, topic_id, partition));
                    removed += 1;
                }
            }
        }
        Answer::Removed { offsets: removed, groups: 0 }
    }

    /// Number of offsets of the group.
    pub fn offset_count(&self, group: &str) -> usize {
        self.entries.get(group).map_or(0, |it| it.offsets.values().map(|t| t.partitions.len()).sum())
    }
}

impl Entry {
    /// Makes this the committed offset.
    pub(super) fn put_offset(
        &mut self,
        group: &str,
        topic_id: TopicId,
        topic: &str,
        partition: i32,
        committed: Committed,
        changes: &mut dyn Changes,
    ) {
        let topic = self.offsets.entry(topic_id).or_insert_with(|| TopicOffsets::new(topic.to_owned()));
        let stored = committed.to_stored(&topic.name);
        changes.put(offset_key(group, topic_id, partition), stored.encode_to_vec());
        topic.partitions.insert(partition, committed);
    }

    /// Removes one offset, if it is there.
    pub(super) fn remove_offset(
        &mut self,
        group: &str,
        topic_id: TopicId,
        partition: i32,
        changes: &mut dyn Changes,
    ) {
        let Some(topic) = self.offsets.get_mut(&topic_id) else { return };
        if topic.partitions.remove(&partition).is_none() {
            return;
        }
        if topic.partitions.is_empty() {
            self.offsets.remove(&topic_id);
        }
        changes.delete(offset_key(group, topic_id, partition));
    }
}

impl TopicId {
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn to_stored(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }
}
