//! Many seeds, on all cores.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use milena_sim::report::Stats;
use milena_sim::{Incidents, Options, Plan, groups, run, transactions};

use crate::arguments::Arguments;
use crate::explain;

/// Runs each seed and adds what it came to, in the order in which they end. Answers how many seconds it took.
fn each<T>(arguments: &Arguments, run: impl Fn(u64) -> T + Sync, add: impl FnMut(u64, T) + Send) -> f64 {
    let chosen = arguments.chosen();
    let (next, last, add) = (AtomicU64::new(*chosen.start()), *chosen.end(), Mutex::new(add));
    let began = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs.max(1) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        return;
                    }
                    let outcome = run(seed);
                    add.lock().expect("no panic while adding")(seed, outcome);
                }
            });
        }
    });
    began.elapsed().as_secs_f64()
}

fn exit(failed: u64) -> ExitCode {
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the seeds that failed, in order, and answers the first.
fn first_of(failed: &mut [u64]) -> Option<u64> {
    failed.sort_unstable();
    let first = *failed.first()?;
    println!("failed seeds: {failed:?}");
    Some(first)
}

/// Runs seeds of the simulation of partitions and metadata.
pub(crate) fn of_partitions(arguments: &Arguments) -> ExitCode {
    let (mut stats, mut simulated_us, mut failed) = (Stats::default(), 0u64, Vec::new());
    let options = Options { mode: arguments.mode, trace: false };
    let seconds = each(
        arguments,
        |seed| run(&Plan::of(seed, arguments.events), &options),
        |seed, report| {
            stats.add(&report.stats);
            simulated_us += report.simulated_us;
            if report.violation.is_some() {
                failed.push(seed);
            }
        },
    );
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
    if stats.terms > 0 {
        println!("{} terms of the quorum had a leader", stats.terms);
    }
    println!(
        "{seconds:.1} s, {:.2} million events/s, {:.0} times as fast as time",
        stats.events as f64 / seconds / 1e6,
        simulated_us as f64 / 1e6 / seconds
    );
    if let Some(first) = first_of(&mut failed) {
        explain::plan(&Plan::of(first, arguments.events), arguments.mode);
    }
    exit(failed.len() as u64)
}

/// Runs seeds of the simulation of transactions.
pub(crate) fn of_transactions(arguments: &Arguments) -> ExitCode {
    let (mut committed, mut aborted, mut failed) = (0, 0, Vec::new());
    let seconds = each(
        arguments,
        |seed| transactions::run(seed, transactions::STEPS),
        |seed, outcome| {
            committed += outcome.committed;
            aborted += outcome.aborted;
            if let Some(violation) = outcome.violation {
                println!("seed={seed}: {violation}");
                failed.push(seed);
            }
        },
    );
    println!(
        "{committed} parts of transactions committed, {aborted} aborted, {} seeds failed, {seconds:.1} s",
        failed.len()
    );
    exit(failed.len() as u64)
}

/// Runs seeds of the simulation of groups.
pub(crate) fn of_groups(arguments: &Arguments) -> ExitCode {
    let (mut incidents, mut generations, mut committed, mut refused) = (0, 0, 0, 0);
    let mut failed = Vec::new();
    let seconds = each(
        arguments,
        |seed| groups::run(seed, groups::STEPS, arguments.mode, Incidents::default()),
        |seed, outcome| {
            incidents += outcome.incidents.count();
            generations += outcome.generations;
            committed += outcome.committed;
            refused += outcome.refused;
            failed.extend(outcome.violation.map(|_| seed));
        },
    );
    println!(
        "{incidents} incidents, {generations} generations, {committed} offsets committed, {refused} refused, \
         {} seeds failed, {seconds:.1} s",
        failed.len()
    );
    if let Some(first) = first_of(&mut failed) {
        explain::incidents(first, arguments.mode, "--groups", |incidents| {
            let outcome = groups::run(first, groups::STEPS, arguments.mode, incidents);
            (outcome.violation, outcome.incidents)
        });
    }
    exit(failed.len() as u64)
}

/// Runs seeds of the quorum alone.
#[cfg(feature = "openraft")]
pub(crate) fn of_quorum(arguments: &Arguments) -> ExitCode {
    let (mut incidents, mut terms, mut answered, mut snapshots, mut failed) = (0, 0, 0, 0, Vec::new());
    let seconds = each(
        arguments,
        |seed| milena_sim::quorum::run(seed, arguments.trace, Incidents::default()),
        |seed, outline| {
            incidents += outline.incidents.count();
            terms += outline.terms;
            snapshots += outline.snapshots;
            answered += outline.answered;
            outline.trace.iter().for_each(|line| println!("{line}"));
            failed.extend(outline.violation.map(|_| seed));
        },
    );
    println!(
        "{incidents} incidents, {terms} terms, {answered} commands answered, {snapshots} snapshots taken, {} seeds failed, {seconds:.1} s",
        failed.len()
    );
    if let Some(first) = first_of(&mut failed) {
        explain::incidents(first, milena_sim::Mode::Openraft, "--quorum", |incidents| {
            let outline = milena_sim::quorum::run(first, false, incidents);
            (outline.violation, outline.incidents)
        });
    }
    exit(failed.len() as u64)
}
