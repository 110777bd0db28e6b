//! `milena-sim --seeds N`: runs seeds, prints what they were, and for one that fails how to see it again.

mod arguments;
#[cfg(feature = "bugs")]
mod bugs;
mod explain;
mod runs;

use std::process::ExitCode;

use milena_sim::{Options, Plan, run};

use arguments::{Arguments, USAGE, arguments};

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Broken promises are panics, and are told otherwise.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    #[cfg(feature = "bugs")]
    if let Some(only) = &arguments.bugs {
        return bugs::hunt_bugs(only, &arguments);
    }
    if arguments.transactions {
        return runs::of_transactions(&arguments);
    }
    if arguments.groups {
        return runs::of_groups(&arguments);
    }
    #[cfg(feature = "openraft")]
    if arguments.quorum {
        return runs::of_quorum(&arguments);
    }
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => runs::of_partitions(&arguments),
    }
}

/// Runs one seed, twice, as the second run must be the first again.
fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let plan = Plan::of(seed, arguments.events);
    let options = Options { trace: arguments.trace, mode: arguments.mode };
    let report = run(&plan, &options);
    report.trace.iter().for_each(|line| println!("{line}"));
    let again = run(&plan, &Options { trace: false, ..options });
    println!("{:?}", report.stats);
    println!("simulated {:.1} s, trace {:016x}", report.simulated_us as f64 / 1e6, report.trace_hash);
    if again.trace_hash != report.trace_hash {
        println!("the second run was another one: {:016x}", again.trace_hash);
        return ExitCode::FAILURE;
    }
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(_) => {
            explain::plan(&plan, arguments.mode);
            ExitCode::FAILURE
        }
    }
}
