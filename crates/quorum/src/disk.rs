//! The few file operations the log and the snapshots need, behind a trait so that a test can fail
//! or lose any of them.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_disk::{Health, Kind};
use tokio::task::{JoinError, spawn_blocking};

/// A directory tree that survives a crash as far as it was synced.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Creates the directory and its parents; `false` if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;
    /// Plain files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Creates or empties a file.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames within a directory, replacing the target; durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file; durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and deletions in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Repeats `act`, all of it, as long as it fails for want of room. Single operations may wait for room by
    /// themselves; this is for what cannot go on where it failed.
    fn again_with_room(&self, act: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;
    /// Called before somebody else writes here whom nobody can make fail: sled.
    fn before_foreign_write(&self) -> io::Result<()>;
    /// Whether threads of their own write here. If not, nothing is written until somebody calls `pump`, and the same
    /// calls lead to the same end each time.
    fn has_threads(&self) -> bool {
        true
    }
}

/// Does what may take long, and not on a thread that carries heartbeats; right here where the disk has no threads: when
/// another would be done is left to chance.
pub(crate) async fn apart<T: Send + 'static>(
    disk: &dyn Disk,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if disk.has_threads() { spawn_blocking(work).await } else { Ok(work()) }
}

/// One open file.
pub(crate) trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `position`.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads up to `into.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Its length.
    fn len(&self) -> io::Result<u64>;
}

/// The operating system's files; what changes them is counted while it is under way.
#[derive(Default)]
pub(crate) struct RealDisk {
    health: Arc<Health>,
}

impl RealDisk {
    pub(crate) fn new(health: Arc<Health>) -> Self {
        Self { health }
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        if path.is_dir() {
            return Ok(false);
        }
        fs::create_dir_all(path).map(|()| true)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = self.health.until_room(Kind::Change, || options.open(path))?;
        Ok(Arc::new(RealFile { file, health: Arc::clone(&self.health) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile { file, health: Arc::clone(&self.health) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.health.until_room(Kind::Change, || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = fs::File::open(dir)?;
        self.health.during(Kind::Sync, || dir.sync_all())
    }

    fn again_with_room(&self, act: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        self.health.again_with_room(act)
    }

    fn before_foreign_write(&self) -> io::Result<()> {
        Ok(())
    }
}

struct RealFile {
    file: fs::File,
    health: Arc<Health>,
}

impl DiskFile for RealFile {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.health.until_room(Kind::Change, || self.file.write_all_at(bytes, position))
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], position + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.health.during(Kind::Sync, || self.file.sync_data())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.health.during(Kind::Change, || self.file.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.len()? as usize];
    let got = file.read_at(0, &mut bytes)?;
    bytes.truncate(got);
    Ok(bytes)
}
