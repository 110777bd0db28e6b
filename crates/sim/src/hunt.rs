//! The test of the tests: a known mistake is made on purpose, and seeds are run until one notices.

use milena_bugs::{Bug, with};

use crate::groups;
use crate::transactions::{self, STEPS};
use crate::{Incidents, Mode, Options, Plan, Violation, run};

/// How a mistake came to light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Seeds that were run, the one that noticed included.
    pub seeds: u64,
    /// What it noticed.
    pub violation: Violation,
}

/// Runs seeds from 1 on, at most `limit`, with the mistake made; `None` if none of them notices.
pub fn hunt(bug: Bug, mode: Mode, limit: u64, events: u64) -> Option<Found> {
    let options = Options { mode, trace: false };
    (1..=limit).find_map(|seed| {
        let report = with(Some(bug), || run(&Plan::of(seed, events), &options));
        report.violation.map(|violation| Found { seeds: seed, violation })
    })
}

/// As [`hunt`], in the simulation of transactions: the seeds that were run, and what was noticed.
pub fn hunt_in_transactions(bug: Bug, limit: u64) -> Option<(u64, String)> {
    (1..=limit).find_map(|seed| {
        let outcome = with(Some(bug), || transactions::run(seed, STEPS));
        outcome.violation.map(|what| (seed, what))
    })
}

/// As [`hunt`], in the simulation of the quorum alone.
#[cfg(feature = "openraft")]
pub fn hunt_in_quorum(bug: Bug, limit: u64) -> Option<(u64, String)> {
    (1..=limit).find_map(|seed| {
        let outline = with(Some(bug), || crate::quorum::run(seed, false, Incidents::default()));
        outline.violation.map(|what| (seed, what))
    })
}

/// As [`hunt`], in the simulation of groups.
pub fn hunt_in_groups(bug: Bug, mode: Mode, limit: u64) -> Option<(u64, String)> {
    (1..=limit).find_map(|seed| {
        let outcome = with(Some(bug), || groups::run(seed, groups::STEPS, mode, Incidents::default()));
        outcome.violation.map(|what| (seed, what))
    })
}
