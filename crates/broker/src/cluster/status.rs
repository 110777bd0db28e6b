//! How far a Raft group and its members are, as its leader sees it.

use std::time::Duration;

use milena_peer::Peers;
use milena_peer::message::{MemberStatus, StatusRequest, StatusResponse};
use milena_quorum::{GroupHandle, GroupId, GroupStatus, NodeId, ReplicaStatus};

/// Longest that the leader may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The leader's view of a group; this node's where the leader is unknown or silent.
pub(crate) async fn of_leader(group: &GroupHandle, peers: Option<&Peers>) -> GroupStatus {
    // An election takes a fraction of that.
    let _ = tokio::time::timeout(PATIENCE, group.leader().wait_for(|now| now.leader.is_some())).await;
    let own = group.status();
    if let (Some(leader), Some(peers)) = (own.leader.filter(|leader| *leader != group.node_id()), peers)
        && let Ok(told) = peers.status(leader, StatusRequest { group: group.id().0.into() }, PATIENCE).await
        // Otherwise it leads no longer, or not yet.
        && told.leader == Some(leader.0)
    {
        return from_message(group.id(), told);
    }
    own
}

pub(crate) fn to_message(status: &GroupStatus) -> StatusResponse {
    let member = |(node, replica): (&NodeId, &ReplicaStatus)| MemberStatus {
        node: node.0,
        matched_index: replica.matched_index,
        silent_ms: replica.silent_for.map(|silent| silent.as_millis() as u64),
    };
    StatusResponse {
        leader: status.leader.map(|leader| leader.0),
        term: status.term,
        last_index: status.last_index,
        committed_index: status.committed_index,
        voters: status.voters.iter().map(|node| node.0).collect(),
        learners: status.learners.iter().map(|node| node.0).collect(),
        members: status.replicas.iter().map(member).collect(),
    }
}

fn from_message(group: GroupId, message: StatusResponse) -> GroupStatus {
    let member = |member: MemberStatus| {
        let silent_for = member.silent_ms.map(Duration::from_millis);
        (NodeId(member.node), ReplicaStatus { matched_index: member.matched_index, silent_for })
    };
    GroupStatus {
        group,
        leader: message.leader.map(NodeId),
        term: message.term,
        last_index: message.last_index,
        committed_index: message.committed_index,
        applied_index: None,
        snapshot_index: None,
        purged_index: None,
        voters: message.voters.into_iter().map(NodeId).collect(),
        learners: message.learners.into_iter().map(NodeId).collect(),
        replicas: message.members.into_iter().map(member).collect(),
    }
}
