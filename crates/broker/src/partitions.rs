//! The partitions of this broker, found by topic name or id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use milena_disk::{Health, Level};
use milena_peer::liveness::Lease;
use milena_wire::{ErrorCode, Text, Uuid};

use crate::hosted::Hosted;
use crate::meters::{Changes, Traffic};
use crate::view::View;

/// How long the lease must have been over before producers that wait for replicas are sent away: the beats of a busy
/// machine come late now and then, and who is sent away needlessly sends its records twice, unless it is idempotent.
const DEPOSED: Duration = Duration::from_millis(100);

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
    view: Arc<View>,
    lease: Arc<Lease>,
    disk: Arc<Health>,
    /// Of all partitions since the start, also of those that are gone.
    pub(crate) traffic: Traffic,
    /// What became of those that this broker leads.
    pub(crate) changes: Changes,
}

#[derive(Default)]
struct Map {
    ids: HashMap<Arc<str>, Uuid>,
    topics: HashMap<Uuid, Vec<Option<Arc<Hosted>>>>,
}

impl Partitions {
    /// None yet. No fetch gets more than `fetch_max_bytes`. Partitions of other brokers are known by `view`; this one
    /// acts as a leader while `lease` holds, and takes records while `disk` has room.
    pub(crate) fn new(fetch_max_bytes: usize, view: Arc<View>, lease: Arc<Lease>, disk: Arc<Health>) -> Self {
        Self {
            map: RwLock::default(),
            fetch_max_bytes: AtomicUsize::new(fetch_max_bytes),
            view,
            lease,
            disk,
            traffic: Traffic::default(),
            changes: Changes::default(),
        }
    }

    /// Whether this broker may act as a leader now: append, acknowledge, tell the latest offset. One that was paused or
    /// cut off may have been replaced, and must not say what its successors do not know (test id M19).
    pub(crate) fn may_lead(&self) -> bool {
        self.lease.holds()
    }

    /// Ready when this broker has not been allowed to lead for [`DEPOSED`]: whoever waits for replicas waits in vain, as
    /// they follow somebody else by now, or nobody.
    pub(crate) async fn deposed(&self) {
        loop {
            match self.lease.remaining() {
                None => std::future::pending().await,
                Some(left) if left.is_zero() => {
                    tokio::time::sleep(DEPOSED).await;
                    if !self.lease.holds() {
                        return;
                    }
                }
                Some(left) => tokio::time::sleep(left).await,
            }
        }
    }

    /// What the room on the disk allows to producers.
    pub(crate) fn room(&self) -> Level {
        self.disk.level()
    }

    /// The metadata that is applied.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// `fetch.max.bytes`.
    pub(crate) fn fetch_max_bytes(&self) -> usize {
        self.fetch_max_bytes.load(Ordering::Relaxed)
    }

    /// The partition, or why this broker does not serve it. Of one that others host clients are told so: they ask for
    /// new metadata and go there.
    pub(crate) fn find(&self, topic: &TopicRef, index: i32) -> Result<Arc<Hosted>, ErrorCode> {
        self.hosted(topic, index).ok_or_else(|| match (self.leader(topic, index), topic) {
            (Some(_), _) => ErrorCode::NotLeaderOrFollower,
            (None, TopicRef::Id(id)) if self.view.image().topic_by_id(*id).is_none() => {
                ErrorCode::UnknownTopicId
            }
            (None, _) => ErrorCode::UnknownTopicOrPartition,
        })
    }

    fn hosted(&self, topic: &TopicRef, index: i32) -> Option<Arc<Hosted>> {
        let map = self.map.read().unwrap();
        let id = match topic {
            TopicRef::Name(name) => *map.ids.get(&**name)?,
            TopicRef::Id(id) => *id,
        };
        map.topics.get(&id)?.get(usize::try_from(index).ok()?)?.clone()
    }

    /// Who leads a partition, -1 if nobody does, and its leader epoch; `None` if there is no such partition.
    pub(crate) fn leader(&self, topic: &TopicRef, index: i32) -> Option<(i32, i32)> {
        let image = self.view.image();
        let topic = match topic {
            TopicRef::Name(name) => image.topic(name)?,
            TopicRef::Id(id) => image.topic_by_id(*id)?,
        };
        let partition = topic.partition(index)?;
        Some((partition.leader.map_or(-1, |id| id.0), partition.leader_epoch.0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn broker_is_deposed_when_its_lease_has_been_over_for_a_while() {
        let lasting = Lease::none();
        lasting.extend(milena_peer::liveness::boottime() + Duration::from_secs(600));
        for (lease, within, want) in [
            (Lease::always(), DEPOSED * 2, false),
            (lasting, DEPOSED * 2, false),
            (Lease::none(), DEPOSED / 2, false),
            (Lease::none(), DEPOSED * 100, true),
        ] {
            let view = Arc::new(View::new(Arc::default()));
            let partitions = Partitions::new(1, view, Arc::new(lease), Arc::default());
            let deposed = tokio::time::timeout(within, partitions.deposed()).await.is_ok();
            assert_eq!(deposed, want, "{within:?}");
        }
    }
}
