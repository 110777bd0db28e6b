//! Applied pairs in sled: one database per node, one tree per group.
//!
//! sled survives `kill -9` but not every power loss, so it is never the only copy: the Raft log
//! is purged only below a snapshot that we have flushed ourselves. A database that does not open
//! is moved aside and built again from snapshot and log.

use crate::disk::Disk;
use crate::error::OpenError;
use crate::id::GroupId;
use crate::message::Applied;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Key of the applied position in a group's tree.
const APPLIED: &[u8] = b"a";
/// First byte of the key of every pair.
const PAIR: u8 = b'p';
/// Ties the database to the log beside it.
const IDENTITY: &[u8] = b"log identity";
/// How long a database that was just closed may stay held: sled's threads end in their own time.
const LONGEST_HELD: Duration = Duration::from_secs(10);

/// The database of all groups.
///
/// A write that fails leaves sled with an error that it answers to everything from then on; only opening the database
/// again helps, which it lets nobody do while anybody still holds the old one. So all of it is held here, and groups
/// find out by the number of the opening that theirs is over.
pub(crate) struct StateStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: [u8; 16],
    cache_bytes: u64,
    opened: RwLock<Opened>,
}

struct Opened {
    /// Grows each time that the database is opened again.
    number: u64,
    /// Absent while it cannot be opened.
    db: Option<sled::Db>,
    /// It was let go, and is perhaps somebody else's by now.
    is_closed: bool,
    trees: BTreeMap<GroupId, Current>,
    /// Something has failed since it was opened.
    has_failed: AtomicBool,
}

impl Opened {
    fn let_go(&mut self) {
        self.trees.clear();
        self.db = None;
    }
}

/// The tree of a group that counts.
#[derive(Clone)]
struct Current {
    generation: u64,
    tree: sled::Tree,
}

impl StateStore {
    /// Opens `dir`, or a new database there. One that does not open, or belongs to another log
    /// than `identity`, is renamed to `<dir>.broken-<n>`; its new name is then in the answer.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: [u8; 16],
        cache_bytes: u64,
    ) -> Result<(Arc<StateStore>, Option<PathBuf>), OpenError> {
        wait_until_free(dir)?;
        let open = || open_when_there_is_room(&*disk, dir, cache_bytes, identity);
        let (db, aside) = match open() {
            Ok(db) => (db, None),
            Err(reason) if is_full(&reason) => return Err(OpenError::io("open", dir)(reason)),
            Err(reason) => {
                let aside = set_aside(dir, &reason)?;
                (open().map_err(OpenError::io("create", dir))?, Some(aside))
            }
        };
        let opened = Opened {
            number: 0,
            db: Some(db),
            is_closed: false,
            trees: BTreeMap::new(),
            has_failed: AtomicBool::new(false),
        };
        let dir = dir.to_owned();
        Ok((Arc::new(StateStore { disk, dir, identity, cache_bytes, opened: RwLock::new(opened) }), aside))
    }

    /// Lets the database go for good, however many still have this. Its groups are over by then.
    pub(crate) fn close(&self) {
        let mut opened = self.opened.write().unwrap();
        opened.is_closed = true;
        opened.let_go();
    }

    /// The tree of a group, and its applied position.
    pub(crate) fn group(self: &Arc<Self>, group: GroupId) -> io::Result<(GroupTree, Applied)> {
        let mut opened = self.opened.write().unwrap();
        let mut tree = GroupTree { store: Arc::clone(self), group, opening: 0 };
        let applied = tree.join(&mut opened)?;
        drop(opened);
        Ok((tree, applied))
    }
}

/// One group's pairs and its applied position, always changed together.
pub(crate) struct GroupTree {
    store: Arc<StateStore>,
    group: GroupId,
    /// Of the database that all that was stored here went to.
    opening: u64,
}

