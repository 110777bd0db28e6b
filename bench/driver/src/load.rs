//! As much as goes: throughput of one librdkafka producer, or of several at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::json;

use crate::{on_threads, own_cpu_seconds, Options, Outcome};

/// Counts what the broker said about each record.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone, Default)]
struct Counting(Arc<Tally>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let counter = if result.is_ok() { &self.0.acknowledged } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Different log lines of one application: what text compresses to, neither zeros nor noise (lz4 about 2.5 : 1).
pub fn payloads(size: usize) -> Vec<Vec<u8>> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..1_024)
        .map(|line| {
            let mut text = Vec::with_capacity(size + 64);
            while text.len() < size {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let field =
                    format!("{{\"line\":{line},\"user\":{},\"amount\":{}}}", state % 100_000, state >> 40);
                text.extend_from_slice(field.as_bytes());
            }
            text.truncate(size);
            text
        })
        .collect()
}

/// Sends `count` records through one producer, until all are acknowledged.
fn send(
    bootstrap: &str,
    topic: &str,
    options: &Options,
    payloads: &[Vec<u8>],
    count: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let tally = Counting::default();
    let producer: BaseProducer<Counting> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", options.text("acks", "1"))
        .set("compression.type", options.text("codec", "none"))
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(tally.clone())?;
    producer.client().fetch_metadata(Some(topic), Duration::from_secs(20))?;
    let keys: usize = options.number("keys", 0)?;
    for i in 0..count {
        // Spread by a large prime, so that no two neighbours of the log have neighbouring keys.
        let key = (keys > 0).then(|| (i * 1_000_003 % keys).to_string());
        let mut record = BaseRecord::<str, [u8]>::to(topic).payload(&payloads[i % payloads.len()]);
        record.key = key.as_deref();
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        if i % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let acknowledged = tally.0.acknowledged.load(Ordering::Relaxed);
    if acknowledged != count as u64 {
        let failed = tally.0.failed.load(Ordering::Relaxed);
        return Err(format!("{acknowledged} of {count} records acknowledged, {failed} failed").into());
    }
    Ok(())
}

pub fn produce(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let payloads = payloads(options.number("size", 1024)?);
    let producers = options.number("producers", 1)?;
    let each = options.number("count", 100_000_usize)?.div_ceil(producers);
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    on_threads(producers, |_| send(bootstrap, topic, options, &payloads, each))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "records": each * producers, "seconds": seconds, "client_cpu_seconds": own_cpu_seconds() - cpu,
    }))
}
