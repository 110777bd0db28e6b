//! The world of partitions in its second mode: what becomes of the metadata on nodes that it does not look into.

use milena_metadata::{Command, Image, Outcome};

use crate::consensus::{Consensus, Failed, News};
use crate::message::{Message, Proposed};
use crate::queue::Time;
use crate::world::World;

/// A command that a node has taken in for a broker.
pub(crate) struct Taken {
    node: usize,
    origin: usize,
    origin_life: u32,
    number: u64,
}

/// The ticket of the first command, which no broker has asked for.
const GENESIS: u64 = 0;

impl World {
    /// Whom a broker takes for the controller.
    pub(crate) fn controller_of(&self, node: usize) -> Option<usize> {
        match &self.consensus {
            Some(consensus) => consensus.leader(node),
            None => self.raft.leader,
        }
    }

    /// Up to where a broker could have applied.
    pub(crate) fn known_to(&self, node: usize) -> usize {
        if self.consensus.is_some() { self.known[node] } else { self.raft.committed() }
    }

    /// Lets something happen to the quorum, and hears what comes of it.
    pub(crate) fn with_consensus(&mut self, act: impl FnOnce(&mut dyn Consensus<Image, Outcome>)) {
        let Some(consensus) = &mut self.consensus else { return };
        consensus.advance(self.now);
        act(&mut **consensus);
        self.hear();
    }

    /// Lets happen in the quorum what comes before `at`, one thing; `false` if there is nothing.
    pub(crate) fn step_consensus(&mut self, at: Time) -> bool {
        let Some(consensus) = self.consensus.as_mut().filter(|it| it.next_at() <= at) else { return false };
        self.now = consensus.next_at();
        consensus.step();
        self.hear();
        true
    }

    /// Starts the nodes and writes the first entry.
    pub(crate) fn form(&mut self, genesis: &Command) {
        for node in 0..self.nodes.len() {
            self.with_consensus(|it| it.start(node));
        }
        let mut asked = None;
        while self.violation.is_none() && self.nodes.iter().any(|it| it.epoch.is_none()) {
            self.step_consensus(Time::MAX);
            let leader = self.nodes.iter().position(|it| it.believes.is_some());
            // One that is deposed meanwhile may have written it in vain. A second one finds the first, and is stale.
            if let Some(leader) =
                leader.filter(|leader| asked != Some((*leader, self.nodes[*leader].believes)))
            {
                asked = Some((leader, self.nodes[leader].believes));
                self.with_consensus(|it| it.propose(leader, GENESIS, genesis.encode()));
            }
            // Nobody looks again by itself before all are registered.
            for node in 0..self.nodes.len() {
                if self.nodes[node].applied < self.known_to(node) {
                    self.on_push(node);
                }
            }
        }
    }

    /// Tells the quorum who reaches whom.
    pub(crate) fn connect_all(&mut self) {
        let Some(consensus) = &mut self.consensus else { return };
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                consensus.connect(from, to, self.network.reaches(from, to));
            }
        }
        consensus.be_rough(self.network.slow > 0);
    }

    /// A broker's command arrives at a node.
    pub(crate) fn hand_in(&mut self, node: usize, origin: usize, number: u64, command: &Command) {
        self.next_ticket += 1;
        let (ticket, origin_life) = (self.next_ticket, self.nodes[origin].life);
        self.taken.insert(ticket, Taken { node, origin, origin_life, number });
        self.with_consensus(|it| it.propose(node, ticket, command.encode()));
    }

    /// What a process had taken in goes with it.
    pub(crate) fn forget_taken(&mut self, node: usize) {
        self.taken.retain(|_, taken| taken.node != node);
    }

    fn hear(&mut self) {
        let Some(consensus) = &mut self.consensus else { return };
        let news = match consensus.take_news() {
            Ok(news) => news,
            Err(what) => return self.violate(|| format!("Raft: {what}")),
        };
        for news in news {
            match news {
                News::Restored { node, index, state } => self.restored(node, index as usize, &state),
                News::Applied { node, index, state, answer } => {
                    self.learnt(node, index as usize, state, answer);
                }
                News::Leads { node, term } => self.leads_quorum(node, term),
                News::Proposed { ticket, outcome } => self.decided(ticket, outcome),
                News::Read { .. } => {}
            }
        }
    }

    fn restored(&mut self, node: usize, index: usize, image: &Image) {
        // Entries of Raft's own change nothing.
        if self.raft.images.get(index).unwrap_or(self.raft.image()) != image {
            return self.violate(|| format!("node {node} finds another state at {index} than was committed"));
        }
        self.known[node] = index;
        // One that goes on with a snapshot comes to it by the way of the entries.
        if self.nodes[node].epoch.is_none() {
            (self.nodes[node].applied, self.nodes[node].image) = (index, image.clone());
        }
    }

    fn learnt(&mut self, node: usize, index: usize, image: Image, outcome: Outcome) {
        match self.raft.images.get(index) {
            Some(known) if *known != image => {
                return self
                    .violate(|| format!("node {node} has another state at {index} than was committed"));
            }
            Some(_) => {}
            None => {
                let before = self.raft.image().clone();
                self.raft.images.resize(index, before.clone());
                self.raft.images.push(image);
                if outcome == Outcome::Applied {
                    self.metadata_committed(&before);
                }
            }
        }
        self.known[node] = index;
        self.on_push(node);
    }

    fn leads_quorum(&mut self, node: usize, term: Option<u64>) {
        let now_ms = self.now_ms(node);
        let it = &mut self.nodes[node];
        let is_new = it.believes != term;
        it.believes = term;
        if let Some(term) = term.filter(|_| is_new) {
            // It knows nothing of heartbeats that went to its predecessor.
            it.heard.iter_mut().for_each(|heard| *heard = now_ms);
            self.stats.terms += 1;
            self.trace(|_| format!("node {node} leads the quorum in term {term}"));
        }
    }

    fn decided(&mut self, ticket: u64, outcome: Result<(u64, Outcome), Failed>) {
        let Some(taken) = self.taken.remove(&ticket) else { return };
        let outcome = match outcome {
            Ok((index, Outcome::Applied)) => Proposed::Applied(index),
            Ok((index, Outcome::Stale)) => Proposed::Stale(index),
            Err(Failed::NotLeader) => Proposed::NotLeader,
            Err(Failed::Unknown) => return,
        };
        if self.nodes[taken.origin].life == taken.origin_life && self.network.mute_answers == 0 {
            self.send(taken.node, taken.origin, Message::Proposed { number: taken.number, outcome });
        }
    }
}
