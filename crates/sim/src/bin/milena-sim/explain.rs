//! What is printed of a seed that fails: what of it matters, and how to see it again.

use std::process::Command;

use milena_sim::{Incidents, Mode, Options, Plan, fewest, run, shrink};

/// Runs that are spent on leaving things out.
const RUNS: usize = 60;

/// Prints the faults that matter, of a plan that fails.
pub(crate) fn plan(plan: &Plan, mode: Mode) {
    let small = shrink(plan, mode, RUNS);
    let report = run(&small, &Options { trace: true, mode });
    let Some(violation) = report.violation else { return };
    println!("seed={} at {:.6} s: {}", plan.seed, violation.at_us as f64 / 1e6, violation.what);
    println!("commit {}", commit());
    println!("faults that matter, of {}:", plan.faults.len());
    small.faults.iter().for_each(|(at, fault)| println!("  {:>10.3} s {fault:?}", *at as f64 / 1e6));
    println!("its last lines:");
    let skip = report.trace.len().saturating_sub(40);
    report.trace.iter().skip(skip).for_each(|line| println!("  {line}"));
    again(mode, &format!("--seed {} --events {}", plan.seed, plan.events));
}

/// The same of a world that draws its incidents as it goes; `run` answers what was broken, and what happened.
pub(crate) fn incidents(
    seed: u64,
    mode: Mode,
    world: &str,
    run: impl Fn(Incidents) -> (Option<String>, Incidents),
) {
    let (Some(_), drawn) = run(Incidents::default()) else { return };
    let count = drawn.count();
    let kept = fewest(count, RUNS, |kept| run(Incidents::only(kept, count)).0.is_some());
    let (violation, small) = run(Incidents::only(&kept, count).in_words());
    println!("seed={seed}: {}", violation.unwrap_or_default());
    println!("commit {}", commit());
    println!("what matters, of {count} incidents:");
    small.words().iter().for_each(|line| println!("  {line}"));
    again(mode, &format!("{world} --seed {seed}"));
}

fn again(mode: Mode, arguments: &str) {
    let mode = match mode {
        Mode::Model => "--",
        #[cfg(feature = "openraft")]
        Mode::Openraft => "--features openraft -- --openraft",
    };
    println!("again: cargo run --profile sim -p milena-sim {mode} {arguments}");
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let found =
        output.map_or_else(|_| "unknown".into(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    option_env!("GIT_HASH").map_or(found, str::to_owned)
}
