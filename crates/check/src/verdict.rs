//! The judgement on a whole history.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::anomaly::{Anomaly, Kind};
use crate::event::{Event, Micros};
use crate::history::History;
use crate::polls::Transactions;
use crate::{commits, order, owners, polls, sends};

/// Examples kept of each kind and subject; beyond that they are only counted.
const MAX_EXAMPLES: usize = 3;

/// What a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How often each kind was found; kinds that were not are absent.
    pub counts: BTreeMap<Kind, u64>,
    /// Some of each.
    pub examples: Vec<Anomaly>,
    /// Sends.
    pub sent: u64,
    /// Sends that were acknowledged.
    pub acked: u64,
    /// Sends of which nobody knows.
    pub unknown_writes: u64,
    /// Acknowledged sends beyond what was read, where no consumer was driven to the end.
    pub unread: u64,
    /// Commits that were acknowledged.
    pub commits_acked: u64,
}

impl Verdict {
    /// Whether there is no anomaly.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// How often `kind` was found.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }
}

/// Anomalies as they are found.
pub(crate) type Findings = Verdict;

impl Verdict {
    pub(crate) fn add(&mut self, kind: Kind, subject: &str, at: Micros, what: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += 1;
        let same = self.examples.iter().filter(|it| it.kind == kind && it.subject == subject);
        if same.count() < MAX_EXAMPLES {
            self.examples.push(Anomaly { kind, subject: subject.into(), at, what: what() });
        }
    }
}

/// Judges a history.
pub fn check(history: &History) -> Verdict {
    let sent = history.events.iter().filter(|it| matches!(it, Event::Send(_))).count() as u64;
    let mut findings = Findings { sent, ..Findings::default() };
    let transactions = Transactions::of(history);
    let partitions = order::partitions(history);
    for (name, partition) in &partitions {
        sends::judge(name, partition, &transactions, &mut findings);
    }
    polls::judge(history, &partitions, &transactions, &mut findings);
    commits::judge(history, &mut findings);
    owners::judge(history, &mut findings);
    findings
}
