//! Reading whole batches from an offset on: one positioned read for a consumer that goes on where it was.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use milena_records::{BatchHeader, CrcMismatch, Offset};

use crate::error::{Damage, Error, ReadError};
use crate::fs::{File, read_up_to};
use crate::log::Log;
use crate::names::{self, LOG};
use crate::scan::{Found, Scanner};

/// Batches of one segment, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First offset of the first batch: at or before the offset asked for (FE-3). The offset asked for if
    /// there is no batch.
    pub base_offset: Offset,
    /// Where to read on: behind the last batch. The offset asked for if there is no batch.
    pub next_offset: Offset,
    /// Whole batches, one behind the other.
    pub bytes: Bytes,
}

impl Slice {
    /// Whether no batch is left up to `next`, where another segment begins: offsets up to the end of a segment may
    /// be gone after compaction, and the answer is in the next one (FE-18).
    pub fn is_gap_up_to(&self, next: Offset) -> bool {
        self.bytes.is_empty() && self.next_offset >= next
    }

    fn empty(at: Offset) -> Self {
        Self { base_offset: at, next_offset: at, bytes: Bytes::new() }
    }
}

/// Positions of offsets where recent reads ended, so that the next ones need no index.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    generation: u64,
    next: usize,
    known: Vec<Hint>,
}

#[derive(Clone, Copy, Debug)]
struct Hint {
    offset: Offset,
    segment: Offset,
    position: u64,
}

/// Readers of a partition that are remembered at once.
const HINTS: usize = 8;

impl Hints {
    /// Forgets all positions; plans made before no longer add any.
    pub fn clear(&mut self) {
        self.generation += 1;
        self.known = Vec::new();
    }

    fn find(&self, offset: Offset, segment: Offset) -> Option<u64> {
        let hint = self.known.iter().find(|hint| hint.offset == offset && hint.segment == segment);
        hint.map(|hint| hint.position)
    }

    fn put(&mut self, from: Offset, hint: Hint) {
        // A reader's new position takes the place of its old one.
        if let Some(old) = self.known.iter_mut().find(|old| old.offset == from || old.offset == hint.offset) {
            *old = hint;
        } else if self.known.len() < HINTS {
            self.known.push(hint);
        } else {
            self.known[self.next] = hint;
            self.next = (self.next + 1) % HINTS;
        }
    }
}

/// A read that has been decided on: it needs the log no more, and may run on any thread.
#[derive(Debug)]
pub struct ReadPlan {
    file: Arc<dyn File>,
    dir: Box<Path>,
    hints: Arc<Mutex<Hints>>,
    generation: u64,
    segment: Offset,
    start: Start,
    end: u64,
    from: Offset,
    upper: Offset,
    max_bytes: usize,
    at_least_one: bool,
    beyond: Option<Offset>,
}

/// What is known of where to begin.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Here.
    Exact(u64),
    /// At the first batch from here on that is not wholly before the offset.
    Floor(u64),
}

impl Log {
    /// Whole batches from the one that holds `from` on, that end below `upper`, together at most `max_bytes`.
    ///
    /// `upper` is the high watermark or the last stable offset. With `at_least_one` the first batch comes even
    /// if it alone exceeds `max_bytes` (FE-2). Nothing between `upper` and the log end is an error: the answer
    /// is empty. Checksums are verified, so that bytes that have gone bad on disk are reported here, not given
    /// to consumers who do not look, nor to followers. One answer never spans two segments. Offsets outside of log start to log end, both included,
    /// are out of range (FE-5).
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        let mut at = from;
        loop {
            let plan = self.plan_read(at, max_bytes, upper, at_least_one)?;
            let beyond = plan.beyond();
            let slice = plan.run()?;
            if let Some(next) = beyond.filter(|next| slice.is_gap_up_to(*next)) {
                at = next;
                continue;
            }
            if slice.bytes.is_empty() {
                return Ok(Slice::empty(from));
            }
            return Ok(slice);
        }
    }

    /// The first half of [`Log::read`], to be followed by [`ReadPlan::run`] without the partition's lock.
    pub fn plan_read(
        &self,
        from: Offset,
        max_bytes: usize,
        upper: Offset,
        at_least_one: bool,
    ) -> Result<ReadPlan, ReadError> {
        self.check_online()?;
        if from < self.log_start || from > self.log_end {
            let (start, end) = (self.log_start, self.log_end);
            return Err(ReadError::OutOfRange { requested: from, start, end });
        }
        let at = self.segment_of(from);
        let segment = &self.segments[at];
        let place = self.place();
        let (generation, hint) = {
            let hints = self.hints.lock().expect("no panic while the lock is held");
            (hints.generation, hints.find(from, segment.base_offset))
        };
        let nothing = from >= upper || from >= self.log_end;
        let start = match hint {
            _ if nothing => Start::Exact(segment.size),
            Some(position) => Start::Exact(position),
            None => Start::Floor(segment.floor_position(place, from)?),
        };
        Ok(ReadPlan {
            file: segment.log_file(place)?,
            dir: self.dir.clone(),
            hints: Arc::clone(&self.hints),
            generation,
            segment: segment.base_offset,
            start,
            end: segment.size,
            from,
            upper,
            max_bytes,
            at_least_one,
            beyond: (at + 1 < self.segments.len() && !nothing).then(|| self.segment_end(at)),
        })
    }
}

