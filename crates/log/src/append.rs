//! Appending: one vectored write for all batches of a call, then the indexes, then the log end moves.

use std::io::{self, IoSlice};
use std::sync::Arc;

use milena_records::{LeaderEpoch, Offset, StoredBatch};

use crate::checkpoint::Durability;
use crate::error::Error;
use crate::flush;
use crate::fs::{File, write_all_at};
use crate::log::Log;
use crate::segment::{BatchExtent, Place, Segment};

/// A batch of the call, with what is needed to place it.
#[derive(Clone, Copy)]
struct Piece<'a> {
    stored: &'a StoredBatch,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    extent: BatchExtent,
}

impl<'a> Piece<'a> {
    /// # Panics
    /// If the header counts other bytes than those that follow it: a length that lies would tear the log.
    fn new(stored: &'a StoredBatch) -> Self {
        let header = stored.header();
        assert_eq!(header.total_size(), stored.total_size(), "batch length of {header:?}");
        Self {
            stored,
            base_offset: header.base_offset,
            leader_epoch: header.partition_leader_epoch,
            extent: BatchExtent::from(&header),
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// First offset written.
    pub base_offset: Offset,
    /// The log end offset now.
    pub log_end: Offset,
    /// Bytes written.
    pub bytes: u64,
    /// A segment was closed: the owner takes a producer snapshot and has a [`crate::FlushHandle`] run in the
    /// background, which moves the recovery point.
    pub rolled: bool,
}

impl Log {
    /// Appends batches, whose offsets follow the log end and each other. `now_ms` is the wall clock.
    ///
    /// On return they are in the page cache, not on disk. All are written or none: after a failed or short
    /// write the file is cut back, and the log goes on as before (a full disk), unless cutting fails as well,
    /// after which every call answers [`Error::Offline`]. Gaps between offsets are kept as they are: a
    /// follower of a compacted log receives them.
    ///
    /// # Panics
    /// If a batch's length field does not count its bytes.
    pub fn append(&mut self, batches: &[StoredBatch], now_ms: i64) -> Result<AppendInfo, Error> {
        if self.online_state()?.created {
            flush::make_creation_durable(self.place(), &self.flush)?;
        }
        let batches: Vec<Piece<'_>> = batches.iter().map(Piece::new).collect();
        self.check_order(&batches)?;
        let before = self.log_end;
        let result = self.append_runs(&batches, now_ms);
        if result.is_err() && self.log_end != before {
            // A first part is in a segment that has been closed since; take it back as well.
            if let Err(error) = self.truncate_to(before) {
                tracing::error!(%error, dir = %self.dir.display(), "cannot take back a failed append");
                self.offline = true;
            }
        }
        let (bytes, rolled) = result?;
        let base_offset = batches.first().map_or(before, |batch| batch.base_offset);
        Ok(AppendInfo { base_offset, log_end: self.log_end, bytes, rolled })
    }

    fn check_order(&self, batches: &[Piece<'_>]) -> Result<(), Error> {
        let mut end = self.log_end;
        for batch in batches {
            let last = batch.extent.last_offset;
            if batch.base_offset < end || last < batch.base_offset || last.0 == i64::MAX {
                let dir = self.dir.to_path_buf();
                return Err(Error::OutOfOrder { dir, base: batch.base_offset, last, end });
            }
            end = last + 1;
        }
        Ok(())
    }

    fn append_runs(&mut self, batches: &[Piece<'_>], now_ms: i64) -> Result<(u64, bool), Error> {
        let (mut bytes, mut rolled) = (0, false);
        let mut rest = batches;
        while let Some(first) = rest.first() {
            if self.must_roll(self.active().size, self.active().first_timestamp, first, now_ms) {
                // Behind the log end only if the offsets of a compacted log jump so far that an index in
                // the new segment could not tell them.
                let base = self.log_end.max(Offset(first.extent.last_offset.0 - i64::from(i32::MAX)));
                self.roll_at(base, now_ms)?;
                rolled = true;
            }
            let mut size = self.active().size + first.extent.size;
            let first_timestamp = match self.active().size {
                0 => Some(first.extent.max_timestamp).filter(|time| *time >= 0),
                _ => self.active().first_timestamp,
            };
            let mut run = 1;
            while run < rest.len() && !self.must_roll(size, first_timestamp, &rest[run], now_ms) {
                size += rest[run].extent.size;
                run += 1;
            }
            let (now, later) = rest.split_at(run);
            self.write_run(now, now_ms)?;
            bytes += now.iter().map(|batch| batch.extent.size).sum::<u64>();
            rest = later;
        }
        Ok((bytes, rolled))
    }

    /// Whether a batch must begin a new segment (DS-1), given the bytes that are in the active one by then and
    /// the time of the first batch there.
    fn must_roll(&self, size: u64, first_timestamp: Option<i64>, batch: &Piece<'_>, now_ms: i64) -> bool {
        let (active, config) = (self.active(), &*self.config);
        if size == 0 {
            return !active.can_index(batch.extent.last_offset);
        }
        let waited_ms = match first_timestamp {
            Some(first) => batch.extent.max_timestamp.saturating_sub(first),
            None => now_ms.saturating_sub(active.created_ms),
        };
        size + batch.extent.size > u64::from(config.segment_bytes)
            || waited_ms > config.segment_ms.saturating_sub(self.jitter_ms(active))
            || active.indexes_full(config)
            || !active.can_index(batch.extent.last_offset)
    }

    /// Spreads the closing of segments that began together; the same for a segment every time.
    fn jitter_ms(&self, segment: &Segment) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let mut seed = segment.base_offset.0.to_be_bytes().to_vec();
        seed.extend_from_slice(self.dir.as_os_str().as_encoded_bytes());
        i64::from(crate::scan::crc32c(&seed)) % most
    }

    /// Writes batches into the active segment, all or none of them.
    fn write_run(&mut self, batches: &[Piece<'_>], now_ms: i64) -> Result<(), Error> {
        let storage = Arc::clone(&self.storage);
        let place = Place { storage: &storage, dir: &self.dir };
        let active = self.segments.last_mut().expect("never empty");
        let file = active.log_file(place)?;
        if let Err(source) = write_batches(&*file, batches, active.size) {
            if let Err(error) = file.set_len(active.size) {
                tracing::error!(%error, dir = %self.dir.display(), "cannot cut off a failed write");
                self.offline = true;
            }
            let path = place.path(active.base_offset, crate::names::LOG);
            return Err(Error::Io { action: "append to", path, offset: Some(self.log_end), source });
        }
        let mut new_epoch = false;
        for batch in batches {
            active.note(batch.extent, self.config.index_interval_bytes);
            new_epoch |= self.epochs.appended(batch.leader_epoch, batch.base_offset);
        }
        active.modified_ms = now_ms;
        self.log_end = batches.last().expect("a run is not empty").extent.last_offset + 1;
        // From here on failures concern files that opening derives from the log again. They are reported,
        // as the next write will hardly fare better, but the batches are in.
        self.epochs_changed |= new_epoch;
        // Replacing a small file takes a millisecond, and with a new leader epoch all partitions of a broker are due
        // at once. An opening walks the batches behind the last entry of the index that is written, and learns from
        // them of epochs that are later than those in the file: so the file waits for the entries, and no longer.
        let is_due = active.has_due_entries();
        let may_wait =
            self.latest_saved_epoch != LeaderEpoch::NONE && self.epochs.latest() > self.latest_saved_epoch;
        if (is_due || !may_wait)
            && let Err(error) = self.save_epochs(Durability::Later)
        {
            tracing::warn!(%error, "leader epochs and index entries stay in memory");
            return Ok(());
        }
        if is_due {
            let place = Place { storage: &storage, dir: &self.dir };
            let active = self.segments.last_mut().expect("never empty");
            if let Err(error) = active.write_entries(place) {
                tracing::warn!(%error, "index entries stay in memory");
            }
        }
        Ok(())
    }
}

/// Batches smaller than this on average are copied together before they are written: for 1 KiB that costs
/// a sixth less CPU than handing the kernel two pieces for each.
const SMALL_BATCH: usize = 4 << 10;

fn write_batches(file: &dyn File, batches: &[Piece<'_>], position: u64) -> io::Result<()> {
    let total: usize = batches.iter().map(|batch| batch.stored.total_size()).sum();
    if total < SMALL_BATCH * batches.len() {
        let mut whole = Vec::with_capacity(total);
        for Piece { stored, .. } in batches {
            whole.extend_from_slice(&stored.header_bytes);
            whole.extend_from_slice(&stored.body);
        }
        return write_all_at(file, &mut [IoSlice::new(&whole)], position);
    }
    let mut pieces = Vec::with_capacity(2 * batches.len());
    for Piece { stored, .. } in batches {
        pieces.push(IoSlice::new(&stored.header_bytes));
        pieces.push(IoSlice::new(&stored.body));
    }
    write_all_at(file, &mut pieces, position)
}
