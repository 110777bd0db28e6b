//! What must be true of a Raft log, whatever is in it.

use std::collections::BTreeMap;

use bytes::Bytes;

/// What was applied, and what was answered.
#[derive(Default)]
pub(super) struct Oracle {
    log: BTreeMap<u64, Bytes>,
    /// Leaders by term.
    leaders: BTreeMap<u64, usize>,
    /// The highest index that a client was told.
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

    /// Linearizability of a read that began when `before` had been answered.
    pub(super) fn read(&mut self, before: u64, index: u64) -> Result<(), String> {
        if index < before {
            return Err(format!("a read at {index} began when {before} had been answered"));
        }
        Ok(())
    }

    /// The same of a command, which somebody is now told is at `index`.
    pub(super) fn logged(&mut self, before: u64, index: u64, command: Bytes) -> Result<(), String> {
        if index <= before {
            return Err(format!("a command at {index} was handed in when {before} had been answered"));
        }
        self.answered = self.answered.max(index);
        if self.log.get(&index).is_some_and(|known| *known != command) {
            return Err(format!("the command that was answered is not what was applied at {index}"));
        }
        self.promised.insert(index, command);
        Ok(())
    }

    /// Durability: whoever has applied `upto` has applied all that was answered up to it.
    pub(super) fn complete(&self, upto: u64) -> Result<(), String> {
        let missing = self.promised.range(..=upto).find(|(index, _)| !self.log.contains_key(index));
        missing.map_or(Ok(()), |(index, _)| Err(format!("the command answered at {index} is gone")))
    }
}
