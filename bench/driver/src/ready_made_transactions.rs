//! Transactions as fast as a broker takes them: batches made before the clock starts, of which only the producer's id, its
//! epoch, the sequence and the checksum are written anew.
//!
//! Both sides are spoken to as Java's producer speaks to a cluster of `transaction.version` 2 (KIP-890): a partition joins
//! by its first batch, EndTxn answers with the next epoch. With `protocol=1` as an older client: AddPartitionsToTxn first,
//! one epoch for all transactions. With `every=0` the same requests go out without transactions, idempotent or not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_records::{BatchBuilder, BatchHeader, Compression, ProducerEpoch, ProducerId};
use milena_wire::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use milena_wire::end_txn::EndTxnRequest;
use milena_wire::find_coordinator::FindCoordinatorRequest;
use milena_wire::init_producer_id::InitProducerIdRequest;
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use serde_json::json;

use crate::connection::{leaders, request, Connection};
use crate::load::payloads;
use crate::ready_made::unix_ms;
use crate::tally::{report, Tally};
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Produce requests under way on a connection: the most that an idempotent producer may have.
const IN_FLIGHT: usize = 5;
/// How long it waits where it is told to come again. Java's producer takes 20 ms for AddPartitionsToTxn, and
/// `retry.backoff.ms`, 100 ms, for Produce.
const BACKOFF: Duration = Duration::from_millis(20);
/// Producer ids that no broker has given out yet.
const FIRST_INTRODUCED: i64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const CONCURRENT_TRANSACTIONS: i16 = 51;

/// The generation of the protocol of transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    One,
    Two,
}

impl Protocol {
    /// Version 12 of Produce adds the partition to the transaction.
    fn produce(self) -> i16 {
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

/// What all producers of a run do.
#[derive(Clone, Copy)]
struct Plan<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    protocol: Protocol,
    /// Length of a transaction; none at all if zero.
    every: Duration,
    length: Duration,
    /// Most records of a transaction.
    records: u64,
    /// Most records of a producer.
    count: u64,
    idempotent: bool,
}

impl Plan<'_> {
    fn is_transactional(&self) -> bool {
        !self.every.is_zero()
    }
}

/// A frame with one batch for one partition.
struct Frame {
    bytes: Vec<u8>,
    /// Where the batch stands in it.
    at: usize,
    length: usize,
    header: BatchHeader,
    /// Connection to the partition's leader.
    leader: usize,
    sequence: i32,
    /// Whether the partition has taken a batch of this transaction.
    is_in: bool,
}

impl Frame {
    /// Makes the frame the producer's next batch.
    fn address(&mut self, id: i64, epoch: i16) {
        self.header.producer_id = ProducerId(id);
        self.header.producer_epoch = ProducerEpoch(epoch);
        self.header.base_sequence = if id < 0 { -1 } else { self.sequence };
        self.header.crc =
            self.header.compute_crc(&self.bytes[self.at + BatchHeader::SIZE..self.at + self.length]);
        self.bytes[self.at..self.at + BatchHeader::SIZE].copy_from_slice(&self.header.to_bytes());
    }
}

struct Producer<'a> {
    plan: Plan<'a>,
    transactional_id: Option<String>,
    coordinator: Option<Connection>,
    leaders: Vec<Connection>,
    frames: Vec<Frame>,
    id: i64,
    epoch: i16,
    /// Partitions of the requests under way, oldest first.
    under_way: VecDeque<usize>,
    /// The partition that is written to next.
    next: usize,
    /// Answers that told it to come again.
    waits: u64,
}

impl<'a> Producer<'a> {
    fn new(number: usize, plan: Plan<'a>, batch: &Bytes) -> Result<Self> {
        let addresses = leaders(plan.bootstrap, plan.topic)?;
        let mut different = addresses.clone();
        different.sort();
        different.dedup();
        let transactional_id = plan.is_transactional().then(|| format!("bench-{}-{number}", plan.topic));
        let coordinator =
            transactional_id.as_deref().map(|id| coordinator(plan.bootstrap, id)).transpose()?;
        let frame = |(partition, address): (usize, &String)| {
            let leader = different.binary_search(address).expect("it was copied from there");
            frame(&plan, transactional_id.as_deref(), partition, leader, batch)
        };
        let frames = addresses.iter().enumerate().map(frame).collect::<Result<Vec<_>>>()?;
        let mut producer = Self {
            plan,
            coordinator,
            leaders: different.iter().map(|it| Connection::open(it)).collect::<Result<_>>()?,
            next: number % frames.len(),
            frames,
            transactional_id,
            id: -1,
            epoch: -1,
            under_way: VecDeque::new(),
            waits: 0,
        };
        if plan.is_transactional() || plan.idempotent {
            producer.init()?;
        }
        Ok(producer)
    }

