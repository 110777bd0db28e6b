//! Reads a topic from its beginning as fast as it comes.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::json;

use crate::{own_cpu_seconds, Options, Outcome};

/// Where a consumer begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Beginning,
    /// The end as it is now: "latest" is looked up later, when records may have been written meanwhile.
    End,
}

/// A consumer of all partitions of `topic`, without a group.
pub fn assigned(
    bootstrap: &str,
    topic: &str,
    from: From,
    isolation: &str,
) -> Result<BaseConsumer, Box<dyn std::error::Error + Send + Sync>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .set("fetch.wait.max.ms", "500")
        .set("queued.min.messages", "1000000")
        // It is full now and then where a broker answers faster than the client counts; the default then sleeps for a second.
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(20))?;
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let offset = match from {
            From::Beginning => Offset::Beginning,
            From::End => {
                Offset::Offset(consumer.fetch_watermarks(topic, partition.id(), Duration::from_secs(20))?.1)
            }
        };
        assignment.add_partition_offset(topic, partition.id(), offset)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

pub fn consume(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let count: u64 = options.number("count", 100_000)?;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let consumer = assigned(bootstrap, topic, From::Beginning, options.text("isolation", "read_committed"))?;
    let (mut read, mut bytes) = (0_u64, 0_u64);
    while read < count {
        if began.elapsed() > Duration::from_secs(120) {
            return Err(format!("{read} of {count} records within 120 s").into());
        }
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        bytes += message?.payload_len() as u64;
        read += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(
        json!({ "records": read, "bytes": bytes, "seconds": seconds, "client_cpu_seconds": own_cpu_seconds() - cpu }),
    )
}