impl GroupTree {
    /// All pairs, ascending by key.
    pub(crate) fn pairs(&self) -> io::Result<impl Iterator<Item = io::Result<(Bytes, Bytes)>> + use<>> {
        let tree = self.with(|_, current| Ok(current.tree.clone()))?;
        Ok(tree.scan_prefix([PAIR]).map(|pair| {
            let (key, value) = pair.map_err(from_sled)?;
            Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)))
        }))
    }

    /// Stores changes and the position they lead to, all or nothing. Later changes win.
    pub(crate) fn store<'a>(
        &self,
        changes: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
        applied: &Applied,
    ) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(stored_key(key), value.as_ref()),
                None => batch.remove(stored_key(key)),
            }
        }
        batch.insert(APPLIED, applied.encode_to_vec());
        self.write(|_, current| current.tree.apply_batch(batch).map_err(from_sled))
    }

    /// Replaces everything. A crash leaves either the old or the new content: the new tree is
    /// complete before it becomes the current one.
    pub(crate) fn replace(
        &self,
        pairs: impl Iterator<Item = io::Result<(Bytes, Bytes)>>,
        applied: &Applied,
    ) -> io::Result<()> {
        let current = self.write(|db, current| {
            let generation = current.generation + 1;
            let name = tree_name(self.group, generation);
            // A leftover of an attempt that a crash ended.
            db.drop_tree(&name).map_err(from_sled)?;
            let tree = db.open_tree(&name).map_err(from_sled)?;
            for pair in pairs {
                let (key, value) = pair?;
                tree.insert(stored_key(&key), value.as_ref()).map_err(from_sled)?;
            }
            tree.insert(APPLIED, applied.encode_to_vec()).map_err(from_sled)?;
            db.flush().map_err(from_sled)?;
            db.insert(current_key(self.group), &generation.to_be_bytes()).map_err(from_sled)?;
            db.flush().map_err(from_sled)?;
            db.drop_tree(tree_name(self.group, current.generation)).map_err(from_sled)?;
            Ok(Current { generation, tree })
        })?;
        let mut opened = self.store.opened.write().unwrap();
        if opened.number != self.opening {
            return Err(over());
        }
        opened.trees.insert(self.group, current);
        Ok(())
    }

    /// Hands everything to the operating system, and that to the device.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.write(|db, _| db.flush().map(drop).map_err(from_sled))
    }

    /// Whether the database may lack what was stored since the last flush, so that it must be opened again.
    pub(crate) fn is_over(&self) -> bool {
        let opened = self.store.opened.read().unwrap();
        opened.number != self.opening || opened.db.is_none() || opened.has_failed.load(Ordering::Acquire)
    }

    /// Opens the database again, unless another group has. Returns the applied position that it holds.
    pub(crate) fn reopen(&mut self) -> io::Result<Applied> {
        let store = Arc::clone(&self.store);
        let mut opened = store.opened.write().unwrap();
        if opened.is_closed {
            return Err(io::Error::other("applied state: the database is closed"));
        }
        if opened.db.is_none() || opened.has_failed.load(Ordering::Acquire) {
            opened.let_go();
            store.disk.before_foreign_write()?;
            if is_held(&store.dir) {
                return Err(over());
            }
            opened.db =
                Some(open_db(&store.dir, store.cache_bytes).and_then(|db| claim(db, store.identity))?);
            opened.has_failed.store(false, Ordering::Release);
            opened.number += 1;
        }
        self.join(&mut opened).inspect_err(|_| opened.has_failed.store(true, Ordering::Release))
    }

    /// Something that was read here failed: the database is to be opened again.
    pub(crate) fn give_up(&self) {
        self.store.opened.read().unwrap().has_failed.store(true, Ordering::Release);
    }

    /// Finds the group's current tree in the database as it is open now.
    fn join(&mut self, opened: &mut RwLockWriteGuard<'_, Opened>) -> io::Result<Applied> {
        let db = opened.db.as_ref().ok_or_else(over)?;
        let generation = match db.get(current_key(self.group)).map_err(from_sled)? {
            Some(bytes) => u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| corrupt("generation"))?),
            None => 0,
        };
        let tree = db.open_tree(tree_name(self.group, generation)).map_err(from_sled)?;
        let applied = match tree.get(APPLIED).map_err(from_sled)? {
            Some(bytes) => Applied::decode(bytes.as_ref()).map_err(|_| corrupt("applied position"))?,
            None => Applied::default(),
        };
        self.opening = opened.number;
        opened.trees.insert(self.group, Current { generation, tree });
        Ok(applied)
    }

    fn write<T>(&self, act: impl FnOnce(&sled::Db, &Current) -> io::Result<T>) -> io::Result<T> {
        self.with(|db, current| {
            self.store.disk.before_foreign_write()?;
            act(db, current)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&sled::Db, &Current) -> io::Result<T>) -> io::Result<T> {
        let opened = self.store.opened.read().unwrap();
        let current = opened.trees.get(&self.group).filter(|_| opened.number == self.opening);
        let (Some(db), Some(current)) = (&opened.db, current) else { return Err(over()) };
        act(db, current).inspect_err(|_| opened.has_failed.store(true, Ordering::Release))
    }
}

