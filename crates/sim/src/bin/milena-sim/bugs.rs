//! The test of the tests.

use std::process::ExitCode;

use crate::arguments::Arguments;

/// Makes every known mistake in turn, or one, and prints the table of `docs/replication-bugs.md`.
pub(crate) fn hunt_bugs(only: &str, arguments: &Arguments) -> ExitCode {
    println!("| row | the mistake | seeds until noticed | how |");
    println!("|---|---|---|---|");
    for &bug in milena_bugs::Bug::ALL.iter().filter(|it| only.is_empty() || format!("{it:?}") == only) {
        let found = hunted(bug, arguments);
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

/// After how many seeds a mistake was noticed, and how.
fn hunted(bug: milena_bugs::Bug, arguments: &Arguments) -> Option<(u64, String)> {
    let (mode, seeds) = (arguments.mode, arguments.seeds);
    #[cfg(feature = "openraft")]
    if arguments.quorum {
        return milena_sim::hunt::hunt_in_quorum(bug, seeds);
    }
    if arguments.transactions {
        milena_sim::hunt::hunt_in_transactions(bug, seeds)
    } else if arguments.groups {
        milena_sim::hunt::hunt_in_groups(bug, mode, seeds)
    } else {
        let found = milena_sim::hunt::hunt(bug, mode, seeds, arguments.events);
        found.map(|found| (found.seeds, found.violation.what))
    }
}
