//! `milena check`: judges a history that some client has written.

use std::path::PathBuf;

use milena_check::{History, Verdict, check};

use crate::failure::{Failure, Outcome};
use crate::output::{self, Align, Format, Table};

/// Judges a history: what clients sent, were promised, read and committed.
///
/// Each line of the file is one operation as JSON, as `milena drill --history` writes them; docs/failover.md describes
/// the form. The exit code is 0 only if there is no anomaly.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The history.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl CheckArgs {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?;
        let history = History::parse(&text).map_err(|error| Failure::new(error.to_string()))?;
        let verdict = check(&history);
        output::print(self.format, &verdict, tables)?;
        match verdict.is_clean() {
            true => Ok(()),
            false => Err(Failure::Reported),
        }
    }
}

fn tables(verdict: &Verdict) -> Vec<Table> {
    let mut summary = Table::new([
        ("SENT", Align::Right),
        ("ACKED", Align::Right),
        ("UNKNOWN", Align::Right),
        ("COMMITS", Align::Right),
        ("ANOMALIES", Align::Right),
    ]);
    let anomalies = verdict.counts.values().sum();
    let counts = [verdict.sent, verdict.acked, verdict.unknown_writes, verdict.commits_acked, anomalies];
    summary.row(counts.map(|it| it.to_string()));
    let mut found = Table::new([
        ("ANOMALY", Align::Left),
        ("COUNT", Align::Right),
        ("WHERE", Align::Left),
        ("EXAMPLE", Align::Left),
    ]);
    for it in &verdict.examples {
        let count = verdict.count(it.kind).to_string();
        found.row([it.kind.name().to_owned(), count, it.subject.clone(), it.what.clone()]);
    }
    if verdict.is_clean() { vec![summary] } else { vec![summary, found] }
}