/// As a write that fails when the power goes does: what was not flushed before may be gone.
#[cfg(test)]
impl StateStore {
    pub(crate) fn lose_what_is_not_in(&self, copy: &Path) {
        self.opened.write().unwrap().let_go();
        std::fs::remove_dir_all(&self.dir).unwrap();
        std::fs::rename(copy, &self.dir).unwrap();
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// What is said of a database that was closed meanwhile, for want of room.
fn over() -> io::Error {
    io::Error::new(
        io::ErrorKind::StorageFull,
        "the applied state is being opened again, there was no room for it",
    )
}

/// Whether somebody still has the database: a snapshot that is being written, or a thread of sled's.
fn is_held(dir: &Path) -> bool {
    let file = std::fs::File::open(dir.join("db"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// One that somebody still has is not broken.
fn wait_until_free(dir: &Path) -> Result<(), OpenError> {
    let since = Instant::now();
    while is_held(dir) {
        if since.elapsed() > LONGEST_HELD {
            let held = io::Error::new(io::ErrorKind::ResourceBusy, "somebody else has the database open");
            return Err(OpenError::io("open", dir)(held));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn set_aside(dir: &Path, reason: &io::Error) -> Result<PathBuf, OpenError> {
    let aside = (1..).map(|n| dir.with_extension(format!("broken-{n}"))).find(|path| !path.exists());
    let aside = aside.expect("some number is free");
    tracing::warn!(
        dir = %dir.display(), aside = %aside.display(), %reason,
        "applied state set aside, building it again from snapshot and log"
    );
    std::fs::rename(dir, &aside).map_err(OpenError::io("set aside", dir))?;
    Ok(aside)
}

fn open_when_there_is_room(
    disk: &dyn Disk,
    dir: &Path,
    cache_bytes: u64,
    identity: [u8; 16],
) -> io::Result<sled::Db> {
    let mut opened = None;
    disk.again_with_room(&mut || {
        disk.before_foreign_write()?;
        opened = Some(open_db(dir, cache_bytes).and_then(|db| claim(db, identity))?);
        Ok(())
    })?;
    Ok(opened.expect("opened, or failed"))
}

fn open_db(dir: &Path, cache_bytes: u64) -> io::Result<sled::Db> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::LowSpace)
        // The keeper flushes when there is something to flush; an idle node does nothing.
        .flush_every_ms(None);
    // On some damage sled panics where it should answer.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(db) => db.map_err(from_sled),
        Err(_) => Err(corrupt("database, sled panicked on it")),
    }
}

fn claim(db: sled::Db, identity: [u8; 16]) -> io::Result<sled::Db> {
    match db.get(IDENTITY).map_err(from_sled)? {
        Some(found) if found == identity => {}
        Some(_) => return Err(corrupt("identity, the state belongs to another log")),
        None if db.was_recovered() && db.tree_names().len() > 1 => {
            return Err(corrupt("identity, the state belongs to no log"));
        }
        None => {
            db.insert(IDENTITY, &identity).map_err(from_sled)?;
        }
    }
    Ok(db)
}

fn current_key(group: GroupId) -> Vec<u8> {
    format!("current {}", group.0).into_bytes()
}

fn tree_name(group: GroupId, generation: u64) -> String {
    format!("group {} generation {generation}", group.0)
}

fn stored_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(key.len() + 1);
    stored.push(PAIR);
    stored.extend_from_slice(key);
    stored
}

fn from_sled(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(format!("applied state: {other}")),
    }
}

fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("applied state: unreadable {what}"))
}
