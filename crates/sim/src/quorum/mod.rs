//! The quorum itself: whole nodes with the real openraft, our log on disk, votes, applied state and reads.
//!
//! The other simulations run on the same nodes in their second mode. [`run`] looks at the quorum alone, harder than
//! they do: slow disks, a loss of power everywhere, false accusations of leaders, clients that ask for blocks of producer
//! ids and for the index of a read. What the first mode takes for granted is checked here: one order of commands, none
//! of them lost that was answered, one leader per term, reads that miss nothing, and agreement soon after the last fault.

mod cluster;
mod nodes;
mod oracle;

pub(crate) use nodes::Nodes;

use cluster::{Cluster, News};
use nodes::Replica;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use milena_metadata::{Command, Outcome, Record, State};
use milena_quorum::{Changes, GroupId, StateMachine};

use crate::Incidents;
use crate::promise::broken_promise;
use crate::queue::{Queue, Time};
use crate::random::Random;

/// How long there are faults, in microseconds.
const FAULTS_US: Time = 20_000_000;

/// How long the cluster may take to agree when nothing fails any more.
const RECOVERY_US: Time = 20_000_000;

/// Producer ids that a client asks for.
const BLOCK: i64 = 1_000;

/// Lines that are kept of what happened.
const LINES: usize = 400;

/// What a seed led to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Faults, and what an operator did.
    pub incidents: Incidents,
    /// Terms that had a leader.
    pub terms: usize,
    /// Commands that somebody was told are in the log.
    pub answered: usize,
    /// Snapshots that followers have taken.
    pub snapshots: usize,
    /// Hash over every event: the same seed gives the same.
    pub trace_hash: u64,
    /// The promise that was broken.
    pub violation: Option<String>,
    /// What happened last, if that was asked for.
    pub trace: Vec<String>,
}

/// Runs a seed: faults, their end, and agreement. So much happens as `incidents` say.
pub fn run(seed: u64, trace: bool, incidents: Incidents) -> Outline {
    let mut world = World::new(seed);
    world.incidents = incidents;
    if trace {
        world.cluster.keep_lines();
    }
    let mut violation = None;
    let panic = broken_promise(|| violation = world.live().err());
    let mut trace = world.cluster.take_lines();
    trace.drain(..trace.len().saturating_sub(LINES));
    Outline {
        incidents: world.incidents,
        terms: world.cluster.oracle().terms(),
        answered: world.cluster.oracle().promises(),
        snapshots: world.cluster.snapshots(),
        trace_hash: world.cluster.hash(),
        violation: violation.or(panic.map(|text| format!("panic: {text}"))),
        trace,
    }
}

/// By node the index that a decision names, and the first producer id that is free.
type Views = Arc<Mutex<BTreeMap<usize, (u64, i64)>>>;

/// The cluster's metadata, as brokers run it.
struct Machine {
    node: usize,
    state: State,
    views: Views,
}

impl StateMachine for Machine {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.state = State::restored(pairs);
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        Replica::apply(&mut self.state, index, command, changes).encode()
    }

    fn applied(&mut self, _index: u64) {
        let image = self.state.image();
        let view = (image.index(), image.next_producer_id());
        self.views.lock().expect("nobody panics with it").insert(self.node, view);
    }
}

/// What happens to the cluster.
enum Event {
    Ask,
    Members,
    Fault,
    Restart(usize),
    Heal(usize, usize),
    Fast(usize),
}

