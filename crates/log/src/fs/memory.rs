//! A file system in memory that fails, tears or forgets on demand.
//!
//! Every file has what the kernel holds and what the disk holds; [`MemoryFs::lose_power`] keeps only the
//! latter. Operations that change something are counted, so that a test can stop the world at each of
//! them in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Entry, File, FileSystem, Open, Stat};

/// The file system; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs {
    state: Arc<Mutex<State>>,
}

/// What goes wrong at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails once with this kind and does nothing.
    Error(io::ErrorKind),
    /// A write stores this many bytes of its first piece, then it and every later operation fail, until
    /// [`MemoryFs::restart`] or [`MemoryFs::lose_power`]: the process died in the middle of it.
    Crash {
        /// Bytes that still arrive.
        after_bytes: usize,
    },
    /// Like `Error`, but a write stores this many bytes before it fails.
    Torn {
        /// How it fails.
        kind: io::ErrorKind,
        /// Bytes that still arrive.
        after_bytes: usize,
    },
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Names as the kernel knows them, and as the disk does.
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    locked: BTreeSet<PathBuf>,
    /// Bytes reserved, by file.
    reserved: BTreeMap<u64, u64>,
    now_ms: i64,
    boot: u64,
    changes: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
}

#[derive(Clone, Debug)]
enum Inode {
    Dir,
    File { data: Vec<u8>, durable: Vec<u8>, modified_ms: i64 },
}

/// Bytes that an operation about to happen may still store, or its failure.
enum Verdict {
    Go,
    Partly(usize, io::Error),
}

impl MemoryFs {
    /// An empty file system with a root directory `/`.
    pub fn new() -> Self {
        let fs = Self::default();
        let mut state = fs.lock();
        state.inodes.insert(0, Inode::Dir);
        state.next_inode = 1;
        state.names.insert("/".into(), 0);
        state.durable_names.insert("/".into(), 0);
        drop(state);
        fs
    }

    /// Operations so far that changed a file or a directory.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Lets `fault` happen at the `nth` change from now, counted from 0.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.changes + nth, fault));
    }

    /// Whether a crash has happened and nothing works any more.
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The process is started again on the same machine: the kernel kept what was written.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.fault = None;
        state.locked.clear();
    }

    /// The machine lost power and came back: only what was synced is there.
    ///
    /// Of the bytes written behind the synced part of a file, `keep` says how many survived, given the
    /// path, the synced length and the written length. Names survive if their directory was synced.
    pub fn lose_power(&self, mut keep: impl FnMut(&Path, usize, usize) -> usize) {
        self.restart();
        let mut state = self.lock();
        let state = &mut *state;
        state.boot += 1;
        state.names = state.durable_names.clone();
        for (path, inode) in &state.names {
            if let Some(Inode::File { data, durable, .. }) = state.inodes.get_mut(inode) {
                let (synced, written) = (durable.len(), data.len());
                if written > synced && data[..synced] == durable[..] {
                    data.truncate(keep(path, synced, written).clamp(synced, written));
                } else {
                    data.clone_from(durable);
                }
                durable.clone_from(data);
            }
        }
    }

    /// Sets the time that new modifications carry.
    pub fn set_time(&self, now_ms: i64) {
        self.lock().now_ms = now_ms;
    }

    /// Changes a byte of a file in place, as a failing disk does.
    pub fn flip(&self, path: &Path, position: usize, mask: u8) {
        self.edit(path, |data| data[position] ^= mask);
    }

    /// Edits a file's content and what the disk holds of it.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = state.names[path];
        let Some(Inode::File { data, durable, .. }) = state.inodes.get_mut(&inode) else {
            panic!("{} is not a file", path.display());
        };
        change(data);
        durable.clone_from(data);
    }

    /// Bytes reserved for a file beyond what was cut off since.
    pub fn reserved(&self, path: &Path) -> u64 {
        let state = self.lock();
        state.names.get(path).and_then(|inode| state.reserved.get(inode)).copied().unwrap_or(0)
    }

    /// A file's content.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        match state.inodes.get(state.names.get(path)?) {
            Some(Inode::File { data, .. }) => Some(data.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the process has crashed")) } else { Ok(()) }
    }

    /// Counts one change and says whether it happens.
    fn change(&mut self) -> io::Result<Verdict> {
        self.alive()?;
        let at = self.changes;
        self.changes += 1;
        let Some((_, fault)) = self.fault.filter(|(due, _)| *due == at) else { return Ok(Verdict::Go) };
        self.fault = None;
        match fault {
            Fault::Error(kind) => Err(kind.into()),
            Fault::Torn { kind, after_bytes } => Ok(Verdict::Partly(after_bytes, kind.into())),
            Fault::Crash { after_bytes } => {
                self.dead = true;
                Ok(Verdict::Partly(after_bytes, io::Error::other("the process crashes")))
            }
        }
    }

    /// A change that happens whole or not at all.
    fn change_whole(&mut self) -> io::Result<()> {
        match self.change()? {
            Verdict::Go => Ok(()),
            Verdict::Partly(_, error) => Err(error),
        }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.find(parent).map(|_| ()),
            None => Ok(()),
        }
    }

    fn create(&mut self, path: &Path, inode: Inode) -> io::Result<u64> {
        self.parent_exists(path)?;
        self.change_whole()?;
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, inode);
        self.names.insert(path.into(), id);
        Ok(id)
    }

    fn stat(&self, inode: u64) -> Stat {
        match &self.inodes[&inode] {
            Inode::Dir => Stat { len: 0, modified_ms: 0, is_dir: true },
            Inode::File { data, modified_ms, .. } => {
                Stat { len: data.len() as u64, modified_ms: *modified_ms, is_dir: false }
            }
        }
    }
}

