//! What a follower does with its leader's answers: appends, truncates, begins anew, or drops them.
//!
//! Decisions are [`milena_partition::Replica`]'s. Batches are stored as they came, neither renumbered nor stamped.
//! Specification: replication notes 1.6 and 1.7.

use std::sync::atomic::Ordering;

use milena_log::{Error, ReplayEvent};
use milena_partition::{BatchVerdict, EpochEnd, Judgement, Position as Asked, Reply};
use milena_peer::replica::message::{PartitionBatches, Position, Refusal};
use milena_records::{BatchHeader, LeaderEpoch, Offset, StoredBatch};
use tracing::{error, info, warn};

use super::{Hosted, State};
use crate::clock;

/// What the fetcher does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// State the position that there is now.
    Ask,
    /// The same, after a pause.
    AskLater,
    /// Nothing: the question stands, or newer metadata must come first.
    Wait,
    /// Make it durable that everything from the truncation's target on is not flushed, and hand in the answer again: a
    /// crash in the truncation would otherwise look like lost data.
    LowerRecoveryPoint,
}

impl Hosted {
    /// What to ask the leader for; `None` while this broker leads, or there is nobody to ask.
    pub(crate) fn position(&self) -> Option<Position> {
        self.with(|state| {
            let asked = state.replica.position(state.log.epochs())?;
            let last_fetched_epoch = Some(asked.last_fetched_epoch.0).filter(|epoch| *epoch >= 0);
            Some(Position {
                key: None,
                leader_epoch: asked.leader_epoch.0,
                fetch_offset: asked.fetch_offset.0,
                last_fetched_epoch,
                log_start: asked.log_start.0,
                high_watermark: state.replica.high_watermark().0,
            })
        })?
    }

    /// Takes a leader's answer.
    pub(crate) fn follow(&self, answer: &PartitionBatches) -> Next {
        let followed = self.with(|state| {
            let before = (state.replica.high_watermark(), state.log.log_start());
            let next = state.follow(answer);
            let moved = before != (state.replica.high_watermark(), state.log.log_start());
            (next, moved)
        });
        let Some((next, moved)) = followed else { return Next::Wait };
        self.touched.store(true, Ordering::Relaxed);
        if moved {
            self.waiters.wake();
        }
        match next {
            Ok(next) => next,
            Err(error) => {
                error!(topic = %self.topic, partition = self.index, %error, "copying from the leader failed");
                Next::AskLater
            }
        }
    }
}

impl State {
    fn follow(&mut self, answer: &PartitionBatches) -> Result<Next, Error> {
        // Only what the leader echoes of the question is compared; the rest is as it is now.
        let asked = Asked {
            leader: self.replica.leadership().leader,
            leader_epoch: LeaderEpoch(answer.leader_epoch),
            fetch_offset: Offset(answer.fetch_offset),
            last_fetched_epoch: answer.last_fetched_epoch.map_or(LeaderEpoch::NONE, LeaderEpoch),
            log_start: self.log.log_start(),
        };
        match self.replica.judge_reply(&asked, &reply(answer), self.log.epochs()) {
            // The log was cut and filled again, or its last record expired, while the answer was under way: the
            // question that stands at the leader is not the one to be answered.
            Judgement::Drop if self.asks_from_there_otherwise(&asked) => Ok(Next::Ask),
            Judgement::Drop | Judgement::AwaitMetadata => Ok(Next::Wait),
            Judgement::Retry => Ok(Next::AskLater),
            Judgement::Append => self.append_copies(&asked, answer),
            Judgement::Truncate { to } => self.truncate(to),
            Judgement::StartOver { at } => {
                info!(dir = %self.log.dir().display(), %at, "the leader's log begins behind this one's end: starting over");
                self.start_over(at)?;
                Ok(Next::Ask)
            }
        }
    }

    fn asks_from_there_otherwise(&self, asked: &Asked) -> bool {
        self.replica.position(self.log.epochs()).is_some_and(|now| {
            now.leader_epoch == asked.leader_epoch
                && now.fetch_offset == asked.fetch_offset
                && now.last_fetched_epoch != asked.last_fetched_epoch
        })
    }

    fn append_copies(&mut self, asked: &Asked, answer: &PartitionBatches) -> Result<Next, Error> {
        let (batches, mut next) = self.acceptable(asked, answer)?;
        if !batches.is_empty() {
            let info = self.log.append(&batches, clock::unix_ms())?;
            for batch in &batches {
                self.record(batch);
            }
            if info.rolled
                && let Err(error) = self.log.take_snapshot(&self.producers.entries(), info.log_end)
            {
                warn!(%error, "producer snapshot not written");
            }
            self.rolled |= info.rolled;
            self.replica.appended(info.log_end, clock::monotonic_ms());
        } else if answer.records.is_empty() {
            next = Next::Wait;
        }
        if let Some(start) = self.replica.followed(Offset(answer.high_watermark), Offset(answer.log_start)) {
            self.log.advance_log_start(start);
            self.replica.log_start_moved(self.log.log_start());
            // Whoever deletes records waits until the leader knows (KIP-107).
            next = if next == Next::Wait { Next::Ask } else { next };
        }
        self.producers.committed_to(self.replica.high_watermark());
        Ok(next)
    }

