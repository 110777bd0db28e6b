//! What clients read from a partition: batches, offsets by time, ends of epochs.

use bytes::Bytes;
use milena_log::{AbortedIndex, AbortedTransaction, ReadError, ReadPlan};
use milena_partition::{EpochRefusal, Role};
use milena_records::{LeaderEpoch, Offset};
use milena_wire::ErrorCode;
use tracing::error;

use super::{Hosted, State};

/// Where and how much to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchFrom {
    /// First offset wanted.
    pub(crate) offset: i64,
    /// Most bytes, unless the first batch alone is larger.
    pub(crate) max_bytes: usize,
    /// Leader epoch that the client believes in; -1 if it does not say.
    pub(crate) current_leader_epoch: i32,
    /// Epoch of the last record that the client has; -1 if it does not say.
    pub(crate) last_fetched_epoch: i32,
    /// A follower may answer, too, as far as it knows what is committed (KIP-392).
    pub(crate) from_follower: bool,
}

/// What a fetch found.
pub(crate) struct Fetched {
    pub(crate) records: Bytes,
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable_offset: Offset,
    pub(crate) log_start: Offset,
    /// Aborted transactions that overlap the records, by their first offset; only for those who read committed.
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// The client's last epoch ended earlier here than it thinks: largest common epoch and its end.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
}

/// Why nothing is read.
#[derive(Debug)]
pub(crate) enum FetchRefusal {
    /// Another broker leads, or none.
    NotLeader { leader: i32, leader_epoch: i32 },
    /// The client's leader epoch does not fit.
    Epoch(EpochRefusal),
    /// Before the log start or behind the log end (FE-5).
    OutOfRange,
    /// A new leader does not know yet how far records are committed (KIP-207).
    OffsetNotAvailable,
    /// The log cannot be read.
    Storage,
    /// Deleted, or the broker shuts down.
    Closed,
}

impl FetchRefusal {
    /// Kafka's code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader { .. } | Self::Closed => ErrorCode::NotLeaderOrFollower,
            Self::Epoch(EpochRefusal::Fenced { .. }) => ErrorCode::FencedLeaderEpoch,
            Self::Epoch(EpochRefusal::Unknown { .. }) => ErrorCode::UnknownLeaderEpoch,
            Self::OutOfRange => ErrorCode::OffsetOutOfRange,
            Self::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
            Self::Storage => ErrorCode::KafkaStorageError,
        }
    }

    /// Leader and epoch to go to instead, when there is one (KIP-951).
    pub(crate) fn current_leader(&self) -> Option<(i32, i32)> {
        match self {
            Self::NotLeader { leader, leader_epoch } if *leader >= 0 => Some((*leader, *leader_epoch)),
            _ => None,
        }
    }
}

impl From<ReadError> for FetchRefusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { .. } => Self::OutOfRange,
            ReadError::Fault(error) => Self::from(error),
        }
    }
}

impl From<milena_log::Error> for FetchRefusal {
    fn from(error: milena_log::Error) -> Self {
        error!(%error, "read failed");
        Self::Storage
    }
}

/// A question of ListOffsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetQuery {
    /// First record at or after this time.
    Timestamp(i64),
    /// Where a consumer of new records begins.
    Latest,
    /// First offset there is.
    Earliest,
    /// The record with the largest time.
    MaxTimestamp,
    /// Last offset in tiered storage, of which there is none.
    LatestTiered,
}

/// Its answer; -1 each where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundOffset {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

impl FoundOffset {
    const NONE: Self = Self { timestamp: -1, offset: -1, leader_epoch: -1 };
}

