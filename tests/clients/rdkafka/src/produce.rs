//! Sends the records that ../README.md describes and tells where each went.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::ClientConfig;
use serde_json::json;

use crate::{say, Outcome};

pub async fn produce(bootstrap: &str, topic: &str, modes: [&str; 3], count: &str, base_ms: &str) -> Outcome {
    let [codec, acks, idempotent] = modes;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.type", codec)
        .set("acks", acks)
        .set("enable.idempotence", if idempotent == "1" { "true" } else { "false" })
        .set("linger.ms", "5")
        // A batch wider than the records of one flight would hide faults in the order of batches.
        .set("batch.num.messages", "50")
        .create()?;
    let base_ms: i64 = base_ms.parse()?;
    let mut deliveries = Vec::new();
    for i in 0..count.parse::<i64>()? {
        let (key, value, header) =
            (format!("key-{}", i % 10), format!("value-{i}-{}", "x".repeat(100)), i.to_string());
        let record = FutureRecord::to(topic)
            .key(&key)
            .payload(&value)
            .timestamp(base_ms + i)
            .headers(OwnedHeaders::new().insert(Header { key: "h", value: Some(&header) }));
        deliveries.push(producer.send_result(record).map_err(|(error, _)| error)?);
    }
    for (i, delivery) in deliveries.into_iter().enumerate() {
        let sent =
            tokio::time::timeout(Duration::from_secs(30), delivery).await??.map_err(|(error, _)| error)?;
        say(json!({ "i": i, "partition": sent.partition, "offset": sent.offset }));
    }
    Ok(())
}
