//! Moving replicas to other brokers.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};

use super::{CHANGE_TIMEOUT_MS, TopicPartition, by_topic, check};

/// What is wanted of a partition: these replicas, or with `None` the end of a move that is under way.
pub type Wanted = Option<Vec<i32>>;

/// Starts or cancels moves; error code and the broker's words of those that were refused.
pub async fn alter(
    client: &Client,
    wanted: &BTreeMap<TopicPartition, Wanted>,
    may_change_factor: bool,
) -> Result<BTreeMap<TopicPartition, (i16, Option<String>)>, Error> {
    let topics = by_topic(wanted.iter().map(|(partition, wanted)| (partition.clone(), wanted.clone())));
    let topic = |(name, partitions): (String, Vec<(i32, Wanted)>)| ReassignableTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, replicas)| ReassignablePartition { partition_index, replicas })
            .collect(),
    };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: CHANGE_TIMEOUT_MS,
        allow_replication_factor_change: may_change_factor,
        topics: topics.into_iter().map(topic).collect(),
    };
    let answer = client.send_to(Target::Controller, request).await?;
    check(|| "reassign partitions".to_owned(), answer.error_code, answer.error_message.as_deref())?;
    let refused = answer.responses.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().filter(|it| it.error_code != 0).map(move |it| {
            let words = it.error_message.map(|words| words.to_string());
            (TopicPartition::new(name.as_str(), it.partition_index), (it.error_code, words))
        })
    });
    Ok(refused.collect())
}
