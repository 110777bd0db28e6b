//! The stored pairs: one per group, one per committed offset.
//!
//! `g/<group id>` holds a `Group`; `o/<group id>/<topic id, 16 bytes><partition, 4 bytes big-endian>` an
//! `Offset`. The end of an offset's key has a fixed length, so a group id may hold any character.

use std::collections::BTreeMap;

use prost::Message;

use super::offsets::{Committed, TopicOffsets};
use super::{Changes, Entry, Groups};
use crate::event::TopicId;
use crate::stored;

const TAIL: usize = 1 + 16 + 4;

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
        let mut offsets: BTreeMap<String, BTreeMap<TopicId, TopicOffsets>> = BTreeMap::new();
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
                    let topics = offsets.entry(group.to_owned()).or_default();
                    let topic =
                        topics.entry(topic_id).or_insert_with(|| TopicOffsets::new(stored.topic.clone()));
                    topic.partitions.insert(partition, Committed::from_stored(stored));
                }
            }
        }
        let mut entries: BTreeMap<String, Entry> = records
            .into_iter()
            .map(|(group, record)| (group, Entry { record, offsets: BTreeMap::new() }))
            .collect();
        for (group, topics) in offsets {
            match entries.get_mut(&group) {
                Some(entry) => entry.offsets = topics,
                None => return Err(RestoreError::OrphanedOffsets(group)),
            }
        }
        Ok(Self { entries })
    }
}

enum Key<'a> {
    Group(&'a str),
    Offset(&'a str, TopicId, i32),
}

impl<'a> Key<'a> {
    fn parse(key: &'a [u8]) -> Option<Self> {
        if let Some(group) = key.strip_prefix(b"g/") {
            return std::str::from_utf8(group).ok().map(Self::Group);
        }
        let rest = key.strip_prefix(b"o/")?;
        let (group, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL)?)?;
        let (topic_id, partition) = tail.strip_prefix(b"/")?.split_at_checked(16)?;
        let topic_id = TopicId(topic_id.try_into().ok()?);
        let partition = i32::from_be_bytes(partition.try_into().ok()?);
        Some(Self::Offset(std::str::from_utf8(group).ok()?, topic_id, partition))
    }
}

pub(super) fn group_key(group: &str) -> Vec<u8> {
    [b"g/", group.as_bytes()].concat()
}

pub(super) fn offset_key(group: &str, topic_id: TopicId, partition: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + group.len() + TAIL);
    key.extend_from_slice(b"o/");
    key.extend_from_slice(group.as_bytes());
    key.push(b'/');
    key.extend_from_slice(&topic_id.0);
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

pub(super) fn put_group(group: &str, record: &stored::Group, changes: &mut dyn Changes) {
    changes.put(group_key(group), record.encode_to_vec());
}