impl FileSystem for MemoryFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.alive()?;
        let inode = match state.find(path) {
            Ok(inode) => inode,
            Err(error) if how == Open::Existing => return Err(error),
            Err(_) => {
                let now = state.now_ms;
                let empty = Inode::File { data: Vec::new(), durable: Vec::new(), modified_ms: now };
                state.create(path, empty)?
            }
        };
        if state.stat(inode).is_dir {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if how == Open::Truncate
            && let Some(Inode::File { data, .. }) = state.inodes.get_mut(&inode)
        {
            data.clear();
        }
        Ok(Arc::new(MemoryFile { fs: self.clone(), inode }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.lock();
        state.alive()?;
        state.find(path).map(|inode| state.stat(inode))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        state.alive()?;
        state.find(dir)?;
        let in_dir = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(in_dir
            .map(|(path, inode)| Entry {
                name: path.file_name().expect("the root is in no directory").to_string_lossy().into_owned(),
                stat: state.stat(*inode),
            })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        if state.find(dir).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.create(dir, Inode::Dir).map(|_| ())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.find(from)?;
        state.parent_exists(to)?;
        state.change_whole()?;
        let moved: Vec<_> = state.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let inode = state.names.remove(&path).expect("listed above");
            let rest = path.strip_prefix(from).expect("filtered above");
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            state.names.insert(target, inode);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.find(path)?;
        state.change_whole()?;
        state.names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.find(dir)?;
        state.change_whole()?;
        state.names.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.find(dir)?;
        state.change_whole()?;
        let State { names, durable_names, .. } = &mut *state;
        let here = |path: &Path| path.parent() == Some(dir);
        // A renamed or removed directory takes along what was durable below it.
        let gone: Vec<_> = durable_names
            .iter()
            .filter(|(path, inode)| here(path) && names.get(*path) != Some(inode))
            .collect();
        let gone: Vec<(PathBuf, u64)> =
            gone.into_iter().map(|(path, inode)| (path.clone(), *inode)).collect();
        for (old, inode) in gone {
            let below: Vec<_> = durable_names.keys().filter(|path| path.starts_with(&old)).cloned().collect();
            let new =
                names.iter().find(|(path, now)| **now == inode && here(path)).map(|(path, _)| path.clone());
            for path in below {
                let kept = durable_names.remove(&path).expect("listed above");
                let rest = path.strip_prefix(&old).expect("filtered above");
                if let Some(new) = new.as_ref().filter(|_| !rest.as_os_str().is_empty()) {
                    durable_names.insert(new.join(rest), kept);
                }
            }
        }
        for (path, inode) in names.iter().filter(|(path, _)| here(path)) {
            durable_names.insert(path.clone(), *inode);
        }
        Ok(())
    }

    fn sync_all(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.change_whole()?;
        let State { names, durable_names, inodes, .. } = &mut *state;
        durable_names.clone_from(names);
        for inode in inodes.values_mut() {
            if let Inode::File { data, durable, .. } = inode {
                durable.clone_from(data);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        FileSystem::open(self, path, Open::Create)?;
        if !Self::lock(self).locked.insert(path.into()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock { fs: self.clone(), path: path.into() }))
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(format!("boot-{}", Self::lock(self).boot))
    }
}

struct Unlock {
    fs: MemoryFs,
    path: PathBuf,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        MemoryFs::lock(&self.fs).locked.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    fs: MemoryFs,
    inode: u64,
}

impl File for MemoryFile {
    fn read_at(&self, into: &mut Vec<u8>, position: u64) -> io::Result<usize> {
        let state = MemoryFs::lock(&self.fs);
        state.alive()?;
        let Some(Inode::File { data, .. }) = state.inodes.get(&self.inode) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let rest = data.get(position as usize..).unwrap_or_default();
        let read = rest.len().min(into.capacity() - into.len());
        into.extend_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = MemoryFs::lock(&self.fs);
        let verdict = state.change()?;
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let error = match verdict {
            Verdict::Go => None,
            Verdict::Partly(stored, error) => {
                bytes.truncate(stored);
                Some(error)
            }
        };
        let now = state.now_ms;
        let Some(Inode::File { data, modified_ms, .. }) = state.inodes.get_mut(&self.inode) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let start = position as usize;
        if !bytes.is_empty() {
            data.resize(data.len().max(start + bytes.len()), 0);
            data[start..start + bytes.len()].copy_from_slice(&bytes);
            *modified_ms = now;
        }
        error.map_or(Ok(bytes.len()), Err)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut state = MemoryFs::lock(&self.fs);
        state.change_whole()?;
        state.reserved.insert(self.inode, len);
        Ok(())
    }

    fn set_modified(&self, time_ms: i64) -> io::Result<()> {
        let mut state = MemoryFs::lock(&self.fs);
        state.alive()?;
        if let Some(Inode::File { modified_ms, .. }) = state.inodes.get_mut(&self.inode) {
            *modified_ms = time_ms;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = MemoryFs::lock(&self.fs);
        state.change_whole()?;
        state.reserved.remove(&self.inode);
        let now = state.now_ms;
        if let Some(Inode::File { data, modified_ms, .. }) = state.inodes.get_mut(&self.inode) {
            data.resize(len as usize, 0);
            *modified_ms = now;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = MemoryFs::lock(&self.fs);
        state.change_whole()?;
        if let Some(Inode::File { data, durable, .. }) = state.inodes.get_mut(&self.inode) {
            durable.clone_from(data);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = MemoryFs::lock(&self.fs);
        state.alive()?;
        Ok(state.stat(self.inode).len)
    }
}
