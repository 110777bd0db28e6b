//! What the tools ask of a cluster, in plain values: shared by `milena` and by Apache's tools.

pub mod cluster;
pub mod configs;
pub mod elections;
pub mod group_offsets;
pub mod groups;
pub mod lag;
pub mod log_dirs;
pub mod offsets;
pub mod reassignments;
pub mod topics;
pub mod transactions;
pub mod voters;

use std::fmt;

use milena_client::{Client, Error};

/// Longest that a broker may take over a change, in milliseconds.
const CHANGE_TIMEOUT_MS: i32 = 30_000;

/// A partition by its topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<String>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// `Err` if `code` is one; `what` says what was to be done.
fn check(what: impl FnOnce() -> String, code: i16, message: Option<&str>) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error::refused(what(), code, message.map(str::to_owned))),
    }
}

/// Groups partitions by topic, for requests that nest them; keeps the order of first appearance.
pub fn by_topic<T>(
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> Vec<(String, Vec<(i32, T)>)> {
    let mut topics: Vec<(String, Vec<(i32, T)>)> = Vec::new();
    for (TopicPartition { topic, partition }, value) in partitions {
        match topics.iter_mut().find(|(name, _)| *name == topic) {
            Some((_, partitions)) => partitions.push((partition, value)),
            None => topics.push((topic, vec![(partition, value)])),
        }
    }
    topics
}

/// The brokers that are alive, ascending.
pub fn live_brokers(client: &Client) -> Vec<i32> {
    client.metadata().brokers.keys().copied().collect()
}
