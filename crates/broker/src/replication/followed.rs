//! The partitions that this broker follows at one leader, as the applier sets them and the fetcher reads them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::PartitionKey;
use crate::hosted::Hosted;

/// Set by the applier, read by one fetcher.
#[derive(Default)]
pub(super) struct Followed {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    partitions: HashMap<PartitionKey, Arc<Hosted>>,
    /// Added or restarted since the fetcher looked; one entry per change of metadata at most, as the fetcher takes
    /// them all at once.
    news: Vec<PartitionKey>,
}

/// What changed since the fetcher looked.
#[derive(Default)]
pub(super) struct News {
    /// To be fetched from its present position on, whatever was under way.
    pub(super) started: Vec<(PartitionKey, Arc<Hosted>)>,
    /// No longer to be fetched here.
    pub(super) stopped: Vec<PartitionKey>,
}

impl Followed {
    /// Fetches a partition from now on, or anew after a change of its leader epoch.
    pub(super) fn start(&self, key: PartitionKey, hosted: Arc<Hosted>) {
        let mut state = self.state.lock().unwrap();
        state.partitions.insert(key, hosted);
        state.news.push(key);
        drop(state);
        self.changed.notify_one();
    }

    /// Fetches a partition no more.
    pub(super) fn stop(&self, key: &PartitionKey) {
        let mut state = self.state.lock().unwrap();
        if state.partitions.remove(key).is_some() {
            state.news.push(*key);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ready when something changed since the last look.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether there is nothing to fetch.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().unwrap().partitions.is_empty()
    }

    /// Everything that is followed: for a new stream.
    pub(super) fn all(&self) -> Vec<(PartitionKey, Arc<Hosted>)> {
        let mut state = self.state.lock().unwrap();
        state.news.clear();
        state.partitions.iter().map(|(key, hosted)| (*key, Arc::clone(hosted))).collect()
    }

    /// What changed since the last call of this or of [`Followed::all`].
    pub(super) fn news(&self) -> News {
        let mut state = self.state.lock().unwrap();
        let mut changed = std::mem::take(&mut state.news);
        changed.sort_unstable();
        changed.dedup();
        let mut news = News::default();
        for key in changed {
            match state.partitions.get(&key) {
                Some(hosted) => news.started.push((key, Arc::clone(hosted))),
                None => news.stopped.push(key),
            }
        }
        news
    }
}
