//! All rounds on one page.

use std::collections::BTreeMap;
use std::io::Write;

use milena_check::Kind;
use serde::Serialize;

use super::figures::Transactions;
use super::round::Round;
use super::stats::{Spread, span};
use crate::failure::Outcome;
use crate::output::{self, Align, Table};

/// What a drill has shown.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The fault's name.
    pub fault: String,
    /// What was run, for people.
    pub setting: String,
    /// Sums over the rounds.
    pub summary: Summary,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// Why the drill ended before its last round, if it did.
    pub ended_early: Option<String>,
}

/// Sums over all rounds, in microseconds.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Partitions that the victim led: as the load's producer saw it.
    pub led_client_us: Option<Spread>,
    /// The same, as probes saw it.
    pub led_server_us: Option<Spread>,
    /// Partitions that the victim followed: as the load's producer saw it.
    pub followed_client_us: Option<Spread>,
    /// The same, as probes saw it.
    pub followed_server_us: Option<Spread>,
    /// Until metadata could be changed again.
    pub control_us: Option<Spread>,
    /// From the beginning of the healing until all replicas were in sync.
    pub whole_us: Option<Spread>,
    /// Rounds times partitions that were never acknowledged to again.
    pub never_back: u64,
    /// Records sent.
    pub sent: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Records of which the producer was told nothing certain.
    pub unknown: u64,
    /// Commits acknowledged.
    pub commits: u64,
    /// Transactions, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
    /// Acknowledged records that are gone.
    pub lost: u64,
    /// Records that are there more than once.
    pub duplicated: u64,
    /// Records out of order.
    pub reordered: u64,
    /// Anomalies by kind, all of them.
    pub anomalies: BTreeMap<Kind, u64>,
    /// Errors by client and name.
    pub errors: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Report {
    /// Sums up `rounds`.
    pub fn of(fault: String, setting: String, rounds: Vec<Round>, ended_early: Option<String>) -> Self {
        Self { fault, setting, summary: Summary::of(&rounds), rounds, ended_early }
    }

    /// Whether nothing was lost, nothing else went wrong, and everything came back.
    pub fn is_good(&self) -> bool {
        let whole = self.rounds.iter().all(|it| it.whole_at.is_some());
        self.ended_early.is_none()
            && self.summary.anomalies.is_empty()
            && self.summary.never_back == 0
            && self.rounds.iter().all(|it| it.disturbances.is_empty())
            && whole
    }

    /// Prints the page.
    pub fn print(&self) -> Outcome {
        let mut out = output::stdout();
        let summary = &self.summary;
        writeln!(out, "drill {}: {}", self.fault, self.setting)?;
        writeln!(out)?;
        let mut table = Table::new([
            ("UNAVAILABLE", Align::Left),
            ("N", Align::Right),
            ("P50", Align::Right),
            ("P99", Align::Right),
            ("MAX", Align::Right),
        ]);
        for (name, spread) in summary.spreads() {
            table.row(row(name, spread));
        }
        table.write_to(&mut out)?;
        writeln!(out)?;
        let mut table = Table::new([
            ("LATENCY", Align::Left),
            ("RECORDS", Align::Right),
            ("P50", Align::Right),
            ("P99", Align::Right),
            ("MAX", Align::Right),
        ]);
        for (name, spread) in self.latencies() {
            table.row(row(name, spread));
        }
        table.write_to(&mut out)?;
        writeln!(out)?;
        for (client, errors) in &summary.errors {
            let list: Vec<_> = errors.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(out, "{client} saw: {}", list.join(", "))?;
        }
        writeln!(
            out,
            "{} records sent, {} acknowledged, {} of unknown outcome; {} commits acknowledged",
            summary.sent, summary.acked, summary.unknown, summary.commits
        )?;
        if let Some(it) = &summary.transactions {
            writeln!(
                out,
                "{} transactions committed, {} aborted, {} of unknown outcome; the longest took {}",
                it.committed,
                it.aborted,
                it.unknown,
                span(it.longest_us)
            )?;
        }
        writeln!(
            out,
            "{} lost, {} duplicated, {} reordered",
            summary.lost, summary.duplicated, summary.reordered
        )?;
        for (kind, count) in &summary.anomalies {
            writeln!(out, "ANOMALY {}: {count}", kind.name())?;
        }
        for round in &self.rounds {
            for it in round.verdict.examples.iter().take(10) {
                let at = span(it.at.saturating_sub(round.fault_at));
                writeln!(out, "  round {}, {at} after the fault: {}: {}", round.number, it.subject, it.what)?;
            }
            for it in &round.disturbances {
                writeln!(out, "DISTURBANCE in round {} after {it}", round.number)?;
            }
            if round.whole_at.is_none() {
                writeln!(out, "ROUND {}: the replicas never came back into sync", round.number)?;
            }
        }
        if summary.never_back > 0 {
            writeln!(out, "{} times a partition never came back", summary.never_back)?;
        }
        if let Some(why) = &self.ended_early {
            writeln!(out, "ENDED EARLY after {} rounds: {why}", self.rounds.len())?;
        }
        writeln!(out, "{}", if self.is_good() { "passed" } else { "FAILED" })?;
        Ok(out.flush()?)
    }

    /// Latencies of all rounds: the median round's median, and the worst of the rest.
    pub fn latencies(&self) -> [(&'static str, Option<Spread>); 3] {
        let join = |pick: fn(&Round) -> Option<Spread>| {
            let spreads: Vec<Spread> = self.rounds.iter().filter_map(pick).collect();
            let p50 = Spread::of(spreads.iter().map(|it| it.p50))?.p50;
            let p99 = Spread::of(spreads.iter().map(|it| it.p99))?.p50;
            let max = spreads.iter().map(|it| it.max).max()?;
            Some(Spread { count: spreads.iter().map(|it| it.count).sum(), p50, p99, max })
        };
        [
            ("before the fault", join(|it| it.latency.before)),
            ("during", join(|it| it.latency.during)),
            ("after", join(|it| it.latency.after)),
        ]
    }
}

fn row(name: &str, spread: Option<Spread>) -> Vec<String> {
    let cells = spread.map(|it| [it.count.to_string(), span(it.p50), span(it.p99), span(it.max)]);
    std::iter::once(name.to_owned()).chain(cells.unwrap_or_default()).collect()
}

impl Summary {
    fn of(rounds: &[Round]) -> Self {
        let partitions = || rounds.iter().flat_map(|it| &it.partitions);
        let client = |led: bool| {
            Spread::of(partitions().filter(|it| it.led_by_victim == led).filter_map(|it| it.client_us))
        };
        let server = |led: bool| {
            Spread::of(partitions().filter(|it| it.led_by_victim == led).filter_map(|it| it.server_us))
        };
        let mut summary = Self {
            led_client_us: client(true),
            led_server_us: server(true),
            followed_client_us: client(false),
            followed_server_us: server(false),
            control_us: Spread::of(rounds.iter().filter_map(|it| it.control_us)),
            whole_us: Spread::of(rounds.iter().filter_map(|it| Some(it.whole_at? - it.healed_at))),
            never_back: partitions().filter(|it| it.client_us.is_none()).count() as u64,
            ..Self::default()
        };
        for round in rounds {
            let verdict = &round.verdict;
            summary.sent += verdict.sent;
            summary.acked += verdict.acked;
            summary.unknown += verdict.unknown_writes;
            summary.commits += verdict.commits_acked;
            if let Some(it) = &round.transactions {
                summary.transactions.get_or_insert_default().add(it);
            }
            for (kind, count) in &verdict.counts {
                *summary.anomalies.entry(*kind).or_default() += count;
            }
            for (client, errors) in &round.errors {
                for (name, count) in errors {
                    let of_client = summary.errors.entry(client.clone()).or_default();
                    *of_client.entry(name.clone()).or_default() += count;
                }
            }
        }
        let count = |kinds: &[Kind]| kinds.iter().filter_map(|it| summary.anomalies.get(it)).sum();
        summary.lost = count(&[Kind::LostWrite, Kind::Unseen, Kind::DirtyRead]);
        summary.duplicated = count(&[Kind::Duplicate]);
        summary.reordered = count(&[Kind::NonmonotonicSend, Kind::InconsistentOffsets]);
        summary
    }

    /// What was measured, with names for people.
    pub fn spreads(&self) -> [(&'static str, Option<Spread>); 6] {
        [
            ("its partitions, server side", self.led_server_us),
            ("its partitions, as the producer saw it", self.led_client_us),
            ("other partitions, server side", self.followed_server_us),
            ("other partitions, as the producer saw it", self.followed_client_us),
            ("changes of metadata", self.control_us),
            ("full ISR, from the healing on", self.whole_us),
        ]
    }
}
