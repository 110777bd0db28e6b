//! Which replicas count for the high watermark, and how a leader asks for others (KIP-497, KIP-841, KIP-903,
//! KIP-966).
//!
//! From the moment a change may have been accepted until its fate is known the *maximal* ISR counts: those who
//! are in it and those who may be. One change is under way at a time.

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, Offset};

use crate::followers::Follower;
use crate::{Leadership, Replica, Role};

/// A change of the ISR for the controller to decide on (AlterPartition). Propose it and hand the outcome to
/// [`Replica::isr_answered`], with this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// The epoch that the leader leads in.
    pub leader_epoch: LeaderEpoch,
    /// Version of the partition's record that the change starts from.
    pub partition_epoch: i32,
    /// The members wanted, each with the process life in which it was seen caught up.
    pub isr: Vec<(i32, i64)>,
    /// Whether the leader is still settling after an unclean election: it is not, by now.
    pub recovering: bool,
}

/// What became of an [`IsrChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsrAnswer {
    /// It was applied: the partition's record now, ISR and minimum together.
    Applied(Leadership),
    /// OPERATION_NOT_ATTEMPTED, INELIGIBLE_REPLICA: it was certainly not applied, and never will be.
    NotApplied,
    /// FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, INVALID_REQUEST, UNKNOWN_TOPIC_ID, NEW_LEADER_ELECTED: the
    /// sender's view is old. Only newer metadata tells what holds.
    Outdated,
    /// Time-out, lost connection, NOT_CONTROLLER, or anything else that leaves the fate open: it is asked for again.
    Unknown,
}

/// How a stalled follower is told from a slow one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// `replica.lag.time.max.ms`: longest a follower may trail the log end and stay in the ISR.
    pub lag_max_ms: i64,
    /// A follower that has not fetched for so long while committed records wait for it alone leaves early, as long
    /// as enough others remain.
    pub stall_max_ms: i64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { lag_max_ms: 1000, stall_max_ms: 300 }
    }
}

/// A change that was asked for and whose fate is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) change: IsrChange,
    /// Wanted but not in the committed ISR: they count already.
    pub(crate) joining: Vec<i32>,
    /// Nobody is asking at this moment: ask again at this time or later.
    pub(crate) retry_at: Option<i64>,
    attempts: u32,
}

/// First pause before a change of unknown fate is asked for again, and the longest.
const RETRY_MS: (i64, i64) = (5, 100);

impl Replica {
    /// Who may be in the ISR as far as this leader knows; never fewer than the controller counts.
    pub fn maximal_isr(&self) -> impl Iterator<Item = i32> {
        let joining = self.pending.iter().flat_map(|pending| pending.joining.iter());
        let joining = joining.filter(|_| !is_on(Bug::M1));
        let leaving = |id: i32| is_on(Bug::M2) && self.is_leaving(id);
        self.leadership.isr.iter().chain(joining).copied().filter(move |id| !leaving(*id))
    }

