//! The cluster's state machine as Raft drives it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use milena_metadata::{Image, Outcome, State};
use milena_quorum::{Changes, StateMachine};
use tokio::sync::watch;

/// Commands that took effect and are remembered, for proposers whose answer was lost on the way.
const REMEMBERED: usize = 1_024;

/// The newest committed image, and word of each newer one.
#[derive(Clone)]
pub(crate) struct Committed {
    image: Arc<ArcSwap<Image>>,
    index: watch::Sender<u64>,
    /// Digests of the newest commands that took effect, with their indices.
    effective: Arc<Mutex<VecDeque<(u64, u64)>>>,
}

impl Committed {
    /// Begins with nothing.
    pub(crate) fn new() -> Self {
        let image = Arc::new(ArcSwap::from_pointee(Image::default()));
        Self { image, index: watch::Sender::new(0), effective: Arc::default() }
    }

    /// The image now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Tells of newer images by their index.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    /// The index at which this very command took effect, if that was not long ago. Two brokers that decide the same
    /// on the same image propose equal commands; then one stands for both.
    pub(crate) fn applied_at(&self, command: &[u8]) -> Option<u64> {
        let wanted = digest(command);
        let effective = self.effective.lock().unwrap();
        effective.iter().find(|(digest, _)| *digest == wanted).map(|(_, index)| *index)
    }

    fn remember(&self, command: &[u8], index: u64) {
        let mut effective = self.effective.lock().unwrap();
        if effective.len() == REMEMBERED {
            effective.pop_front();
        }
        effective.push_back((digest(command), index));
    }

    pub(crate) fn publish(&self, image: &Image) {
        if image.index() != *self.index.borrow() {
            self.image.store(Arc::new(image.clone()));
            self.index.send_replace(image.index());
        }
    }
}

/// Commands begin with the index that they were decided at, so equal ones are not far from each other.
fn digest(command: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(command);
    hasher.finish()
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
        if outcome == Outcome::Applied {
            self.committed.remember(command, index);
        }
        outcome.encode()
    }

    fn applied(&mut self, _index: u64) {
        self.committed.publish(self.state.image());
    }
}
