//! Nodes, their clocks and disks, and what happens to them.

mod delivery;
mod faults;

use super::chance::Chance;
use super::oracle::{Answer, Machine, Notes, Oracle};
use super::runtime;
use super::wire::{Sent, Shared};
use crate::sim_disk::SimDisk;
use crate::{GroupHandle, GroupId, Node, NodeConfig, NodeId};
use milena_metadata::{Command, Outcome, Record};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Microseconds since the world began.
type Time = u64;

/// How often a node looks at its clock.
const TICK_US: Time = 5_000;
/// How often a node's tasks are let run before the world goes on; each time some sixty of them, in the order they woke.
const TURNS: usize = 6;
/// How long the cluster may take to agree when nothing fails any more.
const RECOVERY_US: Time = 20_000_000;
/// Producer ids that a client asks for.
const BLOCK: i64 = 1_000;
/// Lines that are kept of what happened.
const LINES: usize = 400;

/// What happens to a node, or to the world.
#[derive(Debug)]
enum Event {
    Tick { node: usize, life: u32 },
    Deliver(Sent),
    Write { node: usize, life: u32 },
    Ask,
    Fault,
    Restart(usize),
    Resume(usize),
    Heal(usize, usize),
    Fast(usize),
    GiveUpCall(u64),
    GiveUpStream(u64),
}

struct Running {
    runtime: tokio::runtime::Runtime,
    node: Node,
    group: GroupHandle,
    /// How far its clock is, in microseconds of its own.
    clock_us: Time,
}

struct Machinery {
    life: u32,
    disk: SimDisk,
    dir: PathBuf,
    running: Option<Running>,
    /// When this life began, in the world's time.
    since: Time,
    rate_ppm: u64,
    paused: bool,
    /// What has arrived meanwhile, in its order.
    backlog: Vec<Sent>,
    slow: bool,
    writing: bool,
}

type Finished = Arc<Mutex<Vec<(u64, Answer)>>>;

/// What a seed led to.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) faults: u64,
    pub(super) terms: usize,
    pub(super) promises: usize,
    /// What went wrong, after what.
    pub(super) violation: Option<(String, VecDeque<String>)>,
}

pub(super) struct World {
    now: Time,
    chance: Chance,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    wire: Shared,
    notes: Notes,
    oracle: Oracle,
    nodes: Vec<Machinery>,
    cut: BTreeSet<(usize, usize)>,
    /// When the last packet from one to another arrives.
    arrives: BTreeMap<(usize, usize), Time>,
    finished: Finished,
    faults_until: Time,
    faults: u64,
    lines: VecDeque<String>,
    _dir: TempDir,
}

impl World {
    pub(super) fn new(seed: u64, faults_until_ms: u64) -> Self {
        runtime::seed(seed);
        let mut chance = Chance::new(seed);
        let dir = TempDir::new().expect("a directory for sled");
        let count = [3, 3, 5][chance.below(3)];
        let drift = [0, 0, 30_000][chance.below(3)];
        let nodes = (0..count).map(|node| {
            let dir = dir.path().join(node.to_string());
            std::fs::create_dir(&dir).expect("it is new");
            Machinery {
                life: 0,
                disk: SimDisk::without_threads(),
                dir,
                running: None,
                since: 0,
                rate_ppm: 1_000_000 - drift + chance.range(0, 2 * drift + 1),
                paused: false,
                backlog: Vec::new(),
                slow: false,
                writing: false,
            }
        });
        let nodes = nodes.collect();
        Self {
            now: 0,
            chance,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            wire: Shared::default(),
            notes: Notes::default(),
            oracle: Oracle::default(),
            nodes,
            cut: BTreeSet::new(),
            arrives: BTreeMap::new(),
            finished: Finished::default(),
            faults_until: faults_until_ms * 1_000,
            faults: 0,
            lines: VecDeque::new(),
            _dir: dir,
        }
    }

