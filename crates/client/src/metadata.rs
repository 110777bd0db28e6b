//! What is known of the cluster, as of the last answers to Metadata.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use milena_wire::metadata::{MetadataResponse, MetadataResponseTopic};
use milena_wire::{ErrorCode, Uuid};

use crate::Error;
use crate::address::Address;

/// A broker and where it says it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// `broker.rack`, if set.
    pub rack: Option<String>,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// Id of the leader; `None` while there is none.
    pub leader: Option<i32>,
    /// Number of the leadership, or -1 if the broker does not tell.
    pub leader_epoch: i32,
    /// Ids of all replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Ids of the in-sync replicas.
    pub in_sync_replicas: Vec<i32>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero if the broker does not tell.
    pub id: Uuid,
    /// Whether it belongs to the cluster itself.
    pub is_internal: bool,
    /// All partitions, ascending.
    pub partitions: Vec<Partition>,
    /// When this was learnt.
    pub(crate) learnt: Instant,
}

/// Brokers and those topics that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Name of the cluster, if it has told one.
    pub cluster_id: Option<String>,
    /// Where requests for the controller go; `None` while there is none.
    pub controller: Option<i32>,
    /// Live brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    topics: HashMap<String, Arc<Topic>>,
}

impl Topic {
    /// Partition number `index`, if the topic has it.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Whether every partition has a leader.
    pub fn is_led(&self) -> bool {
        self.partitions.iter().all(|it| it.leader.is_some())
    }
}

impl Metadata {
    /// What is known of a topic, however old.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Every topic that is known, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    pub(crate) fn address(&self, id: i32) -> Result<Address, Error> {
        match self.brokers.get(&id) {
            Some(broker) => Ok(Address { host: broker.host.clone(), port: broker.port }),
            None => Err(Error::UnknownBroker { id, known: self.brokers.keys().copied().collect() }),
        }
    }

    /// Takes in an answer: brokers are replaced, topics that it names too, others stay.
    ///
    /// Returns the topics that the broker could not describe, by name (or id) and error code.
    pub(crate) fn update(&mut self, answer: &MetadataResponse) -> Vec<(String, i16)> {
        self.cluster_id = answer.cluster_id.as_ref().map(|it| it.to_string());
        self.controller = (answer.controller_id >= 0).then_some(answer.controller_id);
        self.brokers = answer
            .brokers
            .iter()
            .filter_map(|it| {
                let broker = Broker {
                    id: it.node_id,
                    host: it.host.to_string(),
                    port: u16::try_from(it.port).ok()?,
                    rack: it.rack.as_ref().map(|it| it.to_string()),
                };
                Some((broker.id, broker))
            })
            .collect();
        let mut failed = Vec::new();
        for described in &answer.topics {
            let name =
                described.name.as_ref().map_or_else(|| described.topic_id.to_string(), |it| it.to_string());
            if described.error_code != ErrorCode::None.code() {
                self.topics.remove(&name);
                failed.push((name, described.error_code));
            } else {
                let mut topic = topic(&name, described);
                if let Some(known) = self.topics.get(&name).filter(|it| it.id == topic.id) {
                    keep_newer_leaders(&mut topic, known);
                }
                self.topics.insert(name, Arc::new(topic));
            }
        }
        failed
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.topics.remove(name);
    }
}

/// A broker that has fallen behind tells of leaders that are deposed (KIP-320): what is known of a later leader epoch
/// stays.
fn keep_newer_leaders(topic: &mut Topic, known: &Topic) {
    for partition in &mut topic.partitions {
        if let Some(known) = known.partition(partition.index)
            && known.leader_epoch > partition.leader_epoch
        {
            *partition = known.clone();
        }
    }
}

fn topic(name: &str, described: &MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<_> = described
        .partitions
        .iter()
        .map(|it| Partition {
            index: it.partition_index,
            leader: (it.leader_id >= 0).then_some(it.leader_id),
            leader_epoch: it.leader_epoch,
            replicas: it.replica_nodes.clone(),
            in_sync_replicas: it.isr_nodes.clone(),
        })
        .collect();
    partitions.sort_by_key(|it| it.index);
    Topic {
        name: name.into(),
        id: described.topic_id,
        is_internal: described.is_internal,
        partitions,
        learnt: Instant::now(),
    }
}
