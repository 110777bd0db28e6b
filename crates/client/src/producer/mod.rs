//! Sending records: gathered into batches per partition, several requests under way at a time.

mod accumulator;
mod lane;
mod options;
mod outcome;
mod partitioner;
mod record;
mod sender;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use milena_wire::ErrorCode;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Client, Error};
use accumulator::Accumulator;

pub use options::{Acks, ProducerOptions};
pub use outcome::{Delivered, Delivery};
pub use partitioner::partition_for_key;
pub use record::ProducerRecord;

/// Sends records. Dropping it gives up what was not sent; see [`Producer::flush`].
pub struct Producer {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
}

/// What the producer and its task share.
pub(crate) struct Shared {
    client: Client,
    options: ProducerOptions,
    accumulator: Mutex<Accumulator>,
    /// Bytes that records may still take.
    memory: Semaphore,
    /// Wakes the sender.
    look: Notify,
    /// Told whenever batches are settled.
    settled: Notify,
    /// Why the producer has ended, if it has.
    ended: Mutex<Option<Error>>,
    /// What brokers and connections said no with, and how often, retries included.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Producer {
    /// Starts a producer; an idempotent one gets its producer id first.
    pub async fn start(client: &Client, options: ProducerOptions) -> Result<Self, Error> {
        let seed = std::hash::RandomState::new().build_hasher().finish();
        let shared = Arc::new(Shared {
            client: client.clone(),
            accumulator: Mutex::new(Accumulator::new(seed)),
            memory: Semaphore::new(options.buffer_memory),
            look: Notify::new(),
            settled: Notify::new(),
            ended: Mutex::new(None),
            refusals: Mutex::default(),
            options,
        });
        let identity = match shared.options.idempotent {
            true => Some(sender::new_identity(client).await?),
            false => None,
        };
        let sender = tokio::spawn(sender::run(shared.clone(), identity));
        Ok(Self { shared, sender })
    }

    /// Adds a record to its batch. Waits only for the topic's metadata, and while the memory is full.
    ///
    /// # Errors
    /// When the record cannot be sent at all; what happens to it later, the [`Delivery`] tells.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Delivery, Error> {
        let shared = &self.shared;
        let size = record.size();
        if size > shared.options.max_request_size.min(shared.options.buffer_memory) {
            let message = format!(
                "the record takes {size} bytes, max_request_size is {}",
                shared.options.max_request_size
            );
            let code = ErrorCode::MessageTooLarge.code();
            return Err(Error::refused(format!("send to {}", record.topic), code, Some(message)));
        }
        // A partition without a leader holds up its own records only.
        let topic = match shared.client.known_topic(record.topic) {
            Some(topic) => topic,
            None => shared.client.topic(record.topic, true).await?,
        };
        self.reserve(size).await?;
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let appended = {
            let mut accumulator = shared.accumulator.lock().unwrap();
            accumulator.append(&topic, &record, timestamp, &shared.options, Instant::now())
        };
        match appended {
            Ok((delivery, look)) => {
                if look {
                    shared.look.notify_one();
                }
                Ok(delivery)
            }
            Err(error) => {
                shared.memory.add_permits(size);
                Err(error)
            }
        }
    }

    /// Waits until every record sent so far is acknowledged or has failed.
    pub async fn flush(&self) -> Result<(), Error> {
        let number = self.shared.accumulator.lock().unwrap().flush();
        self.shared.look.notify_one();
        loop {
            let settled = self.shared.settled.notified();
            if self.shared.accumulator.lock().unwrap().is_flushed(number) {
                return Ok(());
            }
            if let Some(error) = self.shared.ended.lock().unwrap().clone() {
                return Err(error);
            }
            settled.await;
        }
    }

    /// Why batches were refused so far, and how often: names of error codes, or of what befell the connection.
    /// Those that were sent again are counted too.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Takes `size` bytes of the memory; the batch gives them back when it is settled.
    async fn reserve(&self, size: usize) -> Result<(), Error> {
        let shared = &self.shared;
        let permits = u32::try_from(size).expect("a record is far below 4 GiB");
        let reserved = match shared.memory.try_acquire_many(permits) {
            Ok(reserved) => reserved,
            Err(_) => {
                shared.accumulator.lock().unwrap().pressed = true;
                shared.look.notify_one();
                shared.memory.acquire_many(permits).await.map_err(|_| Error::Closed)?
            }
        };
        reserved.forget();
        match shared.ended.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.sender.abort();
        self.shared.end(Error::Closed);
    }
}

impl Shared {
    /// Fails everything that waits, and everything that comes.
    fn end(&self, error: Error) {
        self.ended.lock().unwrap().get_or_insert(error.clone());
        let batches = self.accumulator.lock().unwrap().take_all();
        for batch in batches {
            batch.outcome.set(Err(error.clone()));
        }
        self.memory.close();
        self.settled.notify_waiters();
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_millis() as i64)
}