    fn init(&mut self) -> Result<()> {
        let ask = InitProducerIdRequest {
            transactional_id: self.transactional_id.as_deref().map(Into::into),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connection = self.coordinator.as_mut().unwrap_or(&mut self.leaders[0]);
            let answer = connection.ask(&ask, 4)?;
            match i16::from(answer.error_code) {
                0 => {
                    (self.id, self.epoch) = (answer.producer_id, answer.producer_epoch);
                    return Ok(());
                }
                14 | COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR | CONCURRENT_TRANSACTIONS
                    if Instant::now() < deadline =>
                {
                    std::thread::sleep(BACKOFF);
                }
                error => return Err(format!("InitProducerId: error {error}").into()),
            }
        }
    }

    /// Transactions, or plain batches, until the time or the records are over.
    fn run(&mut self) -> Result<Tally> {
        let mut run = Tally::default();
        let began = Instant::now();
        while began.elapsed() < self.plan.length && run.records < self.plan.count {
            let until = match self.plan.is_transactional() {
                true => (began.elapsed() + self.plan.every).min(self.plan.length),
                false => self.plan.length,
            };
            if self.plan.is_transactional() && self.plan.protocol == Protocol::One {
                self.add_partitions()?;
            }
            let most = self.plan.records.min(self.plan.count - run.records);
            let mut sent = 0;
            while sent == 0 || sent < most && began.elapsed() < until {
                sent += self.send()?;
            }
            let ending = Instant::now();
            while !self.under_way.is_empty() {
                self.receive()?;
            }
            if self.plan.is_transactional() {
                self.commit()?;
                run.commits.push(ending.elapsed().as_nanos() as u64);
            }
            run.records += sent;
        }
        Ok(run)
    }

    /// Sends the next batch once there is room; how many records it has.
    fn send(&mut self) -> Result<u64> {
        let at = self.next;
        self.next = (at + 1) % self.frames.len();
        while self.under_way.len() >= IN_FLIGHT * self.leaders.len()
            // The first batch of a transaction may be told to come back: nothing overtakes it.
            || !self.frames[at].is_in && self.under_way.contains(&at)
        {
            self.receive()?;
        }
        self.send_to(at)?;
        Ok(self.frames[at].header.record_count as u64)
    }

    fn send_to(&mut self, at: usize) -> Result<()> {
        let frame = &mut self.frames[at];
        frame.address(self.id, self.epoch);
        self.leaders[frame.leader].send(&frame.bytes)?;
        frame.sequence += frame.header.record_count;
        self.under_way.push_back(at);
        Ok(())
    }

    /// The oldest answer that is missing.
    fn receive(&mut self) -> Result<()> {
        let Some(at) = self.under_way.pop_front() else { return Ok(()) };
        let deadline = Instant::now() + PATIENCE;
        let version = self.plan.protocol.produce();
        let answer = self.leaders[self.frames[at].leader].receive::<ProduceRequest>(version)?;
        match i16::from(answer.responses[0].partition_responses[0].error_code) {
            0 => self.frames[at].is_in = true,
            // Of a partition that was to join the transaction; for others it would be out of order.
            CONCURRENT_TRANSACTIONS | NOT_ENOUGH_REPLICAS
                if !self.frames[at].is_in && Instant::now() < deadline =>
            {
                self.waits += 1;
                std::thread::sleep(BACKOFF);
                self.frames[at].sequence -= self.frames[at].header.record_count;
                self.send_to(at)?;
            }
            error => return Err(format!("partition {at}: error {error}").into()),
        }
        Ok(())
    }

    /// What the coordinator answers, as often as it says that the previous transaction is not over.
    fn until_agreed(&mut self, mut ask: impl FnMut(&mut Self) -> Result<i16>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask(self)? {
                0 => return Ok(()),
                CONCURRENT_TRANSACTIONS if Instant::now() < deadline => {
                    self.waits += 1;
                    std::thread::sleep(BACKOFF);
                }
                error => return Err(format!("the coordinator answers error {error}").into()),
            }
        }
    }

    /// A one-record transaction adds the partition it writes to, any other adds all.
    fn add_partitions(&mut self) -> Result<()> {
        let partitions = match self.plan.records {
            1 => vec![self.next as i32],
            _ => (0..self.frames.len() as i32).collect(),
        };
        let topic =
            AddPartitionsToTxnTopic { name: self.plan.topic.into(), partitions, ..Default::default() };
        let ask = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.as_deref().unwrap_or_default().into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        self.until_agreed(|it| {
            let answer = it.coordinator.as_mut().ok_or("no coordinator")?.ask(&ask, 3)?;
            let topic = &answer.results_by_topic_v3_and_below[0];
            let codes = topic.results_by_partition.iter().map(|it| i16::from(it.partition_error_code));
            Ok(codes.max().unwrap_or_default())
        })
    }

    fn commit(&mut self) -> Result<()> {
        let ask = EndTxnRequest {
            transactional_id: self.transactional_id.as_deref().unwrap_or_default().into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: true,
            ..Default::default()
        };
        let version = self.plan.protocol.end();
        self.until_agreed(|it| {
            let answer = it.coordinator.as_mut().ok_or("no coordinator")?.ask(&ask, version)?;
            let error = i16::from(answer.error_code);
            if error == 0 && it.plan.protocol == Protocol::Two {
                (it.id, it.epoch) = (answer.producer_id, answer.producer_epoch);
                it.frames.iter_mut().for_each(|frame| frame.sequence = 0);
            }
            Ok(error)
        })?;
        self.frames.iter_mut().for_each(|frame| frame.is_in = false);
        Ok(())
    }
}

