//! The cluster as this broker has applied it: what Metadata answers and what handlers look names up in.
//!
//! It trails the committed metadata by the time that it takes to create or drop the partitions concerned, so
//! whatever a client is told of, this broker can serve.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use milena_metadata::{BrokerId, Endpoint, Image, Topic};
use milena_wire::Uuid;
use tokio::sync::watch;

/// The newest applied image.
pub(crate) struct View {
    image: ArcSwap<Image>,
    index: watch::Sender<u64>,
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
        Self { image: ArcSwap::new(image), index }
    }

    /// The image now. Take it once per request, so that one answer tells of one moment.
    pub(crate) fn image(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// This image is applied: its partitions are there.
    pub(crate) fn publish(&self, image: Arc<Image>) {
        let index = image.index();
        self.image.store(image);
        self.index.send_replace(index);
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
