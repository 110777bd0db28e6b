//! Giving up the end of a log: followers after a change of leader, and an append that failed half-way.

use milena_records::Offset;

use crate::checkpoint::Durability;
use crate::error::Error;
use crate::log::Log;
use crate::names::LOG;
use crate::scan::Batches;
use crate::segment::{Place, Segment};

impl Log {
    /// Removes every batch that ends at or behind `offset`; returns the log end, below `offset` if that was
    /// within a batch. Epochs that begin there go even if no record does (KAFKA-10706).
    ///
    /// Durable on return. The owner lowers the recovery point's checkpoint to `offset` **before** the call
    /// (otherwise a crash right after would look like lost durable data), and afterwards rebuilds its
    /// producers by [`Log::replay`] and bounds its high watermark.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<Offset, Error> {
        self.check_online()?;
        if offset < self.segments[0].base_offset {
            return self.truncate_fully_and_start_at(offset, self.active().modified_ms).map(|()| offset);
        }
        if offset < self.log_end {
            let result = self.cut(offset);
            if result.is_err() {
                self.offline = true;
            }
            result?;
        }
        self.epochs_changed |= self.epochs.truncate_from_end(offset);
        self.save_epochs(Durability::Synced)?;
        Ok(self.log_end)
    }

    /// Forgets that what lies from `offset` on is durable, so that the owner can checkpoint this before it
    /// truncates. Flushes under way no longer count.
    pub fn lower_recovery_point(&mut self, offset: Offset) {
        let mut flush = self.flush.lock().expect("no panic while the lock is held");
        flush.generation += 1;
        flush.recovery_point = flush.recovery_point.min(offset);
    }

    /// Removes everything and begins anew at `offset`: a follower that is too far behind its leader's start.
    ///
    /// The owner checkpoints recovery point and log start offset before the call.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now_ms: i64) -> Result<(), Error> {
        self.check_online()?;
        let result = self.start_over(offset, now_ms);
        if result.is_err() {
            self.offline = true;
        }
        result
    }

    fn start_over(&mut self, offset: Offset, now_ms: i64) -> Result<(), Error> {
        self.forget_positions(offset);
        // Newest first, so that a crash in between leaves a log without a hole.
        while let Some(segment) = self.segments.pop() {
            segment.rename_deleted(self.place())?;
            self.deleted.push((segment.base_offset, now_ms));
        }
        self.segments.push(Segment::create(self.place(), offset, now_ms)?);
        self.storage.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.log_start = offset;
        self.log_end = offset;
        while !self.snapshots.is_empty() {
            self.remove_snapshot(0)?;
        }
        self.epochs.clear();
        self.epochs_changed = true;
        self.flush.lock().expect("no panic while the lock is held").recovery_point = offset;
        self.save_epochs(Durability::Synced)
    }

    fn cut(&mut self, offset: Offset) -> Result<(), Error> {
        self.forget_positions(offset);
        let keep = self.segment_of(offset);
        while self.segments.len() > keep + 1 {
            let segment = self.segments.pop().expect("more than one");
            let deleted_ms = segment.modified_ms;
            segment.rename_deleted(self.place())?;
            self.deleted.push((segment.base_offset, deleted_ms));
            self.log_end = segment.base_offset;
        }
        // Durable before the cut: a segment that came back would lie behind a hole.
        self.storage.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.sync_segments_before(keep)?;
        self.cut_active(offset)?;
        while let Some(at) = self.snapshots.iter().position(|snapshot| *snapshot > self.log_end) {
            self.remove_snapshot(at)?;
        }
        let mut flush = self.flush.lock().expect("no panic while the lock is held");
        flush.recovery_point = flush.recovery_point.min(self.log_end);
        drop(flush);
        self.log_start = self.log_start.min(self.log_end);
        Ok(())
    }

    /// Cuts the newest segment before the batch that holds `offset` or comes behind it.
    fn cut_active(&mut self, offset: Offset) -> Result<(), Error> {
        let at = self.segments.len() - 1;
        let place = self.place();
        let segment = &self.segments[at];
        let batches = segment.batches(place)?;
        let floor = segment.floor_position(place, offset)?;
        // The end of what stays, if a batch before the cut was seen.
        let mut seen = None;
        let cut = batches.find(floor, segment.size, |header, position| {
            if header.last_offset() >= offset {
                return Ok(Some((position, seen.unwrap_or(header.base_offset.min(offset)))));
            }
            seen = Some(header.next_offset());
            Ok(None)
        })?;
        let (position, end) = cut.unwrap_or((segment.size, seen.unwrap_or(segment.base_offset)));
        let Batches { file, path, .. } = batches;
        file.set_len(position).map_err(Error::io("truncate", &path))?;
        file.sync().map_err(Error::io("sync", &path))?;
        let (storage, dir) = (self.storage.clone(), self.dir.clone());
        let place = Place { storage: &storage, dir: &dir };
        let segment = &mut self.segments[at];
        segment.truncate_entries(place, end)?;
        segment.rescan(place, position, self.config.index_interval_bytes)?;
        segment.load_first_timestamp(place)?;
        self.log_end = end;
        Ok(())
    }

    /// Syncs the segments before segment `at` that a flush has not reached yet, as `at` itself is about to be: batches that
    /// survive a power failure must not lie behind others that do not.
    pub(crate) fn sync_segments_before(&self, at: usize) -> Result<(), Error> {
        let place = self.place();
        let undurable = self.segment_of(self.recovery_point());
        for segment in self.segments.get(undurable..at).unwrap_or_default() {
            let path = place.path(segment.base_offset, LOG);
            segment.log_file(place)?.sync().map_err(Error::io("sync", &path))?;
        }
        Ok(())
    }

    /// Positions and running flushes that knew the log before a truncation no longer count.
    fn forget_positions(&mut self, offset: Offset) {
        self.hints.lock().expect("no panic while the lock is held").clear();
        self.cleaned_to = self.cleaned_to.min(offset);
        let mut flush = self.flush.lock().expect("no panic while the lock is held");
        flush.generation += 1;
        flush.recovery_point = flush.recovery_point.min(offset);
    }
}