    pub(super) fn run(mut self) -> Outline {
        let violation = self.live().err();
        Outline {
            faults: self.faults,
            terms: self.oracle.terms(),
            promises: self.oracle.promises(),
            violation: violation.map(|what| (what, self.lines)),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            self.start(node)?;
        }
        self.push(2_000_000, Event::Fault);
        self.push(500_000, Event::Ask);
        while self.now < self.faults_until {
            self.step()?;
        }
        self.heal()?;
        let (healed, before) = (self.now, self.oracle.answered());
        let mut target = None;
        while !target.is_some_and(|target| self.have_applied(target)) {
            if self.now > healed + RECOVERY_US {
                return Err(format!("no agreement {} s after the last fault", RECOVERY_US / 1_000_000));
            }
            self.step()?;
            let answered = self.oracle.answered();
            target = target.or((answered > before).then_some(answered));
        }
        let upto =
            self.nodes.iter().filter_map(|it| it.running.as_ref()).map(|it| it.group.applied_index()).min();
        self.oracle.complete(upto.unwrap_or(0))
    }

    fn have_applied(&self, index: u64) -> bool {
        let has = |it: &Machinery| it.running.as_ref().is_some_and(|it| it.group.applied_index() >= index);
        self.nodes.iter().all(has)
    }

    fn push(&mut self, after: Time, event: Event) {
        self.push_at(self.now + after, event);
    }

