//! Who waits for a partition, and how it wakes them.
//!
//! Consumers' fetches without enough data park as a [`Waiter`]; the streams to followers subscribe for good by a
//! [`Subscription`]. Nothing polls: a partition wakes them when it is appended to, its high watermark or the log
//! start of a replica moves, its leader changes or it goes away (FE-17).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// One parked request: a fetch, or a deletion of records until the replicas have followed. It may be registered with
/// many partitions.
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

/// The partitions of one stream that have something new, as the stream numbers them. Each is in it once, so it
/// is no longer than the stream has partitions.
#[derive(Default)]
pub(crate) struct ReadyList {
    slots: Mutex<Vec<usize>>,
    notify: Notify,
}

impl ReadyList {
    /// Ready when a partition was added since the last call of [`ReadyList::take_into`].
    pub(crate) async fn filled(&self) {
        self.notify.notified().await;
    }

    /// Moves what is there behind `slots`.
    pub(crate) fn take_into(&self, slots: &mut Vec<usize>) {
        slots.append(&mut self.slots.lock().unwrap());
    }
}

/// A stream's interest in one partition.
pub(crate) struct Subscription {
    slot: usize,
    queued: AtomicBool,
    ready: Arc<ReadyList>,
}

impl Subscription {
    /// Puts `slot` on `ready` whenever the partition changes.
    pub(crate) fn new(slot: usize, ready: &Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Self { slot, queued: AtomicBool::new(false), ready: Arc::clone(ready) })
    }

    /// The partition has changed.
    pub(crate) fn wake(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.slots.lock().unwrap().push(self.slot);
            self.ready.notify.notify_one();
        }
    }

    /// The stream is about to look at the partition; a change from now on counts anew.
    pub(crate) fn rearm(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

/// Who waits for one partition.
#[derive(Default)]
pub(crate) struct Waiters {
    parked: Mutex<Vec<Arc<Waiter>>>,
    streams: Mutex<Vec<Arc<Subscription>>>,
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

    /// Registers a stream. It looks at the partition once more afterwards, too.
    pub(crate) fn subscribe(&self, stream: &Arc<Subscription>) {
        self.streams.lock().unwrap().push(Arc::clone(stream));
    }

    /// Forgets a stream.
    pub(crate) fn unsubscribe(&self, stream: &Arc<Subscription>) {
        self.streams.lock().unwrap().retain(|known| !Arc::ptr_eq(known, stream));
    }

    /// Something changed that consumers may see. They stay registered: a fetch may need more than one append to
    /// reach its minimum.
    pub(crate) fn wake(&self) {
        for waiter in self.parked.lock().unwrap().iter() {
            waiter.notify.notify_one();
        }
        self.wake_followers();
    }

    /// Something was appended that only followers may read yet.
    pub(crate) fn wake_followers(&self) {
        for stream in self.streams.lock().unwrap().iter() {
            stream.wake();
        }
    }
}
