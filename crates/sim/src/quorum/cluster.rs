//! Nodes with the real openraft, and what connects them. A world on top says what befalls them and what they are asked.

mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use milena_quorum::simulation::{self, Broken, Process, Sent, SimDisk, Wire};
use milena_quorum::{Applied, Changes, GroupId, LeaderInfo, ProposeError, StateMachine};
use tempfile::TempDir;

use super::oracle::Oracle;
use crate::queue::{Queue, Time};
use crate::random::Random;

/// How often a node looks at its clock, in microseconds.
const TICK_US: Time = 5_000;

/// After so long a connection that carries nothing is given up.
const BROKEN_US: Time = 300_000;

/// How soon a process that is gone refuses.
const REFUSED_US: Time = 200;

/// What happens next in the cluster by itself.
#[derive(Debug)]
enum Event {
    Tick { node: usize, life: u32 },
    Deliver(Sent),
    Write { node: usize, life: u32 },
    Resume { node: usize, life: u32 },
    LosePower { node: usize, life: u32 },
    Restart { node: usize },
    GiveUp(Broken),
}

/// What the world hears of.
#[derive(Debug)]
pub(crate) enum News {
    /// A node has applied more, begun to lead or ceased to.
    Moved { node: usize },
    /// What became of a command.
    Proposed { ticket: u64, outcome: Result<Applied, ProposeError> },
    /// What became of a read; without an index if it was refused.
    Read { ticket: u64, index: Option<u64> },
}

/// Makes the state machine of a process that begins on a node.
pub(crate) type Machines = Box<dyn Fn(usize) -> Box<dyn StateMachine>>;

struct Node {
    life: u32,
    disk: SimDisk,
    dir: PathBuf,
    process: Option<Process>,
    /// When this life began.
    since: Time,
    rate_ppm: u64,
    is_paused: bool,
    /// What has arrived meanwhile, in its order.
    backlog: Vec<Sent>,
    /// Its disk takes long.
    is_slow: bool,
    is_writing: bool,
    /// As last seen.
    stood: (u64, LeaderInfo),
}

/// How the answer to somebody came out.
enum Finished {
    Proposed { ticket: u64, before: u64, command: Bytes, outcome: Result<Applied, ProposeError> },
    Read { ticket: u64, before: u64, index: Option<u64> },
}

/// The cluster.
pub(crate) struct Cluster {
    now: Time,
    random: Random,
    queue: Queue<Event>,
    group: GroupId,
    founders: usize,
    snapshot_after: u64,
    machines: Machines,
    wire: Wire,
    nodes: Vec<Node>,
    cut: BTreeSet<(usize, usize)>,
    /// Many packets are late.
    is_rough: bool,
    /// Loses its power as soon as it has given a vote.
    trap: Option<usize>,
    /// When the last packet from one to another arrives.
    arrives: BTreeMap<(usize, usize), Time>,
    applied: Arc<Mutex<Vec<(usize, u64, Bytes)>>>,
    finished: Arc<Mutex<Vec<Finished>>>,
    news: Vec<News>,
    oracle: Oracle,
    snapshots: usize,
    violation: Option<String>,
    hash: u64,
    lines: Option<Vec<String>>,
    _dir: TempDir,
}

