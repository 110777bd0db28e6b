//! A value to watch, whose watchers wake in the order in which they began to wait.
//!
//! tokio's own throws dice for it, which nobody can seed.

use openraft::async_runtime::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::task::{Poll, Waker};

/// See the module.
pub(crate) struct Ordered;

/// Who holds an end, and who waits.
#[derive(Default)]
struct Ends {
    version: u64,
    senders: usize,
    receivers: usize,
    next_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
}

struct Shared<T> {
    value: RwLock<T>,
    ends: Mutex<Ends>,
}

impl<T> Shared<T> {
    fn ends<R>(&self, act: impl FnOnce(&mut Ends) -> R) -> R {
        act(&mut self.ends.lock().unwrap())
    }

    fn wake_all(&self) {
        let waiting = self.ends(|ends| std::mem::take(&mut ends.waiting));
        waiting.into_values().for_each(Waker::wake);
    }
}

/// Changes the value.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.ends(|ends| ends.senders += 1);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = self.0.ends(|ends| {
            ends.senders -= 1;
            ends.senders
        });
        if left == 0 {
            self.0.wake_all();
        }
    }
}

/// Sees the value.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    fn new(shared: &Arc<Shared<T>>) -> Self {
        let seen = shared.ends(|ends| {
            ends.receivers += 1;
            ends.version
        });
        Self { shared: shared.clone(), seen }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::new(&self.shared);
        clone.seen = self.seen;
        clone
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.ends(|ends| ends.receivers -= 1);
    }
}

/// The value, which cannot change meanwhile.
pub(crate) struct Seen<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Seen<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Watch for Ordered {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Seen<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let ends = Mutex::new(Ends { senders: 1, ..Ends::default() });
        let shared = Arc::new(Shared { value: RwLock::new(init), ends });
        let receiver = Receiver::new(&shared);
        (Sender(shared), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<Ordered, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.ends(|ends| ends.receivers) == 0 {
            return Err(SendError(value));
        }
        self.send_if_modified(|held| {
            *held = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.0.value.write().unwrap());
        if modified {
            self.0.ends(|ends| ends.version += 1);
            self.0.wake_all();
        }
        modified
    }

    fn borrow_watched(&self) -> Seen<'_, T> {
        Seen(self.0.value.read().unwrap())
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.0)
    }
}

/// Takes its place in the queue back when nobody waits there any more.
struct Place<'a, T> {
    shared: &'a Shared<T>,
    ticket: u64,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let gone = self.shared.ends(|ends| ends.waiting.remove(&self.ticket));
        drop(gone);
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<Ordered, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        let shared = &self.shared;
        let ticket = shared.ends(|ends| {
            ends.next_ticket += 1;
            ends.next_ticket
        });
        let place = Place { shared, ticket };
        let seen = self.seen;
        let version = poll_fn(|context| {
            place.shared.ends(|ends| {
                if ends.version != seen {
                    return Poll::Ready(Ok(ends.version));
                }
                if ends.senders == 0 {
                    return Poll::Ready(Err(RecvError(())));
                }
                ends.waiting.insert(place.ticket, context.waker().clone());
                Poll::Pending
            })
        })
        .await?;
        drop(place);
        self.seen = version;
        Ok(())
    }

    fn borrow_watched(&self) -> Seen<'_, T> {
        Seen(self.shared.value.read().unwrap())
    }

    fn borrow_and_update(&mut self) -> Seen<'_, T> {
        let value = self.shared.value.read().unwrap();
        self.seen = self.shared.ends.lock().unwrap().version;
        Seen(value)
    }
}