struct World {
    random: Random,
    /// For what befalls the cluster, so that leaving some of it out does not change the rest.
    dice: Random,
    queue: Queue<Event>,
    cluster: Cluster,
    views: Views,
    next_ticket: u64,
    /// First producer id that each command on its way would give away.
    asked: BTreeMap<u64, i64>,
    /// First ids of the blocks that were given away.
    blocks: BTreeSet<i64>,
    incidents: Incidents,
    is_healing: bool,
    /// Voters come and go.
    members_change: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, 20);
        let count = [3, 3, 5][random.below(3)];
        let drift = [0, 0, 30_000][random.below(3)];
        let rates: Vec<u64> =
            (0..count).map(|_| 1_000_000 - drift + random.range(0, 2 * drift + 1)).collect();
        let views = Views::default();
        let notes = views.clone();
        let machines = Box::new(move |node| {
            let machine = Machine { node, state: State::default(), views: notes.clone() };
            Box::new(machine) as Box<dyn StateMachine>
        });
        Self {
            cluster: Cluster::new(seed, &rates, 3, GroupId::CLUSTER, machines),
            members_change: random.per_mille(500),
            random,
            dice: Random::new(seed, 22),
            queue: Queue::default(),
            views,
            next_ticket: 0,
            asked: BTreeMap::new(),
            blocks: BTreeSet::new(),
            incidents: Incidents::default(),
            is_healing: false,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        (0..self.cluster.len()).for_each(|node| self.cluster.start(node));
        self.push(2_000_000, Event::Fault);
        self.push(500_000, Event::Ask);
        self.push(700_000, Event::Members);
        while self.cluster.now() < FAULTS_US {
            self.step()?;
        }
        self.heal();
        let (healed, before) = (self.cluster.now(), self.cluster.oracle().answered());
        let mut target = None;
        while !target.is_some_and(|target| self.have_applied(target)) {
            if self.cluster.now() > healed + RECOVERY_US {
                let (seconds, stands) = (RECOVERY_US / 1_000_000, self.cluster.stands());
                return Err(format!("no agreement {seconds} s after the last fault: {stands}"));
            }
            self.step()?;
            let answered = self.cluster.oracle().answered();
            target = target.or((answered > before).then_some(answered));
        }
        let upto = (0..self.cluster.len()).map(|node| self.cluster.applied_index(node)).min();
        self.cluster.oracle().complete(upto.unwrap_or(0))
    }

    fn have_applied(&self, index: u64) -> bool {
        (0..self.cluster.len()).all(|node| self.cluster.applied_index(node) >= index)
    }

    fn push(&mut self, after: Time, event: Event) {
        self.queue.push(self.cluster.now() + after, event);
    }

    /// Lets the next thing happen, in the cluster or to it.
    fn step(&mut self) -> Result<(), String> {
        match self.queue.next_at() {
            Some(at) if at < self.cluster.next_at() => {
                let (at, event) = self.queue.pop().expect("just seen");
                self.cluster.advance(at);
                self.befall(event);
            }
            _ => self.cluster.step(),
        }
        for news in self.cluster.take_news()? {
            self.hear(news)?;
        }
        Ok(())
    }

    fn hear(&mut self, news: News) -> Result<(), String> {
        let News::Proposed { ticket, outcome } = news else { return Ok(()) };
        let first = self.asked.remove(&ticket).expect("it was asked");
        let Ok(applied) = outcome else { return Ok(()) };
        let outcome = Outcome::decode(&applied.answer).expect("an outcome");
        if outcome == Outcome::Applied && !self.blocks.insert(first) {
            return Err(format!("the producer ids from {first} on were given away twice"));
        }
        Ok(())
    }

    fn befall(&mut self, event: Event) {
        match event {
            Event::Ask => self.ask(),
            Event::Members => self.change_members(),
            Event::Fault if !self.is_healing => self.fault(),
            Event::Fault => {}
            Event::Restart(node) => self.cluster.start(node),
            Event::Heal(from, to) => self.cluster.connect(from, to, true),
            Event::Fast(node) => self.cluster.slow_down(node, false),
        }
    }

    /// A client asks a node: for a block of producer ids, or for the index of a read.
    fn ask(&mut self) {
        let pace = self.random.range(2_000, 30_000);
        self.push(pace, Event::Ask);
        let node = self.random.below(self.cluster.len());
        let reads = self.random.per_mille(200);
        // Mostly one that believes to lead.
        if !self.cluster.runs(node) || !self.cluster.leader(node).is_self && !self.random.per_mille(50) {
            return;
        }
        self.next_ticket += 1;
        if reads {
            return self.cluster.read(node, self.next_ticket);
        }
        let view = self.views.lock().expect("nobody panics with it").get(&node).copied();
        let (decided_at, first) = view.unwrap_or_default();
        let records = vec![Record::ProducerIdsAllocated { next: first + BLOCK }];
        self.asked.insert(self.next_ticket, first);
        self.cluster.propose(node, self.next_ticket, Command { decided_at, records }.encode());
    }

    /// An operator asks the leader for other voters, or for another leader. In the end, and where members do not change,
    /// for all of them.
    fn change_members(&mut self) {
        let pace = if self.is_healing { 500_000 } else { self.dice.range(100_000, 3_000_000) };
        self.push(pace, Event::Members);
        let nodes = self.cluster.len();
        let Some(leader) = (0..nodes).find(|node| self.cluster.leader(*node).is_self) else { return };
        let everybody: BTreeSet<usize> = (0..nodes).collect();
        if self.is_healing || !self.members_change {
            if self.cluster.voters(leader) != everybody {
                self.cluster.change_voters(leader, &everybody, true);
            }
            return;
        }
        if self.dice.per_mille(200) {
            let heir = self.dice.below(nodes);
            if self.happens(|| format!("node {leader} is asked to hand over to {heir}")) {
                self.cluster.transfer(leader, heir);
            }
            return;
        }
        let share = self.dice.range(300, 1_000);
        let mut voters: BTreeSet<usize> =
            everybody.into_iter().filter(|_| self.dice.per_mille(share)).collect();
        voters.insert(leader);
        let others_stay = self.dice.per_mille(500);
        let what = || format!("node {leader} is asked for the voters {voters:?}, others stay: {others_stay}");
        if self.happens(what) {
            self.cluster.change_voters(leader, &voters, others_stay);
        }
    }

    /// Whether what was drawn happens.
    fn happens(&mut self, what: impl Fn() -> String) -> bool {
        let now = self.cluster.now();
        let happens = self.incidents.happens(|| format!("{:>10.6} s {}", now as f64 / 1e6, what()));
        if happens {
            self.cluster.note(what);
        }
        happens
    }

    fn fault(&mut self) {
        let pace = self.dice.range(50_000, 2_500_000);
        self.push(pace, Event::Fault);
        let nodes = self.cluster.len();
        let node = self.dice.below(nodes);
        let other = (node + 1 + self.dice.below(nodes - 1)) % nodes;
        let short = self.dice.range(20_000, 1_500_000);
        let long = self.dice.range(50_000, 5_000_000);
        let kind = self.dice.below(9);
        let what = || {
            let words = match kind {
                0 => "is killed",
                1 => "loses its power",
                2 => "stands still",
                3 => "does not reach",
                4 => "is cut off",
                5 => "has a slow disk",
                6 => "is to lead after one that is said to be dead, or is cut off",
                7 => "or the leader votes once more and loses its power",
                _ => "and all others lose their power",
            };
            format!("node {node} {words} (node {other}; {short} or {long} us)")
        };
        if !self.happens(what) {
            return;
        }
        match kind {
            0 => self.stop(node, false, long),
            1 => self.stop(node, true, long),
            2 => self.cluster.pause(node, short),
            3 => {
                self.cluster.connect(node, other, false);
                self.push(long, Event::Heal(node, other));
            }
            4 => self.isolate(node, long),
            5 => {
                self.cluster.slow_down(node, true);
                self.push(long, Event::Fast(node));
            }
            // Somebody believes that the leader is dead: it is cut off, or nothing is wrong with it.
            6 => {
                let leader = (0..nodes).find(|node| self.cluster.leader(*node).is_self);
                if let Some(leader) = leader.filter(|_| self.dice.per_mille(700)) {
                    self.isolate(leader, long);
                }
                self.cluster.accuse(node);
            }
            // Two that cannot hear each other campaign, and who votes for one of them does not remember it.
            7 => {
                let leader = (0..nodes).find(|node| self.cluster.leader(*node).is_self);
                let voter = leader.unwrap_or(node);
                let (one, two) = ((voter + 1) % nodes, (voter + 2) % nodes);
                for (from, to) in [(one, two), (two, one)] {
                    self.cluster.connect(from, to, false);
                    self.push(long, Event::Heal(from, to));
                }
                self.stop(voter, false, short / 8);
                self.cluster.lose_power_after_vote(Some(voter));
            }
            // All at once, as when a rack loses its power.
            _ => {
                for node in 0..nodes {
                    let down = self.dice.range(10_000, 500_000);
                    self.stop(node, true, down);
                }
            }
        }
    }

    fn isolate(&mut self, node: usize, us: Time) {
        for other in (0..self.cluster.len()).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                self.cluster.connect(from, to, false);
                self.push(us, Event::Heal(from, to));
            }
        }
    }

    fn stop(&mut self, node: usize, power_lost: bool, down: Time) {
        self.cluster.stop(node, power_lost);
        self.push(down, Event::Restart(node));
    }

    /// The end of all faults.
    fn heal(&mut self) {
        self.is_healing = true;
        self.cluster.lose_power_after_vote(None);
        self.cluster.note(|| "heal".to_owned());
        let nodes = self.cluster.len();
        for node in 0..nodes {
            for other in 0..nodes {
                self.cluster.connect(node, other, true);
            }
            self.cluster.slow_down(node, false);
            self.cluster.start(node);
            self.cluster.resume(node);
        }
    }
}
