//! The load's producer: one record per partition and tick, each waited for.

use std::sync::Arc;
use std::time::Duration;

use milena_check::{Event, Micros, Outcome, Send};
use milena_client::{Delivery, Error, Producer, ProducerRecord};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::load::Shape;
use super::record::{payload, value};
use super::recorder::Recorder;

/// Number of the load's producer in the history; probes have others.
pub const PRODUCER: u32 = 1;
/// Sends whose outcome may be waited for, for each partition.
pub const MAX_WAITING: usize = 1 << 20;
/// Pause after a record that was not taken.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A record that was sent and is waited for.
pub struct Sent {
    began: Micros,
    number: u64,
    value: u64,
    delivery: Delivery,
}

/// Sends to one partition, and passes on what is to be waited for.
pub async fn write(
    producer: Arc<Producer>,
    shape: Shape,
    partition: i32,
    recorder: Arc<Recorder>,
    sent: mpsc::Sender<Sent>,
) {
    // Not all partitions at the same moment.
    let phase = shape.every.mul_f64(f64::from(partition) / f64::from(shape.partitions));
    let mut ticks = interval_at(Instant::now() + phase, shape.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 1.. {
        ticks.tick().await;
        let value = value(PRODUCER, partition, number);
        let text = payload(value, shape.record_size);
        let record = ProducerRecord {
            topic: &shape.topic,
            partition: Some(partition),
            value: Some(text.as_bytes()),
            ..ProducerRecord::default()
        };
        let began = recorder.now();
        match producer.send(record).await {
            Ok(delivery) => {
                // The settler lives as long as this channel.
                let _ = sent.send(Sent { began, number, value, delivery }).await;
            }
            // It was not taken: nothing was sent.
            Err(error) => {
                recorder.errors("producer", error.name(), 1);
                sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Waits for what was sent to one partition, until it is no longer `patient`.
pub async fn settle(
    recorder: Arc<Recorder>,
    partition: String,
    mut sent: mpsc::Receiver<Sent>,
    mut patient: watch::Receiver<bool>,
) {
    while let Some(Sent { began, number, value, delivery }) = sent.recv().await {
        let result = tokio::select! {
            biased;
            result = delivery.wait() => result,
            _ = patient.wait_for(|on| !on) => Err(Error::Closed),
        };
        let outcome = match result {
            Ok(it) => Outcome::Acked {
                offset: (it.offset >= 0).then_some(it.offset),
                broker: (it.broker >= 0).then_some(it.broker),
            },
            // Earlier tries may have been appended, whatever the last one said.
            Err(error) => Outcome::Unknown { why: error.name().into() },
        };
        let ended = recorder.now();
        let partition = partition.clone();
        let producer = PRODUCER;
        let transaction = None;
        recorder.record(Event::Send(Send {
            began,
            ended,
            producer,
            number,
            partition,
            value,
            transaction,
            outcome,
        }));
    }
}
