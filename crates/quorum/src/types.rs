//! The types that openraft is instantiated with.

use crate::id::NodeId;
use bytes::Bytes;
use std::fmt;

/// A command of a state machine. Its contents are never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[cfg(not(any(test, feature = "simulation")))]
type Runtime = openraft::TokioRuntime;
#[cfg(any(test, feature = "simulation"))]
type Runtime = crate::simulation::Runtime;

openraft::declare_raft_types!(
    /// One leader per term, as in the paper; members are known by id alone.
    pub(crate) Types:
        D = Command,
        R = Bytes,
        NodeId = NodeId,
        Node = (),
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<Types, crate::state::Applier>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::type_config::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<NodeId, ()>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, crate::state::SnapshotFile>;

/// A log id from its two numbers.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}
