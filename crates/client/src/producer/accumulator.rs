//! Records on their way to a batch, and batches on their way to a broker. No I/O: time is an argument.
//!
//! Each partition has a [`Lane`] of batches; this decides what goes out, in which request, and when to look again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use milena_records::BatchBuilder;
use tokio::time::Instant;

use super::lane::Lane;
use super::options::ProducerOptions;
use super::outcome::Delivery;
use super::partitioner::{Sticky, partition_for_key};
use super::record::{Batch, Content, ProducerRecord};
use crate::{Error, Topic};

#[derive(Debug)]
struct TopicLanes {
    lanes: Vec<Lane>,
    sticky: Sticky,
}

/// All batches of a producer.
#[derive(Debug)]
pub(crate) struct Accumulator {
    topics: HashMap<String, TopicLanes>,
    incomplete: BTreeSet<u64>,
    next_number: u64,
    in_flight: HashMap<i32, usize>,
    seed: u64,
    rounds: usize,
    /// Batches up to this number go out without lingering: somebody waits in `flush`.
    flush_until: u64,
    /// Set while senders wait for memory: nothing lingers.
    pub(crate) pressed: bool,
    /// Set when sequences are broken: nothing is sent until there is a new producer id.
    pub(crate) needs_producer_id: bool,
}

/// Batches for one broker, to go in one request.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) broker: i32,
    pub(crate) batches: Vec<(String, i32, Batch)>,
}

/// What a round of [`Accumulator::drain`] found besides batches to send.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) drained: Vec<Drained>,
    /// Topics of which a leader is not known.
    pub(crate) leaderless: BTreeSet<String>,
    /// Batches that were not delivered in time.
    pub(crate) expired: Vec<Batch>,
    /// When to look again without being told.
    pub(crate) wake_at: Option<Instant>,
}

