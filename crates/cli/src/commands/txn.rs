//! `milena txn`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::admin::transactions::{self, Description, Filter, Listing};
use crate::admin::{TopicPartition, topics};
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Align, Format, Table};
use crate::time;

use super::Each;

/// Transactions: list, describe, abort, find those that hang.
#[derive(Debug, Subcommand)]
pub enum TxnCommand {
    /// List transactional ids.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show state, age and partitions of transactions.
    Describe(DescribeArgs),
    /// Abort the open transactions of transactional ids; their producers are fenced.
    Abort(AbortArgs),
    /// Find transactions that are open in a partition and that no coordinator will end.
    FindHanging(FindHangingArgs),
}

impl TxnCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            TxnCommand::List(it) => it.run().await,
            TxnCommand::Describe(it) => it.run().await,
            TxnCommand::Abort(it) => it.run().await,
            TxnCommand::FindHanging(it) => it.run().await,
        }
    }
}

/// Arguments of `milena txn list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those in this state, such as Ongoing or Empty; may be repeated.
    #[arg(long)]
    state: Vec<String>,
    /// Only those whose transaction began longer ago.
    #[arg(long, value_name = "SECONDS")]
    longer_than: Option<u32>,
    /// Only ids that match this regular expression.
    #[arg(long, value_name = "PATTERN")]
    id: Option<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Listed {
    transactional_id: String,
    state: String,
    producer_id: i64,
    coordinator: i32,
}

impl ListArgs {
    async fn run(self) -> Outcome {
        let pattern = self.id.as_deref().map(super::pattern).transpose()?;
        let client = self.connection.open().await?;
        let longer_than_ms = self.longer_than.map(|seconds| i64::from(seconds) * 1000);
        let filter = Filter { longer_than_ms, ..Filter::default() };
        let mut found = transactions::list(&client, &filter).await?;
        found.retain(|it| {
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(&it.id))
                && (self.state.is_empty()
                    || self.state.iter().any(|state| state.eq_ignore_ascii_case(&it.state)))
        });
        found.sort_by(|one, other| one.id.cmp(&other.id));
        let listed = |it: Listing| Listed {
            transactional_id: it.id,
            state: it.state,
            producer_id: it.producer_id,
            coordinator: it.coordinator,
        };
        let listed: Vec<Listed> = found.into_iter().map(listed).collect();
        output::print(self.format, &listed, |listed| {
            let mut table = Table::new([
                ("TRANSACTIONAL-ID", Align::Left),
                ("STATE", Align::Left),
                ("PRODUCER-ID", Align::Right),
                ("COORDINATOR", Align::Right),
            ]);
            for it in listed {
                let numbers = [it.producer_id.to_string(), it.coordinator.to_string()];
                let [producer, coordinator] = numbers;
                table.row([it.transactional_id.clone(), it.state.clone(), producer, coordinator]);
            }
            vec![table]
        })
    }
}

/// Arguments of `milena txn describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Transactional ids.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Described {
    transactional_id: String,
    state: String,
    coordinator: i32,
    producer_id: i64,
    producer_epoch: i16,
    timeout_seconds: f64,
    /// Of the transaction; absent before the first.
    open_seconds: Option<f64>,
    partitions: Vec<String>,
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let now = time::now_ms();
        let mut each = Each::new();
        let mut described = Vec::new();
        for id in &self.ids {
            match transactions::describe(&client, id).await {
                Ok(it) => described.push(complete(it, now)),
                Err(error) => each.failed(error.into()),
            }
        }
        output::print(self.format, &described, |described| vec![table(described)])?;
        each.outcome()
    }
}

fn complete(it: Description, now: i64) -> Described {
    let is_open = matches!(it.state.as_str(), "Ongoing" | "PrepareCommit" | "PrepareAbort");
    Described {
        open_seconds: it.start_time_ms.filter(|_| is_open).map(|at| (now - at).max(0) as f64 / 1000.0),
        timeout_seconds: f64::from(it.timeout_ms) / 1000.0,
        partitions: it.partitions.iter().map(TopicPartition::to_string).collect(),
        transactional_id: it.id,
        state: it.state,
        coordinator: it.coordinator,
        producer_id: it.producer_id,
        producer_epoch: it.producer_epoch,
    }
}

