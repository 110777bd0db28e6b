//! The world: a queue of events, and whom they happen to.

use std::collections::{BTreeMap, BTreeSet};

use milena_config::BrokerConfig;
use milena_metadata::decide::features;
use milena_metadata::{Broker, BrokerEpoch, BrokerId, Command, Image, Outcome, Partition, Record, Resource};
use milena_partition::Patience;
use milena_wire::Uuid;

use crate::client::Producer;
use crate::consensus::Consensus;
use crate::message::Event;
use crate::network::Network;
use crate::node::Node;
use crate::oracle::{Promised, Violation};
use crate::plan::Plan;
use crate::promise::broken_promise;
use crate::queue::{Queue, Time};
use crate::raft::Raft;
use crate::random::Random;
use crate::report::{Report, Stats};
use crate::second_mode::Taken;

/// Id of the one topic.
pub(crate) const TOPIC: Uuid = Uuid([7; 16]);

/// Its name.
pub(crate) const TOPIC_NAME: &str = "orders";

/// How long the cluster may take to recover when nothing fails any more, in microseconds.
const RECOVERY_US: Time = 60_000_000;

/// How often it is looked whether it has.
const LOOK_US: Time = 200_000;

/// What keeps the metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A model of Raft that is always right, and fast.
    #[default]
    Model,
    /// Whole nodes with the real openraft.
    #[cfg(feature = "openraft")]
    Openraft,
}

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Keep a line per notable event.
    pub trace: bool,
    /// What keeps the metadata.
    pub mode: Mode,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) queue: Queue<Event>,
    pub(crate) network: Network,
    pub(crate) raft: Raft,
    /// What takes the model's place in the second mode.
    pub(crate) consensus: Option<Box<dyn Consensus<Image, Outcome>>>,
    /// Up to where each node's state machine has applied, in the second mode.
    pub(crate) known: Vec<usize>,
    /// Commands on their way there.
    pub(crate) taken: BTreeMap<u64, Taken>,
    pub(crate) next_ticket: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Producer>,
    pub(crate) next_producer: u32,
    /// Producers that wait for all in-sync replicas.
    pub(crate) patient: BTreeSet<u32>,
    pub(crate) config: BrokerConfig,
    pub(crate) patience: Patience,
    pub(crate) promised: Vec<Promised>,
    pub(crate) violation: Option<Violation>,
    pub(crate) stats: Stats,
    /// Faults are over.
    pub(crate) healing: bool,
    lines: Option<Vec<String>>,
    hash: u64,
}

/// Runs a plan to its end, or to the first violation. A panic of a state machine is one.
pub fn run(plan: &Plan, options: &Options) -> Report {
    let mut world = World::new(plan, options);
    if let Some(text) = broken_promise(|| world.run()) {
        world.violate(|| format!("panic: {text}"));
    }
    Report {
        seed: plan.seed,
        stats: world.stats,
        simulated_us: world.now,
        trace_hash: world.hash ^ world.consensus.as_ref().map_or(0, |it| it.hash()),
        violation: world.violation,
        trace: world.lines.unwrap_or_default(),
    }
}

/// The second mode's quorum, if that is wanted.
#[cfg_attr(not(feature = "openraft"), allow(unused_variables))]
fn consensus(seed: u64, mode: Mode, nodes: &[Node]) -> Option<Box<dyn Consensus<Image, Outcome>>> {
    match mode {
        Mode::Model => None,
        #[cfg(feature = "openraft")]
        Mode::Openraft => {
            let rates: Vec<u64> = nodes.iter().map(|node| node.rate_ppm).collect();
            Some(Box::new(crate::quorum::Nodes::<milena_metadata::State>::new(seed, &rates)))
        }
    }
}