impl Accumulator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            topics: HashMap::new(),
            incomplete: BTreeSet::new(),
            next_number: 1,
            in_flight: HashMap::new(),
            seed,
            rounds: 0,
            flush_until: 0,
            pressed: false,
            needs_producer_id: false,
        }
    }

    /// Adds a record. The second value says whether the sender should look: a batch was begun or is full.
    pub(crate) fn append(
        &mut self,
        topic: &Topic,
        record: &ProducerRecord<'_>,
        timestamp: i64,
        options: &ProducerOptions,
        now: Instant,
    ) -> Result<(Delivery, bool), Error> {
        let size = record.size();
        let lanes = match self.topics.get_mut(record.topic) {
            Some(lanes) => lanes,
            None => {
                self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let lanes = TopicLanes { lanes: Vec::new(), sticky: Sticky::new(self.seed) };
                self.topics.entry(record.topic.to_owned()).or_insert(lanes)
            }
        };
        let partition = choose_partition(topic, record, &mut lanes.sticky, size, options.batch_size)?;
        let at = partition as usize;
        if lanes.lanes.len() <= at {
            lanes.lanes.resize_with(at + 1, Lane::default);
        }
        let lane = &mut lanes.lanes[at];
        let mut look = false;
        if let Some(full) = lane.open.take_if(|open| open.size() + size > options.batch_size) {
            lane.full.push_back(full);
            look = true;
        }
        let open = lane.open.get_or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.incomplete.insert(number);
            look = true;
            Batch {
                content: Content::Open(BatchBuilder::new(options.compression).level(options.level)),
                outcome: Arc::default(),
                sequence: None,
                memory: 0,
                number,
                created: now,
            }
        });
        let Content::Open(builder) = &mut open.content else { unreachable!("a built batch is not open") };
        let index = builder.record_count() as i64;
        builder.push(timestamp, record.key, record.value, record.headers);
        open.memory += size;
        let delivery = Delivery { outcome: open.outcome.clone(), partition, index };
        if let Some(full) = lane.open.take_if(|open| open.size() >= options.batch_size) {
            lane.full.push_back(full);
            look = true;
        }
        Ok((delivery, look))
    }

    /// Takes out what can be sent now. `leader` tells the broker of a partition.
    pub(crate) fn drain(
        &mut self,
        now: Instant,
        options: &ProducerOptions,
        leader: impl Fn(&str, i32) -> Option<i32>,
    ) -> Round {
        self.rounds = self.rounds.wrapping_add(1);
        let mut round = Round::default();
        let mut requests: HashMap<i32, (usize, Drained)> = HashMap::new();
        for (topic, lanes) in &mut self.topics {
            // Each round begins elsewhere, so that no partition is always the one for which a request is full.
            let count = lanes.lanes.len();
            for partition in (0..count).map(|it| (it + self.rounds) % count) {
                let lane = &mut lanes.lanes[partition];
                lane.expire(now, options.delivery_timeout, &mut round);
                lane.retry(now, &mut round);
                let linger = if self.pressed { Duration::ZERO } else { options.linger };
                lane.close(now, linger, self.flush_until, &mut round);
                if self.needs_producer_id || !lane.may_send(options.max_in_flight) {
                    continue;
                }
                let partition = partition as i32;
                let Some(broker) = leader(topic, partition) else {
                    round.leaderless.insert(topic.clone());
                    continue;
                };
                if self.in_flight.get(&broker).copied().unwrap_or(0) >= options.max_in_flight {
                    continue;
                }
                let (size, request) =
                    requests.entry(broker).or_insert_with(|| (0, Drained { broker, batches: Vec::new() }));
                let next = lane.full.front().expect("a lane that may send has a full batch").size();
                if *size > 0 && *size + next > options.max_request_size {
                    continue;
                }
                *size += next;
                let batch = lane.take(options.idempotent);
                request.batches.push((topic.clone(), partition, batch));
            }
        }
        for (broker, (_, request)) in requests {
            *self.in_flight.entry(broker).or_default() += 1;
            round.drained.push(request);
        }
        round
    }

    /// A request to `broker` is over; its batches are told of one by one.
    pub(crate) fn request_done(&mut self, broker: i32) {
        *self.in_flight.entry(broker).or_default() -= 1;
    }

    /// Whether no request is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight.values().all(|count| *count == 0)
    }

    /// A batch came back acknowledged or failed for good.
    pub(crate) fn batch_done(&mut self, topic: &str, partition: i32, batch: &Batch) {
        self.lane(topic, partition).in_flight -= 1;
        self.incomplete.remove(&batch.number);
    }

    /// A batch came back and is to be sent again at `not_before`.
    pub(crate) fn batch_failed(&mut self, topic: &str, partition: i32, batch: Batch, not_before: Instant) {
        let lane = self.lane(topic, partition);
        lane.in_flight -= 1;
        lane.failed.insert(batch.number, batch);
        lane.not_before = Some(not_before);
    }

    /// Whether a batch of the partition that was sent before `batch` is still to be settled.
    pub(crate) fn has_earlier(&mut self, topic: &str, partition: i32, batch: &Batch) -> bool {
        let lane = self.lane(topic, partition);
        lane.in_flight > 1 || lane.failed.first_key_value().is_some_and(|(number, _)| *number < batch.number)
    }

    /// Forgets a batch that left its lane otherwise.
    pub(crate) fn forget(&mut self, batch: &Batch) {
        self.incomplete.remove(&batch.number);
    }

    /// Starts all sequences anew under a new producer id. Returns the batches whose fate under the old id is not
    /// known: sent again they might be there twice.
    pub(crate) fn restart_sequences(&mut self) -> Vec<Batch> {
        self.needs_producer_id = false;
        let mut doubtful = Vec::new();
        for lane in self.topics.values_mut().flat_map(|it| &mut it.lanes) {
            lane.next_sequence = 0;
            doubtful.extend(std::mem::take(&mut lane.failed).into_values());
            let (sent, unsent) = lane.full.drain(..).partition(|it| it.sequence.is_some());
            lane.full = unsent;
            doubtful.extend::<VecDeque<Batch>>(sent);
        }
        doubtful
    }

    /// Everything that is not in flight, for a producer that ends.
    pub(crate) fn take_all(&mut self) -> Vec<Batch> {
        let mut all = Vec::new();
        for lane in self.topics.values_mut().flat_map(|it| &mut it.lanes) {
            all.extend(lane.open.take());
            all.extend(lane.full.drain(..));
            all.extend(std::mem::take(&mut lane.failed).into_values());
        }
        for batch in &all {
            self.incomplete.remove(&batch.number);
        }
        all
    }

    /// Sends all there is without lingering; returns the number to ask [`Accumulator::is_flushed`] with.
    pub(crate) fn flush(&mut self) -> u64 {
        self.flush_until = self.next_number - 1;
        self.flush_until
    }

    /// Whether every batch up to `number` is settled.
    pub(crate) fn is_flushed(&self, number: u64) -> bool {
        self.incomplete.first().is_none_or(|first| *first > number)
    }

    fn lane(&mut self, topic: &str, partition: i32) -> &mut Lane {
        let lanes = self.topics.get_mut(topic).expect("topics of batches are never forgotten");
        &mut lanes.lanes[partition as usize]
    }
}

fn choose_partition(
    topic: &Topic,
    record: &ProducerRecord<'_>,
    sticky: &mut Sticky,
    size: usize,
    batch_size: usize,
) -> Result<i32, Error> {
    let count = topic.partitions.len() as i32;
    match (record.partition, record.key) {
        (Some(partition), _) if (0..count).contains(&partition) => Ok(partition),
        (Some(partition), _) => Err(Error::NoSuchPartition { topic: topic.name.clone(), partition, count }),
        (None, Some(key)) if count > 0 => Ok(partition_for_key(key, count)),
        (None, _) => {
            let is_led = |index| topic.partition(index).is_some_and(|it| it.leader.is_some());
            let led = || (0..count).filter(|index| is_led(*index)).collect();
            let none = || Error::NoSuchPartition { topic: topic.name.clone(), partition: 0, count };
            sticky.choose(size, batch_size, is_led, led).ok_or_else(none)
        }
    }
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;