impl Cluster {
    /// Nodes whose clocks run at these millionths of the true speed; none of them has started yet. The first `founders`
    /// of them vote at first. How often they write snapshots follows from the seed.
    pub(crate) fn new(
        seed: u64,
        rates_ppm: &[u64],
        founders: usize,
        group: GroupId,
        machines: Machines,
    ) -> Self {
        simulation::seed(seed);
        let dir = TempDir::new().expect("a directory for sled");
        let nodes = rates_ppm.iter().enumerate().map(|(node, rate_ppm)| {
            let dir = dir.path().join(node.to_string());
            std::fs::create_dir(&dir).expect("it is new");
            Node {
                life: 0,
                disk: SimDisk::without_threads(),
                dir,
                process: None,
                since: 0,
                rate_ppm: *rate_ppm,
                is_paused: false,
                backlog: Vec::new(),
                is_slow: false,
                is_writing: false,
                stood: (0, LeaderInfo::default()),
            }
        });
        Self {
            now: 0,
            random: Random::new(seed, 21),
            queue: Queue::default(),
            group,
            founders,
            snapshot_after: [u64::MAX, 100, 20][Random::new(seed, 23).below(3)],
            machines,
            wire: Wire::default(),
            nodes: nodes.collect(),
            cut: BTreeSet::new(),
            is_rough: false,
            trap: None,
            arrives: BTreeMap::new(),
            applied: Arc::default(),
            finished: Arc::default(),
            news: Vec::new(),
            oracle: Oracle::default(),
            snapshots: 0,
            violation: None,
            hash: seed,
            lines: None,
            _dir: dir,
        }
    }

    /// Keeps a line of each packet and each event from here on.
    pub(crate) fn keep_lines(&mut self) {
        self.lines = Some(Vec::new());
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps a line, if lines are wanted.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {}", now as f64 / 1e6, line()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Hash over every event: the same seed gives the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// Snapshots that followers have taken.
    pub(crate) fn snapshots(&self) -> usize {
        self.snapshots
    }

    /// When something happens next; never, while no process runs.
    pub(crate) fn next_at(&self) -> Time {
        self.queue.next_at().unwrap_or(Time::MAX)
    }

    /// The world's time, if nothing happens here before.
    pub(crate) fn advance(&mut self, now: Time) {
        debug_assert!(self.queue.next_at().is_none_or(|at| at >= now));
        self.now = self.now.max(now);
    }

    /// What has become known since the last time; an error is a promise that was broken.
    pub(crate) fn take_news(&mut self) -> Result<Vec<News>, String> {
        match self.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(std::mem::take(&mut self.news)),
        }
    }

