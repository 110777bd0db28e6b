//! What the cluster's metadata says to a replica, in the replica's words.
//!
//! The state machines of `metadata` and of `partition` do not know each other. Brokers and the simulator join them here, so
//! that both hand on the same.

use std::sync::Arc;

use milena_metadata::{Broker, BrokerId, Image, Partition};
use milena_partition::{BrokerLife, Leadership, Lives};

/// The part of a partition's record that its replicas go by.
pub fn leadership(partition: &Partition) -> Leadership {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.0).collect();
    Leadership {
        leader: partition.leader.map_or(-1, |id| id.0),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch.0,
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        elr: ids(&partition.elr),
        min_insync_replicas: partition.min_insync_replicas,
        recovering: partition.recovering,
    }
}

/// The brokers of an image as replicas judge each other by: which process each is (KIP-903), and whether it may be in
/// an ISR (KIP-841).
pub fn lives(image: &Image) -> Lives {
    let life = |broker: &Broker| BrokerLife { epoch: broker.epoch.0, active: broker.is_active() };
    Arc::new(image.brokers().map(|broker| (broker.id.0, life(broker))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_has_nobody_to_follow() {
        let ids = [BrokerId(2), BrokerId(1)].to_vec();
        let partition = Partition { leader: None, ..Partition::new(ids.clone(), ids, 2) };
        let seen = leadership(&partition);
        assert_eq!((seen.leader, seen.replicas, seen.min_insync_replicas), (-1, vec![2, 1], 2));
    }
}
