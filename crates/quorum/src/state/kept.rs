//! A group's tree that a full disk does not end: what sled has not flushed is kept here as well.
//!
//! A write that finds no room leaves sled unusable until it is opened again, and then it holds everything up to some
//! batch between the last flush and the failure. As later changes of a key win, storing all changes since that flush
//! once more leads to the exact state.

use super::store::GroupTree;
use crate::convert::log_id_from;
use crate::disk::Disk;
use crate::machine::Change;
use crate::message::Applied;
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Changes since the last flush that are kept, in bytes as they came. Beyond it, storing flushes.
const MOST_UNFLUSHED: usize = 32 << 20;
/// Longest pause between two attempts to open the database on a full disk: each reads much of it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Pairs in ascending order of keys.
pub(crate) type Pairs = Box<dyn Iterator<Item = io::Result<(Bytes, Bytes)>>>;

/// The tree, and what it may lack.
pub(crate) struct KeptTree {
    tree: GroupTree,
    disk: Arc<dyn Disk>,
    /// Where all changes lead.
    applied: Applied,
    /// Where those lead that sled has for certain.
    flushed: Applied,
    unflushed: HashMap<Bytes, Option<Bytes>>,
    unflushed_bytes: usize,
    /// Before the database is opened again.
    pause: Duration,
}

impl KeptTree {
    /// `tree` was just opened, and holds what `applied` says.
    pub(crate) fn new(tree: GroupTree, disk: Arc<dyn Disk>, applied: Applied) -> Self {
        let (flushed, unflushed, pause) = (applied.clone(), HashMap::new(), Duration::ZERO);
        Self { tree, disk, applied, flushed, unflushed, unflushed_bytes: 0, pause }
    }

    /// Where it stands.
    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Stores changes and the position they lead to, all or nothing. Later changes win.
    pub(crate) fn store(&mut self, changes: Vec<Change>, applied: Applied) -> io::Result<()> {
        for (key, value) in &changes {
            self.unflushed_bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            self.unflushed.insert(key.clone(), value.clone());
        }
        self.applied = applied;
        self.with_room(|this| {
            let newest = changes.iter().map(|(key, value)| (key, value));
            this.tree.store(newest, &this.applied)
        })?;
        if self.unflushed_bytes < MOST_UNFLUSHED { Ok(()) } else { self.flush() }
    }

    /// Makes everything durable, as far as sled can.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.with_room(|this| this.tree.flush())?;
        self.is_flushed();
        Ok(())
    }

    /// Lets `read` have all pairs, ascending by key; again from the first, should sled fail meanwhile.
    pub(crate) fn read<T>(&mut self, mut read: impl FnMut(Pairs) -> io::Result<T>) -> io::Result<T> {
        self.with_room(|this| read(Box::new(this.tree.pairs()?)))
    }

    /// Replaces everything by `pairs`, which may be asked for more than once.
    pub(crate) fn replace<P>(&mut self, pairs: impl Fn() -> io::Result<P>, applied: Applied) -> io::Result<()>
    where
        P: Iterator<Item = io::Result<(Bytes, Bytes)>>,
    {
        let (disk, mut is_first) = (Arc::clone(&self.disk), true);
        disk.again_with_room(&mut || {
            // Nothing is stored once more: it would be a change of what may have been replaced already.
            if !std::mem::replace(&mut is_first, false) || self.tree.is_over() {
                self.reopen()?;
            }
            self.tree.replace(pairs()?, &applied)
        })?;
        self.pause = Duration::ZERO;
        self.applied = applied;
        self.is_flushed();
        Ok(())
    }

    /// Does what needs a database that holds everything; again when there is room.
    fn with_room<T>(&mut self, mut act: impl FnMut(&Self) -> io::Result<T>) -> io::Result<T> {
        let (disk, mut done) = (Arc::clone(&self.disk), None);
        disk.again_with_room(&mut || {
            if self.tree.is_over() {
                self.reopen()?;
                self.tree.store(self.unflushed.iter(), &self.applied)?;
            }
            done = Some(act(self).inspect_err(|_| self.tree.give_up())?);
            Ok(())
        })?;
        self.pause = Duration::ZERO;
        Ok(done.expect("done, or failed"))
    }

    fn reopen(&mut self) -> io::Result<()> {
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let found = self.tree.reopen()?;
        if index(&found) < index(&self.flushed) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "applied state: entry {:?} was flushed, and {:?} is the last one now",
                    index(&self.flushed),
                    index(&found)
                ),
            ));
        }
        Ok(())
    }

    fn is_flushed(&mut self) {
        self.unflushed.clear();
        self.unflushed_bytes = 0;
        self.flushed = self.applied.clone();
    }
}