    /// Lets the next thing happen.
    pub(crate) fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        self.now = at;
        match event {
            Event::Tick { node, life } if self.nodes[node].life == life => {
                self.queue.push(at + TICK_US, Event::Tick { node, life });
                self.turn(node);
            }
            Event::Write { node, life } if self.nodes[node].life == life => {
                self.nodes[node].is_writing = false;
                if let Some(process) = &self.nodes[node].process {
                    process.write();
                }
                self.turn(node);
            }
            Event::Resume { node, life } if self.nodes[node].life == life => self.resume(node),
            Event::LosePower { node, life } if self.nodes[node].life == life => {
                self.stop(node, true);
                let down = self.random.range(5_000, 60_000);
                self.queue.push(self.now + down, Event::Restart { node });
            }
            Event::Tick { .. } | Event::Write { .. } | Event::Resume { .. } | Event::LosePower { .. } => {}
            Event::Restart { node } => self.start(node),
            Event::Deliver(sent) => self.deliver(sent),
            Event::GiveUp(broken) => {
                for node in self.wire.give_up(&broken) {
                    self.turn(node);
                }
            }
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// Lets a node do what it can do at this moment.
    fn turn(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        if it.is_paused {
            return;
        }
        let Some(process) = &mut it.process else { return };
        process.run(((now - it.since) as u128 * u128::from(it.rate_ppm) / 1_000_000) as Time);
        self.collect(node);
        let judged = self.judge(node);
        self.violated(judged);
    }

    fn violated(&mut self, judged: Result<(), String>) {
        if let Err(violation) = judged {
            self.violation.get_or_insert(violation);
        }
    }

    /// Takes what a node has sent, and what it wants written.
    fn collect(&mut self, node: usize) {
        for sent in self.wire.take_sent() {
            if sent.gives_vote() && self.trap.take_if(|trap| *trap == node).is_some() {
                self.queue.push(self.now, Event::LosePower { node, life: self.nodes[node].life });
            }
            let late = if self.is_rough { 200 } else { 5 };
            let delay = match self.random.per_mille(late) {
                true => self.random.range(1_000, 100_000),
                false => self.random.range(50, 2_000),
            };
            self.snapshots += usize::from(sent.took_snapshot());
            // Connections keep their order.
            let arrives = self.arrives.entry((sent.from, sent.to)).or_default();
            *arrives = (self.now + delay).max(*arrives + 1);
            self.queue.push(*arrives, Event::Deliver(sent));
        }
        let it = &mut self.nodes[node];
        if !it.is_writing && it.process.as_ref().is_some_and(Process::has_to_write) {
            it.is_writing = true;
            let (from, to) = if it.is_slow { (50_000, 400_000) } else { (100, 4_000) };
            let takes = self.random.range(from, to);
            self.queue.push(self.now + takes, Event::Write { node, life: it.life });
        }
    }

    fn deliver(&mut self, sent: Sent) {
        if self.wire.is_cut_off(&sent) {
            return;
        }
        let Sent { from, to, .. } = sent;
        if self.cut.contains(&(from, to)) || self.nodes[to].process.is_none() {
            // A process that is gone refuses at once; a cut is noticed in time.
            let after = if self.nodes[to].process.is_some() { BROKEN_US } else { REFUSED_US };
            let broken = self.wire.lose(&sent);
            return self.queue.push(self.now + after, Event::GiveUp(broken));
        }
        if self.nodes[to].is_paused {
            return self.nodes[to].backlog.push(sent);
        }
        self.mix(self.now ^ (from as u64) << 56 ^ (to as u64) << 48);
        self.note(|| format!("{sent:?}"));
        self.nodes[to].process.as_ref().expect("just looked").receive(sent);
        self.turn(to);
    }

    /// Looks at what a node has done.
    fn judge(&mut self, node: usize) -> Result<(), String> {
        let applied = std::mem::take(&mut *self.applied.lock().expect("nobody panics with it"));
        for (node, index, command) in applied {
            self.mix(index << 8 ^ node as u64);
            self.oracle.applied(node, index, &command)?;
        }
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        let group = process.group();
        if let Some(reason) = process.end() {
            return Err(format!("node {node} has stopped: {reason}"));
        }
        let stands = (group.applied_index(), *group.leader().borrow());
        if stands.1.is_self {
            self.oracle.leads(node, stands.1.term)?;
        }
        let stood = std::mem::replace(&mut self.nodes[node].stood, stands);
        if stood != stands {
            self.news.push(News::Moved { node });
        }
        if stood.1 != stands.1 && stands.1.is_self {
            self.note(|| format!("node {node} leads in term {}", stands.1.term));
        }
        let finished = std::mem::take(&mut *self.finished.lock().expect("nobody panics with it"));
        for finished in finished {
            match finished {
                Finished::Read { ticket, before, index } => {
                    if let Some(index) = index {
                        self.oracle.read(before, index)?;
                    }
                    self.news.push(News::Read { ticket, index });
                }
                Finished::Proposed { ticket, before, command, outcome } => {
                    if let Ok(applied) = &outcome {
                        let index = applied.index;
                        self.oracle.logged(before, index, command)?;
                        self.note(|| format!("answered {index}"));
                    }
                    self.news.push(News::Proposed { ticket, outcome });
                }
            }
        }
        Ok(())
    }
}

/// A state machine whose commands the oracle sees.
struct Told {
    node: usize,
    machine: Box<dyn StateMachine>,
    applied: Arc<Mutex<Vec<(usize, u64, Bytes)>>>,
}

impl StateMachine for Told {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.machine.restore(pairs);
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        let applied = (self.node, index, command.clone());
        self.applied.lock().expect("nobody panics with it").push(applied);
        self.machine.apply(index, command, changes)
    }

    fn applied(&mut self, index: u64) {
        self.machine.applied(index);
    }
}
