//! ListOffsets (2), versions 1 to 11: offsets by time, and the ends of a partition.
//!
//! Special times: -1 latest, -2 earliest, -3 the record with the largest timestamp (version 7), -4 earliest
//! on local disk (8), -5 latest in tiered storage (9), -6 earliest not yet uploaded (11). Anything else below
//! zero, or a special time newer than the request, is UNSUPPORTED_VERSION for that partition (LO-1).

use std::collections::HashSet;

use milena_wire::ErrorCode;
use milena_wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use crate::dispatch::Context;
use crate::hosted::OffsetQuery;
use crate::partitions::{Partitions, TopicRef};

/// Answers every partition for itself.
pub(crate) fn answer(
    partitions: &Partitions,
    context: &Context,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == 1;
    let duplicates = duplicates(&request);
    let topics = request.topics.into_iter().map(|topic| {
        let reference = TopicRef::Name(topic.name.clone());
        let responses = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            if duplicates.contains(&(topic.name.to_string(), index)) {
                return failed(index, ErrorCode::InvalidRequest);
            }
            one(partitions, context, &reference, asked, read_committed)
                .unwrap_or_else(|code| failed(index, code))
        });
        ListOffsetsTopicResponse { partitions: responses.collect(), name: topic.name }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

/// Partitions named more than once: each mention is refused (LO-4).
fn duplicates(request: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let named = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| (topic.name.to_string(), it.partition_index)));
    named.filter(|partition| !seen.insert(partition.clone())).collect()
}

fn one(
    partitions: &Partitions,
    context: &Context,
    topic: &TopicRef,
    asked: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let hosted = partitions.find(topic, asked.partition_index)?;
    let query = query(asked.timestamp, context.version).ok_or(ErrorCode::UnsupportedVersion)?;
    // Old records do no harm, an old end does: a consumer would go back to it.
    if query != OffsetQuery::Earliest && !partitions.may_lead() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let found =
        hosted.find_offset(query, asked.current_leader_epoch, read_committed).map_err(
            |refusal| match refusal.code() {
                // The code came with version 5.
                ErrorCode::OffsetNotAvailable if context.version < 5 => ErrorCode::LeaderNotAvailable,
                code => code,
            },
        )?;
    Ok(ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: found.leader_epoch,
        ..Default::default()
    })
}

/// The meaning of a time in a request of this version.
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    match timestamp {
        0.. => Some(OffsetQuery::Timestamp(timestamp)),
        -1 => Some(OffsetQuery::Latest),
        -2 => Some(OffsetQuery::Earliest),
        -3 if version >= 7 => Some(OffsetQuery::MaxTimestamp),
        -4 if version >= 8 => Some(OffsetQuery::Earliest),
        -5 if version >= 9 => Some(OffsetQuery::LatestTiered),
        -6 if version >= 11 => Some(OffsetQuery::LatestTiered),
        _ => None,
    }
}

fn failed(index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index: index, error_code: code.code(), ..Default::default() }
}
