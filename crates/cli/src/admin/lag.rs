//! How old the first record is that a group has not consumed.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::{Client, Consumer, ConsumerOptions, Error, OffsetReset, OffsetSpec};
use tokio::time::Instant;

use super::TopicPartition;

/// Longest that all records together are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Timestamps, in milliseconds since 1970, of the first record at or after each offset. Partitions whose
/// record does not come in time are left out.
pub async fn timestamps(
    client: &Client,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, i64>, Error> {
    let mut found = BTreeMap::new();
    if offsets.is_empty() {
        return Ok(found);
    }
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..ConsumerOptions::default() };
    let start =
        |(it, offset): (&TopicPartition, &i64)| ((it.topic.clone(), it.partition), OffsetSpec::At(*offset));
    let mut consumer = Consumer::assign(client, options, offsets.iter().map(start));
    let deadline = Instant::now() + PATIENCE;
    while found.len() < offsets.len() && Instant::now() < deadline {
        for batch in consumer.poll(deadline - Instant::now()).await? {
            let partition = TopicPartition::new(&*batch.topic, batch.partition);
            if let Some(record) = batch.iter().next() {
                found.entry(partition).or_insert(record?.timestamp);
            }
        }
    }
    Ok(found)
}
