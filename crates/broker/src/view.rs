//! The cluster as this broker has applied it: what Metadata answers and what handlers look names up in.
//!
//! It trails the committed metadata by the time that it takes to create or drop the partitions concerned, so
//! whatever a client is told of, this broker can serve.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use milena_metadata::{Broker, BrokerId, Endpoint, Image, Topic};
use milena_wire::Uuid;
use tokio::sync::watch;

/// How long clients are still told of a broker that died, is silent or said good-bye, though it leads nothing any more: about
/// as long as Apache's brokers take to notice a death (`broker.session.timeout.ms`). Clients rely on both ends of it.
///
/// Not less: librdkafka 2.12 closes what it has with a broker that is no longer named. Requests under way there come to
/// nothing at once, and an idempotent producer repeats them under a new epoch, whether they were written or not; requests to
/// that coordinator wait for a connection that is never made again, also when it is back a moment later: after each step of a
/// rolling restart a transactional loop stood still, its offsets on their way to such a coordinator.
///
/// Not more: sarama's members of a group go on asking the coordinator that they remember until it is no longer named, and
/// what chooses any broker to ask (franz-go, kafkajs) waits for one that hangs.
const NAMED_AFTER_DEATH: Duration = Duration::from_secs(9);

/// The newest applied image.
pub(crate) struct View {
    image: ArcSwap<Image>,
    index: watch::Sender<u64>,
    /// Since when brokers are fenced that were not.
    lost: Mutex<BTreeMap<BrokerId, Instant>>,
}

/// What a request about a topic needs to know of it.
#[derive(Debug, Clone)]
pub(crate) struct TopicSummary {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    /// Number of partitions.
    pub(crate) partitions: i32,
}

impl View {
    /// Begins with this image.
    pub(crate) fn new(image: Arc<Image>) -> Self {
        let index = watch::Sender::new(image.index());
        Self { image: ArcSwap::new(image), index, lost: Mutex::default() }
    }

    /// The image now. Take it once per request, so that one answer tells of one moment.
    pub(crate) fn image(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// This image is applied: its partitions are there.
    pub(crate) fn publish(&self, image: Arc<Image>) {
        let index = image.index();
        self.note_lost(&image);
        self.image.store(image);
        self.index.send_replace(index);
    }

    fn note_lost(&self, image: &Image) {
        let before = self.image.load();
        let mut lost = self.lost.lock().expect("no panic while the lock is held");
        lost.retain(|id, _| image.broker(*id).is_some_and(|broker| broker.fenced));
        for broker in image.brokers().filter(|broker| broker.fenced) {
            if before.broker(broker.id).is_some_and(|before| !before.fenced) {
                lost.insert(broker.id, Instant::now());
            }
        }
    }

    /// Whether clients are told of a broker: it is alive, or was a moment ago.
    pub(crate) fn names(&self, broker: &Broker) -> bool {
        let lost = || self.lost.lock().expect("no panic while the lock is held").get(&broker.id).copied();
        !broker.fenced || lost().is_some_and(|since| since.elapsed() < NAMED_AFTER_DEATH)
    }

    /// The index of the image, now and later.
    pub(crate) fn indexes(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    /// Waits until the command at `index` is applied (D12).
    pub(crate) async fn applied(&self, index: u64) {
        let mut applied = self.index.subscribe();
        // The sender lives as long as `self`.
        let _ = applied.wait_for(|applied| *applied >= index).await;
    }

    /// A topic by name.
    pub(crate) fn topic(&self, name: &str) -> Option<TopicSummary> {
        self.image().topic(name).map(TopicSummary::of)
    }

    /// A topic by id.
    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<TopicSummary> {
        self.image().topic_by_id(id).map(TopicSummary::of)
    }

    /// Where clients of a listener reach a broker, if it is alive.
    pub(crate) fn endpoint(&self, id: BrokerId, listener: &str) -> Option<Endpoint> {
        let image = self.image();
        let broker = image.broker(id).filter(|broker| !broker.fenced)?;
        broker.endpoint(listener).cloned()
    }

    /// A broker's rack, if it has one.
    pub(crate) fn rack(&self, id: BrokerId) -> Option<String> {
        self.image().broker(id)?.rack.clone()
    }
}

impl TopicSummary {
    fn of(topic: &Topic) -> Self {
        Self { name: topic.name.to_string(), id: topic.id, partitions: topic.partitions.len() as i32 }
    }
}
