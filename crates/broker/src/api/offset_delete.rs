//! OffsetDelete (47), version 0: forgets committed offsets of partitions that no member subscribes to
//! (KIP-496, GR-19).

use std::sync::Arc;

use milena_group::{DeleteOffsets, TopicId};
use milena_wire::ErrorCode;
use milena_wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::coordination::Coordination;
use crate::error::group_code;
use crate::view::View;

/// Deletes what exists; the others get their own error.
pub(crate) async fn answer(
    coordination: Coordination,
    view: Arc<View>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let (mut topics, mut wanted, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for topic in request.topics {
        let found = view.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let mut error_code = ErrorCode::UnknownTopicOrPartition.code();
            if let Some(summary) = found.as_ref().filter(|it| (0..it.partitions).contains(&index)) {
                slots.push((topics.len(), partitions.len()));
                wanted.push((TopicId(summary.id.0), summary.name.clone(), index));
                error_code = 0;
            }
            partitions.push(OffsetDeleteResponsePartition { partition_index: index, error_code });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
    }
    let delete = DeleteOffsets { group: request.group_id.to_string(), partitions: wanted };
    match coordination.delete_offsets(delete).await {
        Ok(verdicts) => {
            for ((topic, partition), verdict) in slots.into_iter().zip(verdicts) {
                let code = verdict.map_or_else(group_code, |()| ErrorCode::None);
                topics[topic].partitions[partition].error_code = code.code();
            }
            OffsetDeleteResponse { topics, ..Default::default() }
        }
        Err(refusal) => OffsetDeleteResponse { error_code: group_code(refusal).code(), ..Default::default() },
    }
}
