//! DescribeQuorum (55), versions 0 to 2: the metadata quorum, told in the terms of Kafka's own (KIP-595, KIP-836).
//! Voters and learners are those of the `cluster` Raft group.

use std::sync::Arc;

use milena_metadata::{Broker, BrokerId, DedicatedController, Image};
use milena_quorum::{GroupStatus, NodeId};
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState, ResponsePartitionData,
    ResponseTopicData,
};
use milena_wire::{ErrorCode, Uuid};

use crate::clock;
use crate::cluster::status;
use crate::dispatch::Context;
use crate::services::Services;

/// The name under which clients ask for the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// The listener for other brokers, as Kafka's files call it.
const PEER_LISTENER: &str = "CONTROLLER";

/// Tells who votes, who leads and how far each is. Only the leader knows the latter, so it is asked.
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let is_metadata = request.topics.len() == 1
        && *request.topics[0].topic_name == *METADATA_TOPIC
        && request.topics[0].partitions.len() == 1
        && request.topics[0].partitions[0].partition_index == 0;
    if !is_metadata {
        let error_code = ErrorCode::UnknownTopicOrPartition.code();
        return DescribeQuorumResponse { error_code, ..Default::default() };
    }
    let status = status::of_leader(&services.cluster_raft, services.members.peers.as_ref()).await;
    let image = services.view.image().clone();
    let state = |id: NodeId| replica_state(&status, &image, id);
    let partition = ResponsePartitionData {
        leader_id: status.leader.map_or(-1, |id| id.0 as i32),
        leader_epoch: status.term as i32,
        high_watermark: end(status.committed_index),
        current_voters: status.voters.iter().copied().map(state).collect(),
        observers: status.learners.iter().copied().map(state).collect(),
        ..Default::default()
    };
    let nodes = status.voters.iter().map(|&id| node(&image, &context, id)).collect();
    let topic = ResponseTopicData { topic_name: METADATA_TOPIC.into(), partitions: vec![partition] };
    DescribeQuorumResponse { topics: vec![topic], nodes, ..Default::default() }
}

fn replica_state(status: &GroupStatus, image: &Image, id: NodeId) -> ReplicaState {
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
        replica_directory_id: directory(image, id).unwrap_or_default(),
        log_end_offset: if is_leader {
            end(status.last_index)
        } else {
            end(replica.and_then(|it| it.matched_index))
        },
        last_fetch_timestamp: heard,
        last_caught_up_timestamp: heard,
    }
}

/// Kafka counts the next offset where Raft counts the last index.
fn end(last_index: Option<u64>) -> i64 {
    last_index.map_or(0, |index| index as i64 + 1)
}

fn broker(image: &Image, id: NodeId) -> Option<&Broker> {
    image.broker(BrokerId(i32::try_from(id.0).ok()?)).map(|broker| &**broker)
}

fn controller(image: &Image, id: NodeId) -> Option<&DedicatedController> {
    image.controller(BrokerId(i32::try_from(id.0).ok()?)).map(|controller| &**controller)
}

fn directory(image: &Image, id: NodeId) -> Option<Uuid> {
    let of_broker = broker(image, id).and_then(|it| it.log_dirs.first().copied());
    of_broker.or_else(|| controller(image, id).map(|it| it.directory))
}

/// Where the quorum reaches a voter; one that is alone is reached by its clients only.
fn node(image: &Image, context: &Context, id: NodeId) -> Node {
    let broker = broker(image, id);
    let address = broker.map(|it| &it.peer_address).or(controller(image, id).map(|it| &it.peer_address));
    let peer = address.and_then(|address| address.rsplit_once(':'));
    let listener = match peer {
        Some((host, port)) => Some(Listener {
            name: PEER_LISTENER.into(),
            host: host.trim_matches(['[', ']']).into(),
            port: port.parse().unwrap_or_default(),
        }),
        None => broker.and_then(|broker| broker.endpoint(&context.listener)).map(|it| Listener {
            name: it.listener.as_str().into(),
            host: it.host.as_str().into(),
            port: it.port,
        }),
    };
    Node { node_id: id.0 as i32, listeners: listener.into_iter().collect() }
}
