//! A file system whose changes are counted while they are under way, so that a disk that hangs is noticed by others
//! than those who hang with it.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use milena_disk::{Health, Kind};

use super::{Entry, File, FileSystem, Open, Stat};

/// Another file system, watched.
#[derive(Debug)]
pub struct WatchedFs<F> {
    inner: F,
    health: Arc<Health>,
}

impl<F> WatchedFs<F> {
    /// Tells `health` of every change in `inner`.
    pub fn new(inner: F, health: Arc<Health>) -> Self {
        Self { inner, health }
    }
}

impl<F: FileSystem> FileSystem for WatchedFs<F> {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let open = || self.inner.open(path, how);
        let file = if how == Open::Existing { open() } else { self.health.during(Kind::Change, open) }?;
        Ok(Arc::new(WatchedFile { file, health: Arc::clone(&self.health) }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.inner.stat(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.health.during(Kind::Change, || self.inner.create_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.health.during(Kind::Change, || self.inner.rename(from, to))
    }

    /// Not counted: to unlink gigabytes takes a while on a sound disk.
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.health.during(Kind::Sync, || self.inner.sync_dir(dir))
    }

    /// Not counted: it waits for all that anybody has written.
    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_all(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path)
    }

    fn boot_id(&self) -> io::Result<String> {
        self.inner.boot_id()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    health: Arc<Health>,
}

impl File for WatchedFile {
    fn read_at(&self, into: &mut Vec<u8>, position: u64) -> io::Result<usize> {
        self.file.read_at(into, position).inspect_err(|error| self.health.failed(error))
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.health.during(Kind::Change, || self.file.write_at(pieces, position))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.health.during(Kind::Change, || self.file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.health.during(Kind::Sync, || self.file.sync())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.health.during(Kind::Change, || self.file.reserve(len))
    }

    fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        self.health.during(Kind::Change, || self.file.set_modified(modified_ms))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
