//! What a round's history says of its fault: how long each partition was away, and how long records took.

use std::collections::BTreeMap;

use milena_check::{self as check, Event, History, Micros, Outcome, Settled};
use milena_client::{Partition, Topic};
use serde::Serialize;

use super::record;
use super::stats::Spread;
use super::writer::PRODUCER;

/// Width of a bar in the plot, in microseconds.
const BAR: Micros = 10_000;

/// How long a partition was away.
#[derive(Debug, Serialize)]
pub struct PartitionSeen {
    /// Its number.
    pub index: i32,
    /// Whether the victim led it; a dead follower holds up acknowledgements too, until it is out of the ISR.
    pub led_by_victim: bool,
    /// The longest gap between two acknowledgements that the producer saw after the fault, less the normal gap.
    /// None if nothing was acknowledged any more.
    pub client_us: Option<Micros>,
    /// From the fault to the first record that a probe got acknowledged; none if it was not probed or never was.
    pub server_us: Option<Micros>,
    /// Worst latency of the records sent in each hundredth of a second: (time, latency).
    #[serde(skip)]
    pub bars: Vec<(Micros, Micros)>,
}

/// Latency in microseconds of records that were sent before the fault, while it was felt, and afterwards.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// Before.
    pub before: Option<Spread>,
    /// From the fault until the last partition was acknowledged to again.
    pub during: Option<Spread>,
    /// Afterwards.
    pub after: Option<Spread>,
}

/// Transactions of a round, by how they ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Transactions {
    /// The coordinator has said so.
    pub committed: u64,
    /// Asked for, or given up before a commit was asked for.
    pub aborted: u64,
    /// A commit was asked for, and the answer is not known.
    pub unknown: u64,
    /// From the first record's `send` to the end, in microseconds, of the longest.
    pub longest_us: Micros,
}

impl Transactions {
    /// Those of a history; none if there were none.
    pub fn of(history: &History) -> Option<Self> {
        let mut began: BTreeMap<u64, Micros> = BTreeMap::new();
        let mut all = Self::default();
        for event in &history.events {
            match event {
                Event::Send(check::Send { transaction: Some(transaction), began: at, .. }) => {
                    let first = began.entry(*transaction).or_insert(*at);
                    *first = (*first).min(*at);
                }
                Event::Transaction(it) => {
                    *match it.settled {
                        Settled::Committed => &mut all.committed,
                        Settled::Aborted => &mut all.aborted,
                        Settled::Unknown => &mut all.unknown,
                    } += 1;
                    let since = began.get(&it.transaction).copied().unwrap_or(it.began);
                    all.longest_us = all.longest_us.max(it.ended - since);
                }
                _ => {}
            }
        }
        (!began.is_empty()).then_some(all)
    }

    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.unknown += other.unknown;
        self.longest_us = self.longest_us.max(other.longest_us);
    }
}

/// Each partition of the topic, as it was led when the fault began at `fault_at`; `server` is what probes found.
pub fn partitions(
    history: &History,
    topic: &Topic,
    victim: Option<i32>,
    fault_at: Micros,
    server: &BTreeMap<i32, Micros>,
) -> Vec<PartitionSeen> {
    let seen = |partition: &Partition| {
        let name = record::name(&topic.name, partition.index);
        let windows = check::windows(history, &name, |producer| producer == PRODUCER);
        PartitionSeen {
            index: partition.index,
            led_by_victim: victim.is_none() || partition.leader == victim,
            client_us: check::longest_window(&windows, fault_at).map(|(_, beyond)| beyond),
            server_us: server.get(&partition.index).copied(),
            bars: bars(history, &name),
        }
    };
    topic.partitions.iter().map(seen).collect()
}

/// Acknowledged sends of the load: when, and after how long.
fn acked(history: &History) -> impl Iterator<Item = (&str, Micros, Micros)> {
    history.events.iter().filter_map(|event| match event {
        Event::Send(it) if it.producer == PRODUCER && matches!(it.outcome, Outcome::Acked { .. }) => {
            Some((it.partition.as_str(), it.began, it.ended - it.began))
        }
        _ => None,
    })
}

fn bars(history: &History, partition: &str) -> Vec<(Micros, Micros)> {
    let mut bars: BTreeMap<Micros, Micros> = BTreeMap::new();
    for (_, began, latency) in acked(history).filter(|(name, ..)| *name == partition) {
        let worst = bars.entry(began / BAR * BAR).or_default();
        *worst = latency.max(*worst);
    }
    bars.into_iter().collect()
}

/// The phases of the load, divided by what the producer or the probes felt longest.
pub fn latencies(history: &History, partitions: &[PartitionSeen], fault_at: Micros) -> Latency {
    let felt = partitions.iter().filter_map(|it| it.client_us.max(it.server_us)).max().unwrap_or(0);
    let over = fault_at + felt;
    let spread = |felt: fn(Micros, Micros, Micros, Micros) -> bool| {
        let of_phase =
            acked(history).filter(|(_, began, latency)| felt(*began, began + latency, fault_at, over));
        Spread::of(of_phase.map(|(.., latency)| latency))
    };
    // What was under way when the fault came belongs to the fault.
    Latency {
        before: spread(|_, ended, fault, _| ended < fault),
        during: spread(|began, ended, fault, over| ended >= fault && began < over),
        after: spread(|began, ended, fault, over| ended >= fault && began >= over),
    }
}
