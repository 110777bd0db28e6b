//! The leader's view of each follower: what its fetches of this leader epoch have shown.

use std::collections::BTreeMap;

use milena_records::Offset;

use crate::Leadership;

/// A time long before all others, far enough from the edge for differences.
const NEVER: i64 = i64::MIN / 2;

/// One follower, as its fetches in the current leader epoch describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Next offset it asked for: it holds all before. `None` until it has fetched in this epoch.
    pub log_end: Option<Offset>,
    /// First offset it still has.
    pub log_start: Offset,
    /// When it fetched last, in milliseconds of the caller's monotonic clock.
    pub fetched_at: i64,
    /// The leader's log end at that time.
    pub leader_end_then: Offset,
    /// When it last had all that the leader had.
    pub caught_up_at: i64,
    /// Process life in which it fetched, KIP-903; -1 until it has.
    pub broker_epoch: i64,
}

impl Follower {
    /// Unknown as yet. A member of the ISR has the benefit of the doubt; others were never caught up.
    fn new(in_sync: bool, now_ms: i64) -> Self {
        Self {
            log_end: None,
            log_start: Offset::ZERO,
            fetched_at: now_ms,
            leader_end_then: Offset::NONE,
            caught_up_at: if in_sync { now_ms } else { NEVER },
            broker_epoch: -1,
        }
    }

    /// Notes a fetch at `log_end`. A follower that reached where the leader was at its previous fetch was caught up
    /// then, so that one under constant load stays in sync without ever reaching the moving end.
    pub(crate) fn fetched(&mut self, log_end: Offset, leader_end: Offset, now_ms: i64) {
        if log_end >= leader_end {
            self.caught_up_at = now_ms;
        } else if self.leader_end_then >= Offset::ZERO && log_end >= self.leader_end_then {
            self.caught_up_at = self.caught_up_at.max(self.fetched_at);
        }
        self.log_end = Some(log_end);
        self.fetched_at = now_ms;
        self.leader_end_then = leader_end;
    }

    /// Whether it has all, or had all within `lag_max_ms`.
    pub(crate) fn is_caught_up(&self, leader_end: Offset, now_ms: i64, lag_max_ms: i64) -> bool {
        self.log_end.is_some_and(|end| end >= leader_end) || now_ms - self.caught_up_at <= lag_max_ms
    }
}

/// All followers of a leader, by broker id. Empty on a follower.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followers {
    by_id: BTreeMap<i32, Follower>,
}

impl Followers {
    /// Nothing is known of anybody: a new epoch begins.
    pub(crate) fn reset(&mut self, own: i32, leadership: &Leadership, now_ms: i64) {
        self.by_id.clear();
        self.assign(own, leadership, now_ms);
    }

    /// Follows the assignment: who left is forgotten, who came is unknown as yet.
    pub(crate) fn assign(&mut self, own: i32, leadership: &Leadership, now_ms: i64) {
        self.by_id.retain(|id, _| leadership.replicas.contains(id));
        for &id in leadership.replicas.iter().filter(|id| **id != own) {
            let in_sync = leadership.isr.contains(&id);
            self.by_id.entry(id).or_insert_with(|| Follower::new(in_sync, now_ms));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }

    pub(crate) fn get(&self, id: i32) -> Option<&Follower> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: i32) -> Option<&mut Follower> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &Follower)> {
        self.by_id.iter().map(|(id, follower)| (*id, follower))
    }

    /// The leader appends behind `end`: who had all until now was caught up until now. Followers on a stream say
    /// nothing while there is nothing new.
    pub(crate) fn leader_appends(&mut self, end: Offset, now_ms: i64) {
        for follower in self.by_id.values_mut().filter(|it| it.log_end.is_some_and(|at| at >= end)) {
            follower.caught_up_at = now_ms;
        }
    }
}
