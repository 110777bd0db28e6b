//! The batches of one partition: one open, full ones behind it in order, some in flight, and those that failed
//! and are to be sent again.
//!
//! A lane with failed batches sends nothing new until all that is in flight has come back; then it sends the failed
//! ones first, in their old order. So retries of an idempotent producer reach the broker in sequence.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::accumulator::Round;
use super::record::{Batch, Content};

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) open: Option<Batch>,
    pub(super) full: VecDeque<Batch>,
    pub(super) failed: BTreeMap<u64, Batch>,
    pub(super) in_flight: usize,
    pub(super) next_sequence: i32,
    pub(super) not_before: Option<Instant>,
}

impl Lane {
    pub(super) fn expire(&mut self, now: Instant, delivery_timeout: Duration, round: &mut Round) {
        let expired = |it: &Batch| it.created + delivery_timeout <= now;
        while self.failed.first_key_value().is_some_and(|(_, batch)| expired(batch)) {
            round.expired.extend(self.failed.pop_first().map(|(_, batch)| batch));
        }
        while self.full.front().is_some_and(expired) {
            round.expired.extend(self.full.pop_front());
        }
        if let Some(next) = self.failed.first_key_value().map(|(_, it)| it).or(self.full.front()) {
            wake(round, next.created + delivery_timeout);
        }
    }

    /// Puts failed batches back in front once all that was in flight is back.
    pub(super) fn retry(&mut self, now: Instant, round: &mut Round) {
        if self.failed.is_empty() || self.in_flight > 0 {
            return;
        }
        match self.not_before {
            Some(at) if at > now => wake(round, at),
            _ => {
                self.not_before = None;
                for (_, batch) in std::mem::take(&mut self.failed).into_iter().rev() {
                    self.full.push_front(batch);
                }
            }
        }
    }

    /// Closes the open batch when it has waited long enough.
    pub(super) fn close(&mut self, now: Instant, linger: Duration, flush_until: u64, round: &mut Round) {
        let Some(open) = &self.open else { return };
        if open.number <= flush_until || open.created + linger <= now {
            // While others wait before it, it may as well grow.
            if self.full.is_empty() && self.failed.is_empty() {
                self.full.extend(self.open.take());
            }
        } else {
            wake(round, open.created + linger);
        }
    }

    pub(super) fn may_send(&self, max_in_flight: usize) -> bool {
        !self.full.is_empty() && self.failed.is_empty() && self.in_flight < max_in_flight
    }

    pub(super) fn take(&mut self, idempotent: bool) -> Batch {
        let mut batch = self.full.pop_front().expect("checked by the caller");
        self.in_flight += 1;
        if let (true, None, Content::Open(builder)) = (idempotent, batch.sequence, &batch.content) {
            batch.sequence = Some(self.next_sequence);
            // Sequence numbers wrap from 2^31-1 to 0.
            self.next_sequence = self.next_sequence.wrapping_add(builder.record_count() as i32) & i32::MAX;
        }
        batch
    }
}

fn wake(round: &mut Round, at: Instant) {
    round.wake_at = Some(round.wake_at.map_or(at, |earlier| earlier.min(at)));
}
