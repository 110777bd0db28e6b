//! Reading a segment batch by batch in large pieces, every checksum verified: what is copied gets no new chance to
//! be noticed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{BatchHeader, CrcMismatch, Offset};

use crate::cleaner::{CleaningError, Pace, log_path};
use crate::error::{Damage, Error};
use crate::fs::{File, Open, read_up_to};
use crate::storage::Storage;

/// The batches of a segment from its start.
pub(crate) struct BatchSource {
    file: Arc<dyn File>,
    path: PathBuf,
    /// Where `chunk` begins.
    position: u64,
    end: u64,
    chunk: Bytes,
    chunk_bytes: usize,
    expected: Offset,
    /// Where the batch at hand begins.
    batch_at: u64,
}

impl BatchSource {
    /// The segment at `base`, of which `size` bytes are batches, read `chunk_bytes` at a time.
    ///
    /// Opened beside the cache of open files, which a cleaning would flush.
    pub fn open(
        storage: &Storage,
        dir: &Path,
        base: Offset,
        size: u64,
        chunk_bytes: usize,
    ) -> Result<Self, Error> {
        let path = log_path(dir, base);
        let file = storage.fs.open(&path, Open::Existing).map_err(Error::io("open", &path))?;
        let chunk_bytes = chunk_bytes.max(BatchHeader::SIZE);
        Ok(Self {
            file,
            path,
            position: 0,
            end: size,
            chunk: Bytes::new(),
            chunk_bytes,
            expected: base,
            batch_at: 0,
        })
    }

    /// The next batch, whole.
    pub fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<(BatchHeader, Bytes)>, CleaningError> {
        self.batch_at = self.position;
        if self.position == self.end {
            return Ok(None);
        }
        self.fill(BatchHeader::SIZE, pace)?;
        let header = BatchHeader::parse(&self.chunk);
        let header = header.map_err(|error| self.damaged(Damage::Header(error.to_string())))?;
        let size = header.total_size();
        if header.base_offset < self.expected {
            let damage = Damage::Misplaced { expected: self.expected, found: header.base_offset };
            return Err(self.damaged(damage).into());
        }
        self.fill(size, pace)?;
        if self.chunk.len() < size {
            let missing = (size - self.chunk.len()) as u64;
            return Err(self.damaged(Damage::Short { len: self.end, missing }).into());
        }
        let batch = self.chunk.split_to(size);
        self.position += size as u64;
        self.expected = header.next_offset();
        header.verify_crc(&batch).map_err(|CrcMismatch { stored, computed }| {
            self.damaged(Damage::Crc { offset: header.base_offset, stored, found: computed })
        })?;
        Ok(Some((header, batch)))
    }

    /// Damage at the batch at hand.
    pub fn damaged(&self, damage: Damage) -> Error {
        Error::Damaged { path: self.path.clone(), position: self.batch_at, damage }
    }

    /// Has at least `want` bytes at hand, fewer only at the end.
    fn fill(&mut self, want: usize, pace: &mut Pace<'_>) -> Result<(), CleaningError> {
        if self.chunk.len() >= want {
            return Ok(());
        }
        let held = self.chunk.len();
        let left = (self.end - self.position) as usize - held;
        let more = want.max(self.chunk_bytes).saturating_sub(held).min(left);
        let mut bytes = Vec::with_capacity(held + more);
        bytes.extend_from_slice(&self.chunk);
        read_up_to(&*self.file, &mut bytes, self.position + held as u64, more)
            .map_err(Error::io("read", &self.path))?;
        self.chunk = bytes.into();
        if pace(more as u64) { Ok(()) } else { Err(CleaningError::GivenUp) }
    }
}
