//! The stored pairs: one per group, one per committed offset, one per offset of an open transaction.
//!
//! `g/<group id>` holds a `Group`; `o/<group id>/<topic id, 16 bytes><partition, 4 bytes big-endian>` an
//! `Offset`; `t/`, the same and the producer id in 8 bytes big-endian, a `PendingOffset`. The end of an offset's key
//! has a fixed length, so a group id may hold any character.

use std::collections::BTreeMap;

use prost::Message;

use super::offsets::{Committed, TopicOffsets};
use super::pending::PendingOffset;
use super::{Changes, Entry, Groups};
use crate::event::TopicId;
use crate::stored;

const TAIL: usize = 1 + 16 + 4;
const PENDING_TAIL: usize = TAIL + 8;

/// The stored pairs are not what this crate wrote.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RestoreError {
    /// Neither a group's key nor an offset's.
    #[error("unknown key {0:?} among the stored groups")]
    UnknownKey(Vec<u8>),
    /// The value does not decode.
    #[error("value of key {key:?} does not decode: {source}")]
    Malformed {
        /// Key of the pair.
        key: Vec<u8>,
        /// What is wrong with the value.
        source: prost::DecodeError,
    },
    /// An offset whose group has no record.
    #[error("offsets of group {0} without the group")]
    OrphanedOffsets(String),
}

impl Groups {
    /// The state whose pairs these are, in any order.
    pub fn restore<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, RestoreError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut records: BTreeMap<String, stored::Group> = BTreeMap::new();
        let mut offsets: BTreeMap<String, Entry> = BTreeMap::new();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            let malformed = |source| RestoreError::Malformed { key: key.to_vec(), source };
            match Key::parse(key).ok_or_else(|| RestoreError::UnknownKey(key.to_vec()))? {
                Key::Group(group) => {
                    let record = stored::Group::decode(value).map_err(malformed)?;
                    records.insert(group.to_owned(), record);
                }
                Key::Offset(group, topic_id, partition) => {
                    let stored = stored::Offset::decode(value).map_err(malformed)?;
                    let topics = &mut offsets.entry(group.to_owned()).or_default().offsets;
                    let topic =
                        topics.entry(topic_id).or_insert_with(|| TopicOffsets::new(stored.topic.clone()));
                    topic.partitions.insert(partition, Committed::from_stored(stored));
                }
                Key::Pending(group, topic_id, partition, producer_id) => {
                    let stored = stored::PendingOffset::decode(value).map_err(malformed)?;
                    let pending = &mut offsets.entry(group.to_owned()).or_default().pending;
                    pending.insert((topic_id, partition, producer_id), PendingOffset::from_stored(stored));
                }
            }
        }
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (group, record) in records {
            let found = offsets.remove(&group).unwrap_or_default();
            entries.insert(group, Entry { record, ..found });
        }
        if let Some((group, _)) = offsets.pop_first() {
            return Err(RestoreError::OrphanedOffsets(group));
        }
        Ok(Self { entries })
    }
}

enum Key<'a> {
    Group(&'a str),
    Offset(&'a str, TopicId, i32),
    Pending(&'a str, TopicId, i32, i64),
}

impl<'a> Key<'a> {
    fn parse(key: &'a [u8]) -> Option<Self> {
        if let Some(group) = key.strip_prefix(b"g/") {
            return std::str::from_utf8(group).ok().map(Self::Group);
        }
        if let Some(rest) = key.strip_prefix(b"t/") {
            let (group, tail) = rest.split_at_checked(rest.len().checked_sub(PENDING_TAIL)?)?;
            let (place, producer_id) = tail.split_at_checked(TAIL)?;
            let (topic_id, partition) = parse_place(place)?;
            let producer_id = i64::from_be_bytes(producer_id.try_into().ok()?);
            return Some(Self::Pending(std::str::from_utf8(group).ok()?, topic_id, partition, producer_id));
        }
        let rest = key.strip_prefix(b"o/")?;
        let (group, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL)?)?;
        let (topic_id, partition) = parse_place(tail)?;
        Some(Self::Offset(std::str::from_utf8(group).ok()?, topic_id, partition))
    }
}

/// A slash, topic id and partition.
fn parse_place(bytes: &[u8]) -> Option<(TopicId, i32)> {
    let (topic_id, partition) = bytes.strip_prefix(b"/")?.split_at_checked(16)?;
    Some((TopicId(topic_id.try_into().ok()?), i32::from_be_bytes(partition.try_into().ok()?)))
}

pub(super) fn group_key(group: &str) -> Vec<u8> {
    [b"g/", group.as_bytes()].concat()
}

pub(super) fn offset_key(group: &str, topic_id: TopicId, partition: i32) -> Vec<u8> {
    place_key(b"o/", group, topic_id, partition)
}

pub(super) fn pending_key(group: &str, topic_id: TopicId, partition: i32, producer_id: i64) -> Vec<u8> {
    let mut key = place_key(b"t/", group, topic_id, partition);
    key.extend_from_slice(&producer_id.to_be_bytes());
    key
}

fn place_key(prefix: &[u8], group: &str, topic_id: TopicId, partition: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + group.len() + PENDING_TAIL);
    key.extend_from_slice(prefix);
    key.extend_from_slice(group.as_bytes());
    key.push(b'/');
    key.extend_from_slice(&topic_id.0);
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

pub(super) fn put_group(group: &str, record: &stored::Group, changes: &mut dyn Changes) {
    changes.put(group_key(group), record.encode_to_vec());
}
