//! A leader's reply, judged by the follower that asked (KIP-101, KIP-279, KAFKA-18723).
//!
//! A reply is judged by the epoch of its *request*: the sender may have lost its leadership, truncated and
//! appended between reading for us and sending.

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, Offset};

use crate::{EpochCache, EpochEnd, Replica, Role};

/// Where a follower stands: what it asks its leader for. Kept with the request, to judge the reply by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The broker to ask.
    pub leader: i32,
    /// Leader epoch that it is followed in.
    pub leader_epoch: LeaderEpoch,
    /// Own log end.
    pub fetch_offset: Offset,
    /// Epoch of the last record, [`LeaderEpoch::NONE`] if the log has none.
    pub last_fetched_epoch: LeaderEpoch,
    /// Own log start.
    pub log_start: Offset,
}

/// A reply, without the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Batches, maybe none.
    Batches {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// The follower's last epoch ends here.
    Diverging(EpochEnd),
    /// OFFSET_OUT_OF_RANGE, with the leader's bounds.
    OutOfRange {
        /// First offset of the leader.
        log_start: Offset,
        /// Log end of the leader.
        log_end: Offset,
    },
    /// FENCED_LEADER_EPOCH.
    Fenced,
    /// UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER, or any other error.
    Retry,
}

/// What to do with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: it answers a question that is no longer asked.
    Drop,
    /// Append its batches, as far as [`Replica::accepts_batch`] allows, then call [`Replica::followed`].
    Append,
    /// Cut the log to this end, together with its epochs even if no record goes (KAFKA-10706), and ask again.
    Truncate {
        /// The new log end.
        to: Offset,
    },
    /// Delete all and begin at this offset: the leader no longer has what would come next.
    StartOver {
        /// The new log start and end.
        at: Offset,
    },
    /// Ask again after a pause.
    Retry,
    /// Ask nothing until newer metadata comes: this broker's is old.
    AwaitMetadata,
}

/// What to do with one batch of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchVerdict {
    /// Append it as it is.
    Append,
    /// Leave it and all behind it: it is of a later epoch than was asked in (KAFKA-18723).
    Leave,
    /// It does not continue the log: leave it, and ask again.
    Misplaced,
}

impl Replica {
    /// What to ask the leader for; `None` if there is nobody to ask, or nothing to ask until newer metadata comes.
    pub fn position(&self, epochs: &EpochCache) -> Option<Position> {
        let leader = self.leadership.leader;
        if self.role() == Role::Leader || leader < 0 || self.awaits_metadata {
            return None;
        }
        Some(Position {
            leader,
            leader_epoch: self.leadership.leader_epoch,
            fetch_offset: self.log_end,
            last_fetched_epoch: self.last_epoch(epochs),
            log_start: self.log_start,
        })
    }

    /// Epoch of the last record, derived from the log and never from replies (KAFKA-15510).
    fn last_epoch(&self, epochs: &EpochCache) -> LeaderEpoch {
        if self.log_end == Offset::ZERO || is_on(Bug::R8) {
            return LeaderEpoch::NONE;
        }
        epochs.epoch_of(Offset(self.log_end.0 - 1)).unwrap_or(LeaderEpoch::NONE)
    }

    /// Judges the reply to `asked`.
    pub fn judge_reply(&mut self, asked: &Position, reply: &Reply, epochs: &EpochCache) -> Judgement {
        let still_asked = self.position(epochs).is_some_and(|now| {
            (now.leader_epoch == asked.leader_epoch || is_on(Bug::R4))
                && now.fetch_offset == asked.fetch_offset
                // Cut and refilled in between, the log may end there again.
                && now.last_fetched_epoch == asked.last_fetched_epoch
        });
        if !still_asked {
            return Judgement::Drop;
        }
        match *reply {
            Reply::Batches { .. } => Judgement::Append,
            Reply::Diverging(end) => Judgement::Truncate { to: self.common_end(end, epochs) },
            Reply::OutOfRange { log_start, .. } if is_on(Bug::R11) => Judgement::StartOver { at: log_start },
            Reply::OutOfRange { log_end, .. } if log_end < self.log_end => {
                Judgement::Truncate { to: log_end }
            }
            Reply::OutOfRange { log_start, .. } if log_start > self.log_end => {
                Judgement::StartOver { at: log_start }
            }
            // A race: never begin from nothing for it (KAFKA-2143).
            Reply::OutOfRange { .. } | Reply::Retry => Judgement::Retry,
            Reply::Fenced => {
                self.awaits_metadata = true;
                Judgement::AwaitMetadata
            }
        }
    }

    /// Whether to append a batch that begins at `base_offset` and was written in `epoch`. Ask before each batch, and
    /// tell [`Self::appended`] after it.
    pub fn accepts_batch(&self, asked: &Position, base_offset: Offset, epoch: LeaderEpoch) -> BatchVerdict {
        if epoch > asked.leader_epoch && !is_on(Bug::R9) {
            return BatchVerdict::Leave;
        }
        // After a full truncation to the middle of a batch the log begins at that batch's base (KAFKA-6975).
        let begins = self.log_start == self.log_end && base_offset <= self.log_end;
        // A gap is what compaction left at the leader.
        if base_offset >= self.log_end || begins { BatchVerdict::Append } else { BatchVerdict::Misplaced }
    }

    /// Takes over what the leader said of the committed end and of the log start, after its batches were appended.
    /// Returns the log start to move to, if it is behind. The high watermark may go down: it is a copy, not a promise.
    pub fn followed(&mut self, high_watermark: Offset, log_start: Offset) -> Option<Offset> {
        if self.role() == Role::Leader {
            return None;
        }
        self.high_watermark = high_watermark.min(self.log_end).max(self.log_start);
        self.assert_invariants();
        (log_start > self.log_start).then(|| log_start.min(self.log_end))
    }

    /// The log was emptied and begins at `at` (KAFKA-9491: the high watermark comes along).
    pub fn started_over(&mut self, at: Offset) {
        (self.log_start, self.log_end) = (at, at);
        if !is_on(Bug::R13) {
            self.high_watermark = at;
        }
    }

    /// Where this log and the leader's part, as far as one answer tells; the next fetch finds out more (KIP-279).
    fn common_end(&self, leaders: EpochEnd, epochs: &EpochCache) -> Offset {
        let end = match epochs.end_offset_of(leaders.epoch, self.log_end) {
            None => leaders.end_offset,
            Some(_) if is_on(Bug::R3) => leaders.end_offset,
            Some(own) if own.epoch != leaders.epoch => own.end_offset,
            Some(own) => own.end_offset.min(leaders.end_offset),
        };
        end.min(self.log_end)
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
