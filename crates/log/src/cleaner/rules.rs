//! What becomes of a batch in the second pass.

use std::collections::HashMap;

use bytes::Bytes;
use milena_records::{BatchHeader, BatchRecords, Offset, Outline, RecordsError, StoredBatch};

use crate::cleaner::offset_map::OffsetMap;
use crate::cleaner::transactions::Transactions;
use crate::cleaner::{CleaningStats, INFLATE_LIMIT, LastOfProducer};

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It stays, byte for byte.
    Keep,
    /// This takes its place.
    Replace(StoredBatch),
    /// It goes.
    Drop,
}

/// What is known while batches pass, oldest first.
pub(crate) struct Rules<'a> {
    pub map: &'a OffsetMap,
    /// Where the newest batch ends that the first pass read; that one marks the end of the log for followers.
    pub end: Offset,
    pub producers: &'a HashMap<i64, LastOfProducer>,
    pub transactions: &'a mut Transactions,
    pub delete_retention_ms: i64,
    pub now_ms: i64,
    pub stats: &'a mut CleaningStats,
}

impl Rules<'_> {
    /// Decides on the next batch.
    pub fn judge(&mut self, header: BatchHeader, batch: &Bytes) -> Result<Outcome, RecordsError> {
        let body = batch.slice(BatchHeader::SIZE..);
        let is_discardable = self.transactions.discards(&header, &body);
        let before = u64::from(header.record_count.unsigned_abs());
        self.stats.records_before += before;
        if header.is_control() {
            return Ok(self.judge_marker(&header, body, is_discardable));
        }
        if is_discardable || header.record_count == 0 {
            return Ok(self.without_records(&header));
        }
        if header.base_offset > self.map.latest() {
            self.stats.records_after += before;
            return Ok(Outcome::Keep);
        }
        let records = match BatchRecords::of(header, body, INFLATE_LIMIT) {
            Ok(records) => records,
            Err(RecordsError::InflatesTooFar { .. }) => {
                self.stats.records_after += before;
                return Ok(Outcome::Keep);
            }
            Err(error) => return Err(error),
        };
        let deletes_due = header.delete_horizon().is_some_and(|horizon| horizon <= self.now_ms);
        let (mut tombstones, mut keyless) = (false, 0);
        let selection = records.select(|record| {
            let keep = self.keeps(record, deletes_due, &mut keyless);
            tombstones |= keep && record.is_tombstone && record.offset <= self.map.latest();
            keep
        })?;
        self.stats.keyless += keyless;
        self.stats.records_after += selection.kept() as u64;
        if selection.kept() == 0 {
            return Ok(self.without_records(&header));
        }
        let horizon = self.new_horizon(&header, tombstones);
        Ok(match horizon {
            None if selection.is_all() => Outcome::Keep,
            horizon => Outcome::Replace(records.rewrite(&selection, horizon)),
        })
    }

    /// Whether a record is its key's newest, and not a tombstone whose time is over (CP-1, CP-4, CP-7).
    fn keeps(&self, record: &Outline<'_>, deletes_due: bool, keyless: &mut u64) -> bool {
        if record.offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else {
            *keyless += 1;
            return false;
        };
        let is_newest = self.map.get(key).is_none_or(|newest| record.offset >= newest);
        is_newest && !(record.is_tombstone && deletes_due)
    }

    /// Markers stay until nothing of their transaction is left, and `delete.retention.ms` longer (CP-5).
    fn judge_marker(&mut self, header: &BatchHeader, body: Bytes, is_discardable: bool) -> Outcome {
        let horizon = header.delete_horizon();
        let is_due =
            is_discardable && horizon.is_some_and(|horizon| horizon <= self.now_ms) || cfg_t9(is_discardable);
        // Whole, not emptied: it is all that tells its producer's epoch.
        if is_due && !self.must_stay(header) {
            return Outcome::Drop;
        }
        self.stats.records_after += u64::from(header.record_count.unsigned_abs());
        let records = BatchRecords::of(*header, body, INFLATE_LIMIT);
        let rewritten = match (self.new_horizon(header, is_discardable), records) {
            (Some(horizon), Ok(records)) if header.record_count > 0 => {
                let all = records.select(|_| true);
                all.ok().map(|all| records.rewrite(&all, Some(horizon)))
            }
            _ => None,
        };
        rewritten.map_or(Outcome::Keep, Outcome::Replace)
    }

    /// When tombstones or a marker may go that this cleaning is the first to see.
    fn new_horizon(&self, header: &BatchHeader, is_wanted: bool) -> Option<i64> {
        (is_wanted && header.delete_horizon().is_none())
            .then(|| self.now_ms.saturating_add(self.delete_retention_ms))
    }

    /// A batch of which no record stays.
    fn without_records(&self, header: &BatchHeader) -> Outcome {
        match (self.must_stay(header), header.record_count) {
            (false, _) => Outcome::Drop,
            (true, 0) => Outcome::Keep,
            (true, _) => Outcome::Replace(header.emptied()),
        }
    }

    /// Whether producer or log end would be forgotten without this batch (CP-6).
    fn must_stay(&self, header: &BatchHeader) -> bool {
        let is_last_of_producer = match self.producers.get(&header.producer_id.0) {
            Some(LastOfProducer::Data(last)) => header.last_offset() == *last,
            Some(LastOfProducer::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        };
        is_last_of_producer || header.next_offset() == self.end
    }
}

/// Catalogue row T9: markers go as soon as the cleaner sees them.
fn cfg_t9(is_discardable: bool) -> bool {
    is_discardable && milena_bugs::is_on(milena_bugs::Bug::T9)
}
