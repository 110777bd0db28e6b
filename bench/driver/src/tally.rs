//! What producers of transactions came to, and what is told of it.

use serde_json::{json, Value};

/// What one producer came to.
#[derive(Default)]
pub struct Tally {
    /// Of transactions that are committed or, without transactions, acknowledged.
    pub records: u64,
    /// Nanoseconds from the last record of each transaction until all are acknowledged and the commit is.
    pub commits: Vec<u64>,
}

/// What all producers came to together, after `seconds` and with so much CPU time of this process.
pub fn report<'a>(tallies: impl Iterator<Item = &'a Tally>, seconds: f64, client_cpu_seconds: f64) -> Value {
    let (mut records, mut commits) = (0, Vec::new());
    for tally in tallies {
        records += tally.records;
        commits.extend_from_slice(&tally.commits);
    }
    commits.sort_unstable();
    let at = |part: f64| {
        let last = commits.len().checked_sub(1)?;
        Some(commits[(last as f64 * part) as usize] as f64 / 1e6)
    };
    json!({
        "records": records,
        "transactions": commits.len(),
        "commit_p50_ms": at(0.5),
        "commit_p99_ms": at(0.99),
        "seconds": seconds,
        "client_cpu_seconds": client_cpu_seconds,
    })
}
