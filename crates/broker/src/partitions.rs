//! The partitions of this broker, found by topic name or id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use milena_wire::{ErrorCode, Text, Uuid};

use crate::hosted::Hosted;
use crate::meters::Traffic;

/// How a request names a topic.
#[derive(Debug, Clone)]
pub(crate) enum TopicRef {
    /// By name.
    Name(Text),
    /// By id (KIP-516).
    Id(Uuid),
}

/// All hosted partitions.
pub(crate) struct Partitions {
    map: RwLock<Map>,
    fetch_max_bytes: AtomicUsize,
    /// Of all partitions since the start, also of those that are gone.
    pub(crate) traffic: Traffic,
}

#[derive(Default)]
struct Map {
    ids: HashMap<Arc<str>, Uuid>,
    topics: HashMap<Uuid, Vec<Option<Arc<Hosted>>>>,
}

impl Partitions {
    /// None yet. No fetch gets more than `fetch_max_bytes`.
    pub(crate) fn new(fetch_max_bytes: usize) -> Self {
        Self {
            map: RwLock::default(),
            fetch_max_bytes: AtomicUsize::new(fetch_max_bytes),
            traffic: Traffic::default(),
        }
    }

    /// `fetch.max.bytes`.
    pub(crate) fn fetch_max_bytes(&self) -> usize {
        self.fetch_max_bytes.load(Ordering::Relaxed)
    }

    /// The partition, or why this broker does not serve it.
    pub(crate) fn find(&self, topic: &TopicRef, index: i32) -> Result<Arc<Hosted>, ErrorCode> {
        let map = self.map.read().unwrap();
        let (id, unknown) = match topic {
            TopicRef::Name(name) => (map.ids.get(&**name).copied(), ErrorCode::UnknownTopicOrPartition),
            TopicRef::Id(id) => (Some(*id), ErrorCode::UnknownTopicId),
        };
        let topic = id.and_then(|id| map.topics.get(&id)).ok_or(unknown)?;
        let partition = usize::try_from(index).ok().and_then(|index| topic.get(index));
        partition.and_then(Clone::clone).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// Adds a partition, in place of one of the same topic and index.
    pub(crate) fn insert(&self, hosted: Arc<Hosted>) {
        let mut map = self.map.write().unwrap();
        map.ids.insert(Arc::clone(&hosted.topic), hosted.topic_id);
        let topic = map.topics.entry(hosted.topic_id).or_default();
        let at = hosted.index as usize;
        if topic.len() <= at {
            topic.resize(at + 1, None);
        }
        topic[at] = Some(hosted);
    }

    /// Takes a topic out, with its partitions.
    pub(crate) fn remove_topic(&self, id: Uuid) -> Vec<Arc<Hosted>> {
        let mut map = self.map.write().unwrap();
        let hosted: Vec<_> = map.topics.remove(&id).into_iter().flatten().flatten().collect();
        if let Some(first) = hosted.first()
            && map.ids.get(&first.topic) == Some(&id)
        {
            map.ids.remove(&first.topic);
        }
        hosted
    }

    /// Takes one partition out.
    pub(crate) fn remove(&self, id: Uuid, index: i32) -> Option<Arc<Hosted>> {
        let mut map = self.map.write().unwrap();
        let at = usize::try_from(index).ok()?;
        map.topics.get_mut(&id)?.get_mut(at)?.take()
    }

    /// The partitions of one topic.
    pub(crate) fn of_topic(&self, id: Uuid) -> Vec<Arc<Hosted>> {
        let map = self.map.read().unwrap();
        map.topics.get(&id).into_iter().flatten().flatten().cloned().collect()
    }

    /// One partition by topic id.
    pub(crate) fn get(&self, id: Uuid, index: i32) -> Option<Arc<Hosted>> {
        self.find(&TopicRef::Id(id), index).ok()
    }

    /// All of them, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Hosted>> {
        self.map.read().unwrap().topics.values().flatten().flatten().cloned().collect()
    }
}
