//! A broker: its process life, its disk, its clock, the metadata that it knows, the partitions that it hosts.

use std::collections::{BTreeMap, VecDeque};

use milena_bugs::{Bug, is_on};
use milena_metadata::decide::brokers::Kept;
use milena_metadata::{BrokerEpoch, BrokerId, Delta, Image, Partition};
use milena_partition::{Lives, LogBounds, Producers, Replica, Role, Transition};
use milena_records::Offset;
use milena_roles::{leadership, lives};
use milena_wire::Uuid;

use crate::control::Proposal;
use crate::disk::Log;
use crate::leader::{Parked, Waiting};
use crate::message::{Event, Message};
use crate::queue::Time;
use crate::world::{TOPIC, World};

/// How often a broker looks around, in microseconds of its own clock.
const TICK_US: Time = 50_000;

/// How long an unanswered fetch is waited for, in milliseconds.
const FETCH_TIMEOUT_MS: i64 = 700;

/// How long a fetch is parked, in milliseconds.
const PARKED_MS: i64 = 300;

/// A broker.
pub(crate) struct Node {
    /// Counts process starts.
    pub(crate) life: u32,
    pub(crate) up: bool,
    pub(crate) paused_until: Time,
    /// The clock runs at so many millionths of the true speed.
    pub(crate) rate_ppm: u64,
    /// Entries of the quorum's log that it has applied.
    pub(crate) applied: usize,
    pub(crate) image: Image,
    pub(crate) incarnation: Uuid,
    /// Epoch of this process, once it knows of its registration.
    pub(crate) epoch: Option<BrokerEpoch>,
    /// The last processes whose data is all there.
    pub(crate) kept: Kept,
    /// Told to stop: how long it will be down then.
    pub(crate) stopping: Option<u64>,
    /// Lost a tail, and has not been in sync since.
    pub(crate) tainted: bool,
    pub(crate) disks: Vec<Option<Log>>,
    pub(crate) hosted: Vec<Option<Hosted>>,
    pub(crate) lives: Lives,
    pub(crate) proposals: BTreeMap<u64, Proposal>,
    pub(crate) next_number: u64,
    /// Term in which it believes to lead the quorum.
    pub(crate) believes: Option<u64>,
    /// When it last heard of each broker, by its own clock.
    pub(crate) heard: Vec<i64>,
}

/// A replica with its log.
pub(crate) struct Hosted {
    pub(crate) log: Log,
    pub(crate) replica: Replica,
    pub(crate) producers: Producers,
    /// Fetches that wait for data, one per follower.
    pub(crate) parked: Vec<Parked>,
    /// High watermark that each broker was told.
    pub(crate) told: Vec<Offset>,
    /// Requests that wait for replicas.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Number and time of the fetch on its way.
    pub(crate) asked: Option<(u64, i64)>,
    /// Records below are known to be those that were committed.
    pub(crate) verified: i64,
}

impl Node {
    pub(crate) fn new(partitions: usize, nodes: usize, rate_ppm: u64) -> Self {
        Self {
            life: 0,
            up: true,
            paused_until: 0,
            rate_ppm,
            applied: 0,
            image: Image::default(),
            incarnation: Uuid::ZERO,
            epoch: None,
            kept: Kept::default(),
            stopping: None,
            tainted: false,
            disks: vec![None; partitions],
            hosted: (0..partitions).map(|_| None).collect(),
            lives: Lives::default(),
            proposals: BTreeMap::new(),
            next_number: 0,
            believes: None,
            heard: vec![0; nodes],
        }
    }

    /// The log of a partition, whether the process runs or not.
    pub(crate) fn log(&self, partition: usize) -> Option<&Log> {
        self.hosted[partition].as_ref().map(|hosted| &hosted.log).or(self.disks[partition].as_ref())
    }
}

impl World {
    /// Whether the process runs and its clock goes.
    pub(crate) fn runs(&self, node: usize) -> bool {
        self.nodes[node].up && self.nodes[node].paused_until <= self.now
    }

    /// The node's own monotonic clock.
    pub(crate) fn now_ms(&self, node: usize) -> i64 {
        (self.now as u128 * u128::from(self.nodes[node].rate_ppm) / 1_000_000_000) as i64
    }

