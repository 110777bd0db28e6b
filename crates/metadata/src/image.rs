//! The cluster's metadata at one moment.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use milena_config::Overrides;
use milena_wire::Uuid;

use crate::{Broker, BrokerId, DedicatedController, Partition, Record, Resource, names};

/// All metadata at one moment. Cloning costs a few reference counts; a changed copy shares what did not change.
///
/// Readers hold one and are never surprised by a change; [`crate::Delta`] tells two apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    pub(crate) index: u64,
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) brokers: OrdMap<BrokerId, Arc<Broker>>,
    pub(crate) controllers: OrdMap<BrokerId, Arc<DedicatedController>>,
    pub(crate) topics: OrdMap<[u8; 16], Topic>,
    pub(crate) names: OrdMap<Arc<str>, Uuid>,
    pub(crate) collisions: OrdMap<Arc<str>, Arc<str>>,
    pub(crate) configs: OrdMap<Resource, Arc<Overrides>>,
    pub(crate) features: OrdMap<Arc<str>, i16>,
    pub(crate) next_producer_id: i64,
}

/// A topic of an [`Image`].
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; a topic created again under the same name has another one (KIP-516).
    pub id: Uuid,
    /// Its partitions by number, without gaps.
    pub partitions: Vector<Arc<Partition>>,
}

impl Topic {
    /// The record of partition `index`.
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The partitions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Arc<Partition>)> {
        (0..).zip(self.partitions.iter())
    }

    /// Replicas of its first partition, which stand for the topic's replication factor.
    pub fn replication_factor(&self) -> usize {
        self.partitions.front().map_or(0, |partition| partition.replicas.len())
    }

    /// Whether clients may not write to it (test id MD-9).
    pub fn is_internal(&self) -> bool {
        names::is_internal(&self.name)
    }
}

impl Image {
    /// Index of the last command that changed this state; 0 before the first. Commands carry it, so that one decided
    /// on another state does nothing.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The cluster's id, once it was formatted.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// All registered brokers by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// The broker with this id.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All nodes that are registered as controllers alone, by id.
    pub fn controllers(&self) -> impl Iterator<Item = &Arc<DedicatedController>> {
        self.controllers.values()
    }

    /// The node with this id, if it is a controller alone.
    pub fn controller(&self, id: BrokerId) -> Option<&Arc<DedicatedController>> {
        self.controllers.get(&id)
    }

    /// Brokers that are not fenced: those that clients are told of (test id MD-6).
    pub fn live_brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// Whether the broker may lead and enter an ISR.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topic_by_id(*id))
    }

    /// All topics in the order of their names, from the first one that is not before `name` (test id MD-15).
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Topic> {
        self.names.range(Arc::<str>::from(name)..).filter_map(|(_, id)| self.topic_by_id(*id))
    }

    /// Number of topics.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topic_by_id(*self.names.get(name)?)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(&id.0)
    }

    /// The partition `index` of the topic `id`.
    pub fn partition(&self, id: Uuid, index: i32) -> Option<&Arc<Partition>> {
        self.topic_by_id(id)?.partition(index)
    }

    /// The settings that were overridden on a resource; empty for one without.
    pub fn overrides(&self, resource: &Resource) -> Arc<Overrides> {
        self.configs.get(resource).cloned().unwrap_or_default()
    }

    /// All resources with overrides.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.configs.keys()
    }

    /// Finalized features with their levels, in the order of their names.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (&**name, *level))
    }

    /// The level of a feature; 0 when it is not finalized.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// First producer id that is not yet given out.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// Every partition of every topic, by topic id and number.
    pub(crate) fn all_partitions(&self) -> impl Iterator<Item = (Uuid, i32, &Arc<Partition>)> {
        self.topics
            .values()
            .flat_map(|topic| topic.iter().map(|(index, partition)| (topic.id, index, partition)))
    }

    /// Applies one record of the command at `index`. It cannot refuse: what names something that is not there is
    /// passed over, which a decision on the same state never produces.
    pub fn apply(&mut self, index: u64, record: &Record) {
        match record {
            Record::ClusterFormatted { cluster_id } => self.cluster_id = Some(cluster_id.as_str().into()),
            Record::BrokerRegistered(broker) => {
                let mut broker = broker.clone();
                broker.epoch = crate::BrokerEpoch(index as i64);
                self.brokers.insert(broker.id, Arc::new(broker));
            }
            Record::BrokerChanged { id, fenced, in_controlled_shutdown } => {
                if let Some(broker) = self.brokers.get_mut(id) {
                    let broker = Arc::make_mut(broker);
                    broker.fenced = *fenced;
                    broker.in_controlled_shutdown = *in_controlled_shutdown;
                }
            }
            Record::BrokerUnregistered { id } => {
                self.brokers.remove(id);
            }
            Record::ControllerRegistered(controller) => {
                self.controllers.insert(controller.id, Arc::new(controller.clone()));
            }
            Record::ControllerUnregistered { id } => {
                self.controllers.remove(id);
            }
            Record::TopicCreated { id, name } => self.insert_topic(*id, name),
            Record::TopicDeleted { id } => self.remove_topic(*id),
            Record::PartitionSet { topic, index, partition } => self.set_partition(*topic, *index, partition),
            Record::ConfigSet { resource, name, value } => {
                self.set_config(resource, name, value.as_deref());
            }
            Record::FeatureSet { name, level: 0 } => {
                self.features.remove(name.as_str());
            }
            Record::FeatureSet { name, level } => {
                self.features.insert(name.as_str().into(), *level);
            }
            Record::ProducerIdsAllocated { next } => self.next_producer_id = *next,
        }
    }

    pub(crate) fn insert_topic(&mut self, id: Uuid, name: &str) {
        let name: Arc<str> = name.into();
        self.collisions.insert(names::unified(&name).into(), name.clone());
        self.names.insert(name.clone(), id);
        self.topics.insert(id.0, Topic { name, id, partitions: Vector::new() });
    }

    fn remove_topic(&mut self, id: Uuid) {
        let Some(topic) = self.topics.remove(&id.0) else { return };
        self.names.remove(&topic.name);
        self.collisions.remove(names::unified(&topic.name).as_str());
        self.configs.remove(&Resource::Topic(topic.name.to_string()));
    }

    pub(crate) fn set_partition(&mut self, topic: Uuid, index: i32, partition: &Partition) {
        let (Some(topic), Ok(index)) = (self.topics.get_mut(&topic.0), usize::try_from(index)) else {
            return;
        };
        let partition = Arc::new(partition.clone());
        if index < topic.partitions.len() {
            topic.partitions.set(index, partition);
        } else if index == topic.partitions.len() {
            topic.partitions.push_back(partition);
        }
    }

    fn set_config(&mut self, resource: &Resource, name: &str, value: Option<&str>) {
        let mut overrides = self.overrides(resource);
        let map = Arc::make_mut(&mut overrides);
        match value {
            Some(value) => map.insert(name.to_owned(), value.to_owned()),
            None => map.remove(name),
        };
        if map.is_empty() {
            self.configs.remove(resource);
        } else {
            self.configs.insert(resource.clone(), overrides);
        }
    }
}
