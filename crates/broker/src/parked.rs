//! A request that waits for partitions: a fetch for records, a deletion of records for the replicas.

use std::sync::Arc;

use crate::hosted::Hosted;
use crate::waiters::Waiter;

/// A request's registration with partitions; ends when dropped, also with the connection.
pub(crate) struct Parked {
    waiter: Arc<Waiter>,
    with: Vec<Arc<Hosted>>,
}

impl Parked {
    /// Registers with all of them.
    pub(crate) fn with(partitions: impl Iterator<Item = Arc<Hosted>>) -> Self {
        let waiter = Arc::new(Waiter::default());
        let with: Vec<_> = partitions.collect();
        with.iter().for_each(|hosted| hosted.waiters.register(&waiter));
        Self { waiter, with }
    }

    /// Ready when one of them has changed since the registration or since the last call.
    pub(crate) async fn woken(&self) {
        self.waiter.woken().await;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.with.iter().for_each(|hosted| hosted.waiters.deregister(&self.waiter));
    }
}
