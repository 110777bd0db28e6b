//! Many worlds, and the test of the tests: a rule that is taken back must be missed.

use std::panic::catch_unwind;
use std::thread::spawn;

use milena_bugs::{Bug, with};

use super::world::{Figures, run};

const STEPS: usize = 3_000;
/// Seeds that a mistake may take to be noticed.
const LIMIT: u64 = 100;

#[test]
fn transactions_keep_their_promises_on_a_rough_network() {
    let mut all = Figures::default();
    for seed in 1..=300 {
        let outcome = catch_unwind(|| run(seed, STEPS));
        let figures = outcome.unwrap_or_else(|_| panic!("seed={seed}"));
        all.committed += figures.committed;
        all.aborted += figures.aborted;
    }
    println!("{all:?}");
    // A world in which nothing happens keeps its promises too.
    assert!(all.committed > 4_000 && all.aborted > 4_000, "{all:?}");
}

#[test]
fn mistakes_that_lost_transactions_elsewhere_are_noticed() {
    let mistakes = [Bug::T1, Bug::T4, Bug::T5, Bug::T6, Bug::T7, Bug::T8, Bug::T10];
    let unnoticed: Vec<Bug> = mistakes.into_iter().filter(|bug| !is_noticed(*bug)).collect();
    assert_eq!(unnoticed, []);
}

fn is_noticed(bug: Bug) -> bool {
    (1..=LIMIT).any(|seed| {
        // A thread each: a panic would leave the mistake switched on.
        let outcome = spawn(move || with(Some(bug), || run(seed, STEPS))).join();
        let why = outcome.err().map(|why| why.downcast_ref::<String>().cloned().unwrap_or_default());
        why.inspect(|why| println!("{bug:?} noticed by seed {seed}: {why:.100}")).is_some()
    })
}
