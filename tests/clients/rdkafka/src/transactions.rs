//! `transform` and `transact` (see ../../README.md): transactions as the librdkafka documentation asks for.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use serde_json::json;

use crate::{say, Outcome};

const PATIENCE: Duration = Duration::from_secs(30);

/// An abort waits until the delivery reports of what it throws away are fetched. With `BaseProducer` nobody does meanwhile.
type TransactionalProducer = ThreadedProducer<DefaultProducerContext>;

/// Whether the group has rebalanced since it was last asked.
#[derive(Default)]
struct Rebalanced(AtomicBool);

impl ClientContext for Rebalanced {}

impl ConsumerContext for Rebalanced {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn producer(bootstrap: &str, id: &str) -> KafkaResult<TransactionalProducer> {
    let producer: TransactionalProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "10000")
        .set("socket.timeout.ms", "10000")
        // Or sending offsets waits without bound for a coordinator that is gone (docs/delivery.md).
        .set("connections.max.idle.ms", "3000")
        .set("linger.ms", "0")
        .create()?;
    patiently(|| producer.init_transactions(PATIENCE))?;
    Ok(producer)
}

/// Again while librdkafka says that this is safe: it gives up after a socket's time-out, not after the producer's.
fn patiently(mut ask: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        match ask() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

fn abortable(failure: &KafkaError) -> bool {
    matches!(failure, KafkaError::Transaction(error) if error.txn_requires_abort())
}

fn write(producer: &TransactionalProducer, topic: &str, partition: i32, value: &[u8]) -> KafkaResult<()> {
    let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error)
}

pub fn transform(
    bootstrap: &str,
    source: &str,
    sink: &str,
    group: &str,
    id: &str,
    abort_every: &str,
) -> Outcome {
    let abort_every: u64 = abort_every.parse()?;
    let consumer: BaseConsumer<Rebalanced> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("socket.timeout.ms", "10000")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        // Or its threads may wait for each other when all brokers were away at once (docs/operations.md).
        .set("metadata.recovery.strategy", "none")
        .create_with_context(Rebalanced::default())?;
    let producer = producer(bootstrap, id)?;
    consumer.subscribe(&[source])?;
    let mut number = 0;
    loop {
        let mut messages = Vec::new();
        let until = Instant::now() + Duration::from_millis(100);
        while messages.len() < 50 && Instant::now() < until {
            let polled = consumer.poll(Duration::from_millis(20));
            if consumer.context().0.swap(false, Ordering::Relaxed) {
                // What was read before is read again, by whoever has it now: from the committed offset.
                messages.clear();
            }
            if let Some(Ok(message)) = polled {
                let value = message.payload().unwrap_or_default().to_vec();
                messages.push((message.partition(), message.offset(), value));
            }
        }
        if messages.is_empty() {
            continue;
        }
        number += 1;
        let (mut first, mut following) = (BTreeMap::new(), TopicPartitionList::new());
        for &(partition, offset, _) in &messages {
            first.entry(partition).or_insert(offset);
        }
        for &partition in first.keys() {
            let last = messages.iter().rfind(|it| it.0 == partition).map_or(0, |it| it.1);
            following.add_partition_offset(source, partition, Offset::Offset(last + 1))?;
        }
        producer.begin_transaction()?;
        let moved = || -> KafkaResult<bool> {
            for (partition, _, value) in &messages {
                write(&producer, sink, *partition, value)?;
            }
            let metadata = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
            patiently(|| producer.send_offsets_to_transaction(&following, &metadata, PATIENCE))?;
            if number % abort_every == 0 {
                producer.flush(PATIENCE)?;
                return Ok(false);
            }
            patiently(|| producer.commit_transaction(PATIENCE))?;
            Ok(true)
        };
        match moved() {
            Ok(true) => {
                say(json!({ "committed": messages.len() }));
                continue;
            }
            Ok(false) => {}
            Err(failure) if abortable(&failure) => say(json!({ "trouble": failure.to_string() })),
            Err(failure) => return Err(failure.into()),
        }
        patiently(|| producer.abort_transaction(PATIENCE))?;
        say(json!({ "aborted": messages.len() }));
        for (partition, offset) in first {
            // Fails where a rebalance took it away: the new owner begins at the committed offset.
            let _ = consumer.seek(source, partition, Offset::Offset(offset), PATIENCE);
        }
    }
}

pub fn transact(
    bootstrap: &str,
    topic: &str,
    [partitions, id, first, every_ms, abort_every]: [&str; 5],
) -> Outcome {
    let (partitions, abort_every): (i32, i64) = (partitions.parse()?, abort_every.parse()?);
    let every = Duration::from_millis(every_ms.parse()?);
    let ended = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            // An error is the end as well.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            ended.store(true, Ordering::Relaxed);
        }
    });
    let clock = Instant::now();
    let now = || u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
    let producer = producer(bootstrap, id)?;
    let mut number: i64 = first.parse()?;
    while !ended.load(Ordering::Relaxed) {
        let chosen: Vec<i32> = (0..partitions).filter(|&it| (number + i64::from(it)) % 3 > 0).collect();
        let began = now();
        let tell = |outcome: &str, why: Option<&KafkaError>| {
            say(json!({
                "transaction": number, "outcome": outcome, "began": began, "ended": now(), "partitions": chosen,
                "why": why.map(ToString::to_string),
            }));
        };
        let mut committing = false;
        let mut attempt = || -> KafkaResult<()> {
            producer.begin_transaction()?;
            for &partition in &chosen {
                write(&producer, topic, partition, format!("{id}/{number}").as_bytes())?;
            }
            producer.flush(PATIENCE)?;
            committing = number % abort_every != 0;
            if committing {
                patiently(|| producer.commit_transaction(PATIENCE))
            } else {
                patiently(|| producer.abort_transaction(PATIENCE))
            }
        };
        match attempt() {
            Ok(()) => tell(if committing { "committed" } else { "aborted" }, None),
            Err(failure) if abortable(&failure) => {
                patiently(|| producer.abort_transaction(PATIENCE))?;
                tell("aborted", Some(&failure));
            }
            Err(failure) => {
                tell(if committing { "unknown" } else { "aborted" }, Some(&failure));
                return Err(failure.into());
            }
        }
        number += 1;
        std::thread::sleep(every);
    }
    Ok(())
}
