//! Seeds of the simulation of transactions that every build runs. More: `cargo run --profile sim -p milena-sim --
//! --transactions --seeds 10000`.

use milena_sim::transactions::{STEPS, run};

/// Seeds of a build.
const SEEDS: u64 = 300;

#[test]
fn transactions_keep_their_promises_whatever_the_network_does() {
    let (mut committed, mut aborted) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = run(seed, STEPS);
        assert_eq!(
            outcome.violation, None,
            "seed={seed}: cargo run --profile sim -p milena-sim -- --transactions --seed {seed}"
        );
        committed += outcome.committed;
        aborted += outcome.aborted;
    }
    // A world in which nothing happens keeps its promises too.
    assert!(committed > 3_000 && aborted > 3_000, "{committed} committed, {aborted} aborted");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14] {
        assert_eq!(run(seed, STEPS), run(seed, STEPS), "seed={seed}");
    }
}
