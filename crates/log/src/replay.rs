//! Giving the owner what it rebuilds its producers from: a snapshot, and the headers of batches.

use milena_partition::ProducerEntry;
use milena_records::{BatchHeader, Offset};

use crate::error::Error;
use crate::fs::{Open, read_exact_at};
use crate::log::Log;
use crate::names::{self, SNAPSHOT};
use crate::snapshot;

/// One step of rebuilding what is derived from the log.
#[derive(Debug)]
pub enum ReplayEvent<'a> {
    /// Start from these producers, as of this offset. At most once, and first.
    Snapshot(&'a [ProducerEntry], Offset),
    /// Then apply this batch.
    Batch(&'a BatchHeader),
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
            segment.batches(self.place())?.find(start, segment.size, |header, _| {
                if header.base_offset >= from {
                    replay(ReplayEvent::Batch(&header));
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
