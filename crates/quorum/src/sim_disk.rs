//! A disk in memory that can fail, fill up, or lose power at any operation.

use crate::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Writes reach the platter in pieces of this size, in any order.
const SECTOR: usize = 512;

/// What happens at a chosen operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This and every later operation fails, as if the power had gone.
    PowerLoss,
    /// No room: half of the write is done, and it fails. Later ones fail, too, and nobody waits for room.
    Full,
    /// No room for so many operations, and then there is some.
    FullFor(u64),
    /// A flush fails; what it should have flushed may be gone.
    FlushFails,
    /// The device fails below sled, and below nobody else.
    ForeignFails,
}

impl Fault {
    /// Operations that it hits.
    fn lasts(self) -> u64 {
        match self {
            Fault::PowerLoss | Fault::Full | Fault::ForeignFails => u64::MAX,
            Fault::FullFor(operations) => operations,
            Fault::FlushFails => 1,
        }
    }
}

#[derive(Default)]
struct File {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// Writes and cuts since the last flush.
    pending: Vec<Pending>,
}

enum Pending {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Pending {
    fn apply(&self, data: &mut Vec<u8>, range: std::ops::Range<usize>) {
        match self {
            Pending::Write(at, bytes) => {
                let end = at + range.end;
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[at + range.start..end].copy_from_slice(&bytes[range]);
            }
            Pending::SetLen(len) => data.resize(*len, 0),
        }
    }
}

type FileRef = Arc<Mutex<File>>;

#[derive(Default)]
struct Inner {
    names: BTreeMap<PathBuf, FileRef>,
    durable_names: BTreeMap<PathBuf, FileRef>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    tripped: bool,
    without_threads: bool,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

impl SimDisk {
    /// A disk that is written to only when somebody says so.
    pub fn without_threads() -> SimDisk {
        let disk = SimDisk::default();
        disk.inner.lock().unwrap().without_threads = true;
        disk
    }

    /// A disk on which operation number `at` meets `fault`.
    pub fn with_fault(self, at: u64, fault: Fault) -> SimDisk {
        let mut inner = self.inner.lock().unwrap();
        (inner.operations, inner.fault, inner.tripped) = (0, Some((at, fault)), false);
        drop(inner);
        self
    }

    /// Whether the fault has struck.
    pub fn tripped(&self) -> bool {
        self.inner.lock().unwrap().tripped
    }

    /// What a machine finds after the power was lost: flushed data, and any part of the rest
    /// that `chance` (sector by sector, name by name) lets through.
    pub fn after_power_loss(&self, mut chance: impl FnMut() -> bool) -> SimDisk {
        let inner = self.inner.lock().unwrap();
        let mut after = Inner { without_threads: inner.without_threads, ..Inner::default() };
        // A rename or deletion that was not flushed may or may not have happened.
        let names = if chance() { &inner.names } else { &inner.durable_names };
        for (path, file) in names {
            let file = file.lock().unwrap();
            let mut data = file.durable.clone();
            for pending in &file.pending {
                match pending {
                    Pending::SetLen(_) if chance() => pending.apply(&mut data, 0..0),
                    Pending::SetLen(_) => {}
                    Pending::Write(_, bytes) => {
                        for start in (0..bytes.len()).step_by(SECTOR) {
                            if chance() {
                                pending.apply(&mut data, start..bytes.len().min(start + SECTOR));
                            }
                        }
                    }
                }
            }
            let file = File { durable: data.clone(), data, pending: Vec::new() };
            after.names.insert(path.clone(), Arc::new(Mutex::new(file)));
        }
        after.durable_names = after.names.clone();
        SimDisk { inner: Arc::new(Mutex::new(after)) }
    }

    /// Inverts a bit of a file, flushed.
    pub fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let inner = self.inner.lock().unwrap();
        let mut file = inner.names[path].lock().unwrap();
        file.data[byte] ^= 1 << bit;
        file.durable = file.data.clone();
    }

    /// A file's contents.
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        self.inner.lock().unwrap().names[path].lock().unwrap().data.clone()
    }

