//! Applied pairs in sled: one database per node, one tree per group.
//!
//! sled survives `kill -9` but not every power loss, so it is never the only copy: the Raft log
//! is purged only below a snapshot that we have flushed ourselves. A database that does not open
//! is moved aside and built again from snapshot and log.

use crate::error::OpenError;
use crate::id::GroupId;
use crate::machine::Change;
use crate::message::Applied;
use bytes::Bytes;
use prost::Message;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Key of the applied position in a group's tree.
const APPLIED: &[u8] = b"a";
/// First byte of the key of every pair.
const PAIR: u8 = b'p';
/// Ties the database to the log beside it.
const IDENTITY: &[u8] = b"log identity";

/// The database of all groups.
pub(crate) struct StateStore {
    db: sled::Db,
}

impl StateStore {
    /// Opens `dir`, or a new database there. One that does not open, or belongs to another log
    /// than `identity`, is renamed to `<dir>.broken-<n>`; its new name is then in the answer.
    pub(crate) fn open(
        dir: &Path,
        identity: [u8; 16],
        cache_bytes: u64,
    ) -> Result<(StateStore, Option<PathBuf>), OpenError> {
        let reason = match open_db(dir, cache_bytes).and_then(|db| claim(db, identity)) {
            Ok(db) => return Ok((StateStore { db }, None)),
            Err(reason) => reason,
        };
        let aside = (1..).map(|n| dir.with_extension(format!("broken-{n}"))).find(|path| !path.exists());
        let aside = aside.expect("some number is free");
        tracing::warn!(
            dir = %dir.display(), aside = %aside.display(), %reason,
            "applied state set aside, building it again from snapshot and log"
        );
        std::fs::rename(dir, &aside).map_err(OpenError::io("set aside", dir))?;
        let db = open_db(dir, cache_bytes).and_then(|db| claim(db, identity));
        let db = db.map_err(OpenError::io("create", dir))?;
        Ok((StateStore { db }, Some(aside)))
    }

    /// The tree of a group, and its applied position.
    pub(crate) fn group(&self, group: GroupId) -> io::Result<(GroupTree, Applied)> {
        let current = format!("current {}", group.0).into_bytes();
        let generation = match self.db.get(&current).map_err(from_sled)? {
            Some(bytes) => u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| corrupt("generation"))?),
            None => 0,
        };
        let tree = self.db.open_tree(tree_name(group, generation)).map_err(from_sled)?;
        let tree = GroupTree { db: self.db.clone(), group, current, generation, tree };
        let applied = match tree.tree.get(APPLIED).map_err(from_sled)? {
            Some(bytes) => Applied::decode(bytes.as_ref()).map_err(|_| corrupt("applied position"))?,
            None => Applied::default(),
        };
        Ok((tree, applied))
    }
}

/// One group's pairs and its applied position, always changed together.
pub(crate) struct GroupTree {
    db: sled::Db,
    group: GroupId,
    current: Vec<u8>,
    generation: u64,
    tree: sled::Tree,
}

impl GroupTree {
    /// All pairs, ascending by key.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = io::Result<(Bytes, Bytes)>> + use<> {
        self.tree.scan_prefix([PAIR]).map(|pair| {
            let (key, value) = pair.map_err(from_sled)?;
            Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)))
        })
    }

    /// Stores changes and the position they lead to, all or nothing. Later changes win.
    pub(crate) fn store<'a>(
        &self,
        changes: impl Iterator<Item = &'a Change>,
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
        self.tree.apply_batch(batch).map_err(from_sled)
    }

    /// Replaces everything. A crash leaves either the old or the new content: the new tree is
    /// complete before it becomes the current one.
    pub(crate) fn replace(
        &mut self,
        pairs: impl Iterator<Item = io::Result<(Bytes, Bytes)>>,
        applied: &Applied,
    ) -> io::Result<()> {
        let generation = self.generation + 1;
        let name = tree_name(self.group, generation);
        // A leftover of an attempt that a crash ended.
        self.db.drop_tree(&name).map_err(from_sled)?;
        let tree = self.db.open_tree(&name).map_err(from_sled)?;
        for pair in pairs {
            let (key, value) = pair?;
            tree.insert(stored_key(&key), value.as_ref()).map_err(from_sled)?;
        }
        tree.insert(APPLIED, applied.encode_to_vec()).map_err(from_sled)?;
        self.db.flush().map_err(from_sled)?;
        self.db.insert(&self.current, &generation.to_be_bytes()).map_err(from_sled)?;
        self.db.flush().map_err(from_sled)?;
        self.db.drop_tree(tree_name(self.group, self.generation)).map_err(from_sled)?;
        (self.generation, self.tree) = (generation, tree);
        Ok(())
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.db.flush().map(|_| ()).map_err(from_sled)
    }
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
