//! `milena group`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use milena_client::Client;
use serde::Serialize;

use crate::admin::groups::{self, GroupDescription, Listing};
use crate::admin::offsets::{self, at};
use crate::admin::{TopicPartition, group_offsets, lag};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::Outcome;
use crate::output::{self, Align, Format, Table};
use crate::time;

use super::Each;
use super::group_offsets::{DeleteOffsetsArgs, ExportArgs};
use super::group_reset::ResetArgs;

/// Consumer groups: list, describe, reset offsets, delete.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show members, committed offsets and lag of groups.
    Describe(DescribeArgs),
    /// Move the committed offsets of a group without members.
    #[command(visible_alias = "seek")]
    ResetOffsets(ResetArgs),
    /// Print the committed offsets as CSV, for reset-offsets --from-file.
    ExportOffsets(ExportArgs),
    /// Forget the committed offsets of topics that no member reads.
    DeleteOffsets(DeleteOffsetsArgs),
    /// Delete groups without members.
    #[command(visible_alias = "rm")]
    Delete(DeleteArgs),
}

impl GroupCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            GroupCommand::List(it) => it.run().await,
            GroupCommand::Describe(it) => it.run().await,
            GroupCommand::ResetOffsets(it) => it.run().await,
            GroupCommand::ExportOffsets(it) => it.run().await,
            GroupCommand::DeleteOffsets(it) => it.run().await,
            GroupCommand::Delete(it) => it.run().await,
        }
    }
}

/// Arguments of `milena group list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only groups in this state, such as stable or empty; may be repeated.
    #[arg(long)]
    state: Vec<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Listed {
    group: String,
    state: String,
    #[serde(rename = "type")]
    kind: String,
    protocol: String,
}

impl ListArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut found = groups::list(&client, &[], &[]).await?;
        found.retain(|it| {
            self.state.is_empty() || self.state.iter().any(|state| state.eq_ignore_ascii_case(&it.state))
        });
        let listed =
            |it: Listing| Listed { group: it.id, state: it.state, kind: it.kind, protocol: it.protocol };
        let listed: Vec<Listed> = found.into_iter().map(listed).collect();
        output::print(self.format, &listed, |listed| {
            let columns = ["GROUP", "STATE", "TYPE", "PROTOCOL"].map(|name| (name, Align::Left));
            let mut table = Table::new(columns);
            for it in listed {
                table.row([&it.group, &it.state, &it.kind, &it.protocol].map(String::clone));
            }
            vec![table]
        })
    }
}

/// Arguments of `milena group describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Group ids.
    #[arg(required = true, value_name = "GROUP", add = completion::groups())]
    groups: Vec<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Described {
    group: String,
    state: String,
    assignor: String,
    coordinator: i32,
    lag: i64,
    lag_seconds: Option<f64>,
    members: Vec<Member>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Member {
    member_id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    log_end_offset: Option<i64>,
    lag: Option<i64>,
    /// Age of the first record that is not consumed; 0 without lag.
    lag_seconds: Option<f64>,
    member_id: Option<String>,
    host: Option<String>,
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        let mut described = Vec::new();
        for group in &self.groups {
            match groups::describe(&client, group).await {
                Ok(group) => described.push(complete(&client, group).await?),
                Err(error) => each.failed(error.into()),
            }
        }
        output::print(self.format, &described, |described| described.iter().flat_map(tables).collect())?;
        each.outcome()
    }
}

