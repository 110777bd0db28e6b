//! The few file operations a log needs, as a trait, so that tests run on a file system that fails on demand.
//!
//! Nothing here knows about Kafka. Paths are absolute or relative to the process, as the owner gave them.

mod memory;
mod real;
mod watched;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use memory::{Fault, MemoryFs};
pub use real::RealFs;
pub use watched::WatchedFs;

/// A file system: everything that names a path.
pub trait FileSystem: Debug + Send + Sync {
    /// Opens a file for positioned reads and writes.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Length, kind and time of last change of what is at `path`.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// What is in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Creates one directory; its parent exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file, replacing what had that name, or a directory to a free name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything durable that was written so far to the file system that holds `dir`. One call costs
    /// less than syncing a thousand files, yet also waits for what others have written there.
    fn sync_all(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, created if absent; held until the guard is dropped or the
    /// process ends. `WouldBlock` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// Identifies this run of the operating system: differs after every boot, so that a restart can tell
    /// a dead process (page cache intact) from a dead machine.
    fn boot_id(&self) -> io::Result<String>;
}

/// An open file. Positions are bytes from its start.
pub trait File: Debug + Send + Sync {
    /// Appends to `into` what lies at `position`, at most its spare capacity; 0 at the end of the file.
    fn read_at(&self, into: &mut Vec<u8>, position: u64) -> io::Result<usize>;
    /// Writes the pieces one behind the other at `position`; may write less than all.
    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Cuts the file to `len` bytes, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room on the disk for the first `len` bytes. The length stays what it is; [`File::set_len`] gives back what
    /// is reserved behind it. Does nothing where the file system cannot.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Sets the time of the last change, in milliseconds since 1970.
    fn set_modified(&self, modified_ms: i64) -> io::Result<()>;
    /// Whether the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// How to open a file; always for reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist.
    Existing,
    /// It is created if absent.
    Create,
    /// It is created, or cut to nothing.
    Truncate,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub len: u64,
    /// Last modification, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its directory; names that are not UTF-8 are never ours and are left out.
    pub name: String,
    /// What it names.
    pub stat: Stat,
}

/// Writes all pieces at `position`, however many calls that takes.
///
/// On an error some of the bytes may be there; the caller cuts them off.
pub fn write_all_at(file: &dyn File, pieces: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
    let mut left = pieces;
    // Empty pieces would make a zero-byte write look like a full disk.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let batch = &left[..left.len().min(MAX_PIECES)];
        match file.write_at(batch, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads exactly `len` bytes at `position`; `UnexpectedEof` if the file is shorter.
pub fn read_exact_at(file: &dyn File, position: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    read_up_to(file, &mut bytes, position, len)?;
    if bytes.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Appends `len` bytes from `position` to `into`, fewer only at the end of the file.
pub fn read_up_to(file: &dyn File, into: &mut Vec<u8>, position: u64, len: usize) -> io::Result<()> {
    let start = into.len();
    into.reserve_exact(len);
    while into.len() - start < len {
        match file.read_at(into, position + (into.len() - start) as u64) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The spare capacity may have been larger than what was asked for.
    into.truncate(start + len);
    Ok(())
}

/// Most pieces one system call takes (Linux: IOV_MAX).
const MAX_PIECES: usize = 1024;
