//! `milena topic`

use clap::{Args, Subcommand};
use milena_client::Client;
use milena_wire::ErrorCode;
use serde::Serialize;

use crate::admin::TopicPartition;
use crate::admin::configs::{self, Change, Kind, Source};
use crate::admin::offsets::{self, Answers, at};
use crate::admin::topics::{self, NewTopic, PartitionDescription, TopicDescription};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Align, Format, Table};

use super::{Each, key_value, pattern};

/// Partitions asked for at once.
const PAGE: i32 = 2000;

/// Topics: create, list, describe, alter, delete.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create topics.
    Create(CreateArgs),
    /// List topics.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show partitions, offsets and configurations of topics.
    Describe(DescribeArgs),
    /// Add partitions, change configurations.
    Alter(AlterArgs),
    /// Delete topics.
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

impl TopicCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            TopicCommand::Create(it) => it.run().await,
            TopicCommand::List(it) => it.run().await,
            TopicCommand::Describe(it) => it.run().await,
            TopicCommand::Alter(it) => it.run().await,
            TopicCommand::Delete(it) => it.run().await,
        }
    }
}

/// Arguments of `milena topic create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Names of the topics.
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// Partitions of each; the broker's num.partitions if left out.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition; the broker's default.replication.factor if left out.
    #[arg(short, long, visible_alias = "replication-factor", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A configuration; may be repeated.
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// A topic that exists already is fine.
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether they could be created.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl CreateArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        for name in &self.names {
            let topic = NewTopic {
                name: name.clone(),
                partitions: self.partitions.unwrap_or(-1),
                replication_factor: self.replicas.unwrap_or(-1),
                assignment: Vec::new(),
                configs: self.configs.clone(),
            };
            let word = if self.dry_run { "could be created" } else { "created" };
            match topics::create(&client, &topic, self.dry_run).await {
                Err(error) if self.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                    each.done(&format!("topic {name} exists already"))?;
                }
                result => each.result(result, &format!("topic {name} {word}"))?,
            }
        }
        each.outcome()
    }
}

/// Arguments of `milena topic list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only topics whose whole name matches this regular expression.
    #[arg(value_name = "REGEX")]
    filter: Option<String>,
    /// The cluster's own topics too.
    #[arg(short, long)]
    internal: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    topic_id: String,
    internal: bool,
    partitions: usize,
    replication_factor: usize,
    under_replicated: usize,
    offline: usize,
}

impl Listed {
    fn of(topic: &TopicDescription) -> Self {
        let count =
            |which: fn(&PartitionDescription) -> bool| topic.partitions.iter().filter(|it| which(it)).count();
        Listed {
            name: topic.name.clone(),
            topic_id: topic.id.to_string(),
            internal: topic.internal,
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.iter().map(|it| it.replicas.len()).max().unwrap_or(0),
            under_replicated: count(PartitionDescription::is_under_replicated),
            offline: count(|it| it.leader.is_none()),
        }
    }
}

impl ListArgs {
    async fn run(self) -> Outcome {
        let filter = self.filter.as_deref().map(pattern).transpose()?;
        let client = self.connection.open().await?;
        let mut listed = topics::list(&client).await?;
        listed.retain(|it| self.internal || !it.internal);
        listed.retain(|it| filter.as_ref().is_none_or(|filter| filter.is_match(&it.name)));
        let listed: Vec<Listed> = listed.iter().map(Listed::of).collect();
        output::print(self.format, &listed, |listed| {
            let mut table = Table::new([
                ("NAME", Align::Left),
                ("PARTITIONS", Align::Right),
                ("REPLICAS", Align::Right),
                ("UNDER-REPLICATED", Align::Right),
                ("OFFLINE", Align::Right),
            ]);
            for it in listed {
                let counts = [it.partitions, it.replication_factor, it.under_replicated, it.offline];
                table.row([it.name.clone()].into_iter().chain(counts.map(|count| count.to_string())));
            }
            vec![table]
        })
    }
}

