//! One transactional id and its present transaction.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::refusal::Refusal;
use crate::state::{State, TopicId, TransactionVersion};
use crate::stored;

/// A producer at one moment of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdAndEpoch {
    /// Never negative.
    pub producer_id: i64,
    /// 0 to 32767.
    pub epoch: i16,
}

impl ProducerIdAndEpoch {
    /// The last epoch that a client may hold; one more is left for fencing it.
    pub(crate) const LAST_EPOCH: i16 = i16::MAX - 1;

    /// Whether no epoch follows that a client may hold.
    pub(crate) fn is_exhausted(self) -> bool {
        self.epoch >= Self::LAST_EPOCH
    }

    pub(crate) fn bumped(self) -> Self {
        Self { epoch: self.epoch.saturating_add(1), ..self }
    }

    pub(crate) fn to_stored(self) -> stored::ProducerIdAndEpoch {
        stored::ProducerIdAndEpoch { producer_id: self.producer_id, epoch: self.epoch.into() }
    }

    pub(crate) fn from_stored(stored: stored::ProducerIdAndEpoch) -> Option<Self> {
        Some(Self { producer_id: stored.producer_id, epoch: stored.epoch.try_into().ok()? })
    }
}

/// A set of partitions, by topic id. The name is the topic's when it was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<TopicId, (String, BTreeSet<i32>)>);

impl Partitions {
    /// Adds one; whether it is new.
    pub fn insert(&mut self, topic_id: TopicId, topic: &str, partition: i32) -> bool {
        let (_, partitions) = self.0.entry(topic_id).or_insert_with(|| (topic.to_owned(), BTreeSet::new()));
        partitions.insert(partition)
    }

    /// Removes one; whether it was there.
    pub fn remove(&mut self, topic_id: TopicId, partition: i32) -> bool {
        let Some((_, partitions)) = self.0.get_mut(&topic_id) else { return false };
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            self.0.remove(&topic_id);
        }
        removed
    }

    /// Removes all of a topic; whether there were any.
    pub fn remove_topic(&mut self, topic_id: TopicId) -> bool {
        self.0.remove(&topic_id).is_some()
    }

    /// Whether it is one of them.
    pub fn contains(&self, topic_id: TopicId, partition: i32) -> bool {
        self.0.get(&topic_id).is_some_and(|(_, partitions)| partitions.contains(&partition))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(|(_, partitions)| partitions.len()).sum()
    }

    /// Topic id, topic name and partition, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, &str, i32)> {
        self.0.iter().flat_map(|(id, (name, all))| all.iter().map(|it| (*id, name.as_str(), *it)))
    }

    /// Topic id, topic name and its partitions, ascending.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &str, &BTreeSet<i32>)> {
        self.0.iter().map(|(id, (name, all))| (*id, name.as_str(), all))
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (topic_id, topic, partition) in other.iter() {
            self.insert(topic_id, topic, partition);
        }
    }

    pub(crate) fn to_stored(&self) -> Vec<stored::Topic> {
        let topics = self.0.iter().map(|(id, (name, all))| stored::Topic {
            id: Bytes::copy_from_slice(&id.0),
            name: name.clone(),
            partitions: all.iter().copied().collect(),
        });
        topics.collect()
    }

    /// Topics whose id is not one are left out: nobody wrote such.
    pub(crate) fn from_stored(topics: Vec<stored::Topic>) -> Self {
        let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty());
        Self(
            topics
                .filter_map(|topic| {
                    let id = TopicId(topic.id.as_ref().try_into().ok()?);
                    Some((id, (topic.name, topic.partitions.into_iter().collect())))
                })
                .collect(),
        )
    }
}

impl<'a> FromIterator<(TopicId, &'a str, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (TopicId, &'a str, i32)>>(all: I) -> Self {
        let mut partitions = Self::default();
        for (topic_id, topic, partition) in all {
            partitions.insert(topic_id, topic, partition);
        }
        partitions
    }
}

