//! What the committed metadata says about a partition and its brokers, and what follows for one replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_records::{LeaderEpoch, Offset};

/// Who leads the partition, as the committed metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Leader's broker id; -1 while nobody leads.
    pub leader: i32,
    /// Grows whenever the leader changes or a replica is dropped.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of the partition's record.
    pub partition_epoch: i32,
    /// Assigned brokers, preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas, the leader included.
    pub isr: Vec<i32>,
    /// Eligible leader replicas outside the ISR, KIP-966.
    pub elr: Vec<i32>,
    /// Copies that an `acks=all` write needs, `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// The leader was elected uncleanly and has not yet told that it has settled.
    pub recovering: bool,
}

impl Leadership {
    /// Before any metadata: older than all.
    pub(crate) fn unknown() -> Self {
        Self {
            leader: -1,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: -1,
            replicas: Vec::new(),
            isr: Vec::new(),
            elr: Vec::new(),
            min_insync_replicas: 1,
            recovering: false,
        }
    }

    /// Copies that count as enough: `min.insync.replicas`, but never more than there are replicas.
    pub fn required_copies(&self) -> usize {
        (self.min_insync_replicas.max(1) as usize).min(self.replicas.len())
    }
}

/// A broker's process life, as the committed metadata says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerLife {
    /// Its broker epoch: index of the command that registered it.
    pub epoch: i64,
    /// Neither fenced nor in controlled shutdown.
    pub active: bool,
}

/// All registered brokers. One map is shared by all partitions of a broker.
pub type Lives = Arc<BTreeMap<i32, BrokerLife>>;

/// What this broker does for the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves clients and followers.
    Leader,
    /// Fetches from the leader, if there is one.
    Follower,
}

/// What new metadata means for this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Nothing: older than what is known, or a repeat of it.
    Ignored,
    /// Same leader and epoch; ISR, minimum or assignment may differ.
    Updated,
    /// This broker leads in a new epoch. Before anything is appended the log must assign `epoch` to its end,
    /// durably, even if nothing will ever be written in it (KAFKA-7415). Parked requests of the old epoch fail.
    BecameLeader {
        /// The new epoch.
        epoch: LeaderEpoch,
        /// Where it begins: the log end.
        start: Offset,
    },
    /// Another broker leads in a new epoch, or nobody. Parked requests of the old epoch fail; a running fetch
    /// is over, the next one starts from [`crate::Replica::position`].
    BecameFollower {
        /// Leader's broker id; -1 if nobody leads: then there is nothing to fetch.
        leader: i32,
    },
}

impl Transition {
    /// Whether the leader epoch is another one now.
    pub fn is_new_epoch(self) -> bool {
        matches!(self, Self::BecameLeader { .. } | Self::BecameFollower { .. })
    }
}

/// Why an append is refused before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// NOT_LEADER_OR_FOLLOWER.
    #[error("broker is not the leader; broker {leader} leads in epoch {leader_epoch}")]
    NotLeader {
        /// Present leader, -1 if none.
        leader: i32,
        /// Its epoch.
        leader_epoch: i32,
    },
    /// NOT_ENOUGH_REPLICAS: `acks=all` and too few in-sync replicas (PR-11).
    #[error("{in_sync} in-sync replicas, {required} required by min.insync.replicas")]
    NotEnoughReplicas {
        /// Committed in-sync replicas.
        in_sync: usize,
        /// Copies demanded.
        required: usize,
    },
}

/// A leader epoch in a request that does not fit (FE-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochRefusal {
    /// FENCED_LEADER_EPOCH: the sender's metadata is old.
    #[error("leader epoch {got} is older than {current}")]
    Fenced {
        /// Epoch here.
        current: i32,
        /// Epoch in the request.
        got: i32,
    },
    /// UNKNOWN_LEADER_EPOCH: the sender knows more than this broker; it retries.
    #[error("leader epoch {got} is newer than {current}")]
    Unknown {
        /// Epoch here.
        current: i32,
        /// Epoch in the request.
        got: i32,
    },
}

/// What became of a batch that waits for all in-sync replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// Not yet known.
    Pending,
    /// All in-sync replicas have it.
    Done,
    /// NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is committed, but by fewer copies than demanded now. Indeterminate.
    NotEnoughReplicas,
    /// NOT_LEADER_OR_FOLLOWER: the epoch that wrote it is over. Whatever the high watermark does later says
    /// nothing about this batch (KAFKA-20634). Indeterminate.
    EpochOver,
}
