//! The leader's side: producers' requests, followers' fetches, the high watermark.

use milena_bugs::{Bug, is_on};
use milena_partition::{
    AppendRefusal, FetchRefusal, FetchVerdict, FollowerFetch, Position, Replication, Reply, Role,
    SequenceRefusal, SequenceVerdict,
};
use milena_records::{LeaderEpoch, Offset};

use crate::control::Intent;
use crate::disk::{Record, offset_of};
use crate::message::{Event, Message, Produce, ProduceAnswer, Read};
use crate::node::Hosted;
use crate::world::World;

/// Records in one reply to a follower.
const RECORDS_PER_REPLY: usize = 64;

/// A fetch that waits for data, or for a newer high watermark.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) since_ms: i64,
    pub(crate) read: Read,
}

/// A produce request that waits for replicas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    request: Produce,
    epoch: LeaderEpoch,
    offset: Offset,
}

impl World {
    pub(crate) fn on_produce(&mut self, node: usize, request: Produce) {
        let now_ms = self.now_ms(node);
        let partition = request.partition;
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else {
            return self.answer(&request, ProduceAnswer::NotLeader);
        };
        let epoch = hosted.replica.leadership().leader_epoch;
        let record = Record { producer: request.producer, sequence: request.sequence, epoch };
        let end = hosted.log.end();
        let header = record.header(end);
        if let Err(refusal) = hosted.replica.check_append(request.all) {
            let answer = match refusal {
                AppendRefusal::NotLeader { .. } => ProduceAnswer::NotLeader,
                AppendRefusal::NotEnoughReplicas { .. } => {
                    hosted.producers.refused(&header, now_ms);
                    ProduceAnswer::NotEnoughReplicas
                }
            };
            return self.answer(&request, answer);
        }
        let offset = match hosted.producers.check(&header) {
            Err(refusal @ SequenceRefusal::OutOfOrder { .. }) => {
                self.trace(|_| format!("node {node} partition {partition}: {refusal}"));
                // A deposed leader that does not know it yet says so of what its successor has. No rule of Kafka's
                // prevents that; the producer asks elsewhere.
                let deposed = self.promised[partition].newest_epoch() != epoch;
                self.stats.deposed_refusals += u64::from(deposed);
                let answer = if deposed { ProduceAnswer::NotLeader } else { ProduceAnswer::OutOfOrder };
                return self.answer(&request, answer);
            }

            Err(_) => return self.answer(&request, ProduceAnswer::Fenced),
            Ok(SequenceVerdict::Duplicate(known)) if is_on(Bug::P3) => {
                return self.answer(&request, ProduceAnswer::Stored(offset_of(&known)));
            }
            Ok(SequenceVerdict::Duplicate(known)) => offset_of(&known),
            Ok(SequenceVerdict::Accept) => {
                hosted.log.append(record);
                hosted.producers.record(&header);
                hosted.replica.appended(end + 1, now_ms);
                self.stats.appended += 1;
                self.oracle_appended(node, partition, epoch);
                end
            }
        };
        if request.all {
            let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
            hosted.waiting.push_back(Waiting { request, epoch, offset });
        } else {
            self.answer(&request, ProduceAnswer::Stored(offset));
        }
        self.settle(node, partition);
    }

    pub(crate) fn answer(&mut self, request: &Produce, answer: ProduceAnswer) {
        let delay = self.network.delay(&self.plan, &mut self.random);
        let (to, generation) = (request.client, request.generation);
        let (partition, sequence) = (request.partition, request.sequence);
        self.queue.push(self.now + delay, Event::ToClient { to, generation, partition, sequence, answer });
    }

