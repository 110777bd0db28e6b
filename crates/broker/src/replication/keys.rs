//! A partition's name among brokers: always by topic id, as a name may be used again (KIP-516).

use milena_peer::replica::message::Key;
use milena_wire::Uuid;

use crate::hosted::Hosted;

/// A partition, by the id of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    /// Id of the topic.
    pub(crate) topic: Uuid,
    /// Partition index.
    pub(crate) index: i32,
}

impl PartitionKey {
    /// Of a hosted partition.
    pub(crate) fn of(hosted: &Hosted) -> Self {
        Self { topic: hosted.topic_id, index: hosted.index }
    }

    /// As it travels.
    pub(crate) fn to_message(self) -> Key {
        let bits = u128::from_be_bytes(self.topic.0);
        Key { topic_high: (bits >> 64) as u64, topic_low: bits as u64, index: self.index }
    }

    /// As it arrived.
    pub(crate) fn from_message(key: &Key) -> Self {
        let bits = u128::from(key.topic_high) << 64 | u128::from(key.topic_low);
        Self { topic: Uuid(bits.to_be_bytes()), index: key.index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_arrives_as_it_was_sent() {
        let key = PartitionKey { topic: Uuid(std::array::from_fn(|at| 250 - at as u8)), index: 7 };
        assert_eq!(PartitionKey::from_message(&key.to_message()), key);
    }
}
