//! Writing what is left of a group of segments, with its indexes, under names that end in `.cleaned`.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{BatchHeader, Offset};

use crate::cleaner::rules::Outcome;
use crate::error::Error;
use crate::fs::{File, Open, write_all_at};
use crate::names::{self, CLEANED, INDEX, LOG, TIME_INDEX, TXN_INDEX};
use crate::segment::{Place, Segment};
use crate::storage::Storage;

/// One file of a cleaned segment.
#[derive(Debug)]
struct CleanedFile {
    suffix: &'static str,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl CleanedFile {
    fn create(storage: &Storage, dir: &Path, base: Offset, suffix: &'static str) -> Result<Self, Error> {
        let path = names::file(dir, base, &format!("{suffix}{CLEANED}"));
        let file = storage.fs.open(&path, Open::Truncate).map_err(Error::io("create", &path))?;
        Ok(Self { suffix, path, file })
    }
}

/// Bytes after which what is written is synced: a gigabyte at once would hold up everybody else's syncs, and look like
/// a disk that hangs.
const SYNC_BYTES: usize = 16 << 20;

/// A segment being written.
#[derive(Debug)]
pub(crate) struct CleanedSegment {
    pub segment: Segment,
    storage: Arc<Storage>,
    dir: PathBuf,
    log: CleanedFile,
    index: CleanedFile,
    times: CleanedFile,
    /// Only if there is an aborted transaction.
    aborted: Option<CleanedFile>,
    /// Batches not written yet.
    buffer: Vec<u8>,
    buffer_bytes: usize,
    unsynced: usize,
    /// Its files have got other names, and are no longer to be removed.
    pub taken: bool,
}

impl CleanedSegment {
    /// An empty segment at `base` whose files do not count yet.
    pub fn create(
        storage: &Arc<Storage>,
        dir: &Path,
        base: Offset,
        buffer_bytes: usize,
    ) -> Result<Self, Error> {
        let create = |suffix| CleanedFile::create(storage, dir, base, suffix);
        Ok(Self {
            segment: Segment::new(Place { storage, dir }, base, 0),
            storage: Arc::clone(storage),
            dir: dir.into(),
            log: create(LOG)?,
            index: create(INDEX)?,
            times: create(TIME_INDEX)?,
            aborted: None,
            buffer: Vec::with_capacity(buffer_bytes),
            buffer_bytes,
            unsynced: 0,
            taken: false,
        })
    }

    /// Bytes of batches so far.
    pub fn size(&self) -> u64 {
        self.segment.size
    }

    /// Adds what becomes of a batch.
    pub fn put(
        &mut self,
        header: BatchHeader,
        batch: &Bytes,
        outcome: Outcome,
        index_interval: u32,
    ) -> Result<(), Error> {
        match outcome {
            Outcome::Drop => Ok(()),
            Outcome::Keep => self.write(&header, &[batch], index_interval),
            Outcome::Replace(batch) => {
                self.write(&batch.header(), &[&batch.header_bytes, &batch.body], index_interval)
            }
        }
    }

    fn write(&mut self, header: &BatchHeader, pieces: &[&[u8]], index_interval: u32) -> Result<(), Error> {
        if self.buffer.len() + header.total_size() > self.buffer_bytes {
            self.write_buffer()?;
        }
        if self.segment.size + header.total_size() as u64 > i32::MAX as u64 {
            // Codecs may need more for less, in theory.
            let path = self.log.path.clone();
            let source = io::ErrorKind::FileTooLarge.into();
            return Err(Error::Io { action: "write", path, offset: Some(header.base_offset), source });
        }
        pieces.iter().for_each(|piece| self.buffer.extend_from_slice(piece));
        self.segment.note(header.into(), index_interval);
        if self.segment.index.is_due() || self.segment.times.is_due() {
            self.write_entries()?;
        }
        Ok(())
    }

    /// Writes and syncs everything. The files bear the time of the newest segment that they replace, by which
    /// retention goes where batches carry none.
    pub fn finish(&mut self, modified_ms: i64) -> Result<(), Error> {
        self.write_buffer()?;
        self.buffer = Vec::new();
        self.segment.seal_in_memory();
        self.write_entries()?;
        if self.segment.aborted.is_pending() {
            let index = CleanedFile::create(&self.storage, &self.dir, self.segment.base_offset, TXN_INDEX)?;
            let written = self.segment.aborted.write_pending(&*index.file);
            let path = index.path.clone();
            self.aborted = Some(index);
            written.map_err(Error::io("write", &path))?;
        }
        self.segment.modified_ms = modified_ms;
        let _ = self.log.file.set_modified(modified_ms);
        for it in self.files() {
            it.file.sync().map_err(Error::io("sync", &it.path))?;
        }
        self.storage.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))
    }

    /// Suffixes of its files, `.log` first: once that one bears the name `.swap`, and no `.cleaned` is left, the swap
    /// counts.
    pub fn suffixes(&self) -> Vec<&'static str> {
        self.files().map(|it| it.suffix).collect()
    }

    fn files(&self) -> impl Iterator<Item = &CleanedFile> {
        [&self.log, &self.index, &self.times].into_iter().chain(&self.aborted)
    }

    fn write_buffer(&mut self) -> Result<(), Error> {
        let position = self.segment.size - self.buffer.len() as u64;
        write_all_at(&*self.log.file, &mut [IoSlice::new(&self.buffer)], position)
            .map_err(Error::io("write", &self.log.path))?;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        if self.unsynced >= SYNC_BYTES {
            self.log.file.sync().map_err(Error::io("sync", &self.log.path))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn write_entries(&mut self) -> Result<(), Error> {
        let (index, times) = (&self.index, &self.times);
        self.segment.index.write_pending(&*index.file).map_err(Error::io("write", &index.path))?;
        self.segment.times.write_pending(&*times.file).map_err(Error::io("write", &times.path))
    }
}

impl Drop for CleanedSegment {
    fn drop(&mut self) {
        if !self.taken {
            for path in self.files().map(|it| &it.path) {
                // What stays is removed before the next cleaning, or when the log is opened.
                let _ = self.storage.fs.remove_file(path);
            }
        }
    }
}

/// Removes what a cleaning that failed could not remove: a later swap that a crash interrupts is undone if any is left.
pub(crate) fn remove_leftovers(storage: &Storage, dir: &Path) -> Result<(), Error> {
    for entry in storage.fs.list(dir).map_err(Error::io("list", dir))? {
        if entry.name.ends_with(CLEANED) {
            let path = dir.join(&entry.name);
            storage.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
