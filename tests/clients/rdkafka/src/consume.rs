//! Reads: everything from the beginning, as a member of a group, and positions by time stamp.

use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{json, Map, Value};

use crate::{say, Outcome};

const PATIENCE: Duration = Duration::from_secs(20);

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> Result<Vec<i32>, Box<dyn std::error::Error>> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    Ok(metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect())
}

pub fn consume(bootstrap: &str, topic: &str, count: &str) -> Outcome {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + PATIENCE;
    let mut left: usize = count.parse()?;
    while left > 0 {
        if Instant::now() > deadline {
            return Err(format!("{left} of {count} records are missing after {PATIENCE:?}").into());
        }
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let message = message?;
        let mut headers = Map::new();
        for header in message.headers().map(|all| all.iter().collect::<Vec<_>>()).unwrap_or_default() {
            headers.insert(header.key.to_owned(), Value::String(text(header.value)));
        }
        say(json!({
            "partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp().to_millis(),
            "key": text(message.key()), "value": text(message.payload()), "headers": headers,
        }));
        left -= 1;
    }
    Ok(())
}

/// Tells every assignment.
struct Announce;

impl ClientContext for Announce {}

impl ConsumerContext for Announce {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let mut assigned: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
            assigned.sort_unstable();
            say(json!({ "assigned": assigned }));
        }
    }
}

pub fn member(bootstrap: &str, topic: &str, group: &str) -> Outcome {
    let consumer: BaseConsumer<Announce> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .create_with_context(Announce)?;
    consumer.subscribe(&[topic])?;
    loop {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        read(&consumer, &message?);
    }
}

fn read(consumer: &BaseConsumer<Announce>, message: &BorrowedMessage<'_>) {
    let (partition, offset) = (message.partition(), message.offset());
    say(
        json!({ "partition": partition, "offset": offset, "key": text(message.key()), "value": text(message.payload()) }),
    );
    // A commit that a rebalance overtook fails: the new owner reads the record again.
    if consumer.commit_message(message, CommitMode::Sync).is_ok() {
        say(json!({ "committed": offset + 1, "partition": partition }));
    }
}

pub fn offsets(bootstrap: &str, topic: &str, timestamp: &str) -> Outcome {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", "unused").create()?;
    let mut asked = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        asked.add_partition_offset(topic, partition, Offset::Offset(timestamp.parse()?))?;
    }
    for found in consumer.offsets_for_times(asked, PATIENCE)?.elements() {
        let offset = if let Offset::Offset(offset) = found.offset() { offset } else { -1 };
        say(json!({ "partition": found.partition(), "offset": offset }));
    }
    Ok(())
}