fn coordinator(bootstrap: &str, transactional_id: &str) -> Result<Connection> {
    let deadline = Instant::now() + PATIENCE;
    let ask = FindCoordinatorRequest { key: transactional_id.into(), key_type: 1, ..Default::default() };
    let first = bootstrap.split(',').next().unwrap_or(bootstrap);
    loop {
        let answer = Connection::open(first)?.ask(&ask, 3)?;
        match i16::from(answer.error_code) {
            0 => return Connection::open(&format!("{}:{}", &*answer.host, answer.port)),
            // Kafka makes the topic of transactions when first asked.
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            error => return Err(format!("no coordinator: error {error}").into()),
        }
    }
}

fn frame(
    plan: &Plan,
    transactional_id: Option<&str>,
    partition: usize,
    leader: usize,
    batch: &Bytes,
) -> Result<Frame> {
    let data = PartitionProduceData {
        index: partition as i32,
        records: Some(batch.clone().into()),
        ..Default::default()
    };
    let data = TopicProduceData { name: plan.topic.into(), partition_data: vec![data], ..Default::default() };
    let produce = ProduceRequest {
        transactional_id: transactional_id.map(Into::into),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![data],
        ..Default::default()
    };
    let bytes = request(&produce, plan.protocol.produce())?;
    let header = &batch[..BatchHeader::SIZE];
    let at = bytes.windows(header.len()).position(|it| it == header).ok_or("the frame lacks its batch")?;
    let header = BatchHeader::parse(batch)?;
    Ok(Frame { bytes, at, length: batch.len(), header, leader, sequence: 0, is_in: false })
}

/// A batch of about `bytes`, at most `records`.
fn batch(size: usize, bytes: usize, records: u64, plan: &Plan) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if plan.is_transactional() || plan.idempotent {
        builder = builder.producer(ProducerId(0), ProducerEpoch(0), 0);
    }
    if plan.is_transactional() {
        builder = builder.transactional();
    }
    let now = unix_ms();
    for payload in payloads(size).iter().cycle() {
        builder.push(now, None, Some(payload), &[]);
        if builder.estimated_size() + size > bytes || builder.record_count() as u64 >= records {
            break;
        }
    }
    builder.build().to_bytes()
}

/// One record of each of `count` idempotent producers, in one partition.
pub fn introduce(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let producers: i64 = options.number("count", 100_000)?;
    let plan = Plan {
        bootstrap,
        topic,
        protocol: Protocol::Two,
        every: Duration::ZERO,
        length: PATIENCE,
        records: 1,
        count: u64::MAX,
        idempotent: true,
    };
    let mut frame = frame(&plan, None, 0, 0, &batch(100, 100, 1, &plan))?;
    let mut leader = Connection::open(&leaders(bootstrap, topic)?[0])?;
    let (began, mut answered) = (Instant::now(), 0);
    let mut sent = 0;
    while answered < producers {
        // Each is the first of its producer: nothing to get out of order.
        while sent < producers && sent - answered < 100 {
            frame.address(FIRST_INTRODUCED + sent, 0);
            leader.send(&frame.bytes)?;
            sent += 1;
        }
        let answer = leader.receive::<ProduceRequest>(plan.protocol.produce())?;
        match i16::from(answer.responses[0].partition_responses[0].error_code) {
            0 => answered += 1,
            error => return Err(format!("producer {answered}: error {error}").into()),
        }
    }
    Ok(json!({ "producers": producers, "seconds": began.elapsed().as_secs_f64() }))
}

pub fn transact(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let producers: usize = options.number("producers", 4)?;
    let plan = Plan {
        bootstrap,
        topic,
        protocol: if options.number("protocol", 2)? == 1 { Protocol::One } else { Protocol::Two },
        every: Duration::from_millis(options.number("every", 100)?),
        length: Duration::from_secs(options.number("seconds", 10)?),
        records: options.number("records", u64::MAX)?,
        count: options.number("count", u64::MAX)? / producers as u64,
        idempotent: options.text("idempotence", "true") == "true",
    };
    let batch =
        batch(options.number("size", 1024)?, options.number("batch", 64 * 1024)?, plan.records, &plan);
    let ready =
        on_threads(producers, |number| Ok(std::sync::Mutex::new(Producer::new(number, plan, &batch)?)))?;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let runs = on_threads(producers, |number| {
        let producer = &mut *ready[number].lock().map_err(|_| "a thread panicked")?;
        Ok((producer.run()?, producer.waits))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut report = report(runs.iter().map(|(tally, _)| tally), seconds, own_cpu_seconds() - cpu);
    report["told_to_come_again"] = runs.iter().map(|(_, waits)| waits).sum::<u64>().into();
    Ok(report)
}
