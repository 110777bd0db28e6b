//! Seeds of the second mode, on the real openraft: `cargo test --profile sim -p milena-sim --features openraft`. More:
//! `cargo run --profile sim -p milena-sim --features openraft -- --openraft --seeds 1000`, also with `--groups`, and
//! `--quorum` without.
#![cfg(feature = "openraft")]

use milena_sim::report::Stats;
use milena_sim::{Incidents, Mode, Options, Plan, groups, quorum, run};

const AGAIN: &str = "cargo run --profile sim -p milena-sim --features openraft --";

#[test]
fn nothing_promised_is_broken_whatever_fails() {
    let mut stats = Stats::default();
    for seed in 1..=30 {
        let options = Options { mode: Mode::Openraft, trace: false };
        let report = run(&Plan::of(seed, 100_000), &options);
        assert_eq!(report.violation, None, "seed={seed}: {AGAIN} --openraft --seed {seed}");
        stats.add(&report.stats);
    }
    // A world in which nothing happens keeps its promises too.
    assert!(stats.faults > 900 && stats.terms > 150 && stats.elections > 200, "{stats:?}");
    assert!(stats.acked > 150_000 && stats.truncations > 50, "{stats:?}");
}

#[test]
fn groups_keep_their_promises_whoever_coordinates() {
    let (mut generations, mut committed, mut refused, mut read) = (0, 0, 0, 0);
    for seed in 1..=20 {
        let outcome = groups::run(seed, groups::STEPS, Mode::Openraft, Incidents::default());
        assert_eq!(outcome.violation, None, "seed={seed}: {AGAIN} --groups --openraft --seed {seed}");
        generations += outcome.generations;
        committed += outcome.committed;
        refused += outcome.refused;
        read += outcome.read;
    }
    let sums = (generations, committed, refused, read);
    assert!(generations > 250 && committed > 1_000 && refused > 500 && read > 250, "{sums:?}");
}

#[test]
fn the_quorum_keeps_what_raft_promises() {
    let (mut terms, mut answered, mut snapshots) = (0, 0, 0);
    for seed in 1..=40 {
        let outline = quorum::run(seed, false, Incidents::default());
        assert_eq!(outline.violation, None, "seed={seed}: {AGAIN} --quorum --seed {seed}");
        terms += outline.terms;
        answered += outline.answered;
        snapshots += outline.snapshots;
    }
    let sums = (terms, answered, snapshots);
    assert!(terms > 80 && answered > 4_000 && snapshots > 20, "{sums:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [2, 7, 11] {
        assert_eq!(
            quorum::run(seed, false, Incidents::default()),
            quorum::run(seed, false, Incidents::default()),
            "the quorum, seed={seed}"
        );
        let groups = || groups::run(seed, 1_000, Mode::Openraft, Incidents::default());
        assert_eq!(groups(), groups(), "groups, seed={seed}");
        let partitions = || run(&Plan::of(seed, 20_000), &Options { mode: Mode::Openraft, trace: true });
        let (once, again) = (partitions(), partitions());
        assert_eq!(once.trace_hash, again.trace_hash, "partitions, seed={seed}");
        assert_eq!((once.stats, once.trace), (again.stats, again.trace), "partitions, seed={seed}");
    }
}

/// The test of the tests, as in `bugs.rs`.
#[cfg(feature = "bugs")]
#[test]
fn mistakes_of_the_quorum_are_noticed() {
    use milena_bugs::Bug;
    use milena_sim::hunt::hunt_in_quorum;

    std::panic::set_hook(Box::new(|_| {}));
    for (bug, how) in
        [(Bug::F7, "a read at"), (Bug::F9, "given away twice"), (Bug::F16, "cannot read what it wrote")]
    {
        let (_, what) = hunt_in_quorum(bug, 150).unwrap_or_else(|| panic!("{bug:?} is not noticed"));
        assert!(what.contains(how), "{bug:?}: {what}");
    }
}
