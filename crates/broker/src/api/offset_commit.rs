//! OffsetCommit (8), versions 2 to 10. Version 5 drops the retention time, 6 adds the leader epoch, 7 static
//! members, 9 GROUP_ID_NOT_FOUND, 10 topic ids.

use std::sync::Arc;

use milena_group::{CommitOffsets, OffsetToCommit};
use milena_wire::ErrorCode;
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

use crate::coordination::Coordination;
use crate::dispatch::Context;
use crate::error::group_code;
use crate::view::{TopicSummary, View};

/// Commits what exists; a partition that does not gets its own error (OC-4).
pub(crate) async fn answer(
    coordination: Coordination,
    view: Arc<View>,
    context: Context,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let (mut topics, mut offsets, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for topic in request.topics {
        let found = resolve(&view, &context, &topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let mut error_code = 0;
            match &found {
                Ok(summary) if (0..summary.partitions).contains(&index) => {
                    slots.push((topics.len(), partitions.len()));
                    offsets.push(OffsetToCommit {
                        topic_id: milena_group::TopicId(summary.id.0),
                        topic: summary.name.clone(),
                        partition: index,
                        offset: asked.committed_offset,
                        leader_epoch: asked.committed_leader_epoch,
                        metadata: asked.committed_metadata.map(|it| it.to_string()).unwrap_or_default(),
                    });
                }
                Ok(_) => error_code = ErrorCode::UnknownTopicOrPartition.code(),
                Err(code) => error_code = code.code(),
            }
            partitions.push(OffsetCommitResponsePartition { partition_index: index, error_code });
        }
        topics.push(OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions });
    }
    if !offsets.is_empty() || topics.is_empty() {
        let commit = CommitOffsets {
            group: request.group_id.to_string(),
            member_id: request.member_id.to_string(),
            instance_id: request.group_instance_id.map(|id| id.to_string()),
            generation: request.generation_id_or_member_epoch,
            retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
            knows_group_id_not_found: context.version >= 9,
            offsets,
        };
        let verdicts = match coordination.commit(commit).await {
            Ok(verdicts) => verdicts,
            Err(refusal) => vec![Err(refusal); slots.len()],
        };
        for ((topic, partition), verdict) in slots.into_iter().zip(verdicts) {
            let code = verdict.map_or_else(group_code, |()| ErrorCode::None);
            topics[topic].partitions[partition].error_code = code.code();
        }
    }
    OffsetCommitResponse { topics, ..Default::default() }
}

fn resolve(
    view: &View,
    context: &Context,
    topic: &OffsetCommitRequestTopic,
) -> Result<TopicSummary, ErrorCode> {
    if context.version >= 10 {
        view.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        view.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}
