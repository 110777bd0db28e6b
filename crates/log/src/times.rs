//! Finding offsets by record time (ListOffsets): indexes narrow the search, the records decide.

use bytes::Bytes;
use milena_records::{BatchHeader, BatchRecords, Offset};

use crate::error::{Damage, Error};
use crate::fs::{File, read_exact_at};
use crate::log::Log;
use crate::names::LOG;
use crate::scan::{Found, Scanner};
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
        let place = self.place();
        let path = place.path(segment.base_offset, LOG);
        let file = segment.log_file(place)?;
        let start = segment.floor_position(place, from)?;
        let mut scanner = Scanner::new(&*file, start, segment.size, segment.base_offset);
        loop {
            match scanner.next(|_, _| false).map_err(Error::io("read", &path))? {
                Found::Batch { header, position } if header.last_offset() >= from && candidate(&header) => {
                    let found =
                        first_in_batch(&*file, header, position, &wanted).map_err(
                            |failure| match failure {
                                Failure::Io(error) => Error::io("read", &path)(error),
                                Failure::Records(why) => Error::Damaged {
                                    path: path.clone(),
                                    position,
                                    damage: Damage::Header(why),
                                },
                            },
                        )?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Found::Batch { .. } => {}
                Found::End => return Ok(None),
                Found::Bad(damage) => {
                    return Err(Error::Damaged { path, position: scanner.position(), damage });
                }
            }
        }
    }
}

enum Failure {
    Io(std::io::Error),
    Records(String),
}

fn first_in_batch(
    file: &dyn File,
    header: BatchHeader,
    position: u64,
    wanted: &impl Fn(TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, Failure> {
    let len = header.total_size() - BatchHeader::SIZE;
    let body = read_exact_at(file, position + BatchHeader::SIZE as u64, len).map_err(Failure::Io)?;
    let records = BatchRecords::of(header, Bytes::from(body), INFLATE_LIMIT)
        .map_err(|error| Failure::Records(error.to_string()))?;
    for record in &records {
        let record = record.map_err(|error| Failure::Records(error.to_string()))?;
        let record = TimestampOffset { timestamp: record.timestamp, offset: record.offset };
        if wanted(record) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}
