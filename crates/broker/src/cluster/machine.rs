//! The cluster's state machine as Raft drives it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use milena_metadata::{Image, Outcome, State};
use milena_quorum::{Changes, StateMachine};
use tokio::sync::watch;

/// The newest committed image, and word of each newer one.
#[derive(Clone)]
pub(crate) struct Committed {
    image: Arc<ArcSwap<Image>>,
    index: watch::Sender<u64>,
}

impl Committed {
    /// Begins with nothing.
    pub(crate) fn new() -> Self {
        Self { image: Arc::new(ArcSwap::from_pointee(Image::default())), index: watch::Sender::new(0) }
    }

    /// The image now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Tells of newer images by their index.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    pub(crate) fn publish(&self, image: &Image) {
        if image.index() != *self.index.borrow() {
            self.image.store(Arc::new(image.clone()));
            self.index.send_replace(image.index());
        }
    }
}

/// [`State`] under Raft.
pub(crate) struct ClusterMachine {
    state: State,
    committed: Committed,
}

impl ClusterMachine {
    /// Publishes every new image to `committed`.
    pub(crate) fn new(committed: Committed) -> Self {
        Self { state: State::default(), committed }
    }
}

impl StateMachine for ClusterMachine {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        match State::restore(pairs) {
            Ok(state) => self.state = state,
            // Going on with topics missing would delete their data.
            Err(error) => panic!("stored cluster metadata cannot be read: {error}"),
        }
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        let mut pairs = Vec::new();
        let outcome: Outcome = self.state.apply(index, command, &mut pairs);
        for (key, value) in pairs {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.remove(key),
            }
        }
        outcome.encode()
    }

    fn applied(&mut self, _index: u64) {
        self.committed.publish(self.state.image());
    }
}
