//! One record at each tick of a clock: latency until the acknowledgement, and until a consumer has the record.
//!
//! The load is open: a record's time begins when it was due, not when the client came to send it, so that a stall of the
//! broker counts for every record that it held up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message};
use serde_json::{json, Value};

use crate::consume::{assigned, From};
use crate::load::payloads;
use crate::{own_cpu_seconds, Options, Outcome};

/// Nanoseconds from due to acknowledged, of all records so far.
#[derive(Clone)]
struct Timing {
    began: Instant,
    taken: Arc<Mutex<Vec<u64>>>,
}

impl ClientContext for Timing {}

impl ProducerContext for Timing {
    /// When the record was due, in nanoseconds after `began`; a box only because opaques are pointers.
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Box<u64>) {
        if result.is_ok() {
            let now = self.began.elapsed().as_nanos() as u64;
            self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(now - *due);
        }
    }
}

struct Paced {
    producer: Arc<BaseProducer<Timing>>,
    taken: Arc<Mutex<Vec<u64>>>,
    began: Instant,
    count: u64,
    interval: u64,
    size: usize,
}

impl Paced {
    fn new(bootstrap: &str, options: &Options) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (rate, began) = (options.number("rate", 2_000)?, Instant::now());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("acks", options.text("acks", "1"))
            .set("linger.ms", "0")
            .set("socket.nagle.disable", "true")
            .create_with_context(Timing { began, taken: taken.clone() })?;
        let count = rate * options.number("seconds", 10)?;
        Ok(Self {
            producer: Arc::new(producer),
            taken,
            began,
            count,
            interval: 1_000_000_000 / rate,
            size: options.number("size", 1024)?,
        })
    }

    /// Sends every record when it is due. The first eight bytes of its value tell when that was.
    fn run(&self, topic: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.producer.client().fetch_metadata(Some(topic), Duration::from_secs(20))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let poller = std::thread::spawn({
            let (producer, stopped) = (self.producer.clone(), stopped.clone());
            move || {
                while !stopped.load(Ordering::Relaxed) {
                    producer.poll(Duration::from_millis(10));
                }
            }
        });
        let payloads = payloads(self.size);
        let first = self.began.elapsed().as_nanos() as u64 + 1_000_000;
        for i in 0..self.count {
            let due = first + i * self.interval;
            // Sleeping keeps the cores free for the broker; the clock's own lateness (some 60 us) counts on both sides.
            while let Some(left) =
                due.checked_sub(self.began.elapsed().as_nanos() as u64).filter(|left| *left > 0)
            {
                std::thread::sleep(Duration::from_nanos(left));
            }
            let mut payload = payloads[i as usize % payloads.len()].clone();
            payload[..8].copy_from_slice(&due.to_be_bytes());
            let record =
                BaseRecord::<(), [u8], Box<u64>>::with_opaque_to(topic, Box::new(due)).payload(&payload);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        self.producer.flush(Duration::from_secs(30))?;
        stopped.store(true, Ordering::Relaxed);
        poller.join().map_err(|_| "the polling thread panicked")?;
        Ok(())
    }
}

fn report(mut nanos: Vec<u64>, count: u64, cpu: f64) -> Outcome {
    if nanos.len() as u64 != count {
        return Err(format!("{} of {count} records were answered", nanos.len()).into());
    }
    nanos.sort_unstable();
    let at = |share: f64| -> Value { json!(nanos[((nanos.len() - 1) as f64 * share) as usize] as f64 / 1e6) };
    Ok(
        json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0), "records": count, "client_cpu_seconds": own_cpu_seconds() - cpu }),
    )
}

pub fn latency(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let cpu = own_cpu_seconds();
    let paced = Paced::new(bootstrap, options)?;
    paced.run(topic)?;
    let taken = std::mem::take(&mut *paced.taken.lock().map_err(|_| "a callback panicked")?);
    report(taken, paced.count, cpu)
}

pub fn end_to_end(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let cpu = own_cpu_seconds();
    let paced = Paced::new(bootstrap, options)?;
    let (began, count) = (paced.began, paced.count as usize);
    let consumer = assigned(bootstrap, topic, From::End, "read_committed")?;
    // Its connections are there only after a first fetch.
    consumer.poll(Duration::from_millis(1_500));
    let reader = std::thread::spawn(move || {
        let mut taken = Vec::with_capacity(count);
        let mut quiet = 0;
        while taken.len() < count && quiet < 20 {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(500)) else {
                quiet += 1;
                continue;
            };
            quiet = 0;
            if let Some(due) = message.payload().and_then(|value| value.first_chunk::<8>()) {
                taken.push(began.elapsed().as_nanos() as u64 - u64::from_be_bytes(*due));
            }
        }
        taken
    });
    paced.run(topic)?;
    let taken = reader.join().map_err(|_| "the reading thread panicked")?;
    report(taken, paced.count, cpu)
}
