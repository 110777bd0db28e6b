//! The bound on bytes of requests that all connections together hold in memory.
//!
//! What counts is what has arrived, not what a length prefix promises: a peer that claims much and sends
//! nothing takes no share from the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Shared by all connections; cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Shared { limit, used: AtomicUsize::new(0), freed: Notify::new() }) }
    }

    /// An empty share of it.
    pub(crate) fn charge(&self) -> Charge {
        Charge { shared: Arc::clone(&self.shared), bytes: 0 }
    }

    /// Bytes in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }
}

/// One holder's share; given back when dropped.
pub(crate) struct Charge {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Charge {
    /// States what the holder holds now.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        if bytes > self.bytes {
            self.shared.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.shared.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.shared.freed.notify_waiters();
        }
        self.bytes = bytes;
    }

    /// Waits until the budget is not exceeded by others. Whoever is the only holder never waits, so one
    /// request larger than the whole budget still gets through.
    pub(crate) async fn settled(&self) {
        loop {
            let freed = self.shared.freed.notified();
            let used = self.shared.used.load(Ordering::Relaxed);
            if used <= self.shared.limit || used == self.bytes {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exceeded_budget_holds_others_until_bytes_are_freed() {
        let budget = Budget::new(100);
        let (mut first, second) = (budget.charge(), budget.charge());
        first.set(150);
        first.settled().await;
        let waiting = second.settled();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        first.set(90);
        waiting.await;
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