    /// Starts a process: it knows what it had applied, and must register anew.
    pub(crate) fn start(&mut self, node: usize) {
        let incarnation =
            Uuid((u128::from(self.random.bits()) << 64 | u128::from(self.random.bits())).to_be_bytes());
        let it = &mut self.nodes[node];
        if it.up {
            return;
        }
        it.up = true;
        it.life += 1;
        it.incarnation = incarnation;
        let life = it.life;
        if self.consensus.is_some() {
            // It is told what it finds.
            (it.applied, it.image, self.known[node]) = (0, Image::default(), 0);
        }
        self.trace(|_| format!("node {node} starts, life {life}"));
        self.queue.push(self.now + 1_000, Event::Tick { node, life });
        self.with_consensus(|it| it.start(node));
    }

    /// Ends a process. What it had in memory is gone, connections are reset.
    pub(crate) fn stop(&mut self, node: usize, power_lost: bool) {
        let it = &mut self.nodes[node];
        if !it.up {
            return;
        }
        it.up = false;
        it.paused_until = 0;
        it.life += 1;
        it.stopping = None;
        it.believes = None;
        it.proposals.clear();
        it.lives = Lives::default();
        match it.epoch.take() {
            Some(epoch) => it.kept = Kept { epoch: Some(epoch), ..Kept::default() },
            // It may be registered all the same.
            None if it.kept.epoch.is_some() => it.kept.incarnations.push(it.incarnation),
            None => {}
        }
        for partition in 0..it.hosted.len() {
            let Some(hosted) = it.hosted[partition].take() else { continue };
            it.disks[partition] = Some(hosted.log);
        }
        self.forget_taken(node);
        self.with_consensus(|it| it.stop(node, power_lost));
        let it = &mut self.nodes[node];
        if power_lost {
            if !is_on(Bug::M20) {
                it.kept = Kept::default();
            }
            it.tainted = true;
            for log in it.disks.iter_mut().flatten() {
                let kept = self.random.range(log.durable as u64, log.end().0 as u64 + 1);
                log.lose_power(kept as i64);
            }
        }
    }

    pub(crate) fn on_tick(&mut self, node: usize) {
        let (life, rate) = (self.nodes[node].life, self.nodes[node].rate_ppm);
        self.queue.push(self.now + TICK_US * 1_000_000 / rate, Event::Tick { node, life });
        if self.consensus.is_some() && self.nodes[node].applied < self.known_to(node) {
            self.on_push(node);
        }
        self.tick_control(node);
        for partition in 0..self.plan.partitions {
            self.tick_partition(node, partition);
        }
    }

    fn tick_partition(&mut self, node: usize, partition: usize) {
        let now_ms = self.now_ms(node);
        let flushes = self.random.per_mille(self.plan.flush_per_mille);
        let checkpoints = self.random.per_mille(10);
        let Some(hosted) = &mut self.nodes[node].hosted[partition] else { return };
        if flushes {
            hosted.log.durable = hosted.log.end().0;
        }
        if checkpoints {
            hosted.log.checkpoint = hosted.replica.high_watermark().0;
        }
        if hosted.asked.is_some_and(|(_, at)| now_ms - at > FETCH_TIMEOUT_MS) {
            hosted.asked = None;
        }
        let overdue: Vec<Parked> =
            hosted.parked.extract_if(.., |it| now_ms - it.since_ms > PARKED_MS).collect();
        for parked in overdue {
            self.answer_read(node, partition, parked.read);
        }
        self.fetch(node, partition);
        self.change_isr(node, partition);
        self.settle(node, partition);
    }

    /// The quorum tells what was committed.
    pub(crate) fn on_push(&mut self, node: usize) {
        if self.consensus.is_none() {
            let Some(leader) = self.raft.leader else { return };
            if !self.network.both_ways(leader, node) {
                return;
            }
        }
        while self.nodes[node].applied < self.known_to(node) {
            self.apply_next(node);
            // Sometimes it is slow, and the rest comes with the next look.
            if self.random.per_mille(50) {
                break;
            }
        }
        self.drive_all(node);
    }

