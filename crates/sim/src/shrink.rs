//! The faults that matter: those without which a run no longer fails.

use crate::plan::Plan;
use crate::world::{Mode, Options, run};

/// Leaves out numbers of `0..count` as long as the rest `fails`, in ever smaller pieces and at most `runs` attempts.
/// Answers the rest.
pub fn fewest(count: usize, mut runs: usize, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut best: Vec<usize> = (0..count).collect();
    let mut size = count.div_ceil(2);
    while size > 0 && runs > 0 {
        let mut at = 0;
        while at < best.len() && runs > 0 {
            let mut candidate = best.clone();
            candidate.drain(at..(at + size).min(best.len()));
            runs -= 1;
            if fails(&candidate) {
                best = candidate;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    best
}

/// A plan's faults without which it no longer fails. At most `runs` runs.
pub fn shrink(plan: &Plan, mode: Mode, runs: usize) -> Plan {
    let options = Options { mode, trace: false };
    let mut plan = plan.clone();
    let Some(violation) = run(&plan, &options).violation else { return plan };
    plan.faults.retain(|(at, _)| *at <= violation.at_us);
    let with = |kept: &[usize]| Plan {
        faults: kept.iter().map(|number| plan.faults[*number].clone()).collect(),
        ..plan.clone()
    };
    let kept = fewest(plan.faults.len(), runs, |kept| run(&with(kept), &options).violation.is_some());
    with(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let fails = |kept: &[usize]| kept.contains(&3) && kept.contains(&11);
        assert_eq!(fewest(20, 100, fails), [3, 11]);
        assert_eq!(fewest(20, 0, fails).len(), 20);
        assert_eq!(fewest(0, 100, |_| true), []);
    }
}