    fn push_at(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.queue.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>12.6} {what}", self.now as f64 / 1e6));
    }

    fn step(&mut self) -> Result<(), String> {
        let Reverse((at, number)) = self.queue.pop().expect("nodes tick");
        self.now = at;
        match self.events.remove(&number).expect("put there with its number") {
            Event::Tick { node, life } if self.nodes[node].life == life => {
                self.push(TICK_US, Event::Tick { node, life });
                self.turn(node);
            }
            Event::Tick { .. } => {}
            Event::Deliver(sent) => self.deliver(sent),
            Event::Write { node, life } => self.write(node, life),
            Event::Ask => self.ask(),
            Event::Fault => self.fault(),
            Event::Restart(node) => self.start(node)?,
            Event::Resume(node) => self.resume(node),
            Event::Heal(from, to) => drop(self.cut.remove(&(from, to))),
            Event::Fast(node) => self.nodes[node].slow = false,
            Event::GiveUpCall(call) => self.give_up_call(call),
            Event::GiveUpStream(stream) => self.give_up_stream(stream),
        }
        self.judge()
    }

    /// A process begins. That it can is an oracle: whatever killed the one before it.
    fn start(&mut self, node: usize) -> Result<(), String> {
        let count = self.nodes.len();
        let it = &mut self.nodes[node];
        if it.running.is_some() {
            return Ok(());
        }
        it.life += 1;
        it.since = self.now;
        let config = NodeConfig {
            initial_voters: (0..count).map(|id| NodeId(id as u64)).collect(),
            network: Some(self.wire.port(node)),
            segment_bytes: 16 << 10,
            // Few, as threads read them: whoever has applied more than its log holds begins with one.
            snapshot_bytes: 1 << 40,
            snapshot_entries: u64::MAX,
            ..NodeConfig::single(&it.dir, NodeId(node as u64))
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
        let opened = runtime.block_on(Node::open_on(Arc::new(it.disk.clone()), config));
        let opened = opened.map_err(|error| format!("node {node} cannot read what it wrote: {error}"))?;
        let machine = Machine::new(node, self.notes.clone());
        let starting = opened.clone();
        let mut started = runtime.spawn(async move { starting.start(GroupId::CLUSTER, machine).await });
        // What it writes before it runs takes no time.
        finish(&runtime, &opened, &started);
        let group = runtime.block_on(&mut started).map_err(|panic| panic.to_string())?;
        let group = group.map_err(|error| format!("node {node} cannot start: {error}"))?;
        it.running = Some(Running { runtime, node: opened, group, clock_us: 0 });
        let life = it.life;
        self.note(format_args!("node {node} starts, life {life}"));
        let after = self.chance.range(1, TICK_US);
        self.push(after, Event::Tick { node, life });
        self.collect(node);
        Ok(())
    }

    /// Lets a node do what it can do at this moment.
    fn turn(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        if it.paused {
            return;
        }
        let Some(running) = &mut it.running else { return };
        let local = ((now - it.since) as u128 * u128::from(it.rate_ppm) / 1_000_000) as Time;
        let ahead = local.saturating_sub(running.clock_us);
        running.clock_us += ahead;
        turns(&running.runtime, ahead);
        running.node.pump_state();
        self.collect(node);
    }

    fn write(&mut self, node: usize, life: u32) {
        let it = &mut self.nodes[node];
        if it.life != life {
            return;
        }
        it.writing = false;
        let Some(running) = &it.running else { return };
        running.node.pump_log();
        self.turn(node);
    }

    /// A client asks a node: for a block of producer ids, or for the index of a read.
    fn ask(&mut self) {
        let pace = self.chance.range(2_000, 30_000);
        self.push(pace, Event::Ask);
        let node = self.chance.below(self.nodes.len());
        let reads = self.chance.per_mille(200);
        let it = &self.nodes[node];
        let Some(running) = it.running.as_ref().filter(|_| !it.paused) else { return };
        // Mostly of one that believes to lead.
        if !running.group.leader().borrow().is_self && !self.chance.per_mille(50) {
            return;
        }
        let (group, finished, before) =
            (running.group.clone(), self.finished.clone(), self.oracle.answered());
        if reads {
            running.runtime.spawn(async move {
                let answer = group.read_index().await.map_or(Answer::Unknown, |index| Answer::Read { index });
                finished.lock().unwrap().push((before, answer));
            });
        } else {
            let (decided_at, first) = self.notes.lock().views.get(&node).copied().unwrap_or_default();
            let records = vec![Record::ProducerIdsAllocated { next: first + BLOCK }];
            let command = Command { decided_at, records }.encode();
            running.runtime.spawn(async move {
                let answer = match group.propose(command.clone()).await {
                    Ok(applied) => Answer::Logged {
                        index: applied.index,
                        command,
                        outcome: Outcome::decode(&applied.answer).expect("an outcome"),
                        first,
                    },
                    Err(_) => Answer::Unknown,
                };
                finished.lock().unwrap().push((before, answer));
            });
        }
        self.turn(node);
    }

    /// Looks at all that happened.
    fn judge(&mut self) -> Result<(), String> {
        let applied = std::mem::take(&mut self.notes.lock().applied);
        for (node, index, command) in applied {
            self.oracle.applied(node, index, &command)?;
        }
        for node in 0..self.nodes.len() {
            let Some(running) = &self.nodes[node].running else { continue };
            let leader = *running.group.leader().borrow();
            if leader.is_self {
                self.oracle.leads(node, leader.term)?;
            }
            if let Some(reason) = running.group.stop_reason() {
                return Err(format!("node {node} has stopped: {reason}"));
            }
        }
        let finished = std::mem::take(&mut *self.finished.lock().unwrap());
        for (before, answer) in finished {
            if let Answer::Logged { index, .. } = &answer {
                self.note(format_args!("answered {index}"));
            }
            self.oracle.answer(before, answer)?;
        }
        Ok(())
    }
}

/// Lets a node work until a task is done in which threads help: the world stands still for them.
fn finish<T>(runtime: &tokio::runtime::Runtime, node: &Node, task: &JoinHandle<T>) {
    for nth in 0u64.. {
        if task.is_finished() {
            return;
        }
        // Only what cannot be done waits for time to pass: for the reason of its end.
        turns(runtime, if nth > 10_000 { 1_000 } else { 0 });
        node.pump_log();
        node.pump_state();
    }
}

/// Moves a node's clock and lets its tasks run.
fn turns(runtime: &tokio::runtime::Runtime, ahead: Time) {
    runtime.block_on(async {
        if ahead > 0 {
            tokio::time::advance(Duration::from_micros(ahead)).await;
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    });
}
