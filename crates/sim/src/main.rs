//! `milena-sim --seeds N`: runs seeds, prints what they were, and for one that fails how to see it again.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use milena_sim::report::Stats;
use milena_sim::{Options, Plan, run, shrink};

const USAGE: &str = "milena-sim [--transactions | --groups] [--seeds N] [--from S] [--jobs J] [--events E] [--seed X [--trace]]";

struct Arguments {
    seeds: u64,
    from: u64,
    jobs: u64,
    events: u64,
    seed: Option<u64>,
    trace: bool,
    transactions: bool,
    groups: bool,
    #[cfg_attr(not(feature = "bugs"), allow(dead_code))]
    bugs: Option<String>,
}

impl Arguments {
    /// The seeds to run: one, or a range.
    fn chosen(&self) -> std::ops::RangeInclusive<u64> {
        match self.seed {
            Some(seed) => seed..=seed,
            None => self.from..=self.from + self.seeds - 1,
        }
    }
}

fn arguments() -> Option<Arguments> {
    let jobs = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    let mut it = Arguments {
        seeds: 100,
        from: 1,
        jobs,
        events: 100_000,
        seed: None,
        trace: false,
        transactions: false,
        groups: false,
        bugs: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |words: &mut dyn Iterator<Item = String>| words.next()?.parse().ok();
        match word.as_str() {
            "--seeds" => it.seeds = number(&mut words)?,
            "--from" => it.from = number(&mut words)?,
            "--jobs" => it.jobs = number(&mut words)?,
            "--events" => it.events = number(&mut words)?,
            "--seed" => it.seed = Some(number(&mut words)?),
            "--trace" => it.trace = true,
            "--transactions" => it.transactions = true,
            "--groups" => it.groups = true,
            #[cfg(feature = "bugs")]
            "--bugs" => it.bugs = Some(String::new()),
            #[cfg(feature = "bugs")]
            "--bug" => it.bugs = words.next(),
            _ => return None,
        }
    }
    Some(it)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|_| {}));
    #[cfg(feature = "bugs")]
    if let Some(only) = &arguments.bugs {
        return hunt_bugs(only, &arguments);
    }
    if arguments.transactions {
        return transactions(&arguments);
    }
    if arguments.groups {
        return groups(&arguments);
    }
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    }
}

/// Runs one seed, twice, as the second run must be the first again.
fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let plan = Plan::of(seed, arguments.events);
    let report = run(&plan, &Options { trace: arguments.trace });
    report.trace.iter().for_each(|line| println!("{line}"));
    let again = run(&plan, &Options::default());
    println!("{:?}", report.stats);
    println!("simulated {:.1} s, trace {:016x}", report.simulated_us as f64 / 1e6, report.trace_hash);
    if again.trace_hash != report.trace_hash {
        println!("the second run was another one: {:016x}", again.trace_hash);
        return ExitCode::FAILURE;
    }
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(_) => {
            explain(&plan);
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds of the simulation of transactions.
fn transactions(arguments: &Arguments) -> ExitCode {
    let seeds = arguments.chosen();
    let began = Instant::now();
    let (mut committed, mut aborted, mut failed) = (0, 0, 0);
    for seed in seeds {
        let outcome = milena_sim::transactions::run(seed, milena_sim::transactions::STEPS);
        committed += outcome.committed;
        aborted += outcome.aborted;
        if let Some(violation) = outcome.violation {
            failed += 1;
            println!("seed={seed}: {violation}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{committed} parts of transactions committed, {aborted} aborted, {failed} seeds failed, {seconds:.1} s"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds of the simulation of groups.
fn groups(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let (mut generations, mut committed, mut refused, mut failed) = (0, 0, 0, 0);
    for seed in arguments.chosen() {
        let outcome = milena_sim::groups::run(seed, milena_sim::groups::STEPS);
        generations += outcome.generations;
        committed += outcome.committed;
        refused += outcome.refused;
        if let Some(violation) = outcome.violation {
            failed += 1;
            println!("seed={seed}: {violation}");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{generations} generations, {committed} offsets committed, {refused} refused, {failed} seeds failed, \
         {seconds:.1} s"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(arguments: &Arguments) -> ExitCode {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let total = Mutex::new((Stats::default(), 0u64, Vec::new()));
    let began = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs.max(1) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(&Plan::of(seed, arguments.events), &Options::default());
                    let mut total = total.lock().expect("no panic while adding");
                    total.0.add(&report.stats);
                    total.1 += report.simulated_us;
                    if report.violation.is_some() {
                        total.2.push(seed);
                    }
                }
            });
        }
    });
    let (stats, simulated_us, mut failed) = total.into_inner().expect("no panic while adding");
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {} events, {:.2} simulated hours, {} faults, {} elections, {} records acknowledged, {} failed",
        arguments.seeds,
        stats.events,
        simulated_us as f64 / 3.6e9,
        stats.faults,
        stats.elections,
        stats.acked,
        failed.len()
    );
    println!(
        "{seconds:.1} s, {:.2} million events/s, {:.0} times as fast as time",
        stats.events as f64 / seconds / 1e6,
        simulated_us as f64 / 1e6 / seconds
    );
    failed.sort_unstable();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed seeds: {failed:?}");
    explain(&Plan::of(failed[0], arguments.events));
    ExitCode::FAILURE
}

/// Prints the faults that matter and how to run them again.
fn explain(plan: &Plan) {
    let small = shrink(plan, 60);
    let report = run(&small, &Options { trace: true });
    let Some(violation) = report.violation else { return };
    println!("seed={} at {:.6} s: {}", plan.seed, violation.at_us as f64 / 1e6, violation.what);
    println!("commit {}", option_env!("GIT_HASH").map_or_else(git_hash, str::to_owned));
    println!("faults that matter, of {}:", plan.faults.len());
    small.faults.iter().for_each(|(at, fault)| println!("  {:>10.3} s {fault:?}", *at as f64 / 1e6));
    println!("its last lines:");
    let skip = report.trace.len().saturating_sub(40);
    report.trace.iter().skip(skip).for_each(|line| println!("  {line}"));
    println!("again: cargo run --release -p milena-sim -- --seed {} --events {}", plan.seed, plan.events);
}

fn git_hash() -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    output.map_or_else(|_| "unknown".into(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
}

/// Makes every known mistake in turn, or one, and prints the table of `docs/replication-bugs.md`.
#[cfg(feature = "bugs")]
fn hunt_bugs(only: &str, arguments: &Arguments) -> ExitCode {
    println!("| row | the mistake | seeds until noticed | how |");
    println!("|---|---|---|---|");
    for &bug in milena_bugs::Bug::ALL.iter().filter(|it| only.is_empty() || format!("{it:?}") == only) {
        let found = if arguments.transactions {
            milena_sim::hunt::hunt_in_transactions(bug, arguments.seeds)
        } else if arguments.groups {
            milena_sim::hunt::hunt_in_groups(bug, arguments.seeds)
        } else {
            let found = milena_sim::hunt::hunt(bug, arguments.seeds, arguments.events);
            found.map(|found| (found.seeds, found.violation.what))
        };
        let (seeds, how) = match found {
            Some((seeds, what)) => (seeds.to_string(), what),
            None => (format!("not within {}", arguments.seeds), String::new()),
        };
        let how: String = how
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(160)
            .map(|it| if it == '|' { ' ' } else { it })
            .collect();
        println!("| {bug:?} | {} | {seeds} | {how} |", bug.what());
    }
    ExitCode::SUCCESS
}
