//! `kafka-topics --describe`

use std::collections::BTreeMap;
use std::io::Write;

use milena_client::Client;
use milena_wire::Uuid;

use super::exception::Exception;
use super::java;
use super::options::{Options, Refusal};
use super::topics::{REPORTS, select_existing};
use crate::admin::configs::{self, Entry, Kind, Source};
use crate::admin::topics::{self, PartitionDescription, Reassignment, TopicDescription};
use crate::admin::{TopicPartition, live_brokers};
use crate::output;

/// Partitions that one answer of DescribeTopicPartitions may hold, unless the user says otherwise.
const PAGE: i32 = 2000;

/// Prints the topics that the flags select.
pub async fn run(options: &Options, client: &Client, all: Vec<TopicDescription>) -> Result<(), Refusal> {
    let names = names_to_describe(options, all)?;
    let page = options.number("partition-size-limit-per-response")?.unwrap_or(PAGE);
    let described = topics::describe(client, &names, page).await?;
    let described = described.into_iter().collect::<Result<Vec<_>, _>>()?;
    let configs = configs::describe(client, Kind::Topic, &names, false).await?;
    let configs = configs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let report = Report { options, live: live_brokers(client), moves: topics::reassignments(client).await? };
    let mut out = output::stdout();
    for (topic, configs) in described.iter().zip(&configs) {
        report.print(&mut out, topic, configs)?;
    }
    Ok(out.flush()?)
}

fn names_to_describe(options: &Options, all: Vec<TopicDescription>) -> Result<Vec<String>, Exception> {
    let id = options.value("topic-id")?.map(|text| {
        text.parse::<Uuid>().map_err(|_| Exception::illegal_argument(format!("Invalid UUID string: {text}")))
    });
    let chosen = match id.transpose()?.filter(|id| !id.is_zero()) {
        Some(id) => {
            let found: Vec<_> = all.into_iter().filter(|topic| topic.id == id).collect();
            if found.is_empty() && !options.has("if-exists") {
                return Err(Exception::illegal_argument(format!(
                    "TopicId '{id}' does not exist as expected"
                )));
            }
            found
        }
        None => select_existing(options, all)?,
    };
    Ok(java::hash_order(chosen, |topic| &topic.name).into_iter().map(|topic| topic.name).collect())
}

/// What `--describe` prints of each topic.
struct Report<'a> {
    options: &'a Options,
    live: Vec<i32>,
    moves: BTreeMap<TopicPartition, Reassignment>,
}

impl Report<'_> {
    fn print(
        &self,
        out: &mut impl Write,
        topic: &TopicDescription,
        configs: &[Entry],
    ) -> std::io::Result<()> {
        let whole = self.options.count(REPORTS) == 0;
        let overridden = configs.iter().any(|it| it.source != Source::DEFAULT);
        let only_overridden = self.options.has("topics-with-overrides");
        if whole && (!only_overridden || overridden) {
            self.print_topic(out, topic, configs)?;
        }
        if only_overridden {
            return Ok(());
        }
        let min_isr = configs.iter().find(|it| it.name == "min.insync.replicas");
        let min_isr = min_isr.and_then(|it| it.value.as_ref()?.parse().ok()).unwrap_or(1);
        for partition in &topic.partitions {
            if whole || self.reports(topic, partition, min_isr) {
                self.print_partition(out, topic, partition)?;
            }
        }
        Ok(())
    }

    fn reassignment(
        &self,
        topic: &TopicDescription,
        partition: &PartitionDescription,
    ) -> Option<&Reassignment> {
        self.moves.get(&TopicPartition::new(topic.name.as_str(), partition.index))
    }

    /// Replicas that the partition will have or has; those that a move is about to add do not count.
    fn replication_factor(&self, topic: &TopicDescription, partition: &PartitionDescription) -> usize {
        match self.reassignment(topic, partition) {
            Some(it) if it.adding.iter().chain(&it.removing).any(|id| partition.replicas.contains(id)) => {
                it.replicas.len() - it.adding.len()
            }
            _ => partition.replicas.len(),
        }
    }

    fn reports(&self, topic: &TopicDescription, partition: &PartitionDescription, min_isr: usize) -> bool {
        let asked = |report: &str| self.options.has(report);
        let in_sync = partition.isr.len();
        let led = partition.leader.is_some_and(|id| self.live.contains(&id));
        (asked("under-replicated-partitions") && self.replication_factor(topic, partition) > in_sync)
            || (asked("unavailable-partitions") && !led)
            || (asked("under-min-isr-partitions") && (partition.leader.is_none() || in_sync < min_isr))
            || (asked("at-min-isr-partitions") && in_sync == min_isr)
    }

    fn print_topic(
        &self,
        out: &mut impl Write,
        topic: &TopicDescription,
        configs: &[Entry],
    ) -> std::io::Result<()> {
        write!(out, "Topic: {}", topic.name)?;
        if !topic.id.is_zero() {
            write!(out, "\tTopicId: {}", topic.id)?;
        }
        let replicas = topic.partitions.first().map_or(0, |first| self.replication_factor(topic, first));
        let own = configs.iter().filter(|it| it.source != Source::DEFAULT);
        let own: Vec<_> =
            own.map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or("null"))).collect();
        writeln!(
            out,
            "\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}",
            topic.partitions.len(),
            own.join(",")
        )
    }

    fn print_partition(
        &self,
        out: &mut impl Write,
        topic: &TopicDescription,
        partition: &PartitionDescription,
    ) -> std::io::Result<()> {
        let leader = partition.leader.map_or("none".to_owned(), |id| id.to_string());
        write!(
            out,
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic.name,
            partition.index,
            ids(&partition.replicas),
            ids(&partition.isr)
        )?;
        if let Some(it) = self.reassignment(topic, partition) {
            write!(out, "\tAdding Replicas: {}\tRemoving Replicas: {}", ids(&it.adding), ids(&it.removing))?;
        }
        let elr = |replicas: &Option<Vec<i32>>| replicas.as_deref().map_or("N/A".to_owned(), ids);
        writeln!(out, "\tElr: {}\tLastKnownElr: {}", elr(&partition.elr), elr(&partition.last_known_elr))
    }
}

fn ids(brokers: &[i32]) -> String {
    brokers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}
