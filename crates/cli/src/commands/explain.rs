//! `milena explain`: why a partition is where it is, and what would become of it.

use std::collections::BTreeMap;
use std::io::Write;

use clap::{Args, Subcommand};
use milena_client::Client;
use serde::Serialize;

use crate::admin::cluster::{self, Members};
use crate::admin::topics::{self, PartitionDescription, Reassignment};
use crate::admin::{TopicPartition, offsets};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};

use super::explained::{Explained, Facts};

/// Partitions asked for at once.
const PAGE: i32 = 2000;

/// Why something is as it is: partition.
#[derive(Debug, Subcommand)]
pub enum ExplainCommand {
    /// Say why a partition has the leader and the in-sync replicas that it has, and what the loss of each broker would do.
    Partition(PartitionArgs),
}

impl ExplainCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            ExplainCommand::Partition(it) => it.run().await,
        }
    }
}

/// Arguments of `milena explain partition`.
#[derive(Debug, Args)]
pub struct PartitionArgs {
    /// Name of the topic.
    #[arg(value_name = "TOPIC", add = completion::topics())]
    topic: String,
    /// Number of the partition.
    #[arg(value_name = "PARTITION")]
    partition: i32,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    elr: Option<Vec<i32>>,
    last_known_elr: Option<Vec<i32>>,
    min_insync_replicas: usize,
    fenced_brokers: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
    #[serde(flatten)]
    explained: Explained,
}

impl PartitionArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let described = topics::describe(&client, std::slice::from_ref(&self.topic), PAGE).await?;
        let topic =
            described.into_iter().next().ok_or_else(|| Failure::new("no answer about the topic"))??;
        let count = topic.partitions.len();
        let partition = topic.partitions.iter().find(|it| it.index == self.partition).cloned();
        let partition = partition.ok_or_else(|| {
            Failure::new(format!("{} has no partition {}", self.topic, self.partition))
                .hint(format!("it has {count}, numbered from 0"))
        })?;
        let members = cluster::members(&client).await?;
        let min_isr = cluster::min_isr(&client, std::slice::from_ref(&topic)).await?;
        let at = TopicPartition::new(self.topic.as_str(), self.partition);
        let moving = topics::reassignments(&client).await?.remove(&at);
        let needed = min_isr.get(&self.topic).copied().unwrap_or(1);
        let facts = facts(&partition, &members, needed, moving);
        let report = Report {
            start_offset: offset(&client, &partition, &at, offsets::at::EARLIEST).await,
            end_offset: offset(&client, &partition, &at, offsets::at::LATEST).await,
            fenced_brokers: facts.replicas.iter().copied().filter(|id| !facts.live.contains(id)).collect(),
            explained: facts.explain(),
            topic: self.topic,
            partition: self.partition,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas,
            isr: partition.isr,
            elr: partition.elr,
            last_known_elr: partition.last_known_elr,
            min_insync_replicas: needed,
        };
        match self.format {
            Format::Json => output::print(Format::Json, &report, |_| Vec::new()),
            Format::Table => print(&report),
        }
    }
}

fn facts(
    partition: &PartitionDescription,
    members: &Members,
    min_isr: usize,
    moving: Option<Reassignment>,
) -> Facts {
    let moving = moving.unwrap_or_default();
    Facts {
        leader: partition.leader,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        elr: partition.elr.clone().unwrap_or_default(),
        last_known_elr: partition.last_known_elr.clone().unwrap_or_default(),
        min_isr,
        live: members.brokers.iter().filter(|it| !it.fenced).map(|it| it.id).collect(),
        known: members.brokers.iter().map(|it| it.id).collect(),
        adding: moving.adding,
        removing: moving.removing,
    }
}

/// An offset that only the leader knows; none while there is no leader.
async fn offset(
    client: &Client,
    partition: &PartitionDescription,
    at: &TopicPartition,
    time: i64,
) -> Option<i64> {
    partition.leader?;
    let answers = offsets::list_at(client, std::slice::from_ref(at), time).await;
    let answers: BTreeMap<_, _> = answers.ok()?;
    answers.into_values().next()?.ok().map(|found| found.offset)
}

fn print(report: &Report) -> Outcome {
    let mut out = output::stdout();
    let leader = report.leader.map_or("none".to_owned(), |id| id.to_string());
    let epoch = report.leader_epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
    writeln!(out, "{}-{}: leader {leader}, leader epoch {epoch}", report.topic, report.partition)?;
    let elr = report.elr.as_deref().map_or("-".to_owned(), list);
    writeln!(
        out,
        "replicas {}, in sync {}, eligible {elr}, min.insync.replicas {}",
        list(&report.replicas),
        list(&report.isr),
        report.min_insync_replicas
    )?;
    if let (Some(start), Some(end)) = (report.start_offset, report.end_offset) {
        writeln!(out, "offsets {start} to {end}")?;
    }
    for (title, sentences) in
        [("now", &report.explained.now), ("if a broker dies", &report.explained.what_if)]
    {
        writeln!(out, "\n{title}:")?;
        sentences.iter().try_for_each(|sentence| writeln!(out, "  {sentence}"))?;
    }
    Ok(out.flush()?)
}

fn list(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}
