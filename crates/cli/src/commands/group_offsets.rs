//! `milena group export-offsets` and `milena group delete-offsets`, and the CSV that offsets are kept in.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;

use crate::admin::{TopicPartition, group_offsets};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::partitions::{self, TopicSelection};

use super::Each;

/// Arguments of `milena group export-offsets`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Group id.
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl ExportArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut out = output::stdout();
        for (TopicPartition { topic, partition }, it) in
            group_offsets::committed(&client, &self.group).await?
        {
            writeln!(out, "{topic},{partition},{}", it.offset)?;
        }
        Ok(out.flush()?)
    }
}

/// Arguments of `milena group delete-offsets`.
#[derive(Debug, Args)]
pub struct DeleteOffsetsArgs {
    /// Group id.
    #[arg(value_name = "GROUP", add = completion::groups())]
    group: String,
    /// Topic, or topic:0,1 for some of its partitions; may be repeated.
    #[arg(short, long, value_name = "TOPIC[:PARTITIONS]", required = true)]
    topic: Vec<TopicSelection>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl DeleteOffsetsArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let wanted = partitions::select(&client, &self.topic).await?;
        let mut each = Each::new();
        for (partition, result) in group_offsets::delete(&client, &self.group, &wanted).await? {
            each.result(result, &format!("offset of group {} in {partition} deleted", self.group))?;
        }
        each.outcome()
    }
}

/// The offsets of `group` in a file of `topic,partition,offset` lines, or of `group,topic,partition,offset` as
/// Apache's tool writes for several groups: of those, the ones of this group.
pub fn read_csv(path: &Path, group: &str) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("read {}: {error}", path.display())))?;
    parse_csv(&text, group).map_err(|line| {
        Failure::new(format!("{}: line {line} is not topic,partition,offset", path.display()))
            .hint("`milena group export-offsets` writes such files")
    })
}

/// `Err` with the number of a line that makes no sense, the first being 1.
fn parse_csv(text: &str, group: &str) -> Result<BTreeMap<TopicPartition, i64>, usize> {
    let mut offsets = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (owner, topic, partition, offset) = match cells.as_slice() {
            [topic, partition, offset] => (group, *topic, partition, offset),
            [owner, topic, partition, offset] => (*owner, *topic, partition, offset),
            _ => return Err(at + 1),
        };
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else { return Err(at + 1) };
        if owner == group {
            offsets.insert(TopicPartition::new(topic, partition), offset);
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_one_group_are_read_from_either_form() {
        let offsets = |list: &[(&str, i32, i64)]| {
            Ok(list.iter().map(|(topic, index, at)| (TopicPartition::new(*topic, *index), *at)).collect())
        };
        for (text, want) in [
            ("a,0,5\n\"b\",1,6\n\n", offsets(&[("a", 0, 5), ("b", 1, 6)])),
            ("g,a,0,5\nh,a,0,7\n", offsets(&[("a", 0, 5)])),
            ("a,0,5\na,0\n", Err(2)),
            ("a,x,5\n", Err(1)),
            ("", offsets(&[])),
        ] {
            assert_eq!(parse_csv(text, "g"), want, "{text:?}");
        }
    }
}