/// A cluster that is up: every broker registered by the first entry, the topic created by the same.
fn genesis(plan: &Plan) -> Command {
    let image = Image::default();
    let mut records = features::format(&image, "sim").records;
    for node in 0..plan.nodes {
        records.push(Record::BrokerRegistered(Broker {
            id: BrokerId(node as i32),
            epoch: BrokerEpoch(0),
            incarnation: Uuid([node as u8 + 1; 16]),
            endpoints: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
            peer_address: String::new(),
            broker_only: false,
        }));
    }
    records.push(Record::TopicCreated { id: TOPIC, name: TOPIC_NAME.to_owned() });
    records.push(Record::ConfigSet {
        resource: Resource::Topic(TOPIC_NAME.to_owned()),
        name: "min.insync.replicas".to_owned(),
        value: Some(plan.min_isr.to_string()),
    });
    for partition in 0..plan.partitions {
        let replicas: Vec<BrokerId> =
            (0..3).map(|at| BrokerId(((partition + at) % plan.nodes) as i32)).collect();
        records.push(Record::PartitionSet {
            topic: TOPIC,
            index: partition as i32,
            partition: Partition::new(replicas.clone(), replicas, plan.min_isr),
        });
    }
    Command { decided_at: 0, records }
}

impl World {
    fn new(plan: &Plan, options: &Options) -> Self {
        let mut random = Random::new(plan.seed, 2);
        let drift = plan.drift_ppm;
        let mut nodes: Vec<Node> = (0..plan.nodes)
            .map(|_| {
                let rate = 1_000_000 - drift + random.range(0, 2 * drift + 1);
                Node::new(plan.partitions, plan.nodes, rate)
            })
            .collect();
        for (number, node) in nodes.iter_mut().enumerate() {
            node.incarnation = Uuid([number as u8 + 1; 16]);
        }
        let mut next_producer = 0;
        let mut patient = BTreeSet::new();
        let clients = (0..plan.producers)
            .map(|_| {
                let streams: Vec<(u32, bool)> = (0..plan.partitions)
                    .map(|_| {
                        next_producer += 1;
                        let all = !random.per_mille(plan.leader_acks_per_mille);
                        if all {
                            patient.insert(next_producer);
                        }
                        (next_producer, all)
                    })
                    .collect();
                Producer::new(streams.into_iter())
            })
            .collect();
        let config = BrokerConfig::new(Default::default()).expect("defaults are acceptable");
        Self {
            now: 0,
            plan: plan.clone(),
            random,
            queue: Queue::default(),
            network: Network::new(plan.nodes),
            raft: Raft::new(),
            consensus: consensus(plan.seed, options.mode, &nodes),
            known: vec![0; plan.nodes],
            taken: BTreeMap::new(),
            next_ticket: 0,
            nodes,
            clients,
            next_producer: next_producer + 1,
            patient,
            config,
            patience: Patience::default(),
            promised: (0..plan.partitions).map(|_| Promised::default()).collect(),
            violation: None,
            stats: Stats::default(),
            healing: false,
            lines: options.trace.then(Vec::new),
            hash: plan.seed,
        }
    }

