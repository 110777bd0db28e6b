//! Where brokers keep replicas.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};

use super::{TopicPartition, by_topic};

/// Directory of each replica that `broker` has of `partitions`.
pub async fn of_broker(
    client: &Client,
    broker: i32,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> Result<BTreeMap<TopicPartition, String>, Error> {
    let topics = by_topic(partitions.map(|it| (it.clone(), ()))).into_iter();
    let topics = topics.map(|(topic, partitions)| DescribableLogDirTopic {
        topic: topic.into(),
        partitions: partitions.into_iter().map(|(index, ())| index).collect(),
    });
    let request = DescribeLogDirsRequest { topics: Some(topics.collect()) };
    let answer = client.send_to(Target::Broker(broker), request).await?;
    let mut found = BTreeMap::new();
    for dir in answer.results.into_iter().filter(|it| it.error_code == 0) {
        for topic in &dir.topics {
            for partition in topic.partitions.iter().filter(|it| !it.is_future_key) {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                found.insert(at, dir.log_dir.to_string());
            }
        }
    }
    Ok(found)
}
