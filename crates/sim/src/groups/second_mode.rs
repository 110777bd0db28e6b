//! The world of groups in its second mode: coordinators where Raft's leaders are, and a log that may fail like any.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_group::{Answer, Event, Failure, Groups, RequestId};

use super::member::TOPIC;
use super::office::Office;
use super::{GROUP, PARTITIONS, World};
use crate::Mode;
use crate::consensus::{Consensus, Failed, News};
use crate::random::Random;

/// Nodes that vote.
const NODES: usize = 3;

/// When the world begins, in milliseconds of its clock.
const BEGIN_MS: u64 = 1_000;

/// How long everybody may take to hear that nothing fails any more, in milliseconds.
const HEALED_MS: u64 = 3_000;

/// How soon there must be a leader, and a command committed, when nothing fails, in milliseconds.
const SOON_MS: u64 = 5_000;

/// The request that founds the group, which nobody waits for.
const FOUNDING: RequestId = RequestId(0);

/// The end of a fault.
#[derive(Debug, Clone, Copy)]
enum Repair {
    Start(usize),
    Connect(usize, usize),
}

/// A read on its way.
struct Reading {
    node: usize,
    partition: i32,
    /// What had been committed when it began.
    since: u64,
}

/// The quorum, and what is known of it.
pub(super) struct SecondMode {
    /// For what befalls nodes, so that leaving some of it out does not change the rest.
    dice: Random,
    consensus: Box<dyn Consensus<Groups, Answer>>,
    /// Each node's state.
    states: Vec<(u64, Groups)>,
    /// The state after each entry.
    committed: BTreeMap<u64, Groups>,
    /// Highest entry whose proposer was told.
    told: u64,
    next_ticket: u64,
    reads: BTreeMap<u64, Reading>,
    /// By their time.
    repairs: Vec<(u64, Repair)>,
}

impl SecondMode {
    /// Nodes, if they are wanted.
    #[cfg_attr(not(feature = "openraft"), allow(unused_variables))]
    pub(super) fn new(seed: u64, mode: Mode) -> Option<Self> {
        let consensus: Box<dyn Consensus<Groups, Answer>> = match mode {
            Mode::Model => return None,
            #[cfg(feature = "openraft")]
            Mode::Openraft => Box::new(crate::quorum::Nodes::<Groups>::new(seed, &[1_000_000; NODES])),
        };
        #[allow(unreachable_code, reason = "where there is but one mode")]
        Some(Self {
            dice: Random::new(seed, 22),
            consensus,
            states: vec![(0, Groups::default()); NODES],
            committed: BTreeMap::from([(0, Groups::default())]),
            told: 0,
            next_ticket: 0,
            reads: BTreeMap::new(),
            repairs: Vec::new(),
        })
    }

    /// Hash over every event of the quorum.
    pub(super) fn hash(&self) -> u64 {
        self.consensus.hash()
    }

