//! What can happen to the cluster's metadata.

use milena_wire::Uuid;

use crate::{Broker, BrokerId, DedicatedController, Partition, Resource};

/// One change. Decided by [`crate::decide`], agreed on by the quorum, applied by [`crate::Image::apply`].
///
/// Records state results ("the ISR is now 1, 2"), not intentions, so that applying them needs no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The cluster got its id. Happens once.
    ClusterFormatted {
        /// The id, 22 characters as a rule.
        cluster_id: String,
    },
    /// A broker started. Its epoch becomes the index of the command.
    BrokerRegistered(Broker),
    /// A broker was fenced, unfenced, or began to shut down.
    BrokerChanged {
        /// Which.
        id: BrokerId,
        /// Whether it is fenced now.
        fenced: bool,
        /// Whether it is shutting down now.
        in_controlled_shutdown: bool,
    },
    /// A broker is forgotten.
    BrokerUnregistered {
        /// Which.
        id: BrokerId,
    },
    /// A node that is no broker votes, or has moved.
    ControllerRegistered(DedicatedController),
    /// A node is a controller alone no longer.
    ControllerUnregistered {
        /// Which.
        id: BrokerId,
    },
    /// A topic exists, as yet without partitions.
    TopicCreated {
        /// Its id, new for every creation.
        id: Uuid,
        /// Its name.
        name: String,
    },
    /// A topic, its partitions and its settings are gone.
    TopicDeleted {
        /// Which.
        id: Uuid,
    },
    /// A partition is created or changed: this is its record now.
    PartitionSet {
        /// The topic.
        topic: Uuid,
        /// The partition's number; new ones follow the last.
        index: i32,
        /// Its record.
        partition: Partition,
    },
    /// A setting was overridden, or its override removed.
    ConfigSet {
        /// Whose.
        resource: Resource,
        /// Which.
        name: String,
        /// The text, or none for "removed".
        value: Option<String>,
    },
    /// A feature's level is final.
    FeatureSet {
        /// Which.
        name: String,
        /// Its level; 0 takes it off the list.
        level: i16,
    },
    /// Producer ids below this one are given out.
    ProducerIdsAllocated {
        /// The next free one.
        next: i64,
    },
}
