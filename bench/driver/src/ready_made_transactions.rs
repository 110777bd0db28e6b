//! Transactions as fast as a broker takes them: batches made before the clock starts, of which only the producer's id, its
//! epoch, the sequence and the checksum are written anew.
//!
//! Both sides are spoken to as Java's producer speaks to a cluster of `transaction.version` 2 (KIP-890): a partition joins
//! by its first batch, EndTxn answers with the next epoch. With `protocol=1` as an older client: AddPartitionsToTxn first,
//! one epoch for all transactions. With `every=0` the same requests go out without transactions, idempotent or not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_wire::produce::ProduceRequest;

use crate::connection::{leaders, Connection};
use crate::coordinator::{Coordinator, Identity, Protocol, BACKOFF, CONCURRENT_TRANSACTIONS, PATIENCE};
use crate::frames::{batch, Destination, Frame, Guarantee};
use crate::tally::{report, Tally};
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Produce requests under way on a connection: the most that an idempotent producer may have.
const IN_FLIGHT: usize = 5;

const NOT_ENOUGH_REPLICAS: i16 = 19;

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

    fn guarantee(&self) -> Guarantee {
        match (self.is_transactional(), self.idempotent) {
            (true, _) => Guarantee::Transactional,
            (false, true) => Guarantee::Idempotent,
            (false, false) => Guarantee::None,
        }
    }
}

struct Producer<'a> {
    plan: Plan<'a>,
    /// Of its transactions, if it has any.
    coordinator: Option<Coordinator>,
    leaders: Vec<Connection>,
    /// By partition.
    frames: Vec<Frame>,
    identity: Identity,
    /// Partitions of the requests under way, oldest first.
    under_way: VecDeque<usize>,
    /// The partition that is written to next.
    next: usize,
    /// Answers of leaders that told it to come again.
    waits: u64,
}

impl<'a> Producer<'a> {
    fn new(number: usize, plan: Plan<'a>, batch: &Bytes) -> Result<Self> {
        let addresses = leaders(plan.bootstrap, plan.topic)?;
        let mut different = addresses.clone();
        different.sort();
        different.dedup();
        let mut connections = different.iter().map(|it| Connection::open(it)).collect::<Result<Vec<_>>>()?;
        let transactional_id = plan.is_transactional().then(|| format!("bench-{}-{number}", plan.topic));
        let mut coordinator = match &transactional_id {
            Some(id) => Some(Coordinator::find(plan.bootstrap, id, plan.protocol)?),
            None => None,
        };
        let frame = |(partition, address): (usize, &String)| {
            let leader = different.binary_search(address).expect("it was copied from there");
            let (transactional_id, version) = (transactional_id.as_deref(), plan.protocol.produce());
            Frame::new(
                &Destination { topic: plan.topic, partition, leader, transactional_id, version },
                batch,
            )
        };
        let frames = addresses.iter().enumerate().map(frame).collect::<Result<Vec<_>>>()?;
        let identity = match (&mut coordinator, plan.guarantee()) {
            (Some(coordinator), _) => coordinator.init()?,
            (None, Guarantee::None) => Identity::NONE,
            (None, _) => Identity::asked_of(&mut connections[0], None)?,
        };
        Ok(Self {
            plan,
            coordinator,
            leaders: connections,
            next: number % frames.len(),
            frames,
            identity,
            under_way: VecDeque::new(),
            waits: 0,
        })
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
        Ok(self.frames[at].records() as u64)
    }

    fn send_to(&mut self, at: usize) -> Result<()> {
        let frame = &mut self.frames[at];
        let leader = frame.leader;
        self.leaders[leader].send(frame.addressed(self.identity.id, self.identity.epoch))?;
        frame.sequence += frame.records();
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
                self.frames[at].sequence -= self.frames[at].records();
                self.send_to(at)?;
            }
            error => return Err(format!("partition {at}: error {error}").into()),
        }
        Ok(())
    }

    /// A one-record transaction adds the partition it writes to, any other adds all.
    fn add_partitions(&mut self) -> Result<()> {
        let partitions = match self.plan.records {
            1 => vec![self.next as i32],
            _ => (0..self.frames.len() as i32).collect(),
        };
        let coordinator = self.coordinator.as_mut().ok_or("no coordinator")?;
        coordinator.add_partitions(self.identity, self.plan.topic, partitions)
    }

    fn commit(&mut self) -> Result<()> {
        let coordinator = self.coordinator.as_mut().ok_or("no coordinator")?;
        let (identity, begins_anew) = coordinator.commit(self.identity)?;
        self.identity = identity;
        for frame in &mut self.frames {
            frame.is_in = false;
            if begins_anew {
                frame.sequence = 0;
            }
        }
        Ok(())
    }

    /// Answers that told it to come again.
    fn told_to_come_again(&self) -> u64 {
        self.waits + self.coordinator.as_ref().map_or(0, |it| it.waits)
    }
}

/// As many producers as asked for, each with its own connections.
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
    let (size, bytes) = (options.number("size", 1024)?, options.number("batch", 64 * 1024)?);
    let batch = batch(size, bytes, plan.records, plan.guarantee());
    let ready =
        on_threads(producers, |number| Ok(std::sync::Mutex::new(Producer::new(number, plan, &batch)?)))?;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    let runs = on_threads(producers, |number| {
        let producer = &mut *ready[number].lock().map_err(|_| "a thread panicked")?;
        Ok((producer.run()?, producer.told_to_come_again()))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut report = report(runs.iter().map(|(tally, _)| tally), seconds, own_cpu_seconds() - cpu);
    report["told_to_come_again"] = runs.iter().map(|(_, waits)| waits).sum::<u64>().into();
    Ok(report)
}
