//! What becomes known when commands are applied: transactions whose markers are due, and those that are complete.
//!
//! The state machine signals, on every broker; only the coordinator's tasks listen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

/// Transactional ids whose markers are due, from apply to the task that sends them.
#[derive(Default)]
pub(crate) struct Due {
    /// `None` while nobody sends; each id is in it once.
    ids: Mutex<Option<BTreeSet<String>>>,
    filled: Notify,
}

impl Due {
    /// A transaction of this id is decided.
    pub(crate) fn push(&self, id: &str) {
        if let Some(ids) = self.ids.lock().unwrap().as_mut() {
            ids.insert(id.to_owned());
            self.filled.notify_one();
        }
    }

    /// From now on somebody takes what is pushed. What was due before must be looked up afterwards.
    pub(crate) fn open(&self) {
        *self.ids.lock().unwrap() = Some(BTreeSet::new());
    }

    /// Nobody takes any more.
    pub(crate) fn close(&self) {
        *self.ids.lock().unwrap() = None;
    }

    /// Waits until there are some and takes them.
    pub(crate) async fn take(&self) -> BTreeSet<String> {
        loop {
            let taken = self.ids.lock().unwrap().as_mut().map(std::mem::take);
            match taken {
                Some(taken) if !taken.is_empty() => return taken,
                _ => self.filled.notified().await,
            }
        }
    }
}

/// Requests that wait for the previous transaction of their transactional id to be complete.
///
/// That its completion is on its way into the log is enough: what is proposed from then on comes behind it in the log, and
/// is refused if it does not. So a transaction does not wait for a flush of the end of the one before.
#[derive(Clone, Default)]
pub(crate) struct Completions(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    requests: HashMap<String, Vec<oneshot::Sender<()>>>,
    /// Ids whose completion is on its way into the log; as many as have their markers under way at most.
    proposed: HashSet<String>,
}

impl Completions {
    /// The present transaction of this id is complete, or the id is gone.
    pub(crate) fn completed(&self, id: &str) {
        let waiting = self.0.lock().unwrap().requests.remove(id);
        wake(waiting.into_iter().flatten());
    }

    /// Any transaction may be complete: whoever waits looks again.
    pub(crate) fn all_completed(&self) {
        let waiting = std::mem::take(&mut self.0.lock().unwrap().requests);
        wake(waiting.into_values().flatten());
    }

    /// The completion of this id's transaction is on its way into the log, until what this returns is dropped.
    pub(crate) fn proposed(&self, id: &str) -> Proposed {
        let waiting = {
            let mut waiting = self.0.lock().unwrap();
            waiting.proposed.insert(id.to_owned());
            waiting.requests.remove(id)
        };
        wake(waiting.into_iter().flatten());
        Proposed { waiting: self.clone(), id: id.to_owned() }
    }

    /// Whether nothing but the log is waited for.
    pub(crate) fn is_proposed(&self, id: &str) -> bool {
        self.0.lock().unwrap().proposed.contains(id)
    }

    /// Waits until the transaction of this id is complete, at most for `patience`. `is_incomplete` is looked at once
    /// the wait would be noticed, as it may have completed before.
    pub(crate) async fn wait(&self, id: &str, patience: Duration, is_incomplete: impl FnOnce() -> bool) {
        let (done, completed) = oneshot::channel();
        {
            let mut waiting = self.0.lock().unwrap();
            let of_id = waiting.requests.entry(id.to_owned()).or_default();
            of_id.retain(|waiting| !waiting.is_closed());
            of_id.push(done);
        }
        let _forget = Forget { waiting: self, id };
        if is_incomplete() {
            // The error means that it is complete, too.
            let _ = tokio::time::timeout(patience, completed).await;
        }
    }

    fn forget_closed(&self, id: &str) {
        let mut waiting = self.0.lock().unwrap();
        if let Some(of_id) = waiting.requests.get_mut(id) {
            of_id.retain(|waiting| !waiting.is_closed());
            if of_id.is_empty() {
                waiting.requests.remove(id);
            }
        }
    }
}

fn wake(waiting: impl Iterator<Item = oneshot::Sender<()>>) {
    for waiting in waiting {
        // Who gave up does not listen.
        let _ = waiting.send(());
    }
}

/// A completion on its way into the log.
pub(crate) struct Proposed {
    waiting: Completions,
    id: String,
}

impl Drop for Proposed {
    fn drop(&mut self) {
        self.waiting.0.lock().unwrap().proposed.remove(&self.id);
    }
}

/// Leaves nothing behind of a request that gave up or whose connection is gone.
struct Forget<'a> {
    waiting: &'a Completions,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.forget_closed(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// One that waits for the transaction of `a`.
    async fn waiter(completions: &Completions) -> tokio::task::JoinHandle<()> {
        let completions = completions.clone();
        let waiting = tokio::spawn(async move { completions.wait("a", LONG, || true).await });
        tokio::task::yield_now().await;
        waiting
    }

    #[tokio::test]
    async fn what_is_due_is_taken_once() {
        let due = Due::default();
        due.push("before");
        due.open();
        due.push("a");
        due.push("b");
        due.push("a");
        assert_eq!(due.take().await, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        due.push("c");
        assert_eq!(due.take().await, BTreeSet::from(["c".to_owned()]));
    }

    #[tokio::test]
    async fn waiters_are_woken_by_completion_and_leave_nothing_behind() {
        let completions = Completions::default();
        let waiting = waiter(&completions).await;
        assert_eq!(completions.0.lock().unwrap().requests.len(), 1);
        completions.completed("a");
        waiting.await.unwrap();
        // One that is complete already does not wait, one that is not waits no longer than it may.
        completions.wait("a", LONG, || false).await;
        completions.wait("a", Duration::from_millis(5), || true).await;
        assert!(completions.0.lock().unwrap().requests.is_empty());
    }

    #[tokio::test]
    async fn a_completion_that_is_proposed_is_not_waited_for() {
        let completions = Completions::default();
        let waiting = waiter(&completions).await;
        let proposed = completions.proposed("a");
        waiting.await.unwrap();
        assert!(completions.is_proposed("a") && !completions.is_proposed("b"));
        drop(proposed);
        assert!(!completions.is_proposed("a"), "it is in the log, or was refused");
    }
}
