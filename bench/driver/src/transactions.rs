//! Transactions of a given length, one after the other, each as full as it goes: throughput, and how long a commit takes.
//!
//! With `every=0` the same producer writes without transactions for as long, idempotent or not, so that what exactly once
//! costs is read off one table.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::ClientConfig;

use crate::load::payloads;
use crate::tally::{report, Tally};
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

fn produce_for(
    number: usize,
    bootstrap: &str,
    topic: &str,
    options: &Options,
    payloads: &[Vec<u8>],
) -> Result<Tally, Box<dyn std::error::Error + Send + Sync>> {
    let every = Duration::from_millis(options.number("every", 100)?);
    let length = Duration::from_secs(options.number("seconds", 10)?);
    let most: u64 = options.number("records", u64::MAX)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", options.text("linger", "5"))
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        // What a commit has to flush stays small, whoever the broker is.
        .set("queue.buffering.max.messages", "20000")
        .set("enable.idempotence", options.text("idempotence", "true"));
    if !every.is_zero() {
        config.set("transactional.id", format!("bench-{topic}-{number}"));
    }
    let producer: BaseProducer = config.create()?;
    producer.client().fetch_metadata(Some(topic), PATIENCE)?;
    if !every.is_zero() {
        producer.init_transactions(PATIENCE)?;
    }
    let mut run = Tally::default();
    let began = Instant::now();
    while began.elapsed() < length {
        let until = if every.is_zero() { length } else { (began.elapsed() + every).min(length) };
        if !every.is_zero() {
            producer.begin_transaction()?;
        }
        let mut sent = 0;
        while sent < most && began.elapsed() < until {
            let payload = &payloads[(run.records + sent) as usize % payloads.len()];
            match producer.send(BaseRecord::<(), [u8]>::to(topic).payload(payload)) {
                Ok(()) => sent += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        let ending = Instant::now();
        // librdkafka's own flush looks every 100 ms only, where deliveries are told as events, as they are here.
        while producer.in_flight_count() > 0 && ending.elapsed() < PATIENCE {
            producer.poll(Duration::from_millis(1));
        }
        if every.is_zero() {
            producer.flush(PATIENCE)?;
        } else {
            producer.commit_transaction(PATIENCE)?;
            run.commits.push(ending.elapsed().as_nanos() as u64);
        }
        run.records += sent;
    }
    Ok(run)
}

pub fn transact(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let payloads = payloads(options.number("size", 1024)?);
    let producers = options.number("producers", 1)?;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let runs = on_threads(producers, |number| produce_for(number, bootstrap, topic, options, &payloads))?;
    Ok(report(runs.iter(), began.elapsed().as_secs_f64(), own_cpu_seconds() - cpu))
}
