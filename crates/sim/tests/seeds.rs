//! A number of seeds that every build runs. More: `cargo run --profile sim -p milena-sim -- --seeds 10000`.

use milena_sim::{Options, Plan, run};

/// Seeds of a build, each of 100,000 events at least.
const SEEDS: u64 = 500;

#[test]
fn nothing_promised_is_broken_whatever_fails() {
    for seed in 1..=SEEDS {
        let plan = Plan::of(seed, 100_000);
        let report = run(&plan, &Options::default());
        assert_eq!(
            report.violation, None,
            "seed={seed}: cargo run --profile sim -p milena-sim -- --seed {seed}"
        );
        assert!(report.stats.events >= 100_000, "seed={seed}: {:?}", report.stats);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 15] {
        let plan = Plan::of(seed, 20_000);
        let (once, again) =
            (run(&plan, &Options { trace: true, ..Options::default() }), run(&plan, &Options::default()));
        assert_eq!(once.trace_hash, again.trace_hash, "seed={seed}");
        assert_eq!(once.stats, again.stats, "seed={seed}");
        assert_ne!(once.trace_hash, run(&Plan::of(seed + 100, 20_000), &Options::default()).trace_hash);
    }
}

/// Faults are drawn, and do happen: a schedule that came out empty would find nothing.
#[test]
fn faults_of_every_kind_take_effect() {
    let mut stats = milena_sim::report::Stats::default();
    for seed in 1..=10 {
        stats.add(&run(&Plan::of(seed, 100_000), &Options::default()).stats);
    }
    assert!(stats.faults > 300 && stats.elections > 100 && stats.acked > 50_000, "{stats:?}");
    assert!(stats.truncations > 20 && stats.reads > 5_000, "{stats:?}");
}
