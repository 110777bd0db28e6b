//! OffsetForLeaderEpoch (23), versions 2 to 4: where an epoch ends, from which a consumer sees that what it
//! read was truncated (KIP-320, LE-1). librdkafka sends exactly version 2 after a leader change.

use milena_wire::ErrorCode;
use milena_wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::partitions::{Partitions, TopicRef};

/// Answers every partition for itself; -1/-1 where the epoch is not known.
pub(crate) fn answer(
    partitions: &Partitions,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let reference = TopicRef::Name(topic.topic.clone());
        let results = topic.partitions.iter().map(|asked| {
            let found = partitions.find(&reference, asked.partition).and_then(|hosted| {
                hosted
                    .end_of_epoch(asked.leader_epoch, asked.current_leader_epoch)
                    .map_err(|refusal| refusal.code())
            });
            let mut result = EpochEndOffset { partition: asked.partition, ..Default::default() };
            match found {
                Ok(Some((epoch, end))) => (result.leader_epoch, result.end_offset) = (epoch.0, end.0),
                Ok(None) => {}
                Err(code) => result.error_code = ErrorCode::code(code),
            }
            result
        });
        OffsetForLeaderTopicResult { partitions: results.collect(), topic: topic.topic }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}
