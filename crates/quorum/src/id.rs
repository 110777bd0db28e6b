//! Names of nodes and of Raft groups.

use std::fmt;

/// One log on one disk, for ever. A node whose disk was replaced needs a new id: an old id with
/// an empty log could vote twice in a term and lose committed entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        NodeId(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Raft group. Every group has its own leader, term and log positions, but all groups of a
/// node share one log file and one flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u8);

impl GroupId {
    /// Brokers, topics and partitions: small, and needed for failover.
    pub const CLUSTER: GroupId = GroupId(0);
    /// Consumer groups, committed offsets and transactions.
    pub const COORDINATION: GroupId = GroupId(1);

    /// The name in files, logs and metrics.
    pub fn name(self) -> String {
        match self {
            GroupId::CLUSTER => "cluster".to_owned(),
            GroupId::COORDINATION => "coordination".to_owned(),
            GroupId(n) => format!("group-{n}"),
        }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
