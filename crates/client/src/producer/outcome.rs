//! What became of a batch, and how the sender of a record learns it.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::Error;

/// Where a record is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Partition it was appended to.
    pub partition: i32,
    /// Its offset, or -1 with acks=0, when the broker does not tell.
    pub offset: i64,
    /// The broker that has said so, or -1 if it says nothing.
    pub broker: i32,
}

/// The result of one batch, shared by all its records.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Base offset of the batch, and the broker that told it.
    result: OnceLock<Result<(i64, i32), Error>>,
    done: Notify,
}

impl Outcome {
    pub(crate) fn set(&self, result: Result<(i64, i32), Error>) {
        // The first word counts: a batch that was failed while it was in flight stays failed.
        let _ = self.result.set(result);
        self.done.notify_waiters();
    }
}

/// A record on its way. Dropping it does not stop the record.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) outcome: Arc<Outcome>,
    pub(crate) partition: i32,
    pub(crate) index: i64,
}

impl Delivery {
    /// The partition that the record is for. Records of one partition are acknowledged in the order in which they were sent.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Waits until the broker has acknowledged the record, or it failed for good.
    pub async fn wait(&self) -> Result<Delivered, Error> {
        loop {
            let done = self.outcome.done.notified();
            if let Some(result) = self.result() {
                return result;
            }
            done.await;
        }
    }

    /// The result, if there is one already.
    pub fn result(&self) -> Option<Result<Delivered, Error>> {
        let result = self.outcome.result.get()?.clone();
        Some(result.map(|(base, broker)| Delivered {
            partition: self.partition,
            offset: if base < 0 { -1 } else { base + self.index },
            broker,
        }))
    }
}
