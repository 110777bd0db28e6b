//! What changed between two images: how a broker learns what to create, delete, lead and follow.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use milena_wire::Uuid;

use crate::{BrokerId, Image, Partition, Resource, Topic};

/// The differences of a later image from an earlier one. Costs as much as there are changes, not as there is metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// Topics that are new; their partitions are in `partitions` too.
    pub created: Vec<Topic>,
    /// Topics that are gone; apply these before anything else (a topic of the same name may be among the new).
    pub deleted: Vec<Topic>,
    /// Partitions that are new or changed, by topic and number.
    pub partitions: Vec<PartitionChanged>,
    /// Resources whose overrides changed.
    pub configs: Vec<Resource>,
    /// Brokers that are new, changed or gone.
    pub brokers: Vec<BrokerId>,
    /// Whether finalized features changed.
    pub features: bool,
}

/// A partition that is new or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionChanged {
    /// Name of its topic.
    pub name: Arc<str>,
    /// Id of its topic.
    pub topic: Uuid,
    /// Its number.
    pub index: i32,
    /// Its record before; none if it is new.
    pub before: Option<Arc<Partition>>,
    /// Its record now.
    pub after: Arc<Partition>,
}

impl Delta {
    /// What happened from `before` to `after`.
    pub fn between(before: &Image, after: &Image) -> Self {
        let mut delta = Self { features: before.features != after.features, ..Self::default() };
        for item in before.topics.diff(&after.topics) {
            match item {
                DiffItem::Add(_, topic) => {
                    delta.created.push(topic.clone());
                    delta.push_partitions(None, topic);
                }
                DiffItem::Update { old: (_, old), new: (_, new) } => delta.push_partitions(Some(old), new),
                DiffItem::Remove(_, topic) => delta.deleted.push(topic.clone()),
            }
        }
        delta.configs = changed_keys(before.configs.diff(&after.configs));
        delta.brokers = changed_keys(before.brokers.diff(&after.brokers));
        delta
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn push_partitions(&mut self, before: Option<&Topic>, after: &Topic) {
        for (index, partition) in after.iter() {
            let old = before.and_then(|topic| topic.partition(index));
            if old.is_some_and(|old| Arc::ptr_eq(old, partition) || old == partition) {
                continue;
            }
            self.partitions.push(PartitionChanged {
                name: after.name.clone(),
                topic: after.id,
                index,
                before: old.cloned(),
                after: partition.clone(),
            });
        }
    }
}

/// The keys of a difference, in order.
fn changed_keys<'a, K, V>(items: impl Iterator<Item = DiffItem<'a, 'a, K, V>>) -> Vec<K>
where
    K: Clone + 'a,
    V: 'a,
{
    items
        .map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key.clone(),
            DiffItem::Update { new: (key, _), .. } => key.clone(),
        })
        .collect()
}