    /// The newest state at or below an index.
    fn committed_at(&self, index: u64) -> &Groups {
        self.committed.range(..=index).next_back().expect("the one before any entry").1
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

impl World {
    fn second(&mut self) -> &mut SecondMode {
        self.second.as_mut().expect("the second mode")
    }

    /// Whether a process goes on.
    pub(super) fn runs(&self, node: usize) -> bool {
        self.second.as_ref().is_none_or(|second| second.consensus.runs(node))
    }

    /// Starts the nodes and founds the group.
    pub(super) fn found_on_nodes(&mut self) {
        for node in 0..NODES {
            self.second().consensus.start(node);
            self.hear();
        }
        self.pass_until("nobody leads", |world| !world.offices.is_empty());
        let (now, commit) = (self.now, self.foundation());
        self.leader().step(now, commit);
        self.submit();
        self.pass_until("nothing is committed", |world| world.groups != Groups::default());
    }

    /// Waits for what must come about soon when nothing fails.
    fn pass_until(&mut self, otherwise: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..SOON_MS {
            if is_so(self) {
                return;
            }
            self.pass(1);
        }
        panic!("{otherwise} after {SOON_MS} ms in which nothing failed");
    }

    /// Lets time pass for everybody, a millisecond at a time.
    pub(super) fn pass_on_nodes(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.monotonic_ms += 1;
            self.now.unix_ms += 1;
            let at = (self.now.monotonic_ms - BEGIN_MS) * 1_000;
            while self.second().consensus.next_at() <= at {
                self.second().consensus.step();
                self.hear();
            }
            self.second().consensus.advance(at);
            self.repair();
            for at in 0..self.offices.len() {
                if self.offices[at].is_due(self.now) && self.runs(self.offices[at].node) {
                    let outcomes = self.offices[at].step(self.now, Event::Tick);
                    self.take(outcomes, at + 1 == self.offices.len());
                }
            }
            self.submit();
        }
    }

    /// Hands in what coordinators have proposed.
    pub(super) fn submit(&mut self) {
        let Some(second) = &mut self.second else { return };
        for office in &mut self.offices {
            for entry in office.proposed.iter_mut().filter(|entry| entry.ticket.is_none()) {
                let ticket = second.ticket();
                entry.ticket = Some(ticket);
                second.consensus.propose(office.node, ticket, Bytes::from(entry.command.encode()));
            }
        }
        self.hear();
    }

    fn hear(&mut self) {
        let news = self.second().consensus.take_news();
        for news in news.unwrap_or_else(|what| panic!("Raft: {what}")) {
            match news {
                News::Restored { node, index, state } => self.has_applied(node, index, state),
                News::Applied { node, index, state, answer: _ } => {
                    if index > self.index {
                        let before = std::mem::replace(&mut self.groups, state.clone());
                        self.index = index;
                        self.second().committed.insert(index, state.clone());
                        self.oracle.applied(&before, &self.groups, self.now, &self.settings);
                    }
                    self.has_applied(node, index, state);
                }
                News::Leads { node, term } => self.leads(node, term),
                News::Proposed { ticket, outcome } => self.decided(ticket, outcome),
                News::Read { ticket, index } => self.has_read(ticket, index),
            }
        }
    }

    /// A node has applied up to there: what everybody has who applied that.
    fn has_applied(&mut self, node: usize, index: u64, state: Groups) {
        assert_eq!(state, *self.second().committed_at(index), "node {node} has another state at {index}");
        for office in self.offices.iter_mut().filter(|office| office.node == node) {
            office.groups = state.clone();
        }
        self.second().states[node] = (index, state);
    }

    /// A node begins to lead, or hears that it does no longer.
    fn leads(&mut self, node: usize, term: Option<u64>) {
        if self.offices.iter().any(|office| office.node == node && Some(office.term) == term) {
            return;
        }
        let now = self.now;
        while let Some(at) = self.offices.iter().position(|office| office.node == node) {
            let outcomes = self.offices.remove(at).resign(now);
            self.take(outcomes, false);
        }
        if let Some(term) = term {
            let groups = self.second().states[node].1.clone();
            self.offices.push(Office::new(term, node, now, groups, self.settings.clone()));
            self.offices.sort_by_key(|office| office.term);
        }
    }

    fn decided(&mut self, ticket: u64, outcome: Result<(u64, Answer), Failed>) {
        let found = self.offices.iter().enumerate().find_map(|(at, office)| {
            let entry = office.proposed.iter().position(|entry| entry.ticket == Some(ticket))?;
            Some((at, entry))
        });
        // Otherwise its coordinator has resigned.
        let Some((at, entry)) = found else { return };
        let now = self.now;
        let entry = self.offices[at].proposed.remove(entry).expect("just found");
        let outcomes = match outcome {
            Ok((index, answer)) => {
                self.second().told = self.second().told.max(index);
                let groups = self.offices[at].groups.clone();
                self.offices[at].committed(now, groups, &entry, answer)
            }
            Err(Failed::NotLeader) => self.offices[at].failed(now, &entry, Failure::LeadershipLost),
            Err(Failed::Unknown) => self.offices[at].failed(now, &entry, Failure::Indeterminate),
        };
        let is_newest = at + 1 == self.offices.len();
        self.take(outcomes, is_newest);
    }

    /// Whether an answer is for nobody.
    pub(super) fn is_for_nobody(&self, request: RequestId) -> bool {
        self.second.is_some() && request == FOUNDING
    }

    /// Somebody reads an offset back, from a coordinator that may be none any more.
    pub(super) fn read_on_nodes(&mut self) {
        if self.offices.is_empty() {
            return;
        }
        let at = self.random.below(self.offices.len());
        let partition = self.random.below(PARTITIONS as usize) as i32;
        let node = self.offices[at].node;
        let unconfirmed = self.offices[at].read(partition, false);
        let second = self.second();
        let since = second.told;
        match unconfirmed {
            Some(found) => self.told(partition, found, since),
            None => {
                let ticket = second.ticket();
                second.reads.insert(ticket, Reading { node, partition, since });
                second.consensus.read(node, ticket);
                self.hear();
            }
        }
    }

    /// A read is confirmed, and the node has applied all that it must see.
    fn has_read(&mut self, ticket: u64, index: Option<u64>) {
        let Some(Reading { node, partition, since }) = self.second().reads.remove(&ticket) else { return };
        if index.is_some() {
            let found = self.second().states[node].1.offset(GROUP, TOPIC, partition).map(|it| it.offset);
            self.told(partition, found, since);
        }
    }

    /// An offset was told to somebody who asked when `since` had been answered: it was in force then, or later (G2).
    fn told(&mut self, partition: i32, found: Option<i64>, since: u64) {
        let second = self.second();
        let offset = |groups: &Groups| groups.offset(GROUP, TOPIC, partition).map(|it| it.offset);
        let is_new = offset(second.committed_at(since)) == found
            || second.committed.range(since..).any(|(_, groups)| offset(groups) == found);
        assert!(is_new, "G2: an old offset of partition {partition} is told");
        self.oracle.read += 1;
    }

    /// Something befalls a node, mostly the one that coordinates.
    pub(super) fn befall(&mut self) {
        let newest = self.offices.last().map(|office| office.node);
        let dice = &mut self.second.as_mut().expect("the second mode").dice;
        let any = dice.below(NODES);
        let node = newest.filter(|_| dice.per_mille(700)).unwrap_or(any);
        let other = (node + 1 + dice.below(NODES - 1)) % NODES;
        let (short, long) = (dice.range(20, 1_500), dice.range(50, 4_000));
        let kind = dice.below(6);
        let after_long = self.now.monotonic_ms + long;
        let what = || {
            let words = match kind {
                0 => "is killed",
                1 => "loses its power",
                2 => "stands still",
                3 => "is cut off",
                4 => "does not reach",
                _ => "is said to be dead, the next leader is to be",
            };
            format!("node {node} {words} (node {other}; {short} or {long} ms)")
        };
        if !self.happens(what) {
            return;
        }
        let second = self.second();
        match kind {
            0 | 1 => {
                second.consensus.stop(node, kind == 1);
                second.repairs.push((after_long, Repair::Start(node)));
                // It says nothing any more.
                self.offices.retain(|office| office.node != node);
            }
            2 => second.consensus.pause(node, short * 1_000),
            3 | 4 => {
                let peers: Vec<usize> = if kind == 3 { (0..NODES).collect() } else { vec![other] };
                for peer in peers.into_iter().filter(|peer| *peer != node) {
                    let ways = [(node, peer), (peer, node)];
                    for (from, to) in ways.into_iter().take(if kind == 3 { 2 } else { 1 }) {
                        second.consensus.connect(from, to, false);
                        second.repairs.push((after_long, Repair::Connect(from, to)));
                    }
                }
            }
            _ => second.consensus.accuse(other),
        }
        self.hear();
    }

    /// What was broken long enough is whole again.
    fn repair(&mut self) {
        let now = self.now.monotonic_ms;
        let due: Vec<_> = self.second().repairs.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, repair) in due {
            match repair {
                Repair::Start(node) => self.second().consensus.start(node),
                Repair::Connect(from, to) => self.second().consensus.connect(from, to, true),
            }
            self.hear();
        }
    }

    /// The end of all faults: everybody hears of it.
    pub(super) fn heal(&mut self) {
        self.second().repairs.iter_mut().for_each(|(at, _)| *at = 0);
        self.pass(HEALED_MS);
        self.pass_until("not one coordinator", |world| world.offices.len() == 1);
    }
}
