//! What a producer asks: its id, and of the coordinator of its transactions the rest.

use std::time::{Duration, Instant};

use milena_wire::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use milena_wire::end_txn::EndTxnRequest;
use milena_wire::find_coordinator::FindCoordinatorRequest;
use milena_wire::init_producer_id::InitProducerIdRequest;

use crate::connection::Connection;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a producer waits where it is told to come again. Java's takes 20 ms for AddPartitionsToTxn, and
/// `retry.backoff.ms`, 100 ms, for Produce.
pub const BACKOFF: Duration = Duration::from_millis(20);
/// Longest for what must succeed.
pub const PATIENCE: Duration = Duration::from_secs(60);

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
pub const CONCURRENT_TRANSACTIONS: i16 = 51;

/// The generation of the protocol of transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    One,
    Two,
}

impl Protocol {
    /// Version 12 of Produce adds the partition to the transaction.
    pub fn produce(self) -> i16 {
        if self == Self::Two {
            12
        } else {
            11
        }
    }

    /// Version 5 of EndTxn answers with the next epoch.
    fn end(self) -> i16 {
        if self == Self::Two {
            5
        } else {
            4
        }
    }
}

/// Who a producer is.
#[derive(Clone, Copy)]
pub struct Identity {
    pub id: i64,
    pub epoch: i16,
}

impl Identity {
    /// Of a producer without any guarantee.
    pub const NONE: Self = Self { id: -1, epoch: -1 };

    /// InitProducerId.
    pub fn asked_of(connection: &mut Connection, transactional_id: Option<&str>) -> Result<Self> {
        let ask = InitProducerIdRequest {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = connection.ask(&ask, 4)?;
            match i16::from(answer.error_code) {
                0 => return Ok(Self { id: answer.producer_id, epoch: answer.producer_epoch }),
                COORDINATOR_LOAD_IN_PROGRESS
                | COORDINATOR_NOT_AVAILABLE
                | NOT_COORDINATOR
                | CONCURRENT_TRANSACTIONS
                    if Instant::now() < deadline =>
                {
                    std::thread::sleep(BACKOFF);
                }
                error => return Err(format!("InitProducerId: error {error}").into()),
            }
        }
    }
}

/// The coordinator of one transactional id.
pub struct Coordinator {
    connection: Connection,
    transactional_id: String,
    protocol: Protocol,
    /// Answers that told it to come again.
    pub waits: u64,
}

impl Coordinator {
    pub fn find(bootstrap: &str, transactional_id: &str, protocol: Protocol) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let ask = FindCoordinatorRequest { key: transactional_id.into(), key_type: 1, ..Default::default() };
        let first = bootstrap.split(',').next().unwrap_or(bootstrap);
        loop {
            let answer = Connection::open(first)?.ask(&ask, 3)?;
            match i16::from(answer.error_code) {
                0 => {
                    let connection = Connection::open(&format!("{}:{}", &*answer.host, answer.port))?;
                    let transactional_id = transactional_id.to_owned();
                    return Ok(Self { connection, transactional_id, protocol, waits: 0 });
                }
                // Kafka makes the topic of transactions when first asked.
                _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                error => return Err(format!("no coordinator: error {error}").into()),
            }
        }
    }

    /// InitProducerId.
    pub fn init(&mut self) -> Result<Identity> {
        Identity::asked_of(&mut self.connection, Some(&self.transactional_id))
    }

    /// What it answers, as often as it says that the previous transaction is not over.
    fn until_agreed(&mut self, mut ask: impl FnMut(&mut Connection) -> Result<i16>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask(&mut self.connection)? {
                0 => return Ok(()),
                CONCURRENT_TRANSACTIONS if Instant::now() < deadline => {
                    self.waits += 1;
                    std::thread::sleep(BACKOFF);
                }
                error => return Err(format!("the coordinator answers error {error}").into()),
            }
        }
    }

    /// AddPartitionsToTxn.
    pub fn add_partitions(&mut self, producer: Identity, topic: &str, partitions: Vec<i32>) -> Result<()> {
        let topic = AddPartitionsToTxnTopic { name: topic.into(), partitions, ..Default::default() };
        let ask = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.as_str().into(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        self.until_agreed(|connection| {
            let answer = connection.ask(&ask, 3)?;
            let topic = &answer.results_by_topic_v3_and_below[0];
            let codes = topic.results_by_partition.iter().map(|it| i16::from(it.partition_error_code));
            Ok(codes.max().unwrap_or_default())
        })
    }

    /// EndTxn; who the producer is from now on, and whether its sequences begin again.
    pub fn commit(&mut self, producer: Identity) -> Result<(Identity, bool)> {
        let ask = EndTxnRequest {
            transactional_id: self.transactional_id.as_str().into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: true,
            ..Default::default()
        };
        let (version, is_two) = (self.protocol.end(), self.protocol == Protocol::Two);
        let mut next = producer;
        self.until_agreed(|connection| {
            let answer = connection.ask(&ask, version)?;
            let error = i16::from(answer.error_code);
            if error == 0 && is_two {
                next = Identity { id: answer.producer_id, epoch: answer.producer_epoch };
            }
            Ok(error)
        })?;
        Ok((next, is_two))
    }
}
