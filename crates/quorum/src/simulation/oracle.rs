//! What was applied and answered, and what must be true of it.

use crate::machine::{Changes, StateMachine};
use bytes::Bytes;
use milena_metadata::{Outcome, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a node's state machine has told.
#[derive(Default)]
pub(super) struct Told {
    /// Commands as they were applied: by whom, at which index.
    pub(super) applied: Vec<(usize, u64, Bytes)>,
    /// Of each node: the index that a decision names, and the first producer id that is free.
    pub(super) views: BTreeMap<usize, (u64, i64)>,
}

/// Clones are the same notes.
#[derive(Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Told>>);

impl Notes {
    pub(super) fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}

/// The cluster's metadata, as brokers run it.
pub(super) struct Machine {
    node: usize,
    state: State,
    notes: Notes,
}

impl Machine {
    pub(super) fn new(node: usize, notes: Notes) -> Self {
        Self { node, state: State::default(), notes }
    }
}

impl StateMachine for Machine {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.state = State::restore(pairs).expect("it was stored by the same code");
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        let mut pairs = Vec::new();
        let outcome = self.state.apply(index, command, &mut pairs);
        for (key, value) in pairs {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.remove(key),
            }
        }
        self.notes.lock().applied.push((self.node, index, command.clone()));
        outcome.encode()
    }

    fn applied(&mut self, _index: u64) {
        let image = self.state.image();
        self.notes.lock().views.insert(self.node, (image.index(), image.next_producer_id()));
    }
}

/// What a client is told about a command or a read.
pub(super) enum Answer {
    /// The command is in the log there.
    Logged { index: u64, command: Bytes, outcome: Outcome, first: i64 },
    /// All up to there is applied.
    Read { index: u64 },
    /// No, or nobody knows.
    Unknown,
}

/// What must be true of all that was told.
#[derive(Default)]
pub(super) struct Oracle {
    log: BTreeMap<u64, Bytes>,
    /// Leaders by term.
    leaders: BTreeMap<u64, usize>,
    /// First ids of the blocks that were given away.
    blocks: BTreeSet<i64>,
    /// The highest index that was answered.
    answered: u64,
    promised: BTreeMap<u64, Bytes>,
}

impl Oracle {
    /// The highest index that a client has heard of.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Terms that had a leader.
    pub(super) fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// Commands that somebody was told are in the log.
    pub(super) fn promises(&self) -> usize {
        self.promised.len()
    }

    /// StateMachineSafety: all nodes apply the same at each index, and what was promised.
    pub(super) fn applied(&mut self, node: usize, index: u64, command: &Bytes) -> Result<(), String> {
        let known = self.log.entry(index).or_insert_with(|| command.clone());
        if known != command {
            return Err(format!("node {node} applies another command at {index} than somebody before it"));
        }
        match self.promised.get(&index) {
            Some(promised) if promised != command => {
                Err(format!("node {node} applies another command at {index} than was answered"))
            }
            _ => Ok(()),
        }
    }

    /// ElectionSafety: a term has one leader.
    pub(super) fn leads(&mut self, node: usize, term: u64) -> Result<(), String> {
        match *self.leaders.entry(term).or_insert(node) {
            first if first == node => Ok(()),
            first => Err(format!("nodes {first} and {node} lead in term {term}")),
        }
    }

    /// Linearizability of what a client asked when `before` had been answered.
    pub(super) fn answer(&mut self, before: u64, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Unknown => Ok(()),
            Answer::Read { index } if index < before => {
                Err(format!("a read at {index} began when {before} had been answered"))
            }
            Answer::Read { .. } => Ok(()),
            Answer::Logged { index, .. } if index <= before => {
                Err(format!("a command at {index} was handed in when {before} had been answered"))
            }
            Answer::Logged { index, command, outcome, first } => {
                self.answered = self.answered.max(index);
                if self.log.get(&index).is_some_and(|known| *known != command) {
                    return Err(format!("the command that was answered is not what was applied at {index}"));
                }
                self.promised.insert(index, command);
                if outcome == Outcome::Applied && !self.blocks.insert(first) {
                    return Err(format!("the producer ids from {first} on were given away twice"));
                }
                Ok(())
            }
        }
    }

    /// Durability: whoever has applied `upto` has applied all that was answered up to it.
    pub(super) fn complete(&self, upto: u64) -> Result<(), String> {
        let missing = self.promised.range(..=upto).find(|(index, _)| !self.log.contains_key(index));
        missing.map_or(Ok(()), |(index, _)| Err(format!("the command answered at {index} is gone")))
    }
}
