//! Seeds of the simulation of groups that every build runs. More: `cargo run --profile sim -p milena-sim -- --groups
//! --seeds 10000`.

use milena_sim::groups::{STEPS, run};
use milena_sim::{Incidents, Mode};

/// Seeds of a build.
const SEEDS: u64 = 150;

#[test]
fn groups_keep_their_promises_whoever_coordinates() {
    let (mut generations, mut committed, mut refused, mut read) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let outcome = run(seed, STEPS, Mode::Model, Incidents::default());
        assert_eq!(
            outcome.violation, None,
            "seed={seed}: cargo run --profile sim -p milena-sim -- --groups --seed {seed}"
        );
        generations += outcome.generations;
        committed += outcome.committed;
        refused += outcome.refused;
        read += outcome.read;
    }
    // A world in which nothing happens keeps its promises too.
    assert!(
        generations > 1_000 && committed > 10_000 && refused > 500 && read > 1_000,
        "{generations} {committed} {refused} {read}"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [5, 18] {
        assert_eq!(
            run(seed, STEPS, Mode::Model, Incidents::default()),
            run(seed, STEPS, Mode::Model, Incidents::default()),
            "seed={seed}"
        );
    }
}
