//! Giving up the start of a log: DeleteRecords, retention by time and size, and the removal of files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use milena_records::Offset;

use crate::error::Error;
use crate::log::Log;
use crate::names::{self, DELETED};
use crate::segment::Segment;
use crate::storage::Storage;

impl Log {
    /// Makes `offset` the first that can be read (DeleteRecords, or a leader's log start); never moves back.
    /// Returns whether it moved.
    ///
    /// Segments wholly below it go with the next [`Log::retention`]. The owner has checked it against the high
    /// watermark, and writes the checkpoint before it answers.
    pub fn advance_log_start(&mut self, offset: Offset) -> bool {
        let offset = offset.min(self.log_end);
        if offset <= self.log_start {
            return false;
        }
        self.log_start = offset;
        self.epochs_changed |= self.epochs.truncate_from_start(offset);
        true
    }

    /// Removes the oldest segments that time, size or the log start no longer ask for; returns their bases.
    ///
    /// Only segments wholly below the high watermark go, and from the oldest on without a gap (DS-2, DS-3). If
    /// all have expired, the active one is closed first. The log start offset moves up to what is left. Files
    /// are renamed here and unlinked by [`Log::purge_deleted`].
    pub fn retention(&mut self, now_ms: i64, high_watermark: Offset) -> Result<Vec<Offset>, Error> {
        self.check_online()?;
        let config = Arc::clone(&self.config);
        let mut excess = match config.retention_bytes {
            limit if limit >= 0 && config.delete => self.size_bytes().saturating_sub(limit as u64),
            _ => 0,
        };
        let by_time = |segment: &Segment| {
            let age_ms = now_ms.saturating_sub(segment.largest_timestamp());
            config.delete && config.retention_ms >= 0 && age_ms > config.retention_ms
        };
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let end = self.segment_end(at);
            let is_active = at + 1 == self.segments.len();
            if (is_active && segment.size == 0) || end > high_watermark {
                break;
            }
            let by_size = excess >= segment.size && excess > 0;
            let by_start = !is_active && end <= self.log_start;
            if !(by_time(segment) || by_size || by_start) {
                break;
            }
            excess = excess.saturating_sub(segment.size);
            count += 1;
        }
        if count == self.segments.len() {
            self.roll(now_ms)?;
        }
        self.remove_oldest(count, now_ms)
    }

    /// Unlinks files of segments removed at least `file.delete.delay.ms` ago; returns how many segments.
    ///
    /// Unlinking a large file takes long: not for a data thread.
    pub fn purge_deleted(&mut self, now_ms: i64) -> Result<usize, Error> {
        let removed = self.take_removed(now_ms);
        let count = removed.bases.len();
        removed.unlink().map(|()| count)
    }

    /// The first half of [`Log::purge_deleted`], to be followed by [`Removed::unlink`] without the partition's lock.
    pub fn take_removed(&mut self, now_ms: i64) -> Removed {
        let delay_ms = self.config.file_delete_delay_ms;
        let (due, kept): (Vec<_>, Vec<_>) =
            self.deleted.drain(..).partition(|(_, since_ms)| now_ms.saturating_sub(*since_ms) >= delay_ms);
        self.deleted = kept;
        let bases = due.into_iter().map(|(base, _)| base).collect();
        Removed { storage: Arc::clone(&self.storage), dir: self.dir.clone(), bases }
    }

    /// Whether removed segments wait for [`Log::purge_deleted`].
    pub fn has_deleted(&self) -> bool {
        !self.deleted.is_empty()
    }

    fn remove_oldest(&mut self, count: usize, now_ms: i64) -> Result<Vec<Offset>, Error> {
        let mut removed = Vec::with_capacity(count);
        for _ in 0..count {
            // The start moves first: nobody may be sent to a file that is going.
            let next = self.segments[1].base_offset;
            self.advance_log_start(next);
            self.segments[0].rename_deleted(self.place())?;
            let segment = self.segments.remove(0);
            self.deleted.push((segment.base_offset, now_ms));
            removed.push(segment.base_offset);
            while self.snapshots.first().is_some_and(|oldest| *oldest <= segment.base_offset)
                && self.snapshots.len() > 1
            {
                self.remove_snapshot(0)?;
            }
        }
        if count > 0 {
            self.flush.lock().expect("no panic while the lock is held").names_changed = true;
        }
        Ok(removed)
    }
}

/// Segments whose files may be unlinked. Dropped, they stay until the log is opened again.
#[derive(Debug)]
pub struct Removed {
    storage: Arc<Storage>,
    dir: Box<Path>,
    bases: Vec<Offset>,
}

impl Removed {
    /// Unlinks them.
    pub fn unlink(&self) -> Result<(), Error> {
        for base in &self.bases {
            for suffix in [names::TIME_INDEX, names::INDEX, names::TXN_INDEX, names::LOG] {
                let path = names::file(&self.dir, *base, &format!("{suffix}.{DELETED}"));
                match self.storage.fs.remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::io("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
