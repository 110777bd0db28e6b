//! What must hold whatever happens on the network.
//!
//! - A decision never changes, and is the one its client asked for, or an abort for a reason.
//! - Everything of a client's transaction has one outcome, and what its client was told is true.
//! - One transaction of the coordinator is one of its client: no message of a finished one reaches the next (T1,
//!   T4, T5, T8).
//! - `(producer id, epoch)` never goes back, and a producer id is never used again (P4, P7).

use std::collections::{BTreeMap, BTreeSet};

use super::message::Unit;
use milena_txn::{State, Transaction, Transactions};

#[derive(Debug, Default)]
struct Story {
    asked: BTreeSet<bool>,
    outcome: Option<bool>,
    /// Timed out or fenced.
    was_cut: bool,
}

#[derive(Debug, Default)]
pub(super) struct Oracle {
    stories: BTreeMap<Unit, Story>,
    /// By transactional id and sequence.
    units: BTreeMap<(String, u64), Unit>,
    decisions: BTreeMap<(String, u64), bool>,
    producers: BTreeMap<String, (i64, i16)>,
    used_ids: BTreeSet<i64>,
    pub(super) committed: usize,
    pub(super) aborted: usize,
}

impl Oracle {
    /// The client sends its EndTxn.
    pub(super) fn asked(&mut self, unit: Unit, commit: bool) {
        self.stories.entry(unit).or_default().asked.insert(commit);
    }

    /// Something of the client's transaction became part of the coordinator's.
    pub(super) fn added(&mut self, id: &str, sequence: u64, unit: Unit) {
        let first = *self.units.entry((id.to_owned(), sequence)).or_insert(unit);
        assert_eq!(first, unit, "transaction {sequence} of {id} has parts of two");
    }

    /// The coordinator aborts it without being asked to.
    pub(super) fn cut(&mut self, id: &str, sequence: u64) {
        if let Some(unit) = self.units.get(&(id.to_owned(), sequence)) {
            self.stories.entry(*unit).or_default().was_cut = true;
        }
    }

    /// Records in a partition, or offsets, become visible or void.
    pub(super) fn outcome(&mut self, unit: Unit, commit: bool) {
        let story = self.stories.entry(unit).or_default();
        let first = *story.outcome.get_or_insert(commit);
        assert_eq!(first, commit, "{unit:?} is torn");
        if commit {
            assert!(story.asked.contains(&true), "{unit:?} commits and nobody asked for it");
            self.committed += 1;
        } else {
            assert!(story.was_cut || story.asked.contains(&false), "{unit:?} aborts without a reason");
            self.aborted += 1;
        }
    }

    /// The client is told that its transaction ended this way.
    pub(super) fn told(&mut self, unit: Unit, commit: bool) {
        let story = self.stories.entry(unit).or_default();
        let outcome = *story.outcome.get_or_insert(commit);
        assert_eq!(outcome, commit, "the client of {unit:?} is told otherwise");
    }

    /// After every command.
    pub(super) fn look(&mut self, before: &Transactions, after: &Transactions) {
        for (id, it) in after.iter() {
            if before.find(id) != Some(it) {
                self.look_at(id, before.find(id), it);
            }
        }
    }

    fn look_at(&mut self, id: &str, before: Option<&Transaction>, it: &Transaction) {
        let present = (it.producer().producer_id, it.producer().epoch);
        match self.producers.insert(id.to_owned(), present) {
            Some(former) if former.0 == present.0 => {
                assert!(former.1 <= present.1, "{id} goes back from {former:?} to {present:?}");
            }
            _ => assert!(self.used_ids.insert(present.0), "{id}: producer id {} again", present.0),
        }
        let Some(decision) = it.state().decision() else { return };
        let key = (id.to_owned(), it.sequence());
        let first = *self.decisions.entry(key.clone()).or_insert(decision);
        assert_eq!(first, decision, "{id} {}: the decision changed", it.sequence());
        let was_open = before.is_some_and(|it| it.state() == State::Ongoing);
        if let (true, Some(unit)) = (was_open, self.units.get(&key)) {
            let story = self.stories.entry(*unit).or_default();
            let has_reason = story.asked.contains(&decision) || (!decision && story.was_cut);
            assert!(has_reason, "{unit:?} is decided as {decision} and nobody asked for it");
        }
    }

    /// The id is forgotten; its producer id must not come back.
    pub(super) fn forgotten(&mut self, id: &str) {
        self.producers.remove(id);
    }
}