    fn apply_next(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.applied += 1;
        let after = self.raft.images[it.applied].clone();
        let before = std::mem::replace(&mut it.image, after.clone());
        let id = BrokerId(node as i32);
        if it.epoch.is_none() {
            let own = after.broker(id).filter(|broker| broker.incarnation == it.incarnation);
            let Some(own) = own else { return };
            let epoch = own.epoch;
            it.epoch = Some(epoch);
            it.lives = lives(&after);
            self.trace(|_| format!("node {node} is registered, epoch {epoch}"));
            for partition in 0..self.plan.partitions {
                let Some(record) = after.partition(TOPIC, partition as i32) else { continue };
                self.apply_partition(node, partition, &record.clone());
            }
            return;
        }
        let delta = Delta::between(&before, &after);
        if !delta.brokers.is_empty() {
            it.lives = lives(&after);
            let all = it.lives.clone();
            it.hosted.iter_mut().flatten().for_each(|hosted| hosted.replica.see_brokers(&all));
        }
        for change in &delta.partitions {
            self.apply_partition(node, change.index as usize, &change.after);
        }
        for partition in 0..self.plan.partitions {
            self.settle(node, partition);
        }
    }

    fn apply_partition(&mut self, node: usize, partition: usize, record: &Partition) {
        let now_ms = self.now_ms(node);
        let nodes = self.nodes.len();
        let it = &mut self.nodes[node];
        if !record.replicas.contains(&BrokerId(node as i32)) {
            // One that is no longer assigned leaves nothing behind: assigned again, it begins from nothing.
            it.disks[partition] = None;
            if let Some(hosted) = it.hosted[partition].take() {
                self.refuse_all(node, partition, hosted);
            }
            return;
        }
        if it.hosted[partition].is_none() {
            let log = it.disks[partition].take().unwrap_or_default();
            let bounds = LogBounds { start: Offset(log.start), end: log.end() };
            let mut replica = Replica::new(node as i32, bounds, Offset(log.checkpoint));
            replica.see_brokers(&it.lives);
            let producers = log.replayed_producers();
            it.hosted[partition] = Some(Hosted {
                log,
                replica,
                producers,
                parked: Vec::new(),
                told: vec![Offset::NONE; nodes],
                waiting: VecDeque::new(),
                asked: None,
                verified: 0,
            });
        }
        let Some(hosted) = &mut it.hosted[partition] else { return };
        let transition = hosted.replica.lead(leadership(record), now_ms);
        if let Transition::BecameLeader { epoch, start } = transition {
            hosted.log.epochs.assign(epoch, start);
        }
        if is_on(Bug::R1) && matches!(transition, Transition::BecameFollower { .. }) {
            let high_watermark = hosted.replica.high_watermark();
            hosted.log.truncate(high_watermark);
            hosted.replica.truncated(high_watermark);
            hosted.producers = hosted.log.replayed_producers();
        }
        if transition.is_new_epoch() {
            hosted.asked = None;
            hosted.told.fill(Offset::NONE);
            let parked = std::mem::take(&mut hosted.parked);
            for parked in parked {
                self.refuse_read(node, partition, parked.read);
            }
            if let Transition::BecameLeader { epoch, .. } = transition {
                self.trace(|_| format!("node {node} leads partition {partition} in epoch {}", epoch.0));
                self.oracle_leader_elected(node, partition);
            }
        }
        self.settle(node, partition);
        self.fetch(node, partition);
    }

    /// Whether the node leads the partition, as far as it knows.
    pub(crate) fn leads(&self, node: usize, partition: usize) -> bool {
        self.nodes[node].hosted[partition].as_ref().is_some_and(|it| it.replica.role() == Role::Leader)
    }

    /// Sends a message from process to process.
    pub(crate) fn send(&mut self, from: usize, to: usize, message: Message) {
        let to_life = self.nodes[to].life;
        let delay = if from == to { 10 } else { self.network.delay(&self.plan, &mut self.random) };
        if self.network.reaches(from, to) {
            self.queue.push(self.now + delay, Event::ToNode { to, to_life, from, message });
        }
    }

    pub(crate) fn on_message(&mut self, to: usize, from: usize, message: Message) {
        match message {
            Message::Fetch { partition, number, asked, fetch } => {
                self.on_fetch(to, from, partition, number, asked, &fetch);
            }
            Message::FetchReply { partition, number, asked, reply, records } => {
                self.on_fetch_reply(to, partition, number, &asked, &reply, &records);
            }
            Message::Propose { number, command } => self.on_propose(to, from, number, command),
            Message::Proposed { number, outcome } => self.on_proposed(to, number, outcome),
            Message::Heartbeat { epoch, wants_fence, wants_shutdown } => {
                self.on_heartbeat(to, from, epoch, wants_fence, wants_shutdown);
            }
        }
    }
}