impl Hosted {
    /// Batches from `from` on that a consumer may see. Nothing between the end of what it may see and the log
    /// end is an error: the answer is empty (FE-5).
    pub(crate) fn fetch(
        &self,
        from: &FetchFrom,
        read_committed: bool,
        at_least_one: bool,
    ) -> Result<Fetched, FetchRefusal> {
        let mut at = Offset(from.offset);
        loop {
            let planned = self.with(|state| {
                let planned = state.plan_fetch(from, at, read_committed, at_least_one)?;
                Ok::<_, FetchRefusal>((planned, state.log.swaps()))
            });
            let ((mut fetched, plan), swaps) = planned.ok_or(FetchRefusal::Closed)??;
            let Some(plan) = plan else { return Ok(fetched) };
            let beyond = plan.beyond();
            let slice = plan.run()?;
            match beyond.filter(|next| slice.is_gap_up_to(*next)) {
                Some(next) => at = next,
                None => {
                    if read_committed {
                        fetched.aborted = self.aborted(Offset(from.offset), slice.next_offset)?;
                        // What was read of a segment that has been cleaned since may hold aborted records that nobody
                        // knows of any more.
                        if self.with(|state| state.log.swaps()) != Some(swaps) {
                            continue;
                        }
                    }
                    fetched.records = slice.bytes;
                    return Ok(fetched);
                }
            }
        }
    }

    /// Aborted transactions that overlap `from..to`, by their first offset. The lock is held to find the index, not to
    /// read it.
    fn aborted(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, FetchRefusal> {
        let index_at = |next| {
            let index = self.with(|state| state.log.aborted_index(next));
            index.ok_or(FetchRefusal::Closed)?.map_err(FetchRefusal::from)
        };
        let mut found = AbortedIndex::search(from, to, index_at)?;
        found.sort_by_key(|transaction| transaction.first_offset);
        Ok(found)
    }

    /// The replica among `candidates` that a consumer at `offset` should rather read from: the one that has most. None
    /// if this one does as well, or does not lead (KIP-392).
    pub(crate) fn preferred_read_replica(&self, candidates: &[i32], offset: i64) -> Option<i32> {
        if candidates.contains(&self.broker) {
            return None;
        }
        let at = Offset(offset);
        self.with(|state| {
            let followers = candidates.iter().filter_map(|id| Some((state.replica.follower(*id)?, *id)));
            let having =
                followers.filter_map(|(follower, id)| Some((follower.log_end?, follower.log_start, id)));
            let readable = having.filter(|(end, start, _)| *start <= at && at <= *end);
            readable.max_by_key(|(end, _, id)| (*end, -id)).map(|(_, _, id)| id)
        })?
    }

    /// Answers ListOffsets.
    pub(crate) fn find_offset(
        &self,
        query: OffsetQuery,
        current_leader_epoch: i32,
        read_committed: bool,
    ) -> Result<FoundOffset, FetchRefusal> {
        self.with(|state| state.find_offset(query, current_leader_epoch, read_committed))
            .ok_or(FetchRefusal::Closed)?
    }

    /// The largest epoch up to `epoch` and where it ends here (LE-1).
    pub(crate) fn end_of_epoch(
        &self,
        epoch: i32,
        current_leader_epoch: i32,
    ) -> Result<Option<(LeaderEpoch, Offset)>, FetchRefusal> {
        self.with(|state| {
            state.check_reader(current_leader_epoch)?;
            Ok(state.end_of_epoch(LeaderEpoch(epoch)))
        })
        .ok_or(FetchRefusal::Closed)?
    }
}

impl State {
    /// What is known without reading, and the read to be done when the lock is released.
    fn plan_fetch(
        &self,
        from: &FetchFrom,
        at: Offset,
        read_committed: bool,
        at_least_one: bool,
    ) -> Result<(Fetched, Option<ReadPlan>), FetchRefusal> {
        match from.from_follower {
            true => self.replica.check_epoch(from.current_leader_epoch).map_err(FetchRefusal::Epoch)?,
            false => self.check_reader(from.current_leader_epoch)?,
        }
        let fetched = Fetched {
            records: Bytes::new(),
            high_watermark: self.replica.high_watermark(),
            last_stable_offset: self.last_stable_offset(),
            log_start: self.log.log_start(),
            aborted: Vec::new(),
            diverging: self.divergence(from)?,
        };
        if fetched.diverging.is_some() {
            return Ok((fetched, None));
        }
        if at < self.log.log_start() || at > self.log.log_end() {
            return Err(FetchRefusal::OutOfRange);
        }
        let upper = self.upper(read_committed);
        if at >= upper || (from.max_bytes == 0 && !at_least_one) {
            return Ok((fetched, None));
        }
        let plan = self.log.plan_read(at, from.max_bytes, upper, at_least_one)?;
        Ok((fetched, Some(plan)))
    }