fn index(applied: &Applied) -> Option<u64> {
    applied.last.map(|last| log_id_from(last).index())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::log_id_to;
    use crate::id::GroupId;
    use crate::sim_disk::{Fault, SimDisk};
    use crate::state::StateStore;
    use crate::types::log_id;
    use std::collections::BTreeMap;
    use std::path::Path;

    const GROUPS: [GroupId; 2] = [GroupId::CLUSTER, GroupId::COORDINATION];

    fn at(index: u64) -> Applied {
        Applied { last: Some(log_id_to(&log_id(1, index))), ..Applied::default() }
    }

    fn change(key: &str, value: u64) -> Change {
        (Bytes::from(key.to_owned()), (value > 0).then(|| Bytes::from(value.to_string())))
    }

    fn open(disk: &SimDisk, dir: &Path) -> (Arc<StateStore>, [KeptTree; 2]) {
        let (store, aside) = StateStore::open(Arc::new(disk.clone()), dir, [7; 16], 1 << 20).unwrap();
        assert_eq!(aside, None);
        let trees = GROUPS.map(|group| {
            let (tree, applied) = store.group(group).unwrap();
            KeptTree::new(tree, Arc::new(disk.clone()), applied)
        });
        (store, trees)
    }

    fn pairs(tree: &mut KeptTree) -> BTreeMap<String, String> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let all = |pairs: Pairs| pairs.map(|it| it.map(|(k, v)| (text(k), text(v)))).collect();
        tree.read(all).unwrap()
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[test]
    fn full_disk_at_any_write_loses_no_change_of_any_group() {
        for fault_at in 0..14 {
            let root = tempfile::tempdir().unwrap();
            let disk = SimDisk::default();
            let (store, mut trees) = open(&disk, &root.path().join("state"));
            for tree in &mut trees {
                tree.store(vec![change("kept", 1), change("gone", 1)], at(1)).unwrap();
                tree.flush().unwrap();
            }
            let flushed = root.path().join("flushed");
            copy(store.dir(), &flushed);
            let disk = disk.with_fault(fault_at, Fault::FullFor(3));
            for round in 2..5 {
                for tree in &mut trees {
                    let gone = if round == 4 { 0 } else { round };
                    let changes = vec![change(&format!("new {round}"), round), change("gone", gone)];
                    tree.store(changes, at(round)).unwrap();
                }
                // All that was not flushed is gone at one of these, whatever it had held.
                if fault_at == round {
                    copy(&flushed, &root.path().join("copy"));
                    store.lose_what_is_not_in(&root.path().join("copy"));
                }
            }
            let [first, second] = &mut trees;
            second.replace(|| Ok([Ok((Bytes::from("only"), Bytes::from("1")))].into_iter()), at(9)).unwrap();
            let want = |list: &[(&str, &str)]| {
                list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
            };
            let of_first = want(&[("kept", "1"), ("new 2", "2"), ("new 3", "3"), ("new 4", "4")]);
            assert_eq!(pairs(first), of_first, "{fault_at}");
            assert_eq!(pairs(second), want(&[("only", "1")]), "{fault_at}");
            drop((trees, store));
            let (_, mut trees) = open(&disk, &root.path().join("state"));
            assert_eq!(trees.each_ref().map(|tree| index(tree.applied())), [Some(4), Some(9)], "{fault_at}");
            assert_eq!(trees.each_mut().map(pairs), [of_first, want(&[("only", "1")])], "{fault_at}");
        }
    }

    #[test]
    fn state_that_went_behind_its_last_flush_is_not_built_on() {
        let root = tempfile::tempdir().unwrap();
        let (store, [mut tree, _other]) = open(&SimDisk::default(), &root.path().join("state"));
        tree.store(vec![change("a", 1)], at(1)).unwrap();
        tree.flush().unwrap();
        let old = root.path().join("old");
        copy(store.dir(), &old);
        tree.store(vec![change("a", 2)], at(2)).unwrap();
        tree.flush().unwrap();
        store.lose_what_is_not_in(&old);
        let refused = tree.store(vec![change("a", 3)], at(3)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    /// A thread that outlives its node, as after a start that failed, would have it open beside the node that follows.
    #[test]
    fn closed_database_is_nobodys_to_open_again() {
        let root = tempfile::tempdir().unwrap();
        let (store, [mut tree, _other]) = open(&SimDisk::default(), &root.path().join("state"));
        tree.store(vec![change("a", 1)], at(1)).unwrap();
        store.close();
        let refused = tree.flush().unwrap_err();
        assert!(refused.to_string().contains("the database is closed"), "{refused}");
        let (_, [mut tree, _other]) = open(&SimDisk::default(), store.dir());
        assert_eq!(pairs(&mut tree), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
    }
}
