//! A partition's log on a simulated disk: a page cache, and what of it would survive a loss of power.

use milena_bugs::{Bug, is_on};
use milena_partition::{BatchMetadata, EpochCache, Producers};
use milena_records::{BatchHeader, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// One batch of one record. Producer and sequence tell every record of the world from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) producer: u32,
    pub(crate) sequence: i32,
    pub(crate) epoch: LeaderEpoch,
}

impl Record {
    /// What the client sent, whichever leader stored it.
    pub(crate) fn value(&self) -> (u32, i32) {
        (self.producer, self.sequence)
    }

    /// As the producers' state sees it.
    pub(crate) fn header(&self, offset: Offset) -> BatchHeader {
        BatchHeader {
            base_offset: offset,
            batch_length: 100,
            partition_leader_epoch: self.epoch,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId(i64::from(self.producer)),
            producer_epoch: ProducerEpoch(0),
            base_sequence: self.sequence,
            record_count: 1,
        }
    }
}

/// Checks that what a duplicate is answered with is where the record was first stored.
pub(crate) fn offset_of(known: &BatchMetadata) -> Offset {
    known.base_offset()
}

/// A log. `records[0]` lies at `base`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) base: i64,
    /// First offset that may be read.
    pub(crate) start: i64,
    pub(crate) records: Vec<Record>,
    pub(crate) epochs: EpochCache,
    /// Log end at the last flush.
    pub(crate) durable: i64,
    /// High watermark at the last checkpoint.
    pub(crate) checkpoint: i64,
}

impl Log {
    pub(crate) fn end(&self) -> Offset {
        Offset(self.base + self.records.len() as i64)
    }

    pub(crate) fn get(&self, offset: i64) -> Option<&Record> {
        self.records.get(usize::try_from(offset - self.base).ok()?)
    }

    /// Up to `most` records from `from` on.
    pub(crate) fn read(&self, from: i64, most: usize) -> &[Record] {
        let first = (from - self.base).clamp(0, self.records.len() as i64) as usize;
        &self.records[first..self.records.len().min(first + most)]
    }

    pub(crate) fn append(&mut self, record: Record) {
        let end = self.end();
        self.epochs.appended(record.epoch, end);
        self.records.push(record);
    }

    pub(crate) fn truncate(&mut self, to: Offset) {
        let end = self.end();
        self.records.truncate((to.0 - self.base).max(0) as usize);
        if to.0 < self.base {
            (self.base, self.start) = (to.0, to.0);
        }
        self.start = self.start.min(to.0);
        self.durable = self.durable.min(to.0);
        // As the real log does, also where no record goes (KAFKA-10706).
        if !(is_on(Bug::R7) && to == end) {
            self.epochs.truncate_from_end(to);
        }
    }

    pub(crate) fn start_over(&mut self, at: Offset) {
        self.records.clear();
        (self.base, self.start, self.durable, self.checkpoint) = (at.0, at.0, at.0, at.0);
        self.epochs.clear();
    }

    pub(crate) fn move_start(&mut self, to: Offset) {
        self.start = self.start.max(to.0);
        self.epochs.truncate_from_start(to);
    }

    /// The machine lost its power: of what was not flushed, only the beginning up to `kept` survives, as recovery cuts
    /// at the first batch that is not whole.
    pub(crate) fn lose_power(&mut self, kept: i64) {
        let end = kept.clamp(self.durable, self.end().0).max(self.base);
        self.records.truncate((end - self.base) as usize);
        self.epochs = self.scanned_epochs();
        if is_on(Bug::R6) {
            self.epochs = without_newest(&self.epochs);
        }
        self.durable = end;
        self.start = self.start.min(end);
        self.checkpoint = self.checkpoint.min(end);
    }

    /// The epochs as the records tell them.
    pub(crate) fn scanned_epochs(&self) -> EpochCache {
        let mut epochs = EpochCache::default();
        for (offset, record) in (self.base..).zip(&self.records) {
            if record.epoch > epochs.latest() {
                epochs.assign(record.epoch, Offset(offset));
            }
        }
        if self.start > self.base && self.start < self.end().0 {
            epochs.truncate_from_start(Offset(self.start));
        }
        epochs
    }

    /// The producers' state as the records tell it.
    pub(crate) fn replayed_producers(&self) -> Producers {
        let mut producers = Producers::default();
        for (offset, record) in (self.base..).zip(&self.records) {
            producers.record(&record.header(Offset(offset)));
        }
        producers
    }

    /// Epoch of the record at an offset.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        self.get(offset).map(|record| record.epoch)
    }
}

/// What a file that was not synced with its records may still say.
fn without_newest(epochs: &EpochCache) -> EpochCache {
    let mut older = EpochCache::default();
    for entry in epochs.entries().split_last().map_or(&[][..], |(_, older)| older) {
        older.assign(entry.epoch, entry.start_offset);
    }
    older
}

#[cfg(all(test, feature = "bugs"))]
mod tests {
    use super::*;
    use milena_bugs::with;

    /// Batches overwrite what the cache has wrong, so no run of the simulator shows it; the answer to a follower that
    /// asks in between does.
    #[test]
    fn an_epoch_that_a_truncation_leaves_behind_is_answered_wrong() {
        let latest = || {
            let mut log = Log::default();
            for sequence in 0..3 {
                log.append(Record { producer: 1, sequence, epoch: LeaderEpoch(1) });
            }
            // Led for a moment, and wrote nothing.
            log.epochs.assign(LeaderEpoch(5), log.end());
            log.truncate(log.end());
            log.epochs.latest()
        };
        assert_eq!((latest(), with(Some(Bug::R7), latest)), (LeaderEpoch(1), LeaderEpoch(5)));
    }
}