fn table(described: &[Described]) -> Table {
    let mut table = Table::new([
        ("TRANSACTIONAL-ID", Align::Left),
        ("STATE", Align::Left),
        ("PRODUCER-ID", Align::Right),
        ("EPOCH", Align::Right),
        ("OPEN", Align::Right),
        ("TIMEOUT", Align::Right),
        ("COORDINATOR", Align::Right),
        ("PARTITIONS", Align::Left),
    ]);
    for it in described {
        table.row([
            it.transactional_id.clone(),
            it.state.clone(),
            it.producer_id.to_string(),
            it.producer_epoch.to_string(),
            it.open_seconds.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default(),
            format!("{} s", it.timeout_seconds),
            it.coordinator.to_string(),
            it.partitions.join(" "),
        ]);
    }
    table
}

/// Arguments of `milena txn abort`.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// Transactional ids.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl AbortArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        for id in &self.ids {
            // Ending by force would bring an unknown id into being.
            let ended = match transactions::describe(&client, id).await {
                Ok(_) => transactions::force_terminate(&client, id).await,
                Err(error) => Err(error),
            };
            each.result(ended, &format!("{id}: nothing is open any more, its producer is fenced"))?;
        }
        each.outcome()
    }
}

/// Arguments of `milena txn find-hanging`.
#[derive(Debug, Args)]
pub struct FindHangingArgs {
    /// Topics to search; all without any.
    #[arg(value_name = "TOPIC", add = crate::completion::topics())]
    topics: Vec<String>,
    /// Open for longer than the longest time-out of any producer; Kafka's default bound is 900.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    longer_than: u32,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Found {
    topic: String,
    partition: i32,
    start_offset: i64,
    producer_id: i64,
    producer_epoch: i32,
    coordinator_epoch: i32,
    /// Since the producer's last record.
    idle_seconds: f64,
}

impl FindHangingArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut all = topics::list(&client).await?;
        if let Some(unknown) = self.topics.iter().find(|name| all.iter().all(|it| it.name != **name)) {
            return Err(Failure::new(format!("topic '{unknown}' does not exist")));
        }
        all.retain(|it| self.topics.is_empty() || self.topics.contains(&it.name));
        let partitions: Vec<_> = all
            .iter()
            .flat_map(|it| it.partitions.iter().map(|at| TopicPartition::new(it.name.as_str(), at.index)))
            .collect();
        let now = time::now_ms();
        let longest_ms = i64::from(self.longer_than) * 1000;
        let hanging = transactions::find_hanging(&client, &partitions, None, longest_ms, now).await?;
        let found = hanging.into_iter().map(|it| Found {
            topic: it.partition.topic,
            partition: it.partition.partition,
            start_offset: it.producer.current_txn_start_offset,
            producer_id: it.producer.producer_id,
            producer_epoch: it.producer.producer_epoch,
            coordinator_epoch: it.producer.coordinator_epoch,
            idle_seconds: (now - it.producer.last_timestamp).max(0) as f64 / 1000.0,
        });
        let found: Vec<Found> = found.collect();
        output::print(self.format, &found, |found| {
            let mut table = Table::new([
                ("TOPIC", Align::Left),
                ("PARTITION", Align::Right),
                ("START-OFFSET", Align::Right),
                ("PRODUCER-ID", Align::Right),
                ("EPOCH", Align::Right),
                ("COORDINATOR-EPOCH", Align::Right),
                ("IDLE", Align::Right),
            ]);
            for it in found {
                table.row([
                    it.topic.clone(),
                    it.partition.to_string(),
                    it.start_offset.to_string(),
                    it.producer_id.to_string(),
                    it.producer_epoch.to_string(),
                    it.coordinator_epoch.to_string(),
                    format!("{:.0} s", it.idle_seconds),
                ]);
            }
            vec![table]
        })
    }
}
