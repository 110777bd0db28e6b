//! When a partition is to be flushed: after so many records, or so long after the first of them.

use std::sync::atomic::Ordering;

use milena_config::TopicConfig;
use milena_log::FlushHandle;

use super::Hosted;
use crate::clock;

/// What was written to a partition since its last flush.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    /// Records, for `flush.messages`.
    pub(super) records: i64,
    /// When the first of them was written, for `flush.ms`; on the monotonic clock.
    since_ms: Option<i64>,
}

impl Unflushed {
    /// Records were written.
    pub(super) fn add(&mut self, records: i32) {
        self.records += i64::from(records);
        self.since_ms.get_or_insert_with(clock::monotonic_ms);
    }

    /// Whether the first of them will have waited for longer than `flush_ms` at `at_ms`.
    fn is_overdue(&self, flush_ms: i64, at_ms: i64) -> bool {
        self.since_ms.is_some_and(|since| at_ms.saturating_sub(since) >= flush_ms)
    }
}

impl Hosted {
    /// The flush that a follower owes before it says what it has: the leader takes its word for `acks=all`.
    pub(crate) fn due_flush_by_count(&self) -> Option<FlushHandle> {
        let most = self.config.load().flush_messages();
        if most == i64::MAX || !self.with(|state| state.unflushed.records >= most)? {
            return None;
        }
        self.due_flush(true)
    }

    /// The flush that `flush.ms` asks for before `at_ms` on the monotonic clock, when there will be another look.
    pub(crate) fn due_flush_by_time(&self, at_ms: i64) -> Option<FlushHandle> {
        let flush_ms = self.flush_ms();
        if flush_ms == i64::MAX || !self.with(|state| state.unflushed.is_overdue(flush_ms, at_ms))? {
            return None;
        }
        // The new recovery point is for the checkpoints.
        self.touched.store(true, Ordering::Relaxed);
        self.due_flush(true)
    }

    /// `flush.ms` of the topic: how long what was appended may stay unflushed.
    pub(crate) fn flush_ms(&self) -> i64 {
        TopicConfig::flush_ms(&self.config.load())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_since_a_flush_sets_the_time() {
        let mut unflushed = Unflushed::default();
        assert!(!unflushed.is_overdue(0, i64::MAX));
        unflushed.add(2);
        unflushed.add(3);
        let since = unflushed.since_ms.unwrap();
        assert_eq!(unflushed.records, 5);
        assert!(!unflushed.is_overdue(60_000, since + 59_999));
        assert!(unflushed.is_overdue(60_000, since + 60_000));
    }
}
