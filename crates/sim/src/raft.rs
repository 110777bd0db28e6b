//! A quorum that is always right: one log, taken in by the leader, committed when a majority is reachable.
//!
//! What it does not spare anybody: elections, leaders that do not know that they are deposed, proposals of unknown
//! fate, late applies.

use std::collections::VecDeque;

use milena_metadata::{Command, Image, Outcome, State};

use crate::message::{Event, Message, Proposed};
use crate::queue::Time;
use crate::world::World;

/// How often the quorum looks around, in microseconds.
const TICK_US: Time = 20_000;

/// How long a majority waits for a leader before it elects another.
const ELECTION_US: Time = 100_000;

/// A command on its way to a majority.
struct Taken {
    origin: usize,
    origin_life: u32,
    number: u64,
    command: Command,
}

/// The quorum. In the second mode only its images are used.
pub(crate) struct Raft {
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    /// The image after each entry; the first before any.
    pub(crate) images: Vec<Image>,
    state: State,
    taken: VecDeque<Taken>,
    leaderless_since: Option<Time>,
}

impl Raft {
    /// A quorum that has written nothing.
    pub(crate) fn new() -> Self {
        Self {
            term: 1,
            leader: Some(0),
            images: vec![Image::default()],
            state: State::default(),
            taken: VecDeque::new(),
            leaderless_since: None,
        }
    }

    /// Writes the first entry.
    pub(crate) fn found(&mut self, genesis: &Command) {
        assert_eq!(self.apply(genesis), Outcome::Applied);
    }

    /// Entries in the log.
    pub(crate) fn committed(&self) -> usize {
        self.images.len() - 1
    }

    /// The metadata as committed, whoever knows it already.
    pub(crate) fn image(&self) -> &Image {
        self.images.last().expect("the one before any entry")
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        let index = self.images.len() as u64;
        let outcome = self.state.apply(index, &command.encode(), &mut Vec::new());
        self.images.push(self.state.image().clone());
        outcome
    }

    /// Whether all that was taken in is decided.
    pub(crate) fn is_idle(&self) -> bool {
        self.taken.is_empty()
    }
}

impl World {
    pub(crate) fn start_raft(&mut self) {
        self.queue.push(self.now + TICK_US, Event::RaftTick);
    }

    /// Whether the node and a majority reach each other.
    fn has_majority(&self, node: usize) -> bool {
        let reached = (0..self.nodes.len())
            .filter(|other| self.runs(*other) && self.network.both_ways(node, *other))
            .count();
        self.runs(node) && reached * 2 > self.nodes.len()
    }

    pub(crate) fn on_raft_tick(&mut self) {
        self.queue.push(self.now + TICK_US, Event::RaftTick);
        match self.raft.leader {
            Some(leader) if self.has_majority(leader) => {
                self.raft.leaderless_since = None;
                if !self.raft.taken.is_empty() {
                    self.queue.push(self.now + 500, Event::RaftCommit { term: self.raft.term });
                }
                for node in 0..self.nodes.len() {
                    if self.runs(node) && self.network.both_ways(leader, node) {
                        self.nodes[node].believes = (node == leader).then_some(self.raft.term);
                        if self.nodes[node].applied < self.raft.committed() {
                            let life = self.nodes[node].life;
                            self.queue.push(self.now + 1, Event::Push { node, life });
                        }
                    }
                }
            }
            _ => {
                let since = *self.raft.leaderless_since.get_or_insert(self.now);
                let patience = ELECTION_US + self.random.range(0, ELECTION_US);
                if self.now - since > patience {
                    self.elect();
                }
            }
        }
    }

    /// Elects some node that reaches a majority. What the old leader had taken in survives up to some point.
    pub(crate) fn elect(&mut self) {
        let able: Vec<usize> = (0..self.nodes.len()).filter(|node| self.has_majority(*node)).collect();
        if able.is_empty() {
            return;
        }
        let leader = able[self.random.below(able.len())];
        let survive = self.random.below(self.raft.taken.len() + 1);
        self.raft.taken.truncate(survive);
        self.raft.term += 1;
        self.raft.leader = Some(leader);
        self.raft.leaderless_since = None;
        let now_ms = self.now_ms(leader);
        let node = &mut self.nodes[leader];
        node.believes = Some(self.raft.term);
        // It knows nothing of heartbeats that went to its predecessor.
        node.heard.iter_mut().for_each(|heard| *heard = now_ms);
        self.trace(|world| format!("node {leader} leads the quorum in term {}", world.raft.term));
    }

    /// A proposal arrives at a node.
    pub(crate) fn on_propose(&mut self, node: usize, origin: usize, number: u64, command: Command) {
        if self.consensus.is_some() {
            return self.hand_in(node, origin, number, &command);
        }
        let term = self.nodes[node].believes;
        let Some(term) = term else {
            return self.send(node, origin, Message::Proposed { number, outcome: Proposed::NotLeader });
        };
        // One that does not know that it is deposed takes it, and it comes to nothing.
        if term == self.raft.term && self.raft.leader == Some(node) {
            let origin_life = self.nodes[origin].life;
            self.raft.taken.push_back(Taken { origin, origin_life, number, command });
            let after = self.random.range(300, 4_000);
            self.queue.push(self.now + after, Event::RaftCommit { term });
        }
    }

    pub(crate) fn on_raft_commit(&mut self, term: u64) {
        let Some(leader) = self.raft.leader.filter(|_| term == self.raft.term) else { return };
        if !self.has_majority(leader) {
            return;
        }
        while let Some(taken) = self.raft.taken.pop_front() {
            let before = self.raft.image().clone();
            let outcome = self.raft.apply(&taken.command);
            let index = self.raft.committed() as u64;
            if outcome == Outcome::Applied {
                self.metadata_committed(&before);
            }
            let outcome = match outcome {
                Outcome::Applied => Proposed::Applied(index),
                Outcome::Stale => Proposed::Stale(index),
            };
            if self.nodes[taken.origin].life == taken.origin_life && self.network.mute_answers == 0 {
                self.send(leader, taken.origin, Message::Proposed { number: taken.number, outcome });
            }
        }
        for node in 0..self.nodes.len() {
            if self.runs(node) && self.network.both_ways(leader, node) {
                let life = self.nodes[node].life;
                let after = if node == leader { 1 } else { self.network.delay(&self.plan, &mut self.random) };
                self.queue.push(self.now + after, Event::Push { node, life });
            }
        }
    }
}