/// What is known of one transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) producer: ProducerIdAndEpoch,
    pub(crate) last: Option<ProducerIdAndEpoch>,
    pub(crate) next_producer_id: Option<i64>,
    pub(crate) ended: Option<ProducerIdAndEpoch>,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    pub(crate) version: TransactionVersion,
    pub(crate) partitions: Partitions,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) start_time_ms: Option<i64>,
    pub(crate) update_time_ms: i64,
    pub(crate) sequence: u64,
}

impl Transaction {
    /// The producer; while markers are missing, with the epoch that these carry.
    pub fn producer(&self) -> ProducerIdAndEpoch {
        self.producer
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// `transaction.timeout.ms` of its producer.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// When the last transaction began, by its coordinator's clock; `None` before the first.
    pub fn start_time_ms(&self) -> Option<i64> {
        self.start_time_ms
    }

    /// When anything last changed, by the coordinator's clock.
    pub fn update_time_ms(&self) -> i64 {
        self.update_time_ms
    }

    /// Log index of the entry that began the last transaction; names it for ever.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Partitions of the transaction; once it is decided, those that still lack the marker.
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Groups whose offsets are part of the ongoing transaction.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// What the producer is, or will be once the markers are written.
    pub(crate) fn successor(&self) -> ProducerIdAndEpoch {
        match self.next_producer_id {
            Some(producer_id) => ProducerIdAndEpoch { producer_id, epoch: 0 },
            None => self.producer,
        }
    }

    /// When it is to be aborted; `None` if no transaction is open or two-phase commit keeps it open
    /// (KIP-939: the largest time-out is none).
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        let open = self.state == State::Ongoing && self.timeout_ms != i32::MAX;
        open.then(|| self.start_time_ms.unwrap_or_default().saturating_add(self.timeout_ms.into()))
    }

    /// Whether a client may speak for this transaction now: 49, 90, or 51 while markers are missing.
    pub(crate) fn check(&self, claim: ProducerIdAndEpoch) -> Result<(), Refusal> {
        if self.state.is_prepared() && (claim == self.successor() || claim == self.producer) {
            return Err(Refusal::ConcurrentTransactions);
        }
        if claim.producer_id != self.producer.producer_id {
            return Err(Refusal::InvalidProducerIdMapping);
        }
        if claim.epoch != self.producer.epoch {
            return Err(Refusal::ProducerFenced);
        }
        Ok(())
    }

    pub(crate) fn to_stored(&self) -> stored::Transaction {
        stored::Transaction {
            producer: Some(self.producer.to_stored()),
            last: self.last.map(ProducerIdAndEpoch::to_stored),
            next_producer_id: self.next_producer_id,
            ended: self.ended.map(ProducerIdAndEpoch::to_stored),
            timeout_ms: self.timeout_ms,
            state: self.state.to_stored().into(),
            bumped: self.version == TransactionVersion::V2,
            topics: self.partitions.to_stored(),
            groups: self.groups.iter().cloned().collect(),
            start_time_ms: self.start_time_ms,
            update_time_ms: self.update_time_ms,
            sequence: self.sequence,
        }
    }

    pub(crate) fn from_stored(stored: stored::Transaction) -> Option<Self> {
        Some(Self {
            producer: ProducerIdAndEpoch::from_stored(stored.producer?)?,
            last: stored.last.and_then(ProducerIdAndEpoch::from_stored),
            next_producer_id: stored.next_producer_id,
            ended: stored.ended.and_then(ProducerIdAndEpoch::from_stored),
            timeout_ms: stored.timeout_ms,
            state: State::from_stored(stored::State::try_from(stored.state).ok()?),
            version: if stored.bumped { TransactionVersion::V2 } else { TransactionVersion::V0 },
            partitions: Partitions::from_stored(stored.topics),
            groups: stored.groups.into_iter().collect(),
            start_time_ms: stored.start_time_ms,
            update_time_ms: stored.update_time_ms,
            sequence: stored.sequence,
        })
    }
}
