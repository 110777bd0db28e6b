//! The record of one partition, as every broker knows it.

use milena_records::LeaderEpoch;
use milena_wire::Uuid;

use crate::{BrokerId, PartitionEpoch};

/// Who holds a partition, who leads it, and who may (KIP-966).
///
/// Invariants: `isr`, `elr` and `leader` lie within `replicas`; `isr` and `elr` are disjoint; the leader is in the ISR;
/// both epochs only grow over the life of the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Assigned brokers; the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    /// Brokers that hold everything below the high watermark and count for it.
    pub isr: Vec<BrokerId>,
    /// Brokers outside the ISR that still hold everything below the high watermark, as that cannot have moved since
    /// they left: eligible leader replicas.
    pub elr: Vec<BrokerId>,
    /// The last leader, kept while ISR and ELR are empty.
    pub last_known_elr: Vec<BrokerId>,
    /// Leader; none while no eligible replica is alive.
    pub leader: Option<BrokerId>,
    /// Grows when the leader changes or a replica is dropped from the assignment.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: PartitionEpoch,
    /// Replicas that a reassignment adds; part of `replicas`.
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment will drop; part of `replicas`.
    pub removing: Vec<BrokerId>,
    /// Log directory of each replica, in the order of `replicas`; zero where the broker chooses.
    pub directories: Vec<Uuid>,
    /// `min.insync.replicas` in force. It stands here, and not only among the settings, so that it changes in the same
    /// step as the ISR it is compared with.
    pub min_insync_replicas: i32,
    /// The leader was elected uncleanly and has not yet settled.
    pub recovering: bool,
}

impl Partition {
    /// A new partition: led by the first in-sync replica, at epoch 0.
    pub fn new(replicas: Vec<BrokerId>, isr: Vec<BrokerId>, min_insync_replicas: i32) -> Self {
        Self {
            leader: isr.first().copied(),
            directories: vec![Uuid::ZERO; replicas.len()],
            replicas,
            isr,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            adding: Vec::new(),
            removing: Vec::new(),
            min_insync_replicas,
            recovering: false,
        }
    }

    /// Fewest in-sync replicas that make a batch safe: never more than there are replicas.
    pub fn effective_min_isr(&self) -> usize {
        usize::try_from(self.min_insync_replicas).unwrap_or(0).min(self.replicas.len())
    }

    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Whether the first replica leads.
    pub fn has_preferred_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.replicas.first().copied()
    }

    /// Whether `broker` is a replica, or stands in any other list.
    pub fn names(&self, broker: BrokerId) -> bool {
        [&self.replicas, &self.isr, &self.elr, &self.last_known_elr].iter().any(|list| list.contains(&broker))
    }
}
