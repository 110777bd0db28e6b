//! DescribeQuorum (55), versions 0 to 2: the metadata quorum, told in the terms of Kafka's own (KIP-595, KIP-836).
//! Voters and learners are those of the `cluster` Raft group.

use milena_metadata::BrokerId;
use milena_quorum::NodeId;
use milena_wire::ErrorCode;
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState, ResponsePartitionData,
    ResponseTopicData,
};

use crate::clock;
use crate::dispatch::Context;
use crate::services::Services;

/// The name under which clients ask for the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Tells who votes, who leads and how far each is.
pub(crate) fn answer(
    services: &Services,
    context: &Context,
    request: &DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let is_metadata = request.topics.len() == 1
        && *request.topics[0].topic_name == *METADATA_TOPIC
        && request.topics[0].partitions.len() == 1
        && request.topics[0].partitions[0].partition_index == 0;
    if !is_metadata {
        let error_code = ErrorCode::UnknownTopicOrPartition.code();
        return DescribeQuorumResponse { error_code, ..Default::default() };
    }
    let status = services.cluster_raft.status();
    let state = |id: NodeId| replica_state(&status, id);
    let partition = ResponsePartitionData {
        leader_id: status.leader.map_or(-1, |id| id.0 as i32),
        leader_epoch: status.term as i32,
        high_watermark: end(status.committed_index),
        current_voters: status.voters.iter().copied().map(state).collect(),
        observers: status.learners.iter().copied().map(state).collect(),
        ..Default::default()
    };
    let nodes = status.voters.iter().map(|&id| node(services, context, id)).collect();
    let topic = ResponseTopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition] };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }
}

fn replica_state(status: &milena_quorum::GroupStatus, id: NodeId) -> ReplicaState {
    let now = clock::unix_ms();
    let is_leader = status.leader == Some(id);
    let replica = status.replicas.get(&id);
    let heard = match replica.and_then(|it| it.silent_for) {
        _ if is_leader => now,
        Some(silent) => now - silent.as_millis() as i64,
        None => -1,
    };
    ReplicaState {
        replica_id: id.0 as i32,
        log_end_offset: if is_leader {
            end(status.last_index)
        } else {
            end(replica.and_then(|it| it.matched_index))
        },
        last_fetch_timestamp: heard,
        last_caught_up_timestamp: heard,
        ..Default::default()
    }
}

/// Kafka counts the next offset where Raft counts the last index.
fn end(last_index: Option<u64>) -> i64 {
    last_index.map_or(0, |index| index as i64 + 1)
}

fn node(services: &Services, context: &Context, id: NodeId) -> Node {
    let endpoint = services.view.endpoint(BrokerId(id.0 as i32), &context.listener);
    let listener =
        endpoint.map(|it| Listener { name: it.listener.into(), host: it.host.into(), port: it.port });
    Node { node_id: id.0 as i32, listeners: listener.into_iter().collect() }
}
