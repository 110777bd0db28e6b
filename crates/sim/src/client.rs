//! Producers and consumers, as clients of Kafka behave: batches in flight, retries in order, an answer of an earlier
//! connection not heard.

use std::collections::VecDeque;

use milena_partition::Role;

use crate::message::{Event, Produce, ProduceAnswer};
use crate::queue::Time;
use crate::world::{TOPIC, World};

/// Records of one producer and partition on their way at a time.
const IN_FLIGHT: usize = 5;

/// How long a producer waits for an answer, in microseconds.
const REQUEST_TIMEOUT_US: Time = 1_500_000;

/// An idempotent producer with one stream of records per partition.
pub(crate) struct Producer {
    pub(crate) streams: Vec<Stream>,
}

/// What a producer sends to one partition.
pub(crate) struct Stream {
    producer: u32,
    next_sequence: i32,
    /// Waits for all in-sync replicas.
    all: bool,
    pub(crate) queue: VecDeque<Outstanding>,
    leader: Option<usize>,
    /// Counts connections: answers of an earlier one are not heard.
    generation: u32,
    retry_at: Time,
    /// A connection keeps the order: when its last request arrives.
    arrival: Time,
}

/// A record without an answer.
pub(crate) struct Outstanding {
    pub(crate) sequence: i32,
    sent_at: Option<Time>,
    answer: Option<ProduceAnswer>,
}

impl Producer {
    pub(crate) fn new(streams: impl Iterator<Item = (u32, bool)>) -> Self {
        let streams = streams.map(|(producer, all)| Stream {
            producer,
            next_sequence: 0,
            all,
            queue: VecDeque::new(),
            leader: None,
            generation: 0,
            retry_at: 0,
            arrival: 0,
        });
        Self { streams: streams.collect() }
    }
}

impl Stream {
    /// Everything outstanding is sent again, in order, on a new connection.
    fn reset(&mut self, now: Time, retry_at: Time) {
        self.generation += 1;
        self.leader = None;
        self.retry_at = retry_at;
        self.arrival = now;
        self.queue.iter_mut().for_each(|it| (it.sent_at, it.answer) = (None, None));
    }
}

impl World {
    pub(crate) fn on_client_tick(&mut self, client: usize) {
        let pace = self.plan.producer_pace_us;
        let next = self.now + self.random.range(pace / 2, pace * 2);
        self.queue.push(next, Event::ClientTick { client });
        for partition in 0..self.plan.partitions {
            let produces = !self.healing && self.random.per_mille(500);
            let now = self.now;
            let stream = &mut self.clients[client].streams[partition];
            if produces && stream.queue.len() < IN_FLIGHT {
                let sequence = stream.next_sequence;
                stream.next_sequence += 1;
                stream.queue.push_back(Outstanding { sequence, sent_at: None, answer: None });
            }
            let head = stream.queue.front().and_then(|it| it.sent_at);
            if head.is_some_and(|at| now - at > REQUEST_TIMEOUT_US) {
                stream.reset(now, now);
            }
            self.pump(client, partition);
        }
    }

    fn pump(&mut self, client: usize, partition: usize) {
        let stream = &self.clients[client].streams[partition];
        if stream.retry_at > self.now || stream.queue.iter().all(|it| it.sent_at.is_some()) {
            return;
        }
        let leader = match stream.leader {
            Some(leader) => leader,
            None => {
                let asked = self.random.below(self.nodes.len());
                if !self.runs(asked) {
                    return;
                }
                let record = self.nodes[asked].image.partition(TOPIC, partition as i32);
                let Some(leader) = record.and_then(|it| it.leader) else { return };
                leader.0 as usize
            }
        };
        let now = self.now;
        let stream = &mut self.clients[client].streams[partition];
        stream.leader = Some(leader);
        for it in stream.queue.iter_mut().filter(|it| it.sent_at.is_none()) {
            it.sent_at = Some(now);
            // Now and then a network keeps packets for long, and the connection is given up meanwhile.
            let strays = self.random.per_mille(self.plan.late_per_mille / 5);
            let delay = self.network.delay(&self.plan, &mut self.random);
            let delay = if strays { self.plan.late_max_us } else { delay };
            stream.arrival = stream.arrival.max(now + delay);
            let request = Produce {
                client,
                generation: stream.generation,
                partition,
                producer: stream.producer,
                sequence: it.sequence,
                all: stream.all,
            };
            self.queue.push(stream.arrival, Event::Produce { to: leader, request });
        }
    }

    pub(crate) fn on_answer(
        &mut self,
        client: usize,
        generation: u32,
        partition: usize,
        sequence: i32,
        answer: ProduceAnswer,
    ) {
        let stream = &mut self.clients[client].streams[partition];
        if stream.generation != generation {
            return;
        }
        let Some(at) = stream.queue.iter().position(|it| it.sequence == sequence) else { return };
        stream.queue[at].answer = Some(answer);
        // A broker answers the requests of a connection in their order.
        while let Some(oldest) = self.clients[client].streams[partition].queue.front()
            && let Some(answer) = oldest.answer
        {
            let sequence = oldest.sequence;
            self.on_oldest_answered(client, partition, sequence, answer);
        }
    }

    fn on_oldest_answered(&mut self, client: usize, partition: usize, sequence: i32, answer: ProduceAnswer) {
        let now = self.now;
        let stream = &mut self.clients[client].streams[partition];
        match answer {
            ProduceAnswer::Stored(offset) => {
                stream.queue.pop_front();
                let (producer, all) = (stream.producer, stream.all);
                self.oracle_acked(partition, (producer, sequence), offset, all);
            }
            ProduceAnswer::NotLeader => stream.reset(now, now + 20_000),
            ProduceAnswer::NotEnoughReplicas | ProduceAnswer::NotEnoughReplicasAfterAppend => {
                stream.reset(now, now + 50_000);
            }
            ProduceAnswer::OutOfOrder | ProduceAnswer::Fenced if stream.all => {
                let producer = stream.producer;
                stream.reset(now, now);
                self.violate(|| {
                    format!("producer {producer} is refused sequence {sequence}, its oldest: {answer:?}")
                });
            }
            // What acks=1 promised little for is gone: begin anew, as clients do.
            ProduceAnswer::OutOfOrder | ProduceAnswer::Fenced => {
                stream.producer = self.next_producer;
                self.next_producer += 1;
                for (sequence, it) in (0..).zip(stream.queue.iter_mut()) {
                    it.sequence = sequence;
                }
                stream.next_sequence = stream.queue.len() as i32;
                stream.reset(now, now + 10_000);
            }
        }
    }

    /// A consumer reads somewhere: from a leader, or from a follower (KIP-392).
    pub(crate) fn on_consumer_tick(&mut self, consumer: usize) {
        let next = self.now + self.random.range(10_000, 60_000);
        self.queue.push(next, Event::ConsumerTick { consumer });
        let node = self.random.below(self.nodes.len());
        let partition = self.random.below(self.plan.partitions);
        if !self.runs(node) {
            return;
        }
        let Some(hosted) = &self.nodes[node].hosted[partition] else { return };
        let high_watermark = hosted.replica.high_watermark();
        if hosted.replica.role() == Role::Leader && hosted.replica.knows_latest_offset() {
            self.oracle_latest(node, partition, high_watermark);
        }
        self.oracle_consumed(node, partition);
    }
}
