//! One replica of a partition: its role, its log's bounds, and how far records are committed.
//!
//! The high watermark follows the slowest member of the maximal ISR and stands still while fewer than
//! `min.insync.replicas` copies exist, KIP-966. Only what followers showed in the current leader epoch counts.
//! The other halves of the state machine: [`crate::isr`], [`crate::fetch`], [`crate::follow`].

use std::sync::Arc;

use milena_bugs::{Bug, is_on};
use milena_records::Offset;

use crate::followers::{Follower, Followers};
use crate::isr::{Patience, Pending};
use crate::leadership::{AppendRefusal, EpochRefusal, Leadership, Lives, Replication, Role, Transition};

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// First offset that can be read.
    pub start: Offset,
    /// Next offset to be written.
    pub end: Offset,
}

/// One replica's view of its partition.
#[derive(Debug, Clone)]
pub struct Replica {
    pub(crate) broker: i32,
    pub(crate) leadership: Leadership,
    pub(crate) lives: Lives,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) high_watermark: Offset,
    /// Log end at which the epoch began that is led in.
    pub(crate) epoch_start: Offset,
    pub(crate) followers: Followers,
    pub(crate) pending: Option<Pending>,
    /// The leader said that this broker's metadata is old.
    pub(crate) awaits_metadata: bool,
    /// The latest time told.
    pub(crate) now_ms: i64,
    pub(crate) lag_max_ms: i64,
    pub(crate) stall_max_ms: i64,
    /// When the high watermark moved last, or had nothing to move for.
    pub(crate) watermark_moved_at: i64,
}

impl Replica {
    /// A replica on `broker` with the log that it found, and the high watermark of its checkpoint, which is bounded to
    /// the log. It follows nobody and leads nothing until told to by [`Self::lead`].
    pub fn new(broker: i32, log: LogBounds, high_watermark: Offset) -> Self {
        Self {
            broker,
            leadership: Leadership::unknown(),
            lives: Lives::default(),
            log_start: log.start,
            log_end: log.end,
            high_watermark: high_watermark.min(log.end).max(log.start),
            epoch_start: log.end,
            followers: Followers::default(),
            pending: None,
            awaits_metadata: false,
            now_ms: 0,
            lag_max_ms: Patience::default().lag_max_ms,
            stall_max_ms: Patience::default().stall_max_ms,
            watermark_moved_at: 0,
        }
    }

    /// Role under the current metadata.
    pub fn role(&self) -> Role {
        if self.leadership.leader == self.broker { Role::Leader } else { Role::Follower }
    }

    /// The metadata in force.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// First offset not yet held by every in-sync replica; consumers read below it.
    ///
    /// Never falls within a leader epoch on the leader; on a follower it is a copy. Followers truncate by epoch, not
    /// by this value: KIP-101.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Next offset to be written.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// First offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The leader's view of a follower; `None` on a follower and for brokers that are none.
    pub fn follower(&self, id: i32) -> Option<&Follower> {
        self.followers.get(id)
    }

    /// The smallest log start of all replicas, as far as the leader knows: DeleteRecords waits for it. Replicas on
    /// brokers that are not active are left out.
    pub fn low_watermark(&self) -> Offset {
        let active = |id: i32| self.lives.get(&id).is_some_and(|life| life.active);
        let others =
            self.followers.iter().filter(|(id, _)| active(*id)).map(|(_, follower)| follower.log_start);
        others.min().map_or(self.log_start, |start| start.min(self.log_start))
    }

    /// Takes newer metadata of the partition. Older metadata is ignored, and so is a repeat of what is in force: it
    /// says nothing about a change of the ISR that is under way.
    pub fn lead(&mut self, leadership: Leadership, now_ms: i64) -> Transition {
        self.now_ms = self.now_ms.max(now_ms);
        if leadership.partition_epoch <= self.leadership.partition_epoch {
            return Transition::Ignored;
        }
        let new_epoch = leadership.leader_epoch != self.leadership.leader_epoch
            || leadership.leader != self.leadership.leader;
        self.leadership = leadership;
        self.pending = None;
        self.awaits_metadata = false;
        let transition = match (new_epoch, self.role()) {
            (false, Role::Leader) => {
                self.followers.assign(self.broker, &self.leadership, now_ms);
                Transition::Updated
            }
            (false, Role::Follower) => Transition::Updated,
            (true, Role::Leader) => {
                self.epoch_start = self.log_end;
                self.watermark_moved_at = now_ms;
                self.followers.reset(self.broker, &self.leadership, now_ms);
                Transition::BecameLeader { epoch: self.leadership.leader_epoch, start: self.log_end }
            }
            (true, Role::Follower) => {
                self.followers.clear();
                Transition::BecameFollower { leader: self.leadership.leader }
            }
        };
        self.advance_high_watermark();
        self.assert_invariants();
        transition
    }

    /// Takes the brokers that the metadata knows. One map serves all partitions of a broker.
    pub fn see_brokers(&mut self, lives: &Lives) {
        self.lives = Arc::clone(lives);
        self.advance_high_watermark();
    }

