//! DescribeProducers (61), version 0 (KIP-664): what idempotent producers have in a partition. Leaders answer.

use milena_wire::ErrorCode;
use milena_wire::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use crate::partitions::{Partitions, TopicRef};

/// Answers each partition for itself.
pub(crate) fn answer(
    partitions: &Partitions,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let reference = TopicRef::Name(topic.name.clone());
        let responses = topic.partition_indexes.iter().map(|&partition_index| {
            match partitions.find(&reference, partition_index) {
                Ok(hosted) if hosted.is_leader() => {
                    let producers = hosted.producers();
                    let active = producers.iter().map(|it| ProducerState {
                        producer_id: it.producer_id.0,
                        producer_epoch: i32::from(it.epoch.0),
                        last_sequence: it.last_sequence,
                        last_timestamp: it.timestamp,
                        coordinator_epoch: it.coordinator_epoch,
                        current_txn_start_offset: it.current_transaction_first_offset.0,
                    });
                    PartitionResponse {
                        partition_index,
                        active_producers: active.collect(),
                        ..Default::default()
                    }
                }
                Ok(_) => failed(partition_index, ErrorCode::NotLeaderOrFollower),
                Err(code) => failed(partition_index, code),
            }
        });
        TopicResponse { partitions: responses.collect(), name: topic.name }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn failed(partition_index: i32, code: ErrorCode) -> PartitionResponse {
    PartitionResponse {
        partition_index,
        error_code: code.code(),
        error_message: Some(code.message().into()),
        ..Default::default()
    }
}
