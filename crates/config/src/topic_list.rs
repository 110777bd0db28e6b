//! `KAFKA_CREATE_TOPICS`: topics that a container creates at its first start.

use crate::StartError;

/// One topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicToCreate {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Number of replicas.
    pub replication_factor: i16,
    /// `cleanup.policy`, where the list gives one.
    pub cleanup_policy: Option<String>,
}

/// Reads `name:partitions:replicas[:cleanup.policy]`, separated by commas or line ends.
pub fn parse(text: &str) -> Result<Vec<TopicToCreate>, StartError> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| parse_entry(entry).ok_or_else(|| StartError::CreateTopics { entry: entry.to_owned() }))
        .collect()
}

fn parse_entry(entry: &str) -> Option<TopicToCreate> {
    let mut parts = entry.split(':').map(str::trim);
    let topic = TopicToCreate {
        name: parts.next().filter(|name| !name.is_empty())?.to_owned(),
        partitions: parts.next()?.parse().ok()?,
        replication_factor: parts.next()?.parse().ok()?,
        // The image this comes from joins policies with a plus, as the comma is taken.
        cleanup_policy: parts.next().map(|policy| policy.replace('+', ",")),
    };
    parts.next().is_none().then_some(topic)
}