    /// Replaces a file's contents, flushed.
    pub fn overwrite(&self, path: &Path, data: Vec<u8>) {
        let inner = self.inner.lock().unwrap();
        let mut file = inner.names[path].lock().unwrap();
        (file.durable, file.data) = (data.clone(), data);
        file.pending.clear();
    }

    /// Counts an operation that changes something; `Err` when the fault strikes here.
    fn step(&self) -> Result<(), Fault> {
        let fault = self.inner.lock().unwrap().fault;
        match fault {
            Some((_, Fault::ForeignFails)) => Ok(()),
            _ => self.strike(),
        }
    }

    fn strike(&self) -> Result<(), Fault> {
        let mut inner = self.inner.lock().unwrap();
        let now = inner.operations;
        inner.operations += 1;
        match inner.fault {
            Some((at, fault)) if now >= at && now - at < fault.lasts() => {
                inner.tripped = true;
                Err(fault)
            }
            _ => Ok(()),
        }
    }

    fn fills_up_for_a_while(&self) -> bool {
        matches!(self.inner.lock().unwrap().fault, Some((_, Fault::FullFor(_))))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        match self.step() {
            Ok(()) | Err(Fault::FlushFails) => act(&mut self.inner.lock().unwrap()),
            Err(fault) => Err(error_of(fault)),
        }
    }
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::PowerLoss => io::Error::other("the power is gone"),
        Fault::Full | Fault::FullFor(_) => io::Error::from(io::ErrorKind::StorageFull),
        Fault::FlushFails => io::Error::other("flush failed"),
        Fault::ForeignFails => io::Error::other("the device has failed"),
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let inner = self.inner.lock().unwrap();
        Ok(inner.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = FileRef::default();
        self.change(|inner| {
            inner.names.insert(path.to_owned(), file.clone());
            Ok(())
        })?;
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.inner.lock().unwrap().names.get(path).cloned();
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|inner| {
            let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            inner.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|inner| {
            inner.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.change(|inner| {
            inner.durable_names = inner.names.clone();
            Ok(())
        })
    }

    fn again_with_room(&self, act: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        loop {
            match act() {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && self.fills_up_for_a_while() => {}
                result => return result,
            }
        }
    }

    fn has_threads(&self) -> bool {
        !self.inner.lock().unwrap().without_threads
    }

    // Other faults strike the log alone: two that fail at once would each give its reason.
    fn before_foreign_write(&self) -> io::Result<()> {
        let fault = self.inner.lock().unwrap().fault;
        match fault {
            Some((_, Fault::FullFor(_) | Fault::ForeignFails)) => self.strike().map_err(error_of),
            _ => Ok(()),
        }
    }
}

struct Handle {
    disk: SimDisk,
    file: FileRef,
}

impl Handle {
    fn pending(&self, pending: Pending, len: usize) {
        let mut file = self.file.lock().unwrap();
        pending.apply(&mut file.data, 0..len);
        file.pending.push(pending);
    }
}

impl DiskFile for Handle {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.disk.step();
        let done = match result {
            Ok(()) | Err(Fault::FlushFails) => bytes.len(),
            // Power goes in the middle of the write as well as a disk fills up there.
            Err(_) => bytes.len() / 2,
        };
        self.pending(Pending::Write(position as usize, bytes[..done].to_vec()), done);
        match result {
            Err(fault) if fault != Fault::FlushFails => Err(error_of(fault)),
            _ => Ok(()),
        }
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file.lock().unwrap();
        let from = file.data.get(position as usize..).unwrap_or_default();
        let got = from.len().min(into.len());
        into[..got].copy_from_slice(&from[..got]);
        Ok(got)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step().map_err(error_of)?;
        let mut file = self.file.lock().unwrap();
        file.durable = file.data.clone();
        file.pending.clear();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.disk.step() {
            Ok(()) | Err(Fault::FlushFails) => {
                self.pending(Pending::SetLen(len as usize), 0);
                Ok(())
            }
            Err(fault) => Err(error_of(fault)),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().data.len() as u64)
    }
}
