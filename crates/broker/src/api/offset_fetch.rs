//! OffsetFetch (9), versions 1 to 10: what a group has committed. Version 2 may ask for everything, 5 tells
//! the leader epoch, 7 asks for stable offsets, 8 for many groups (KIP-709), 10 names topics by id.
//!
//! No commit is offset -1 without an error, also for a group that does not exist (OF-1). The answer holds
//! every commit that was acknowledged before the request came (rule G7). Who asks for stable offsets is told to come
//! again while an open transaction may still change one (OF-2).

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_group::{Committed, Groups, TopicId};
use milena_wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use milena_wire::{ErrorCode, Uuid};

use crate::coordination::Coordination;
use crate::dispatch::Context;
use crate::error::group_code;
use crate::view::View;

/// Answers one group or many; older versions have one in other fields.
pub(crate) async fn answer(
    coordination: Coordination,
    view: Arc<View>,
    context: Context,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let by_id = context.version >= 10;
    let groups = match coordination.read().await {
        Ok(groups) => groups,
        Err(refusal) => return failed(&context, &request, group_code(refusal)),
    };
    if context.version >= 8 {
        let reading = Reading { groups: &groups, stable: request.require_stable };
        let answers = request.groups.into_iter().map(|asked| one_group(&reading, &view, by_id, asked));
        return OffsetFetchResponse { groups: answers.collect(), ..Default::default() };
    }
    let asked = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| {
            let topics = topics.into_iter().map(|it| OffsetFetchRequestTopics {
                name: it.name,
                partition_indexes: it.partition_indexes,
                ..Default::default()
            });
            topics.collect()
        }),
        ..Default::default()
    };
    let reading = Reading { groups: &groups, stable: request.require_stable };
    single(one_group(&reading, &view, by_id, asked))
}

fn failed(context: &Context, request: &OffsetFetchRequest, code: ErrorCode) -> OffsetFetchResponse {
    let error_code = code.code();
    if context.version < 8 {
        return OffsetFetchResponse { error_code, ..Default::default() };
    }
    let groups = request.groups.iter().map(|asked| OffsetFetchResponseGroup {
        group_id: asked.group_id.clone(),
        error_code,
        ..Default::default()
    });
    OffsetFetchResponse { groups: groups.collect(), ..Default::default() }
}

/// What is read, and how.
struct Reading<'a> {
    groups: &'a Groups,
    /// No offset that an open transaction may still change.
    stable: bool,
}

impl Reading<'_> {
    fn partition(
        &self,
        group: &str,
        topic: TopicId,
        index: i32,
        committed: Option<&Committed>,
    ) -> OffsetFetchResponsePartitions {
        if self.stable && self.groups.has_pending(group, topic, index) {
            let error_code = ErrorCode::UnstableOffsetCommit.code();
            return OffsetFetchResponsePartitions { error_code, ..found(index, None) };
        }
        found(index, committed)
    }
}

fn one_group(
    reading: &Reading<'_>,
    view: &View,
    by_id: bool,
    asked: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let topics = match asked.topics {
        None => everything(reading, &asked.group_id),
        Some(topics) => {
            topics.into_iter().map(|topic| named(reading, view, by_id, &asked.group_id, topic)).collect()
        }
    };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, ..Default::default() }
}

fn everything(reading: &Reading<'_>, group: &str) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: BTreeMap<TopicId, OffsetFetchResponseTopics> = BTreeMap::new();
    for (id, name, partition, committed) in reading.groups.offsets(group) {
        let topic = topics.entry(id).or_insert_with(|| OffsetFetchResponseTopics {
            name: name.into(),
            topic_id: Uuid(id.0),
            ..Default::default()
        });
        topic.partitions.push(reading.partition(group, id, partition, Some(committed)));
    }
    topics.into_values().collect()
}

fn named(
    reading: &Reading<'_>,
    view: &View,
    by_id: bool,
    group: &str,
    topic: OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let id = if by_id { Some(topic.topic_id) } else { view.topic(&topic.name).map(|it| it.id) };
    let unknown = by_id && view.topic_by_id(topic.topic_id).is_none();
    let partitions = topic.partition_indexes.into_iter().map(|index| {
        let mut partition = match id.map(|id| TopicId(id.0)) {
            Some(id) => reading.partition(group, id, index, reading.groups.offset(group, id, index)),
            None => found(index, None),
        };
        if unknown {
            partition.error_code = ErrorCode::UnknownTopicId.code();
        }
        partition
    });
    OffsetFetchResponseTopics { partitions: partitions.collect(), name: topic.name, topic_id: topic.topic_id }
}

fn found(partition_index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.map_or(-1, |it| it.offset),
        committed_leader_epoch: committed.map_or(-1, |it| it.leader_epoch),
        metadata: Some(committed.map(|it| it.metadata.as_str()).unwrap_or_default().into()),
        error_code: 0,
    }
}

/// The layout before version 8.
fn single(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|it| OffsetFetchResponsePartition {
            partition_index: it.partition_index,
            committed_offset: it.committed_offset,
            committed_leader_epoch: it.committed_leader_epoch,
            metadata: it.metadata,
            error_code: it.error_code,
        });
        OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}