    /// Whether a client's append may go ahead.
    pub fn check_append(&self, requires_all: bool) -> Result<(), AppendRefusal> {
        if self.role() != Role::Leader {
            return Err(AppendRefusal::NotLeader {
                leader: self.leadership.leader,
                leader_epoch: self.leadership.leader_epoch.0,
            });
        }
        let (in_sync, required) = (self.leadership.isr.len(), self.leadership.required_copies());
        if requires_all && in_sync < required {
            return Err(AppendRefusal::NotEnoughReplicas { in_sync, required });
        }
        Ok(())
    }

    /// Checks the leader epoch that a client believes in; -1 means that it does not say.
    pub fn check_epoch(&self, client: i32) -> Result<(), EpochRefusal> {
        if client < 0 { Ok(()) } else { self.check_exact_epoch(milena_records::LeaderEpoch(client)) }
    }

    pub(crate) fn check_exact_epoch(&self, got: milena_records::LeaderEpoch) -> Result<(), EpochRefusal> {
        let (current, got) = (self.leadership.leader_epoch.0, got.0);
        match got.cmp(&current) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(EpochRefusal::Fenced { current, got }),
            std::cmp::Ordering::Greater => Err(EpochRefusal::Unknown { current, got }),
        }
    }

    /// Whether the end of what consumers may read can be told as the partition's latest offset. Not while a new
    /// leader's high watermark may lie below that of its predecessor: OFFSET_NOT_AVAILABLE, KIP-207.
    pub fn knows_latest_offset(&self) -> bool {
        self.role() == Role::Leader && (self.high_watermark >= self.epoch_start || is_on(Bug::R15))
    }

    /// What became of a batch that ends at `end` and was appended in `leader_epoch`, for `acks=all`.
    pub fn replication_of(&self, leader_epoch: milena_records::LeaderEpoch, end: Offset) -> Replication {
        let is_over = self.role() != Role::Leader || self.leadership.leader_epoch != leader_epoch;
        if is_over && !is_on(Bug::G1) {
            return Replication::EpochOver;
        }
        if self.high_watermark < end {
            return Replication::Pending;
        }
        let copies = self.maximal_isr().count();
        if copies < self.leadership.required_copies() {
            Replication::NotEnoughReplicas
        } else {
            Replication::Done
        }
    }

    /// The log was written up to `end`. Returns whether the high watermark moved.
    pub fn appended(&mut self, end: Offset, now_ms: i64) -> bool {
        debug_assert!(end >= self.log_end, "log end went back: {end:?} < {:?}", self.log_end);
        self.now_ms = self.now_ms.max(now_ms);
        if self.high_watermark == self.log_end {
            self.watermark_moved_at = self.now_ms;
        }
        self.followers.leader_appends(self.log_end, self.now_ms);
        self.log_end = end;
        self.advance_high_watermark()
    }

    /// The log was cut to `end`, by a divergence from the leader.
    pub fn truncated(&mut self, end: Offset) {
        debug_assert!(self.role() == Role::Follower, "a leader's log is never cut");
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.assert_invariants();
    }

    /// The log start moved up to `start`; the high watermark is never below it.
    pub fn log_start_moved(&mut self, start: Offset) {
        self.log_start = start;
        self.log_end = self.log_end.max(start);
        self.high_watermark = self.high_watermark.max(start);
    }

    /// Moves the high watermark as far as the rules allow; returns whether it moved.
    pub(crate) fn advance_high_watermark(&mut self) -> bool {
        if self.role() != Role::Leader {
            return false;
        }
        if self.leadership.isr.len() < self.leadership.required_copies() && !is_on(Bug::M6) {
            return false;
        }
        let slowest = self
            .followers
            .iter()
            .filter(|(id, follower)| self.counts(*id, follower))
            .map(|(_, follower)| follower.log_end.unwrap_or(Offset::ZERO))
            .min();
        let candidate = slowest.map_or(self.log_end, |end| end.min(self.log_end));
        if candidate <= self.high_watermark {
            return false;
        }
        self.high_watermark = candidate;
        self.watermark_moved_at = self.now_ms;
        self.assert_invariants();
        true
    }

    /// Whether the high watermark waits for a follower: one that is or may be in the ISR, or one about to join, which
    /// would otherwise be outrun again and again.
    fn counts(&self, id: i32, follower: &Follower) -> bool {
        self.maximal_isr().any(|member| member == id)
            || (follower.log_end.is_some()
                && follower.is_caught_up(self.log_end, self.now_ms, self.lag_max_ms)
                && self.is_moving(follower)
                && self.is_eligible(id))
    }

    pub(crate) fn assert_invariants(&self) {
        debug_assert!(
            self.log_start <= self.high_watermark && self.high_watermark <= self.log_end,
            "log start {} <= high watermark {} <= log end {}",
            self.log_start,
            self.high_watermark,
            self.log_end
        );
        debug_assert!(self.role() == Role::Leader || self.pending.is_none(), "a follower changes no isr");
        debug_assert!(self.role() == Role::Follower || self.epoch_start <= self.log_end);
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