    fn find_offset(
        &self,
        query: OffsetQuery,
        current_leader_epoch: i32,
        read_committed: bool,
    ) -> Result<FoundOffset, FetchRefusal> {
        self.check_reader(current_leader_epoch)?;
        let upper = self.upper(read_committed);
        let epoch_of = |offset| self.log.epochs().epoch_of(offset).map_or(-1, |epoch| epoch.0);
        let found = match query {
            // A new leader's high watermark may lie below what its predecessor told (KIP-207).
            OffsetQuery::Latest | OffsetQuery::Timestamp(_) | OffsetQuery::MaxTimestamp
                if !self.replica.knows_latest_offset() =>
            {
                return Err(FetchRefusal::OffsetNotAvailable);
            }
            OffsetQuery::Latest => {
                let leader_epoch = self.replica.leadership().leader_epoch.0;
                return Ok(FoundOffset { timestamp: -1, offset: upper.0, leader_epoch });
            }
            OffsetQuery::Earliest => {
                let start = self.log.log_start();
                // An empty log has no epochs yet; its first record will have the present one.
                let is_empty = start == self.log.log_end();
                let leader_epoch =
                    if is_empty { self.replica.leadership().leader_epoch.0 } else { epoch_of(start) };
                return Ok(FoundOffset { timestamp: -1, offset: start.0, leader_epoch });
            }
            OffsetQuery::LatestTiered => return Ok(FoundOffset::NONE),
            OffsetQuery::Timestamp(time) => self.log.offset_for_timestamp(time, upper)?,
            OffsetQuery::MaxTimestamp => self.log.max_timestamp(upper)?,
        };
        Ok(found.map_or(FoundOffset::NONE, |found| FoundOffset {
            timestamp: found.timestamp,
            offset: found.offset.0,
            leader_epoch: epoch_of(found.offset),
        }))
    }

    /// First offset that a consumer may not see (FE-6).
    fn upper(&self, read_committed: bool) -> Offset {
        if read_committed { self.last_stable_offset() } else { self.replica.high_watermark() }
    }

    fn check_reader(&self, current_leader_epoch: i32) -> Result<(), FetchRefusal> {
        self.replica.check_epoch(current_leader_epoch).map_err(FetchRefusal::Epoch)?;
        match self.replica.role() {
            Role::Leader => Ok(()),
            Role::Follower => {
                let leadership = self.replica.leadership();
                Err(FetchRefusal::NotLeader {
                    leader: leadership.leader,
                    leader_epoch: leadership.leader_epoch.0,
                })
            }
        }
    }

    /// Where the client's last epoch ends here, if that is before what it has (FE-9).
    /// An epoch that was never here is out of range.
    fn divergence(&self, from: &FetchFrom) -> Result<Option<(LeaderEpoch, Offset)>, FetchRefusal> {
        if from.last_fetched_epoch < 0 {
            return Ok(None);
        }
        let asked = LeaderEpoch(from.last_fetched_epoch);
        let (epoch, end) = self.end_of_epoch(asked).ok_or(FetchRefusal::OutOfRange)?;
        Ok((epoch < asked || end.0 < from.offset).then_some((epoch, end)))
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if epoch == self.replica.leadership().leader_epoch {
            return Some((epoch, self.log.log_end()));
        }
        self.log.end_offset_for_epoch(epoch).map(|found| (found.epoch, found.end_offset))
    }
}