    /// Keeps a line, if lines are wanted.
    pub(crate) fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.lines.is_some() {
            let line = format!("{:>12.6} {}", self.now as f64 / 1e6, line(self));
            self.lines.get_or_insert_default().push(line);
        }
    }

    fn run(&mut self) {
        let genesis = genesis(&self.plan);
        if self.consensus.is_some() {
            self.form(&genesis);
        } else {
            self.raft.found(&genesis);
            self.start_raft();
        }
        let begin = self.now;
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            self.queue.push(begin + 1 + node as u64, Event::Push { node, life });
            self.queue.push(begin + 1_000 + self.random.range(0, 50_000), Event::Tick { node, life });
        }
        for client in 0..self.clients.len() {
            self.queue.push(begin + 5_000, Event::ClientTick { client });
        }
        self.queue.push(begin + 5_000, Event::ConsumerTick { consumer: 0 });
        for (number, (at, _)) in self.plan.faults.iter().enumerate() {
            self.queue.push(*at, Event::Fault { number });
        }
        let mut heal_until = None;
        let mut look_at = 0;
        while self.violation.is_none() {
            let Some(at) = self.queue.next_at() else { break };
            if self.step_consensus(at) {
                continue;
            }
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = at;
            self.stats.events += 1;
            self.handle(event);
            if self.stats.events.is_multiple_of(4096) {
                let (node, partition) =
                    (self.random.below(self.nodes.len()), self.random.below(self.plan.partitions));
                self.oracle_derived(node, partition);
            }
            match heal_until {
                None if self.stats.events >= self.plan.events => {
                    self.heal();
                    heal_until = Some(self.now + RECOVERY_US);
                }
                Some(until) if self.now >= look_at => {
                    look_at = self.now + LOOK_US;
                    match self.unsettled() {
                        None => {
                            self.oracle_end();
                            break;
                        }
                        Some(what) if self.now > until => {
                            let stuck =
                                self.nodes.iter().map(|it| format!("{:?}", it.proposals)).collect::<Vec<_>>();
                            self.trace(|_| stuck.join("\n"));
                            self.violate(|| format!("liveness: {what}, though nothing fails any more"));
                        }
                        Some(_) => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Nothing fails any more. Who is paused comes back by itself, with what was sent to it meanwhile in its order.
    fn heal(&mut self) {
        self.trace(|_| "nothing fails any more".to_owned());
        self.healing = true;
        self.network.heal();
        self.connect_all();
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    fn mix(&mut self, kind: u64, who: usize) {
        let word = self.now ^ kind << 56 ^ (who as u64) << 48;
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    fn handle(&mut self, event: Event) {
        let (kind, node, life) = match &event {
            Event::ToNode { to, to_life, .. } => (1, *to, Some(*to_life)),
            Event::Produce { to, .. } => (2, *to, None),
            Event::Tick { node, life } => (3, *node, Some(*life)),
            Event::Refetch { node, life, .. } => (4, *node, Some(*life)),
            Event::LateRead { node, life, .. } => (5, *node, Some(*life)),
            Event::Push { node, life } => (6, *node, Some(*life)),
            Event::ToClient { to, .. } => (7, *to, None),
            Event::ClientTick { client } => (8, *client, None),
            Event::ConsumerTick { consumer } => (9, *consumer, None),
            Event::RaftTick => (10, 0, None),
            Event::RaftCommit { .. } => (11, 0, None),
            Event::Restart { node } => (12, *node, None),
            Event::Fault { number } => (13, *number, None),
            Event::Heal { number } => (14, *number, None),
        };
        self.mix(kind, node);
        if kind <= 6 {
            let it = &self.nodes[node];
            if !it.up || life.is_some_and(|life| life != it.life) {
                return;
            }
            if it.paused_until > self.now {
                let at = it.paused_until;
                return self.queue.push(at, event);
            }
        }
        match event {
            Event::ToNode { to, from, message, .. } => {
                if self.network.reaches(from, to) {
                    self.on_message(to, from, message);
                }
            }
            Event::ToClient { to, generation, partition, sequence, answer } => {
                self.on_answer(to, generation, partition, sequence, answer);
            }
            Event::Produce { to, request } => self.on_produce(to, request),
            Event::Tick { node, .. } => self.on_tick(node),
            Event::Refetch { node, partition, .. } => self.fetch(node, partition),
            Event::LateRead { node, partition, read, .. } => self.answer_read(node, partition, read),
            Event::ClientTick { client } => self.on_client_tick(client),
            Event::ConsumerTick { consumer } => self.on_consumer_tick(consumer),
            Event::RaftTick => self.on_raft_tick(),
            Event::RaftCommit { term } => self.on_raft_commit(term),
            Event::Push { node, .. } => self.on_push(node),
            Event::Restart { node } => self.start(node),
            Event::Fault { number } if !self.healing => self.befall(number),
            Event::Heal { number } if !self.healing => self.mend(number),
            Event::Fault { .. } | Event::Heal { .. } => {}
        }
    }
}
