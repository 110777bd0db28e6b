//! How far each broker has applied the metadata, so that a change is answered when every live broker knows of it
//! (D12): nothing is "unknown" a moment after it was created.

use std::collections::BTreeMap;

use milena_metadata::{BrokerEpoch, BrokerId, Image};
use tokio::sync::watch;

/// What the other brokers said last, in their heartbeats.
#[derive(Debug, Default)]
pub(crate) struct AppliedEverywhere {
    reported: watch::Sender<BTreeMap<BrokerId, (BrokerEpoch, u64)>>,
}

impl AppliedEverywhere {
    /// A broker in this life of it has applied everything up to `index`.
    pub(crate) fn report(&self, id: BrokerId, epoch: BrokerEpoch, index: u64) {
        self.reported.send_if_modified(|reported| {
            let newer = (epoch, index);
            let known = reported.entry(id).or_insert(newer);
            let is_news = *known < newer;
            if is_news {
                *known = newer;
            }
            is_news
        });
    }

    /// Waits until every live broker but `me` has applied `index`. A broker that is fenced meanwhile is waited for no
    /// longer; `image` gives the newest state, and `changes` tells of newer ones.
    pub(crate) async fn wait(
        &self,
        me: BrokerId,
        index: u64,
        image: impl Fn() -> std::sync::Arc<Image>,
        mut changes: watch::Receiver<u64>,
    ) {
        let mut reported = self.reported.subscribe();
        loop {
            changes.borrow_and_update();
            let all = is_everywhere(&reported.borrow_and_update(), &image(), me, index);
            if all {
                return;
            }
            let changed = tokio::select! {
                changed = reported.changed() => changed,
                changed = changes.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }
}

/// Whether every live broker has applied `index`. One of which nothing was ever heard does not count.
fn is_everywhere(
    reported: &BTreeMap<BrokerId, (BrokerEpoch, u64)>,
    image: &Image,
    me: BrokerId,
    index: u64,
) -> bool {
    image.live_brokers().filter(|broker| broker.id != me).all(|broker| match reported.get(&broker.id) {
        Some((epoch, applied)) => *epoch < broker.epoch || *applied >= index,
        None => true,
    })
}
