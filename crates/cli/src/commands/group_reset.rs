//! `milena group reset-offsets`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use milena_client::Client;
use milena_wire::ErrorCode;
use serde::Serialize;

use crate::admin::{TopicPartition, group_offsets, groups};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::offset_spec::OffsetSpec;
use crate::output::{self, Align, Format, Table};
use crate::partitions::{self, TopicSelection};

use super::counted;
use super::group_offsets::read_csv;

/// Arguments of `milena group reset-offsets`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Group id; it is created if it does not exist.
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: String,
    /// Topic, or topic:0,1 for some of its partitions; may be repeated. All that is committed if left out.
    #[arg(short, long, value_name = "TOPIC[:PARTITIONS]")]
    topic: Vec<TopicSelection>,
    /// Where to: start, end, an offset, @2026-01-31T12:00:00Z, @-1h, +10 (after the start), -10 (before the end).
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, required_unless_present_any = ["shift", "from_file"])]
    to: Option<OffsetSpec>,
    /// Move by so many records, forward or back.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, conflicts_with = "to")]
    shift: Option<i64>,
    /// To the offsets of a CSV file with lines of topic,partition,offset, as export-offsets writes them.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "shift", "topic"])]
    from_file: Option<PathBuf>,
    /// Only show what would be committed.
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Reset {
    topic: String,
    partition: i32,
    old_offset: Option<i64>,
    new_offset: i64,
}

impl ResetArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        refuse_active(&client, &self.group).await?;
        let committed = group_offsets::committed(&client, &self.group).await?;
        let old: BTreeMap<TopicPartition, i64> =
            committed.into_iter().map(|(it, offset)| (it, offset.offset)).collect();
        let of_file = match &self.from_file {
            Some(path) => read_csv(path, &self.group)?,
            None => BTreeMap::new(),
        };
        let wanted: Vec<TopicPartition> = match self.topic.is_empty() {
            true if self.from_file.is_some() => of_file.keys().cloned().collect(),
            true => old.keys().cloned().collect(),
            false => partitions::select(&client, &self.topic).await?,
        };
        if let (Some(path), true) = (&self.from_file, wanted.is_empty()) {
            return Err(Failure::new(format!("{} has no offset of group {}", path.display(), self.group)));
        }
        if wanted.is_empty() {
            return Err(Failure::new(format!("group {} has committed nothing", self.group))
                .hint("name the topics with --topic TOPIC"));
        }
        let new = self.plan(&client, &wanted, &old, &of_file).await?;
        if !self.dry_run {
            group_offsets::commit(&client, &self.group, &new).await?;
        }
        let reset = |(it, new_offset): (TopicPartition, i64)| Reset {
            old_offset: old.get(&it).copied(),
            new_offset,
            topic: it.topic,
            partition: it.partition,
        };
        let resets: Vec<Reset> = new.into_iter().map(reset).collect();
        output::print(self.format, &resets, |resets| vec![table(resets)])
    }

    async fn plan(
        &self,
        client: &Client,
        wanted: &[TopicPartition],
        old: &BTreeMap<TopicPartition, i64>,
        of_file: &BTreeMap<TopicPartition, i64>,
    ) -> Outcome<BTreeMap<TopicPartition, i64>> {
        let shifted = |partition: &TopicPartition, count: i64| match old.get(partition) {
            Some(offset) => Ok((partition.clone(), OffsetSpec::Exact(offset.saturating_add(count).max(0)))),
            None => Err(Failure::new(format!("group {} has committed nothing in {partition}", self.group))
                .hint("--shift moves what is committed; use --to")),
        };
        let specs = match (self.to, self.shift) {
            (Some(spec), _) => wanted.iter().map(|it| (it.clone(), spec)).collect(),
            (None, Some(count)) => wanted.iter().map(|it| shifted(it, count)).collect::<Outcome<Vec<_>>>()?,
            (None, None) => of_file.iter().map(|(it, at)| (it.clone(), OffsetSpec::Exact(*at))).collect(),
        };
        Ok(partitions::resolve(client, &specs).await?.into_iter().collect())
    }
}

/// Only a group without members takes offsets from outside.
async fn refuse_active(client: &Client, group: &str) -> Outcome {
    match groups::describe(client, group).await {
        Ok(described) if described.members.is_empty() => Ok(()),
        Ok(described) => {
            let members = counted(described.members.len(), "member");
            let what = format!("group {group} has {members} and is {}", described.state);
            Err(Failure::new(what).hint("stop its consumers first"))
        }
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn table(resets: &[Reset]) -> Table {
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("OLD-OFFSET", Align::Right),
        ("NEW-OFFSET", Align::Right),
    ]);
    for it in resets {
        let old = it.old_offset.map(|offset| offset.to_string()).unwrap_or_default();
        table.row([it.topic.clone(), it.partition.to_string(), old, it.new_offset.to_string()]);
    }
    table
}
