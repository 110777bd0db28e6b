//! Giving the owner what it rebuilds its producers from: a snapshot, and the headers of batches.

use milena_partition::{ProducerEntry, Producers};
use milena_records::{BatchHeader, ControlRecord, Offset, TransactionResult};

use crate::aborted::read_control;
use crate::error::Error;
use crate::fs::{Open, read_exact_at};
use crate::log::Log;
use crate::names::{self, SNAPSHOT};
use crate::snapshot;

/// One step of rebuilding what is derived from the log.
#[derive(Debug)]
pub enum ReplayEvent<'a> {
    /// Start from these producers, as of this offset, whatever was told before.
    Snapshot(&'a [ProducerEntry], Offset),
    /// Then apply this batch of data.
    Batch(&'a BatchHeader),
    /// Or this marker, with what it decided and its coordinator's epoch.
    Marker(&'a BatchHeader, TransactionResult, i32),
}

impl<'a> ReplayEvent<'a> {
    /// The event of a batch; `None` for a control batch that is no marker.
    pub(crate) fn of(header: &'a BatchHeader, control: Option<ControlRecord>) -> Option<Self> {
        match control {
            Some(ControlRecord::EndTransaction { result, coordinator_epoch }) => {
                Some(Self::Marker(header, result, coordinator_epoch))
            }
            Some(ControlRecord::Other(_)) => None,
            None => (!header.is_control()).then_some(Self::Batch(header)),
        }
    }

    /// Does to `producers` what the log says.
    pub fn apply(&self, producers: &mut Producers) {
        match self {
            Self::Snapshot(entries, _) => producers.restore(entries),
            Self::Batch(header) => producers.record(header),
            Self::Marker(header, result, coordinator_epoch) => {
                producers.record_marker(header, *result, *coordinator_epoch);
            }
        }
    }
}

impl Log {
    /// Gives `replay` the newest snapshot and the batches behind it once more: after a truncation.
    pub fn replay(&self, replay: &mut dyn FnMut(ReplayEvent<'_>)) -> Result<(), Error> {
        let mut from = self.log_start;
        if let Some((entries, offset)) = newest_snapshot(self, self.log_end) {
            replay(ReplayEvent::Snapshot(&entries, offset));
            from = offset;
        }
        for segment in &self.segments[self.segment_of(from)..] {
            let start = segment.floor_position(self.place(), from)?;
            let batches = segment.batches(self.place())?;
            batches.find(start, segment.size, |header, position| {
                if header.base_offset >= from {
                    let control = read_control(&*batches.file, &header, position)
                        .map_err(Error::io("read", &batches.path))?;
                    ReplayEvent::of(&header, control).into_iter().for_each(&mut *replay);
                }
                Ok(None::<()>)
            })?;
        }
        Ok(())
    }

    /// Shows `visit` the headers of the newest batches, oldest first: at least those in the last `max_bytes`.
    ///
    /// A snapshot in Kafka's format holds one batch per producer, not the window of five that a client may
    /// repeat (PR-14). After a clean stop nothing else is replayed; an owner who wants the windows back, so that a
    /// producer may repeat what the stop left unanswered, finds them here at the price of a read or two.
    pub fn recent_batches(&self, max_bytes: u64, visit: &mut dyn FnMut(&BatchHeader)) -> Result<(), Error> {
        let newest = self.segments.iter().rev().find(|segment| segment.size > 0);
        let Some(segment) = newest else { return Ok(()) };
        let start = segment.floor_of_byte(self.place(), segment.size.saturating_sub(max_bytes))?;
        segment.batches(self.place())?.find(start, segment.size, |header, _| {
            visit(&header);
            Ok(None::<()>)
        })?;
        Ok(())
    }
}

/// The newest snapshot at or below `end` that can be read.
pub(crate) fn newest_snapshot(log: &Log, end: Offset) -> Option<(Vec<ProducerEntry>, Offset)> {
    let usable = log.snapshots.iter().rev().filter(|offset| **offset <= end);
    for offset in usable {
        let path = names::file(&log.dir, *offset, SNAPSHOT);
        let read = || {
            let file = log.storage.fs.open(&path, Open::Existing)?;
            let len = file.len()? as usize;
            read_exact_at(&*file, 0, len)
        };
        match read().map(|bytes| snapshot::decode(&bytes)) {
            Ok(Some(entries)) => return Some((entries, *offset)),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "producer snapshot is damaged, taking an older one")
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "producer snapshot cannot be read"),
        }
    }
    None
}
