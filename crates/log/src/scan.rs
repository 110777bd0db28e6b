//! Walking the batches of a `.log` file, with or without reading what lies behind their headers.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};
use milena_records::{BatchHeader, Offset};

use crate::error::{Damage, Error};
use crate::fs::{File, read_up_to};

/// CRC-32C, the checksum of batches and producer snapshots.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// What the next position holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// A batch, whole as far as it was looked at.
    Batch {
        /// Its header.
        header: BatchHeader,
        /// Byte where it begins.
        position: u64,
    },
    /// The end of the part to walk.
    End,
    /// Something else.
    Bad(Damage),
}

/// Bytes read at once where everything is read.
const CHUNK: usize = 1 << 20;
/// Bytes read at once where only headers are wanted: batches longer than this are skipped unread.
const HEADER_CHUNK: usize = 64 << 10;

/// A cursor over the batches between two positions of a file.
pub(crate) struct Scanner<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    expected: Offset,
    last_possible: Offset,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scanner<'a> {
    /// Walks the file of the segment at `base` from `position`, where a batch begins, up to `end`.
    pub fn new(file: &'a dyn File, position: u64, end: u64, base: Offset) -> Self {
        let last_possible = Offset(base.0.saturating_add(i64::from(i32::MAX)));
        Self { file, position, end, expected: base, last_possible, buffer: Vec::new(), buffer_at: position }
    }

    /// Where the next batch begins: after a `Bad`, where the good part ends.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Least offset that the next batch may have.
    pub fn expected(&self) -> Offset {
        self.expected
    }

    /// The next batch; `verify` says for a position whether the checksum is to be computed, too.
    pub fn next(&mut self, verify: impl FnOnce(&BatchHeader, u64) -> bool) -> io::Result<Found> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(Found::End);
        }
        let bytes = self.bytes(self.position, BatchHeader::SIZE, HEADER_CHUNK)?;
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(error) => return Ok(Found::Bad(Damage::Header(error.to_string()))),
        };
        let size = header.total_size() as u64;
        if size > left {
            return Ok(Found::Bad(Damage::Short { len: self.end, missing: size - left }));
        }
        // The base offset is outside of the checksum: a flipped bit there shows only here.
        if header.base_offset < self.expected || header.last_offset() > self.last_possible {
            let damage = Damage::Misplaced { expected: self.expected, found: header.base_offset };
            return Ok(Found::Bad(damage));
        }
        let position = self.position;
        if verify(&header, position) {
            let found = self.crc(position, size)?;
            if found != header.crc {
                let damage = Damage::Crc { offset: header.base_offset, stored: header.crc, found };
                return Ok(Found::Bad(damage));
            }
        }
        self.position += size;
        self.expected = header.next_offset();
        Ok(Found::Batch { header, position })
    }

    /// Where, at or behind the bad position, a whole batch begins that was not written by chance: one that
    /// could follow and has a right checksum, or one at the bad position that is right but for its offset.
    ///
    /// Tells a torn tail, which nothing follows, from damage in the middle, which is never cut off. Looks at
    /// most [`SEARCH`] bytes ahead, more than any batch that a request can carry; if the search ends before the
    /// file does, the bad position itself is returned: too much follows for a torn write.
    pub fn valid_batch_behind(&mut self) -> io::Result<Option<u64>> {
        let start = self.position;
        let end = self.end.min(start.saturating_add(SEARCH));
        if let Ok(header) = BatchHeader::parse(self.bytes(start, BatchHeader::SIZE, HEADER_CHUNK)?) {
            let size = header.total_size() as u64;
            if size <= self.end - start && self.crc(start, size)? == header.crc {
                return Ok(Some(start));
            }
        }
        let mut budget = 4 * SEARCH;
        let mut at = start + 1;
        while at + BatchHeader::SIZE as u64 <= end {
            let window = (end - at).min(CHUNK as u64) as usize;
            let expected = self.expected;
            let bytes = self.bytes(at, window, CHUNK)?;
            let candidates: Vec<(u64, BatchHeader)> = bytes
                .windows(BatchHeader::SIZE)
                .enumerate()
                .filter_map(|(index, bytes)| Some((at + index as u64, plausible(bytes, expected)?)))
                .collect();
            at += (bytes.len().saturating_sub(BatchHeader::SIZE - 1)).max(1) as u64;
            for (position, header) in candidates {
                let size = header.total_size() as u64;
                if size > self.end - position {
                    continue;
                }
                budget = budget.saturating_sub(size);
                if budget == 0 || self.crc(position, size)? == header.crc {
                    return Ok(Some(position));
                }
            }
        }
        Ok((end < self.end).then_some(start))
    }

    fn crc(&mut self, position: u64, size: u64) -> io::Result<u32> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = position + BatchHeader::CRC_START as u64;
        while at < position + size {
            let want = (position + size - at).min(CHUNK as u64) as usize;
            let bytes = self.bytes(at, want, CHUNK)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            digest.update(bytes);
            at += bytes.len() as u64;
        }
        Ok(digest.finalize() as u32)
    }

    /// `want` bytes at `at`, fewer only before the end; reads `chunk` ahead if they are not at hand.
    fn bytes(&mut self, at: u64, want: usize, chunk: usize) -> io::Result<&[u8]> {
        let want = want.min((self.end - at) as usize);
        let held =
            at.checked_sub(self.buffer_at).filter(|start| start + want as u64 <= self.buffer.len() as u64);
        let start = match held {
            Some(start) => start as usize,
            None => {
                self.buffer.clear();
                self.buffer_at = at;
                let len = want.max(chunk).min((self.end - at) as usize);
                read_up_to(self.file, &mut self.buffer, at, len)?;
                0
            }
        };
        Ok(&self.buffer[start..(start + want).min(self.buffer.len())])
    }
}

/// An open `.log` file whose batches are known to be good, and where an error in it is reported.
pub(crate) struct Batches {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub base: Offset,
}

impl Batches {
    /// Shows `visit` the headers and positions of batches from byte `start` to `end`, until it answers
    /// something. Whatever is no batch is damage here.
    pub fn find<T>(
        &self,
        start: u64,
        end: u64,
        mut visit: impl FnMut(BatchHeader, u64) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let mut scanner = Scanner::new(&*self.file, start, end, self.base);
        loop {
            match scanner.next(|_, _| false).map_err(Error::io("read", &self.path))? {
                Found::Batch { header, position } => {
                    if let Some(answer) = visit(header, position)? {
                        return Ok(Some(answer));
                    }
                }
                Found::End => return Ok(None),
                Found::Bad(damage) => return Err(self.damaged(scanner.position(), damage)),
            }
        }
    }

    /// Damage in this file.
    pub fn damaged(&self, position: u64, damage: Damage) -> Error {
        Error::Damaged { path: self.path.clone(), position, damage }
    }
}

/// How far behind a bad position a valid batch is looked for.
pub(crate) const SEARCH: u64 = 128 << 20;

/// The header at the start of `bytes`, if it could be that of a batch some way behind offset `expected`.
fn plausible(bytes: &[u8], expected: Offset) -> Option<BatchHeader> {
    // Ruled out by two bytes at almost every position: offsets are small numbers, and the magic is 2.
    if bytes[16] != 2 || bytes[0] != 0 {
        return None;
    }
    let header = BatchHeader::parse(bytes).ok()?;
    let ahead = header.base_offset.0.checked_sub(expected.0)?;
    ((0..1 << 40).contains(&ahead) && header.reserved_attributes() == 0).then_some(header)
}