/// Adds what is committed, and how far and how long that is behind.
async fn complete(client: &Client, group: GroupDescription) -> Outcome<Described> {
    let committed = group_offsets::committed(client, &group.id).await?;
    let mut owners: BTreeMap<TopicPartition, Option<&groups::Member>> =
        committed.keys().map(|it| (it.clone(), None)).collect();
    for member in &group.members {
        owners.extend(member.assignment.iter().map(|it| (it.clone(), Some(member))));
    }
    let all: Vec<TopicPartition> = owners.keys().cloned().collect();
    let ends = offsets::list_at(client, &all, at::LATEST).await?;
    let end = |it: &TopicPartition| ends.get(it).and_then(|found| Some(found.as_ref().ok()?.offset));
    let behind: BTreeMap<TopicPartition, i64> = committed
        .iter()
        .filter(|(partition, it)| end(partition).is_some_and(|end| end > it.offset))
        .map(|(partition, it)| (partition.clone(), it.offset))
        .collect();
    let timestamps = lag::timestamps(client, &behind).await?;
    let now = time::now_ms();
    let partitions: Vec<Partition> = owners
        .into_iter()
        .map(|(partition, owner)| {
            let offset = committed.get(&partition).map(|it| it.offset);
            let lag = offset.zip(end(&partition)).map(|(offset, end)| (end - offset).max(0));
            Partition {
                lag_seconds: match lag {
                    Some(0) => Some(0.0),
                    _ => timestamps.get(&partition).map(|at| (now - at).max(0) as f64 / 1000.0),
                },
                committed_offset: offset,
                log_end_offset: end(&partition),
                lag,
                member_id: owner.map(|it| it.id.clone()),
                host: owner.map(|it| it.host.clone()),
                topic: partition.topic,
                partition: partition.partition,
            }
        })
        .collect();
    let member = |it: &groups::Member| Member {
        member_id: it.id.clone(),
        instance_id: it.instance.clone(),
        client_id: it.client.clone(),
        host: it.host.clone(),
        partitions: it.assignment.len(),
    };
    Ok(Described {
        lag: partitions.iter().filter_map(|it| it.lag).sum(),
        lag_seconds: partitions.iter().filter_map(|it| it.lag_seconds).reduce(f64::max),
        members: group.members.iter().map(member).collect(),
        partitions,
        group: group.id,
        state: group.state,
        assignor: group.assignor,
        coordinator: group.coordinator,
    })
}

fn tables(group: &Described) -> Vec<Table> {
    let seconds = |seconds: Option<f64>| seconds.map(|it| format!("{it:.1}")).unwrap_or_default();
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut summary = Table::new([
        ("GROUP", Align::Left),
        ("STATE", Align::Left),
        ("ASSIGNOR", Align::Left),
        ("COORDINATOR", Align::Right),
        ("MEMBERS", Align::Right),
        ("LAG", Align::Right),
        ("LAG-SECONDS", Align::Right),
    ]);
    summary.row([
        group.group.clone(),
        group.state.clone(),
        group.assignor.clone(),
        group.coordinator.to_string(),
        group.members.len().to_string(),
        group.lag.to_string(),
        seconds(group.lag_seconds),
    ]);
    let mut tables = vec![summary];
    if !group.partitions.is_empty() {
        let mut partitions = Table::new([
            ("TOPIC", Align::Left),
            ("PARTITION", Align::Right),
            ("COMMITTED", Align::Right),
            ("END", Align::Right),
            ("LAG", Align::Right),
            ("LAG-SECONDS", Align::Right),
            ("MEMBER", Align::Left),
            ("HOST", Align::Left),
        ]);
        for it in &group.partitions {
            partitions.row([
                it.topic.clone(),
                it.partition.to_string(),
                number(it.committed_offset),
                number(it.log_end_offset),
                number(it.lag),
                seconds(it.lag_seconds),
                it.member_id.clone().unwrap_or_default(),
                it.host.clone().unwrap_or_default(),
            ]);
        }
        tables.push(partitions);
    }
    tables
}

/// Arguments of `milena group delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Group ids.
    #[arg(required = true, value_name = "GROUP", add = completion::groups())]
    groups: Vec<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DeleteArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut each = Each::new();
        for (group, result) in groups::delete(&client, &self.groups).await {
            each.result(result, &format!("group {group} deleted"))?;
        }
        each.outcome()
    }
}
