//! Finding offsets by record time (ListOffsets): indexes narrow the search, the records decide.

use bytes::Bytes;
use milena_records::{BatchHeader, BatchRecords, Offset, RecordsError};

use crate::error::{Damage, Error};
use crate::fs::read_exact_at;
use crate::log::Log;
use crate::scan::Batches;
use crate::segment::{Segment, TimestampOffset};

/// Most bytes that one batch may inflate to here; more than any request that could have brought it.
const INFLATE_LIMIT: usize = 256 << 20;

impl Log {
    /// The first record by offset whose time is at or after `timestamp`, and its own time (LO-2).
    ///
    /// `None` if there is none below `upper`, the high watermark or last stable offset. Times need not be in
    /// order: the time index only knows the largest so far (LO-7), so records are read from there on.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upper: Offset,
    ) -> Result<Option<TimestampOffset>, Error> {
        self.check_online()?;
        for segment in &self.segments[self.segment_of(self.log_start)..] {
            if segment.newest.timestamp < timestamp {
                continue;
            }
            let from = segment.floor_of_time(self.place(), timestamp)?.max(self.log_start);
            let wanted =
                |record: TimestampOffset| record.timestamp >= timestamp && record.offset >= self.log_start;
            let found = self.first_record(segment, from, |batch| batch.max_timestamp >= timestamp, wanted)?;
            if let Some(found) = found {
                return Ok(Some(found).filter(|record| record.offset < upper));
            }
        }
        Ok(None)
    }

    /// The record with the largest time, the first one if several have it (LO-3).
    ///
    /// `None` if no record has a time, or if that record is not below `upper`.
    pub fn max_timestamp(&self, upper: Offset) -> Result<Option<TimestampOffset>, Error> {
        self.check_online()?;
        // The first of equals: `max_by_key` alone would give the last.
        let newest = self.segments.iter().rev().max_by_key(|segment| segment.newest.timestamp);
        let Some(segment) = newest.filter(|segment| segment.newest.timestamp >= 0) else { return Ok(None) };
        let newest = segment.newest;
        let found = self.first_record(
            segment,
            newest.offset,
            |batch| batch.last_offset() == newest.offset,
            |record| record.timestamp == newest.timestamp,
        )?;
        Ok(found.filter(|record| record.offset < upper && record.offset >= self.log_start))
    }

    /// The first record that is `wanted`, among batches that end at or behind `from` and pass `candidate`.
    fn first_record(
        &self,
        segment: &Segment,
        from: Offset,
        candidate: impl Fn(&BatchHeader) -> bool,
        wanted: impl Fn(TimestampOffset) -> bool,
    ) -> Result<Option<TimestampOffset>, Error> {
        let batches = segment.batches(self.place())?;
        let start = segment.floor_position(self.place(), from)?;
        batches.find(start, segment.size, |header, position| {
            if header.last_offset() < from || !candidate(&header) {
                return Ok(None);
            }
            first_in_batch(&batches, header, position, &wanted)
        })
    }
}

fn first_in_batch(
    batches: &Batches,
    header: BatchHeader,
    position: u64,
    wanted: &impl Fn(TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, Error> {
    let damaged = |error: RecordsError| batches.damaged(position, Damage::Records(error.to_string()));
    let len = header.total_size() - BatchHeader::SIZE;
    let body = read_exact_at(&*batches.file, position + BatchHeader::SIZE as u64, len)
        .map_err(Error::io("read", &batches.path))?;
    let records = BatchRecords::of(header, Bytes::from(body), INFLATE_LIMIT).map_err(damaged)?;
    for record in &records {
        let record = record.map_err(damaged)?;
        let record = TimestampOffset { timestamp: record.timestamp, offset: record.offset };
        if wanted(record) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}