    pub(crate) fn on_fetch(
        &mut self,
        node: usize,
        from: usize,
        partition: usize,
        number: u64,
        asked: Position,
        fetch: &FollowerFetch,
    ) {
        let now_ms = self.now_ms(node);
        let follower_life = self.nodes[from].life;
        let slow = self.random.per_mille(self.plan.slow_read_per_mille);
        let late = self.random.range(5_000, 400_000);
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else {
            let reply =
                Message::FetchReply { partition, number, asked, reply: Reply::Retry, records: Vec::new() };
            return self.send(node, from, reply);
        };
        let verdict = hosted.replica.follower_fetched(fetch, now_ms, &hosted.log.epochs);
        let reply = match verdict {
            Ok(FetchVerdict::Read) => {
                let read = Read {
                    follower: from,
                    follower_life,
                    number,
                    asked,
                    high_watermark: hosted.replica.high_watermark(),
                    log_start: hosted.replica.log_start(),
                };
                let has_data = fetch.fetch_offset < hosted.log.end();
                let knows_all = hosted.told[from] >= hosted.replica.high_watermark();
                hosted.parked.retain(|parked| parked.read.follower != from);
                if !has_data && knows_all {
                    hosted.parked.push(Parked { since_ms: now_ms, read });
                } else if slow {
                    let life = self.nodes[node].life;
                    self.queue.push(self.now + late, Event::LateRead { node, life, partition, read });
                } else {
                    self.answer_read(node, partition, read);
                }
                self.change_isr(node, partition);
                return self.settle(node, partition);
            }
            Ok(FetchVerdict::Diverging(end)) => Reply::Diverging(end),
            Err(FetchRefusal::OutOfRange { log_start, log_end }) => Reply::OutOfRange { log_start, log_end },
            Err(FetchRefusal::Epoch(milena_partition::EpochRefusal::Fenced { .. })) => Reply::Fenced,
            Err(_) => Reply::Retry,
        };
        self.send(node, from, Message::FetchReply { partition, number, asked, reply, records: Vec::new() });
    }

    /// Reads what the log has *now*, and sends it with the bounds that held when the fetch was judged.
    pub(crate) fn answer_read(&mut self, node: usize, partition: usize, read: Read) {
        if self.nodes[read.follower].life != read.follower_life {
            return;
        }
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        let records = hosted.log.read(read.asked.fetch_offset.0, RECORDS_PER_REPLY).to_vec();
        let high_watermark = match hosted.replica.role() {
            Role::Leader if hosted.replica.leadership().leader_epoch == read.asked.leader_epoch => {
                hosted.replica.high_watermark()
            }
            _ => read.high_watermark,
        };
        hosted.told[read.follower] = high_watermark;
        let reply = Reply::Batches { high_watermark, log_start: read.log_start };
        let message =
            Message::FetchReply { partition, number: read.number, asked: read.asked, reply, records };
        self.send(node, read.follower, message);
    }

    pub(crate) fn refuse_read(&mut self, node: usize, partition: usize, read: Read) {
        let (number, asked) = (read.number, read.asked);
        let reply =
            Message::FetchReply { partition, number, asked, reply: Reply::Retry, records: Vec::new() };
        self.send(node, read.follower, reply);
    }

    /// A replica is closed with all that waits for it.
    pub(crate) fn refuse_all(&mut self, node: usize, partition: usize, hosted: Hosted) {
        for waiting in &hosted.waiting {
            self.answer(&waiting.request, ProduceAnswer::NotLeader);
        }
        for parked in hosted.parked {
            self.refuse_read(node, partition, parked.read);
        }
    }

    /// Asks for another ISR, if the replica wants one.
    pub(crate) fn change_isr(&mut self, node: usize, partition: usize) {
        let now_ms = self.now_ms(node);
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        if let Some(change) = hosted.replica.next_isr_change(now_ms, &self.patience) {
            self.propose(node, Intent::Alter { partition, change, after: None });
        }
    }

    /// After anything that may have moved log end or high watermark: completes what waited for it.
    pub(crate) fn settle(&mut self, node: usize, partition: usize) {
        self.oracle_high_watermark(node, partition);
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        let mut answers = Vec::new();
        while let Some(waiting) = hosted.waiting.front() {
            let answer = match hosted.replica.replication_of(waiting.epoch, waiting.offset + 1) {
                Replication::Pending => break,
                Replication::Done => ProduceAnswer::Stored(waiting.offset),
                Replication::NotEnoughReplicas => ProduceAnswer::NotEnoughReplicasAfterAppend,
                Replication::EpochOver => ProduceAnswer::NotLeader,
            };
            answers.push((waiting.request, answer));
            hosted.waiting.pop_front();
        }
        let mut ready = Vec::new();
        if !hosted.parked.is_empty() {
            let (end, high_watermark) = (hosted.log.end(), hosted.replica.high_watermark());
            let told = &hosted.told;
            ready.extend(hosted.parked.extract_if(.., |parked| {
                parked.read.asked.fetch_offset < end || told[parked.read.follower] < high_watermark
            }));
        }
        for (request, answer) in answers {
            self.answer(&request, answer);
        }
        for parked in ready {
            self.answer_read(node, partition, parked.read);
        }
    }
}
