//! What a leader does for its followers: takes their positions, gives them batches, keeps the ISR.
//!
//! Decisions are [`milena_partition::Replica`]'s. Specification: replication notes 1.5, 1.8, 1.9.

use std::sync::atomic::Ordering;

use milena_log::ReadPlan;
use milena_partition::{
    EpochRefusal, FetchRefusal, FetchVerdict, FollowerFetch, IsrAnswer, IsrChange, Patience, Role,
};
use milena_peer::replica::message::{Diverging, PartitionBatches, Position, Refusal};
use milena_records::{LeaderEpoch, Offset};
use tracing::error;

use super::{Hosted, State};
use crate::clock;

/// Who states a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Follower {
    /// Its broker id.
    pub(crate) broker: i32,
    /// Its process life (KIP-903).
    pub(crate) broker_epoch: i64,
}

/// What becomes of a position.
pub(crate) enum Stated {
    /// It is to be answered when there is something.
    Accepted {
        /// The follower is outside of the ISR and may be let in.
        isr_may_change: bool,
    },
    /// This is the answer.
    Refused(Box<PartitionBatches>),
    /// The partition is deleted, or the broker shuts down.
    Closed,
}

impl Hosted {
    /// Takes a follower's position: it holds everything before.
    pub(crate) fn state_position(&self, follower: &Follower, position: &Position) -> Stated {
        let judged = self.with(|state| {
            let before = state.replica.high_watermark();
            let log_start = |state: &State| state.replica.follower(follower.broker).map(|it| it.log_start);
            let start_before = log_start(state);
            let stated = state.state_position(follower, position);
            let moved = state.replica.high_watermark() > before;
            if moved {
                state.settle_acks();
            }
            // DeleteRecords waits for it.
            (stated, moved || log_start(state) != start_before)
        });
        let Some((stated, moved)) = judged else { return Stated::Closed };
        if moved {
            self.waiters.wake();
        }
        stated
    }

    /// The answer to a position that was accepted in `leader_epoch`: batches if there are any. Without records and
    /// refusal it only tells how far the leader is.
    pub(crate) fn feed(&self, leader_epoch: i32, fetch_offset: i64, max_bytes: usize) -> PartitionBatches {
        let answer = PartitionBatches { leader_epoch, fetch_offset, ..PartitionBatches::default() };
        let mut from = Offset(fetch_offset);
        loop {
            let planned = self.with(|state| state.plan_feed(answer.clone(), from, max_bytes));
            let (mut answer, plan) =
                planned.unwrap_or_else(|| (refuse(answer.clone(), Refusal::UnknownTopic), None));
            let beyond = plan.as_ref().and_then(ReadPlan::beyond);
            match plan.map(ReadPlan::run) {
                None => {}
                Some(Ok(slice)) => {
                    if let Some(next) = beyond.filter(|next| slice.is_gap_up_to(*next)) {
                        from = next;
                        continue;
                    }
                    answer.records = slice.bytes;
                }
                Some(Err(error)) => {
                    error!(topic = %self.topic, partition = self.index, %error, "read for a follower failed");
                    answer = refuse(answer, Refusal::StorageError);
                }
            }
            return answer;
        }
    }

    /// The change of the ISR to ask for now, if any.
    pub(crate) fn next_isr_change(&self, patience: &Patience) -> Option<IsrChange> {
        self.isr_considered.store(false, Ordering::Release);
        self.moving(|state| state.replica.next_isr_change(clock::monotonic_ms(), patience)).flatten()
    }

    /// What became of a change that [`Hosted::next_isr_change`] gave.
    pub(crate) fn isr_answered(&self, change: &IsrChange, answer: IsrAnswer) {
        self.moving(|state| state.replica.isr_answered(change, answer, clock::monotonic_ms()));
    }

    /// Whether something is not committed, a member of the ISR does not hold everything, or a change of the ISR is
    /// under way: then time matters.
    pub(crate) fn is_isr_restless(&self) -> bool {
        self.with(|state| state.is_isr_restless()).unwrap_or(false)
    }