/// Arguments of `milena topic describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Names of the topics.
    #[arg(required = true, value_name = "TOPIC", add = completion::topics())]
    names: Vec<String>,
    /// Default configurations too.
    #[arg(short, long)]
    all_configs: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    topic_id: String,
    internal: bool,
    partitions: Vec<Partition>,
    configs: Vec<super::config::Listed>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    log_start_offset: Option<i64>,
    log_end_offset: Option<i64>,
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        let mut described = Vec::new();
        let found = topics::describe(&client, &self.names, PAGE).await?;
        for result in found {
            match result {
                Ok(topic) => described.push(self.complete(&client, topic).await?),
                Err(error) => each.failed(error.into()),
            }
        }
        output::print(self.format, &described, |described| described.iter().flat_map(tables).collect())?;
        each.outcome()
    }

    /// Adds offsets and configurations.
    async fn complete(&self, client: &Client, topic: TopicDescription) -> Outcome<Described> {
        let name = topic.name.clone();
        let partitions: Vec<_> =
            topic.partitions.iter().map(|it| TopicPartition::new(name.as_str(), it.index)).collect();
        let starts = offsets::list_at(client, &partitions, at::EARLIEST).await?;
        let ends = offsets::list_at(client, &partitions, at::LATEST).await?;
        let offset = |answers: &Answers, index: i32| {
            let found = answers.get(&TopicPartition::new(name.as_str(), index))?;
            found.as_ref().ok().map(|found| found.offset)
        };
        let partition = |it: PartitionDescription| Partition {
            partition: it.index,
            leader: it.leader,
            log_start_offset: offset(&starts, it.index),
            log_end_offset: offset(&ends, it.index),
            replicas: it.replicas,
            isr: it.isr,
        };
        let configs = configs::describe(client, Kind::Topic, std::slice::from_ref(&name), false).await?;
        let configs = configs.into_iter().next().transpose()?.unwrap_or_default();
        let wanted = |it: &configs::Entry| self.all_configs || it.source != Source::DEFAULT;
        Ok(Described {
            topic_id: topic.id.to_string(),
            internal: topic.internal,
            partitions: topic.partitions.into_iter().map(partition).collect(),
            configs: configs.iter().filter(|it| wanted(it)).map(super::config::Listed::of).collect(),
            name,
        })
    }
}

fn tables(topic: &Described) -> Vec<Table> {
    let mut summary = Table::new([
        ("TOPIC", Align::Left),
        ("ID", Align::Left),
        ("PARTITIONS", Align::Right),
        ("REPLICAS", Align::Right),
    ]);
    let replicas = topic.partitions.iter().map(|it| it.replicas.len()).max().unwrap_or(0);
    summary.row([
        topic.name.clone(),
        topic.topic_id.clone(),
        topic.partitions.len().to_string(),
        replicas.to_string(),
    ]);
    let mut partitions = Table::new([
        ("PARTITION", Align::Right),
        ("LEADER", Align::Right),
        ("REPLICAS", Align::Left),
        ("ISR", Align::Left),
        ("START", Align::Right),
        ("END", Align::Right),
    ]);
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    for it in &topic.partitions {
        partitions.row([
            it.partition.to_string(),
            number(it.leader.map(i64::from)),
            ids(&it.replicas),
            ids(&it.isr),
            number(it.log_start_offset),
            number(it.log_end_offset),
        ]);
    }
    match topic.configs.is_empty() {
        true => vec![summary, partitions],
        false => vec![summary, partitions, super::config::table(&topic.configs)],
    }
}

/// Arguments of `milena topic alter`.
#[derive(Debug, Args)]
pub struct AlterArgs {
    /// Name of the topic.
    #[arg(value_name = "TOPIC", add = completion::topics())]
    name: String,
    /// New number of partitions; it can only grow. Keys may go to other partitions afterwards.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    #[command(flatten)]
    changes: super::config::ChangeArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl AlterArgs {
    async fn run(self) -> Outcome {
        let changes: Vec<Change> = self.changes.changes();
        if self.partitions.is_none() && changes.is_empty() {
            return Err(
                Failure::new("nothing to alter").hint("add --partitions, --set KEY=VALUE or --unset KEY")
            );
        }
        let client = self.connection.open().await?;
        let name = &self.name;
        let mut each = Each::new();
        if let Some(total) = self.partitions {
            let result = topics::add_partitions(&client, name, total, None).await;
            each.result(result, &format!("topic {name} has {total} partitions"))?;
        }
        if !changes.is_empty() {
            let result = configs::alter(&client, Kind::Topic, name, &changes).await;
            each.result(result, &format!("configuration of topic {name} altered"))?;
        }
        each.outcome()
    }
}

/// Arguments of `milena topic delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Names of the topics.
    #[arg(required = true, value_name = "TOPIC", add = completion::topics())]
    names: Vec<String>,
    /// A topic that does not exist is fine.
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DeleteArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        for (name, result) in topics::delete(&client, &self.names).await? {
            match result {
                Err(error) if self.if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    each.done(&format!("topic {name} does not exist"))?;
                }
                result => each.result(result, &format!("topic {name} deleted"))?,
            }
        }
        each.outcome()
    }
}