    fn is_leaving(&self, id: i32) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| !pending.change.isr.iter().any(|(member, _)| *member == id))
    }

    /// Whether a change of the ISR is under way.
    pub fn is_isr_change_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The change of the ISR to ask for now, if any; it is then under way until [`Self::isr_answered`]. The next call
    /// returns it again if its fate was left open and it is time to ask again.
    ///
    /// Call it now and then, and after each fetch that moved a follower. It may move the high watermark, as a replica
    /// that was about to join counts only for `lag_max_ms`.
    pub fn next_isr_change(&mut self, now_ms: i64, patience: &Patience) -> Option<IsrChange> {
        self.now_ms = self.now_ms.max(now_ms);
        self.lag_max_ms = patience.lag_max_ms;
        self.stall_max_ms = patience.stall_max_ms;
        if self.role() != Role::Leader {
            return None;
        }
        self.advance_high_watermark();
        if self.high_watermark == self.log_end {
            self.watermark_moved_at = self.now_ms;
        }
        if let Some(pending) = &mut self.pending {
            return match pending.retry_at {
                Some(at) if at <= now_ms => {
                    pending.retry_at = None;
                    Some(pending.change.clone())
                }
                _ => None,
            };
        }
        let joining = self.joiners();
        let leaving = if joining.is_empty() { self.leavers(patience) } else { Vec::new() };
        if joining.is_empty() && leaving.is_empty() && !self.leadership.recovering {
            return None;
        }
        let members = self.leadership.isr.iter().filter(|id| !leaving.contains(id)).chain(&joining);
        let change = IsrChange {
            leader_epoch: self.leadership.leader_epoch,
            partition_epoch: self.leadership.partition_epoch,
            isr: members.map(|&id| (id, self.life_of_member(id))).collect(),
            recovering: false,
        };
        self.pending = Some(Pending { change: change.clone(), joining, retry_at: None, attempts: 0 });
        Some(change)
    }

    /// What became of `change`. Answers to changes that are no longer under way are ignored. It may move the high
    /// watermark.
    pub fn isr_answered(&mut self, change: &IsrChange, answer: IsrAnswer, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.change == *change) else { return };
        match answer {
            IsrAnswer::Applied(leadership) => {
                if leadership.leader_epoch == self.leadership.leader_epoch
                    && leadership.partition_epoch > self.leadership.partition_epoch
                {
                    self.lead(leadership, now_ms);
                } else if leadership.leader_epoch == self.leadership.leader_epoch
                    && leadership.partition_epoch == self.leadership.partition_epoch
                {
                    // The record was already as wanted.
                    self.pending = None;
                }
            }
            IsrAnswer::NotApplied => self.pending = None,
            IsrAnswer::Outdated => {}
            IsrAnswer::Unknown => {
                let pause = RETRY_MS.0 << pending.attempts.min(10);
                pending.attempts += 1;
                pending.retry_at = Some(now_ms + pause.min(RETRY_MS.1));
            }
        }
        self.advance_high_watermark();
    }

    /// Whether `id` may be added as the process that fetched: alive, and the life that the metadata knows.
    pub(crate) fn is_eligible(&self, id: i32) -> bool {
        let Some(follower) = self.followers.get(id) else { return false };
        self.lives.get(&id).is_some_and(|life| {
            (life.active || is_on(Bug::M3)) && (life.epoch == follower.broker_epoch || is_on(Bug::M5))
        })
    }

    fn life_of_member(&self, id: i32) -> i64 {
        let seen = self.followers.get(id).map(|follower| follower.broker_epoch).filter(|epoch| *epoch >= 0);
        seen.or_else(|| self.lives.get(&id).map(|life| life.epoch)).unwrap_or(-1)
    }

    /// Who has caught up: with the high watermark, and with the start of this epoch, since the high watermark that
    /// this leader began with may itself be too low (KAFKA-16452).
    fn joiners(&self) -> Vec<i32> {
        let reached = match is_on(Bug::R14) {
            true => self.high_watermark,
            false => self.high_watermark.max(self.epoch_start),
        };
        let caught_up = |end: Option<Offset>| end.is_some_and(|end| end >= reached);
        self.followers
            .iter()
            .filter(|(id, follower)| {
                !self.leadership.isr.contains(id)
                    && caught_up(follower.log_end)
                    && self.is_moving(follower)
                    && self.is_eligible(*id)
            })
            .map(|(id, _)| id)
            .collect()
    }

    /// Whether a follower holds everything, or fetched a moment ago. One that was put out of the ISR because it stalls
    /// commits must not hold them up as a candidate, nor come back before it fetches.
    pub(crate) fn is_moving(&self, follower: &Follower) -> bool {
        follower.log_end.is_some_and(|end| end >= self.log_end)
            || self.now_ms - follower.fetched_at <= self.stall_max_ms
    }

    fn leavers(&self, patience: &Patience) -> Vec<i32> {
        let now_ms = self.now_ms;
        let mut leavers: Vec<i32> = Vec::new();
        let mut stalled: Vec<i32> = Vec::new();
        for (id, follower) in self.followers.iter().filter(|(id, _)| self.leadership.isr.contains(id)) {
            if !follower.is_caught_up(self.log_end, now_ms, patience.lag_max_ms) {
                leavers.push(id);
            } else if follower.log_end.is_none_or(|end| end <= self.high_watermark)
                && now_ms - follower.fetched_at > patience.stall_max_ms
                && now_ms - self.watermark_moved_at > patience.stall_max_ms
                && self.high_watermark < self.log_end
            {
                stalled.push(id);
            }
        }
        let left = self.leadership.isr.len() - leavers.len();
        let spare = left.saturating_sub(self.leadership.required_copies());
        leavers.extend(stalled.into_iter().take(spare));
        leavers
    }
}

#[cfg(test)]
#[path = "isr_tests.rs"]
mod tests;
