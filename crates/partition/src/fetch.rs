//! A follower's fetch, judged by the leader (KIP-101, KIP-279, KIP-320, KIP-595, KIP-903).

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, Offset};

use crate::{EpochCache, EpochEnd, EpochRefusal, Replica, Role};

/// A fetch as a follower sends it; its position acknowledges all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerFetch {
    /// The follower's broker id.
    pub replica: i32,
    /// Its process life.
    pub broker_epoch: i64,
    /// Leader epoch that it follows in.
    pub leader_epoch: LeaderEpoch,
    /// Its log end: the next offset that it wants.
    pub fetch_offset: Offset,
    /// Epoch of its last record, [`LeaderEpoch::NONE`] if it has none.
    pub last_fetched_epoch: LeaderEpoch,
    /// Its log start.
    pub log_start: Offset,
}

/// What a follower gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchVerdict {
    /// Batches from its offset on, up to the log end. Its position is noted; see whether the high watermark moved.
    Read,
    /// No batches: its last epoch ends here, before what it has. Its position is not noted.
    Diverging(EpochEnd),
}

/// Why a follower gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchRefusal {
    /// FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    #[error(transparent)]
    Epoch(#[from] EpochRefusal),
    /// NOT_LEADER_OR_FOLLOWER.
    #[error("broker does not lead")]
    NotLeader,
    /// UNKNOWN_LEADER_EPOCH: the sender is not assigned as far as is known here; it retries.
    #[error("broker {0} is not a replica as far as is known")]
    NotReplica(i32),
    /// NOT_LEADER_OR_FOLLOWER: an earlier process of that broker, KIP-903.
    #[error("broker epoch {got} is older than {known}")]
    EarlierLife {
        /// Life that the metadata knows.
        known: i64,
        /// Life of the sender.
        got: i64,
    },
    /// OFFSET_OUT_OF_RANGE, with this leader's bounds, so that the follower need not ask for them.
    #[error("fetch offset lies outside [{log_start}, {log_end}]")]
    OutOfRange {
        /// First offset here.
        log_start: Offset,
        /// Log end here.
        log_end: Offset,
    },
}

impl Replica {
    /// Judges a follower's fetch and notes its position. The epoch is compared before all else (KAFKA-14078).
    ///
    /// `epochs` are those of this log. May move the high watermark.
    pub fn follower_fetched(
        &mut self,
        fetch: &FollowerFetch,
        now_ms: i64,
        epochs: &EpochCache,
    ) -> Result<FetchVerdict, FetchRefusal> {
        self.now_ms = self.now_ms.max(now_ms);
        if !is_on(Bug::R17) {
            self.check_exact_epoch(fetch.leader_epoch)?;
        }
        if self.role() != Role::Leader {
            return Err(FetchRefusal::NotLeader);
        }
        if fetch.replica == self.broker || !self.leadership.replicas.contains(&fetch.replica) {
            return Err(FetchRefusal::NotReplica(fetch.replica));
        }
        if let Some(life) = self.lives.get(&fetch.replica)
            && fetch.broker_epoch < life.epoch
            && !is_on(Bug::M5)
        {
            return Err(FetchRefusal::EarlierLife { known: life.epoch, got: fetch.broker_epoch });
        }
        if let Some(end) = self.divergence(fetch.fetch_offset, fetch.last_fetched_epoch, epochs)? {
            return Ok(FetchVerdict::Diverging(end));
        }
        self.check_range(fetch.fetch_offset)?;
        let log_end = self.log_end;
        if let Some(follower) = self.followers.get_mut(fetch.replica) {
            follower.fetched(fetch.fetch_offset, log_end, now_ms);
            follower.log_start = fetch.log_start;
            follower.broker_epoch = fetch.broker_epoch;
        }
        self.advance_high_watermark();
        self.assert_invariants();
        Ok(FetchVerdict::Read)
    }

    /// Where `last_fetched_epoch` ends here, if that is before what the fetcher has; also for consumers (KIP-320).
    pub fn divergence(
        &self,
        fetch_offset: Offset,
        last_fetched_epoch: LeaderEpoch,
        epochs: &EpochCache,
    ) -> Result<Option<EpochEnd>, FetchRefusal> {
        if last_fetched_epoch < LeaderEpoch(0) || is_on(Bug::R2) {
            return Ok(None);
        }
        let end = self.end_of_epoch(last_fetched_epoch, epochs).ok_or_else(|| self.out_of_range())?;
        if fetch_offset < self.log_start {
            return Err(self.out_of_range());
        }
        Ok((end.epoch < last_fetched_epoch || end.end_offset < fetch_offset).then_some(end))
    }

    /// Where `epoch` ends here (LE-1). The epoch being led in ends at the log end, also before anything is written.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch, epochs: &EpochCache) -> Option<EpochEnd> {
        if self.role() == Role::Leader && epoch == self.leadership.leader_epoch {
            return Some(EpochEnd { epoch, end_offset: self.log_end });
        }
        epochs.end_offset_of(epoch, self.log_end)
    }

    fn check_range(&self, offset: Offset) -> Result<(), FetchRefusal> {
        let inside = self.log_start <= offset && offset <= self.log_end;
        if inside { Ok(()) } else { Err(self.out_of_range()) }
    }

    fn out_of_range(&self) -> FetchRefusal {
        FetchRefusal::OutOfRange { log_start: self.log_start, log_end: self.log_end }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
