//! Parked requests, woken by the partitions they wait for.
//!
//! A fetch without enough data and a produce whose records are not yet on enough replicas wait here.
//! Nothing polls: a partition wakes whoever is registered with it when its high watermark or log start
//! moves, its leader changes or it goes away (FE-17).

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// One parked request. It may be registered with many partitions.
#[derive(Default)]
pub(crate) struct Waiter {
    notify: Notify,
}

impl Waiter {
    /// Ready when a partition has changed since registration or since the last wake-up.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// The requests that wait for one partition.
#[derive(Default)]
pub(crate) struct Waiters {
    parked: Mutex<Vec<Arc<Waiter>>>,
}

impl Waiters {
    /// Registers a request. It must look at the partition once more afterwards, as the change it waits for
    /// may have come before.
    pub(crate) fn register(&self, waiter: &Arc<Waiter>) {
        self.parked.lock().unwrap().push(Arc::clone(waiter));
    }

    /// Forgets a request that was answered or gave up.
    pub(crate) fn deregister(&self, waiter: &Arc<Waiter>) {
        self.parked.lock().unwrap().retain(|parked| !Arc::ptr_eq(parked, waiter));
    }

    /// Wakes everybody. They stay registered: a fetch may need more than one append to reach its minimum.
    pub(crate) fn wake(&self) {
        for waiter in self.parked.lock().unwrap().iter() {
            waiter.notify.notify_one();
        }
    }
}