    /// Does something that may move the high watermark, and wakes who waits for that.
    fn moving<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let done = self.with(|state| {
            let before = state.replica.high_watermark();
            let done = act(state);
            state.settle_acks();
            (done, state.replica.high_watermark() > before)
        });
        let (done, moved) = done?;
        if moved {
            self.waiters.wake();
        }
        Some(done)
    }
}

impl State {
    fn state_position(&mut self, follower: &Follower, position: &Position) -> Stated {
        let fetch = FollowerFetch {
            replica: follower.broker,
            broker_epoch: follower.broker_epoch,
            leader_epoch: LeaderEpoch(position.leader_epoch),
            fetch_offset: Offset(position.fetch_offset),
            last_fetched_epoch: position.last_fetched_epoch.map_or(LeaderEpoch::NONE, LeaderEpoch),
            log_start: Offset(position.log_start),
        };
        let verdict = self.replica.follower_fetched(&fetch, clock::monotonic_ms(), self.log.epochs());
        let answer = PartitionBatches {
            leader_epoch: position.leader_epoch,
            fetch_offset: position.fetch_offset,
            last_fetched_epoch: position.last_fetched_epoch,
            high_watermark: self.replica.high_watermark().0,
            log_start: self.log.log_start().0,
            log_end: self.log.log_end().0,
            ..PartitionBatches::default()
        };
        let refusal = match verdict {
            Ok(FetchVerdict::Read) => {
                let isr_may_change = !self.replica.leadership().isr.contains(&follower.broker);
                return Stated::Accepted { isr_may_change };
            }
            Ok(FetchVerdict::Diverging(end)) => {
                let diverging = Diverging { epoch: end.epoch.0, end_offset: end.end_offset.0 };
                return Stated::Refused(Box::new(PartitionBatches { diverging: Some(diverging), ..answer }));
            }
            Err(FetchRefusal::Epoch(EpochRefusal::Fenced { .. })) => Refusal::FencedLeaderEpoch,
            Err(FetchRefusal::Epoch(EpochRefusal::Unknown { .. }) | FetchRefusal::NotReplica(_)) => {
                Refusal::UnknownLeaderEpoch
            }
            Err(FetchRefusal::NotLeader | FetchRefusal::EarlierLife { .. }) => Refusal::NotLeader,
            Err(FetchRefusal::OutOfRange { .. }) => Refusal::OffsetOutOfRange,
        };
        Stated::Refused(Box::new(refuse(answer, refusal)))
    }

    fn plan_feed(
        &self,
        mut answer: PartitionBatches,
        from: Offset,
        max_bytes: usize,
    ) -> (PartitionBatches, Option<ReadPlan>) {
        let (log_start, log_end) = (self.log.log_start(), self.log.log_end());
        answer.high_watermark = self.replica.high_watermark().0;
        (answer.log_start, answer.log_end) = (log_start.0, log_end.0);
        let leadership = self.replica.leadership();
        if self.replica.role() != Role::Leader || leadership.leader_epoch.0 != answer.leader_epoch {
            return (refuse(answer, Refusal::NotLeader), None);
        }
        if from >= log_end {
            return (answer, None);
        }
        if from < log_start {
            return (refuse(answer, Refusal::OffsetOutOfRange), None);
        }
        match self.log.plan_read(from, max_bytes, log_end, true) {
            Ok(plan) => (answer, Some(plan)),
            Err(error) => {
                error!(%error, "read for a follower failed");
                (refuse(answer, Refusal::StorageError), None)
            }
        }
    }

    fn is_isr_restless(&self) -> bool {
        if self.replica.role() != Role::Leader {
            return false;
        }
        let end = self.replica.log_end();
        let lags =
            |id: &i32| self.replica.follower(*id).is_some_and(|it| it.log_end.is_none_or(|at| at < end));
        self.replica.is_isr_change_pending()
            || self.replica.high_watermark() < end
            || self.replica.leadership().isr.iter().any(lags)
    }
}

fn refuse(answer: PartitionBatches, refusal: Refusal) -> PartitionBatches {
    PartitionBatches { refusal: refusal.into(), ..answer }
}
