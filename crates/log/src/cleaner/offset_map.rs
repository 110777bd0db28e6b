//! Where the newest record of each key is: the table of the first pass, bounded by bytes.
//!
//! Keys themselves are not kept, only 16 bytes of hash and the offset, 24 bytes per key, as in Kafka's
//! `SkimpyOffsetMap`. Two keys of one hash would lose the older one's record, so the hash is SipHash under keys drawn
//! for this table: a client cannot search for two such keys beforehand, as it could with MD5, and by chance a billion
//! keys meet once in 10^20 tables.

use std::hash::{BuildHasher, RandomState};

use milena_records::Offset;

/// Both halves of the hash, and the offset plus one: zero marks a free slot.
type Slot = [u64; 3];

/// Keys by hash, with their largest offsets.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    len: usize,
    capacity: usize,
    latest: Offset,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A table of at most `bytes`, filled to `load_factor` at most, and no larger than `keys` need.
    pub fn new(bytes: usize, load_factor: f64, keys: u64) -> Self {
        let load_factor = load_factor.clamp(0.05, 0.95);
        let wanted = ((keys as f64 / load_factor) as u64).saturating_add(2);
        let slots = ((bytes / size_of::<Slot>()) as u64).clamp(2, wanted) as usize;
        Self {
            // Zeroed pages come from the system untouched, and cost nothing until a key falls into them.
            slots: vec![[0; 3]; slots],
            len: 0,
            capacity: ((slots as f64 * load_factor) as usize).clamp(1, slots - 1),
            latest: Offset::NONE,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Notes that `key` has a record at `offset`, which grows from call to call. False if there is no room.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let (at, digest) = self.find(key);
        if self.slots[at][2] == 0 {
            if self.len == self.capacity {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = [digest[0], digest[1], offset.0 as u64 + 1];
        self.latest = self.latest.max(offset);
        true
    }

    /// Offset of the newest record of `key`, if it has one in the part that was read.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let (at, _) = self.find(key);
        self.slots[at][2].checked_sub(1).map(|offset| Offset(offset as i64))
    }

    /// Everything up to `offset`, inclusive, has been read.
    pub fn advance_to(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// Last offset that was read; records behind it say nothing yet.
    pub fn latest(&self) -> Offset {
        self.latest
    }

    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Keys it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The slot of `key`, or the free one where it would go.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let digest = [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)];
        let slots = self.slots.len();
        let mut at = ((u128::from(digest[0]) * slots as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            // Ends: at least one slot is free.
            if slot[2] == 0 || slot[..2] == digest {
                return (at, digest);
            }
            at += 1;
            if at == slots {
                at = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_until_the_table_is_full() {
        let mut map = OffsetMap::new(24 * 1000, 0.9, u64::MAX);
        assert_eq!(map.capacity(), 900);
        for round in 0..2 {
            for key in 0..900_i64 {
                assert!(map.put(&key.to_be_bytes(), Offset(round * 900 + key)), "key {key}");
            }
        }
        assert!(!map.put(b"one more", Offset(1800)));
        assert_eq!((map.len(), map.latest()), (900, Offset(1799)));
        for key in 0..900_i64 {
            assert_eq!(map.get(&key.to_be_bytes()), Some(Offset(900 + key)));
        }
        assert_eq!(map.get(b"one more"), None);
        assert!(map.put(&7_i64.to_be_bytes(), Offset(1801)), "a known key needs no room");
        assert_eq!(map.get(&7_i64.to_be_bytes()), Some(Offset(1801)));
    }

    #[test]
    fn a_short_dirty_section_takes_a_small_table_and_the_smallest_still_holds_a_key() {
        let map = OffsetMap::new(128 << 20, 0.9, 90);
        assert!(map.slots.len() <= 103 && map.capacity() >= 90);
        let mut map = OffsetMap::new(0, 0.0, 5);
        assert!(map.put(b"", Offset(0)) && !map.put(b"b", Offset(1)));
    }
}