    /// The batches to append, whose checksums are right, and what to do when they are in.
    fn acceptable(
        &mut self,
        asked: &Asked,
        answer: &PartitionBatches,
    ) -> Result<(Vec<StoredBatch>, Next), Error> {
        let mut accepted = Vec::new();
        let mut end = self.log.log_end();
        for batch in milena_records::batches(&answer.records) {
            let (header, bytes) = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    warn!(dir = %self.log.dir().display(), %error, "the leader sent what is no batch");
                    return Ok((accepted, Next::AskLater));
                }
            };
            let verdict = if accepted.is_empty() {
                self.replica.accepts_batch(asked, header.base_offset, header.partition_leader_epoch)
            } else {
                continues(asked, &header, end)
            };
            match verdict {
                BatchVerdict::Append => {}
                BatchVerdict::Leave => return Ok((accepted, Next::AskLater)),
                BatchVerdict::Misplaced => {
                    warn!(dir = %self.log.dir().display(), base_offset = %header.base_offset, log_end = %end, "the leader sent a batch that does not continue this log");
                    return Ok((accepted, Next::AskLater));
                }
            }
            if let Err(error) = header.verify_crc(&bytes) {
                warn!(dir = %self.log.dir().display(), base_offset = %header.base_offset, ?error, "a batch was damaged on its way");
                return Ok((accepted, Next::AskLater));
            }
            if header.base_offset < end {
                // After deletion into the middle of a batch the log begins at that batch's base (KAFKA-6975).
                self.start_over(header.base_offset)?;
            }
            end = header.next_offset();
            accepted.push(StoredBatch::received(&bytes));
        }
        Ok((accepted, Next::Ask))
    }

    fn truncate(&mut self, to: Offset) -> Result<Next, Error> {
        if self.log.recovery_point() > to {
            self.log.lower_recovery_point(to);
            return Ok(Next::LowerRecoveryPoint);
        }
        let (end, high_watermark) = (self.log.log_end(), self.replica.high_watermark());
        if to < high_watermark {
            // The copy of a high watermark may be newer than the truth only after an unclean election.
            warn!(dir = %self.log.dir().display(), %to, log_end = %end, %high_watermark, "truncating below the high watermark");
        } else {
            info!(dir = %self.log.dir().display(), %to, log_end = %end, "truncating to where the leader's log parts");
        }
        let end = self.log.truncate_to(to)?;
        self.replica.truncated(end);
        self.rebuild_producers()?;
        Ok(Next::Ask)
    }

    fn start_over(&mut self, at: Offset) -> Result<(), Error> {
        self.log.truncate_fully_and_start_at(at, clock::unix_ms())?;
        self.replica.started_over(at);
        self.producers = self.producers.emptied();
        Ok(())
    }

    /// Producers as of the present log end.
    fn rebuild_producers(&mut self) -> Result<(), Error> {
        if self.producers.is_empty() {
            return Ok(());
        }
        let mut producers = self.producers.emptied();
        self.log.replay(&mut |event: ReplayEvent<'_>| event.apply(&mut producers))?;
        crate::data_dir::recall(&self.log, &mut producers)?;
        producers.committed_to(self.replica.high_watermark());
        self.producers = producers;
        Ok(())
    }
}

/// The verdict of [`milena_partition::Replica::accepts_batch`] on a batch behind others of the same answer, which are
/// not in the log yet.
fn continues(asked: &Asked, header: &BatchHeader, end: Offset) -> BatchVerdict {
    if header.partition_leader_epoch > asked.leader_epoch {
        BatchVerdict::Leave
    } else if header.base_offset >= end {
        BatchVerdict::Append
    } else {
        BatchVerdict::Misplaced
    }
}

fn reply(answer: &PartitionBatches) -> Reply {
    match answer.refusal() {
        Refusal::None => match &answer.diverging {
            Some(end) => Reply::Diverging(EpochEnd {
                epoch: LeaderEpoch(end.epoch),
                end_offset: Offset(end.end_offset),
            }),
            None => Reply::Batches {
                high_watermark: Offset(answer.high_watermark),
                log_start: Offset(answer.log_start),
            },
        },
        Refusal::OffsetOutOfRange => {
            Reply::OutOfRange { log_start: Offset(answer.log_start), log_end: Offset(answer.log_end) }
        }
        Refusal::FencedLeaderEpoch => Reply::Fenced,
        Refusal::UnknownLeaderEpoch | Refusal::NotLeader | Refusal::UnknownTopic | Refusal::StorageError => {
            Reply::Retry
        }
    }
}
