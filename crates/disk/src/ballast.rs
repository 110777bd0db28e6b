//! A file that is there to be deleted: its room is what a full disk still has for the metadata log, checkpoints and
//! the deletion of records.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// Its name in the data directory.
const NAME: &str = "milena.ballast";

/// The file, there or not.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    /// Its length; zero while it is not there.
    bytes: u64,
}

impl Ballast {
    /// That of a directory. What the last run left is held.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let path = directory.join(NAME);
        let bytes = path.metadata().map_or(0, |file| file.len());
        Self { path, bytes }
    }

    /// The room that it holds; zero while it is not there.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` of room.
    pub(crate) fn take(&mut self, bytes: u64) -> io::Result<()> {
        let file = File::create(&self.path)?;
        let taken = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes);
        if let Err(error) = taken {
            // Whatever part of it was taken is needed more than the rest is missed.
            std::fs::remove_file(&self.path)?;
            return Err(error.into());
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Gives its room back. Returns whether it had any.
    pub(crate) fn throw(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.bytes) > 0 {
            std::fs::remove_file(&self.path)?;
            return Ok(true);
        }
        Ok(false)
    }
}
