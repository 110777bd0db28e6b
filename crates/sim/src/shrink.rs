//! The faults that matter: those without which a run no longer fails.

use crate::plan::Plan;
use crate::world::{Mode, Options, run};

/// Leaves out faults as long as the run still fails, in ever smaller pieces. At most `runs` runs.
pub fn shrink(plan: &Plan, mode: Mode, mut runs: usize) -> Plan {
    let options = Options { mode, trace: false };
    let mut best = plan.clone();
    let failing = run(&best, &options);
    let Some(violation) = failing.violation else { return best };
    best.faults.retain(|(at, _)| *at <= violation.at_us);
    let mut size = best.faults.len().div_ceil(2);
    while size > 0 && runs > 0 {
        let mut at = 0;
        while at < best.faults.len() && runs > 0 {
            let mut candidate = best.clone();
            candidate.faults.drain(at..(at + size).min(best.faults.len()));
            runs -= 1;
            if run(&candidate, &options).violation.is_some() {
                best = candidate;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    best
}
