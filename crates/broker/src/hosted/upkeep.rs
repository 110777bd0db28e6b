//! What happens to a partition beside reads and writes: deletion of records, retention, flushes, the values
//! for checkpoints, and its end.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use milena_log::{Error, FlushHandle, Synced};
use milena_partition::Role;
use milena_records::Offset;
use milena_wire::ErrorCode;
use tracing::{info, warn};

use super::{Hosted, Unflushed};

/// Why records are not deleted (TP-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeleteRefusal {
    /// Beyond the high watermark, or negative but not -1.
    OutOfRange,
    /// The topic's `cleanup.policy` does not have `delete`.
    Policy,
    /// Another broker leads.
    NotLeader,
}

impl DeleteRefusal {
    /// Kafka's code for it.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::OutOfRange => ErrorCode::OffsetOutOfRange,
            Self::Policy => ErrorCode::PolicyViolation,
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// A partition's offsets that outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpointed {
    /// Everything below is on disk.
    pub(crate) recovery_point: Offset,
    /// First offset that can be read.
    pub(crate) log_start: Offset,
    /// First offset not yet committed.
    pub(crate) high_watermark: Offset,
    /// Everything below has been cleaned.
    pub(crate) cleaned_to: Offset,
}

impl Hosted {
    /// Makes `offset` the first that can be read; -1 deletes everything committed. Returns the log start.
    pub(crate) fn delete_records(&self, offset: i64) -> Result<Offset, DeleteRefusal> {
        if !self.config.load().deletes() {
            return Err(DeleteRefusal::Policy);
        }
        let moved = self.with(|state| {
            if state.replica.role() != Role::Leader {
                return Err(DeleteRefusal::NotLeader);
            }
            let high_watermark = state.replica.high_watermark();
            let target = if offset == -1 { high_watermark } else { Offset(offset) };
            if target < Offset::ZERO || target > high_watermark {
                return Err(DeleteRefusal::OutOfRange);
            }
            state.log.advance_log_start(target);
            let start = state.log.log_start();
            state.replica.log_start_moved(start);
            Ok(start)
        });
        let start = moved.unwrap_or(Err(DeleteRefusal::NotLeader))?;
        self.touched.store(true, Ordering::Relaxed);
        self.waiters.wake();
        Ok(start)
    }

    /// The first offset that some live replica still has; `None` while this broker does not lead.
    pub(crate) fn low_watermark(&self) -> Option<Offset> {
        self.with(|state| (state.replica.role() == Role::Leader).then(|| state.replica.low_watermark()))?
    }

    /// Whether anything happened since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    /// Removes old segments and forgets idle producers.
    pub(crate) fn retain(&self, now_ms: i64, producer_expiration_ms: i64) {
        let retained = self.with(|state| {
            state.producers.expire(now_ms, producer_expiration_ms);
            let removed = state.log.retention(now_ms, state.replica.high_watermark());
            let start = state.log.log_start();
            state.replica.log_start_moved(start);
            (removed, start, state.log.has_deleted())
        });
        let Some((removed, log_start, has_removed)) = retained else { return };
        self.has_removed.fetch_or(has_removed, Ordering::Relaxed);
        match removed {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => {
                info!(topic = %self.topic, partition = self.index, segments = removed.len(), %log_start, "retention removed segments");
                self.waiters.wake();
            }
            Err(error) => warn!(%error, "retention failed"),
        }
    }

    /// Unlinks what was removed at least `file.delete.delay.ms` ago, without the lock: gigabytes take a while.
    pub(crate) fn purge(&self, now_ms: i64) {
        if !self.has_removed.load(Ordering::Relaxed) {
            return;
        }
        let due = self.with(|state| (state.log.take_removed(now_ms), state.log.has_deleted()));
        let Some((due, has_more)) = due else { return };
        self.has_removed.store(has_more, Ordering::Relaxed);
        if let Err(error) = due.unlink() {
            warn!(%error, "unlinking removed segments failed");
        }
    }

    /// The flush of what a roll has closed, or of everything if `all`; to be run without the lock.
    pub(crate) fn due_flush(&self, all: bool) -> Option<FlushHandle> {
        self.with(|state| {
            if !(state.log.needs_flush() && (all || state.rolled)) {
                return None;
            }
            (state.unflushed, state.rolled) = (Unflushed::default(), false);
            state.log.flush_handle().map_err(|error| warn!(%error, "flush failed")).ok()
        })?
    }

    /// Its directory was made before everything was made durable: the first append need not wait for that.
    pub(crate) fn creation_is_durable(&self, synced: &Synced) {
        self.with(|state| state.log.creation_is_durable(synced));
    }

    /// The values for the checkpoints.
    pub(crate) fn checkpointed(&self) -> Option<Checkpointed> {
        self.with(|state| Checkpointed {
            recovery_point: state.log.recovery_point(),
            log_start: state.log.log_start(),
            high_watermark: state.replica.high_watermark(),
            cleaned_to: state.log.cleaned_to(),
        })
    }

    /// Stops serving and writes what is left to write; making it durable is the caller's, once for all
    /// partitions. Returns the last values for the checkpoints.
    pub(crate) fn close(&self) -> Result<Option<Checkpointed>, Error> {
        let Some(state) = self.state.lock().unwrap().take() else { return Ok(None) };
        let log_start = state.log.log_start();
        let high_watermark = state.replica.high_watermark();
        let cleaned_to = state.log.cleaned_to();
        let recovery_point = state.log.close_unsynced(&state.producers.entries())?;
        self.waiters.wake();
        Ok(Some(Checkpointed { recovery_point, log_start, high_watermark, cleaned_to }))
    }

    /// Stops serving for ever: the topic is deleted. Returns the directory that is to go.
    pub(crate) fn abandon(&self) -> Option<PathBuf> {
        let state = self.state.lock().unwrap().take()?;
        self.waiters.wake();
        Some(state.log.dir().to_path_buf())
    }
}
