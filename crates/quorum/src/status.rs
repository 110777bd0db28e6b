//! What a node knows of a group it belongs to.

use crate::id::{GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who leads a group, as far as this node knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaderInfo {
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// The newest term seen.
    pub term: u64,
    /// This node leads, and has applied everything that was committed before its term: its state
    /// is complete, there is nothing to load. False for the moment between election and that.
    pub is_self: bool,
}

/// A group as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// The newest term seen.
    pub term: u64,
    /// Index of the last entry in this node's log.
    pub last_index: Option<u64>,
    /// Index up to which entries are committed, as far as this node knows.
    pub committed_index: Option<u64>,
    /// Index of the last entry that this node applied.
    pub applied_index: Option<u64>,
    /// Index of the newest durable snapshot here.
    pub snapshot_index: Option<u64>,
    /// Index up to which this node has deleted entries: who lacks them needs the snapshot.
    pub purged_index: Option<u64>,
    /// Those who vote.
    pub voters: BTreeSet<NodeId>,
    /// Those who only listen.
    pub learners: BTreeSet<NodeId>,
    /// What each member has; known to the leader only, empty elsewhere.
    pub replicas: BTreeMap<NodeId, ReplicaStatus>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Index up to which its log is known to agree with the leader's.
    pub matched_index: Option<u64>,
    /// Time since it last answered; `None` for the leader itself and for one that never did.
    pub silent_for: Option<Duration>,
}

/// What changes all the time in a group, cheap to ask for: no member is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Who leads.
    pub leader: LeaderInfo,
    /// Term and index of the last entry in this node's log.
    pub last_log: Option<(u64, u64)>,
    /// How long ago a message was sent that a quorum has acknowledged to this node as the leader: it led at
    /// that moment, whoever leads now. `None` if it does not lead.
    pub quorum_acked_ago: Option<Duration>,
}
