//! Open files of a data directory, bounded in number, so that an idle partition holds none.
//!
//! Eviction is by second chance: a file used since the hand last passed stays. Evicting closes the
//! descriptor and nothing else: written bytes are in the page cache, and the kernel reports a failed
//! write-back to the next descriptor that is synced.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::fs::File;

/// Names one file of one segment in the cache, without its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey(u64);

/// The cache. All methods take `&self`; the lock is held for a look-up, never for a system call.
#[derive(Debug)]
pub(crate) struct FileCache {
    next_key: AtomicU64,
    limit: usize,
    inner: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    slot_of: HashMap<FileKey, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    key: FileKey,
    file: Arc<dyn File>,
    used: bool,
}

impl FileCache {
    /// A cache of at most `limit` files; at least one.
    pub fn new(limit: usize) -> Self {
        Self { next_key: AtomicU64::new(0), limit: limit.max(1), inner: Mutex::default() }
    }

    /// A key that nobody else has.
    pub fn new_key(&self) -> FileKey {
        FileKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// The file of `key`, opened if it is not at hand.
    pub fn get(
        &self,
        key: FileKey,
        open: impl FnOnce() -> io::Result<Arc<dyn File>>,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.lock().touch(key) {
            return Ok(file);
        }
        let file = open()?;
        // The evicted file is closed after the lock is released.
        let _evicted = self.lock().insert(key, Arc::clone(&file), self.limit);
        Ok(file)
    }

    /// Closes the file of `key`, once the last user of it is done.
    pub fn remove(&self, key: FileKey) {
        let _closed = self.lock().remove(key);
    }

    /// Closes the files that nobody used since the last call.
    pub fn close_idle(&self) {
        let idle: Vec<Slot> = {
            let mut clock = self.lock();
            let unused = |slot: &mut Slot| (!std::mem::take(&mut slot.used)).then_some(slot.key);
            let idle: Vec<FileKey> = clock.slots.iter_mut().filter_map(unused).collect();
            idle.into_iter().filter_map(|key| clock.remove(key)).collect()
        };
        drop(idle);
    }

    /// Files open now.
    pub fn len(&self) -> usize {
        self.lock().slots.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Clock> {
        self.inner.lock().expect("no panic while the lock is held")
    }
}

impl Clock {
    fn touch(&mut self, key: FileKey) -> Option<Arc<dyn File>> {
        let slot = &mut self.slots[*self.slot_of.get(&key)?];
        slot.used = true;
        Some(Arc::clone(&slot.file))
    }

    fn insert(&mut self, key: FileKey, file: Arc<dyn File>, limit: usize) -> Option<Slot> {
        if let Some(&at) = self.slot_of.get(&key) {
            return Some(std::mem::replace(&mut self.slots[at], Slot { key, file, used: true }));
        }
        let slot = Slot { key, file, used: true };
        if self.slots.len() < limit {
            self.slot_of.insert(key, self.slots.len());
            self.slots.push(slot);
            return None;
        }
        let at = self.victim();
        let evicted = std::mem::replace(&mut self.slots[at], slot);
        self.slot_of.remove(&evicted.key);
        self.slot_of.insert(key, at);
        Some(evicted)
    }

    /// The first slot from the hand on that was not used since the hand last passed it.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            if !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
    }

    fn remove(&mut self, key: FileKey) -> Option<Slot> {
        let at = self.slot_of.remove(&key)?;
        let removed = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.slot_of.insert(moved.key, at);
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::{FileSystem, MemoryFs, Open};

    #[test]
    fn holds_no_more_than_its_limit_and_reopens_what_it_evicted() {
        let fs = MemoryFs::new();
        let cache = FileCache::new(2);
        let keys: Vec<_> = (0..3).map(|_| cache.new_key()).collect();
        let mut opened = Vec::new();
        for at in [0, 1, 0, 2, 0, 1] {
            cache
                .get(keys[at], || {
                    opened.push(at);
                    fs.open(Path::new("/f"), Open::Create)
                })
                .unwrap();
            assert!(cache.len() <= 2);
        }
        assert_eq!(opened.len(), 5, "0 and 1 and 2 opened, at least one of them again: {opened:?}");
        cache.remove(keys[1]);
        cache.remove(keys[1]);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn files_unused_between_two_calls_are_closed() {
        let fs = MemoryFs::new();
        let cache = FileCache::new(10);
        let keys: Vec<_> = (0..2).map(|_| cache.new_key()).collect();
        let open = |at: usize| cache.get(keys[at], || fs.open(Path::new("/f"), Open::Create)).unwrap();
        open(0);
        open(1);
        cache.close_idle();
        assert_eq!(cache.len(), 2, "both were used");
        open(1);
        cache.close_idle();
        assert_eq!(cache.len(), 1, "the first was not");
        cache.close_idle();
        assert_eq!(cache.len(), 0);
    }
}
