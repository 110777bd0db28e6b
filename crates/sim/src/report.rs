//! What a run was, in figures.

use crate::oracle::Violation;

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Records appended by leaders.
    pub appended: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Leaders of partitions that took office.
    pub elections: u64,
    /// Truncations by followers.
    pub truncations: u64,
    /// Reads by consumers.
    pub reads: u64,
    /// Sequences that a deposed leader refused although its successor would not have.
    pub deposed_refusals: u64,
    /// Leaders of the quorum that took office, in the second mode.
    pub terms: u64,
}

/// The outcome of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Figures.
    pub stats: Stats,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Hash over every event: the same seed gives the same.
    pub trace_hash: u64,
    /// What was wrong, if anything was.
    pub violation: Option<Violation>,
    /// Lines, if they were asked for.
    pub trace: Vec<String>,
}

impl Stats {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.faults += other.faults;
        self.appended += other.appended;
        self.acked += other.acked;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.reads += other.reads;
        self.deposed_refusals += other.deposed_refusals;
        self.terms += other.terms;
    }
}