impl ReadPlan {
    /// Where the next segment begins, if there is one that may be read: to be read from if the slice
    /// [is a gap](Slice::is_gap_up_to) up to there.
    pub fn beyond(&self) -> Option<Offset> {
        self.beyond
    }

    /// Reads. Empty if the segment holds nothing from the offset on; `next_offset` then says up to where the
    /// segment was found empty.
    pub fn run(self) -> Result<Slice, Error> {
        let Some((position, first_size)) = self.locate()? else {
            return Ok(Slice::empty(self.from.max(self.upper)));
        };
        let want = match (self.at_least_one, first_size) {
            (true, Some(size)) => self.max_bytes.max(size),
            _ => self.max_bytes,
        };
        let available = self.end - position;
        let mut bytes = Vec::new();
        self.fill(&mut bytes, position, want.min(available as usize))?;
        if self.at_least_one {
            self.complete_first(&mut bytes, position, available)?;
        }
        self.trim(bytes, position)
    }

    /// Where the first batch begins, and its size if it was looked at; `None` if there is none.
    fn locate(&self) -> Result<Option<(u64, Option<usize>)>, Error> {
        let floor = match self.start {
            Start::Exact(position) if position >= self.end => return Ok(None),
            Start::Exact(position) => return Ok(Some((position, None))),
            Start::Floor(position) => position,
        };
        let mut scanner = Scanner::new(&*self.file, floor, self.end, self.segment);
        loop {
            match scanner.next(|_, _| false).map_err(|error| self.failed(error))? {
                Found::Batch { header, position } if header.last_offset() >= self.from => {
                    return Ok(Some((position, Some(header.total_size()))));
                }
                Found::Batch { .. } => {}
                Found::End => return Ok(None),
                Found::Bad(damage) => return Err(self.damaged(scanner.position(), damage)),
            }
        }
    }

    /// Makes sure that the first batch is whole.
    fn complete_first(&self, bytes: &mut Vec<u8>, position: u64, available: u64) -> Result<(), Error> {
        let header = BatchHeader::SIZE.min(available as usize);
        if bytes.len() < header {
            self.fill(bytes, position, header - bytes.len())?;
        }
        let Ok(first) = BatchHeader::parse(bytes) else { return Ok(()) };
        let missing = first.total_size().min(available as usize).saturating_sub(bytes.len());
        if missing > 0 { self.fill(bytes, position, missing) } else { Ok(()) }
    }

    fn fill(&self, bytes: &mut Vec<u8>, position: u64, len: usize) -> Result<(), Error> {
        let at = position + bytes.len() as u64;
        read_up_to(&*self.file, bytes, at, len).map_err(|error| self.failed(error))
    }

    /// Cuts the bytes behind the last whole batch that may be seen, and remembers where that is.
    fn trim(&self, mut bytes: Vec<u8>, position: u64) -> Result<Slice, Error> {
        let mut slice = Slice::empty(self.from);
        let mut len = 0;
        while bytes.len() - len >= BatchHeader::SIZE {
            let header = match BatchHeader::parse(&bytes[len..]) {
                Ok(header) => header,
                // What lies before the damage is still good.
                Err(_) if len > 0 => break,
                Err(error) => return Err(self.damaged(position, Damage::Header(error.to_string()))),
            };
            let end = len + header.total_size();
            let may_grow = len == 0 && self.at_least_one;
            if header.last_offset() >= self.upper || (end > self.max_bytes && !may_grow) {
                break;
            }
            let Some(batch) = bytes.get(len..end) else { break };
            match header.verify_crc(batch) {
                Ok(()) => {}
                Err(_) if len > 0 => break,
                Err(CrcMismatch { stored, computed }) => {
                    let damage = Damage::Crc { offset: header.base_offset, stored, found: computed };
                    return Err(self.damaged(position, damage));
                }
            }
            if len == 0 {
                slice.base_offset = header.base_offset;
            }
            slice.next_offset = header.next_offset();
            len = end;
        }
        if len == 0 {
            return Ok(Slice::empty(self.from));
        }
        let mut hints = self.hints.lock().expect("no panic while the lock is held");
        if hints.generation == self.generation {
            let position = position + len as u64;
            hints.put(self.from, Hint { offset: slice.next_offset, segment: self.segment, position });
        }
        drop(hints);
        bytes.truncate(len);
        slice.bytes = Bytes::from(bytes);
        Ok(slice)
    }

    fn failed(&self, source: std::io::Error) -> Error {
        let path = names::file(&self.dir, self.segment, LOG);
        Error::Io { action: "read", path, offset: Some(self.from), source }
    }

    fn damaged(&self, position: u64, damage: Damage) -> Error {
        Error::Damaged { path: names::file(&self.dir, self.segment, LOG), position, damage }
    }
}
