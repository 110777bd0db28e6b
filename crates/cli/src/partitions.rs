//! Which partitions a command is about, and which offsets it means in them.

use std::str::FromStr;

use milena_client::Client;

use crate::admin::TopicPartition;
use crate::admin::offsets::{self, at};
use crate::failure::{Failure, Outcome};
use crate::offset_spec::OffsetSpec;

/// A topic, or some of its partitions: `orders` or `orders:0,2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSelection {
    /// The topic.
    pub topic: String,
    /// Its partitions; all if empty.
    pub partitions: Vec<i32>,
}

impl FromStr for TopicSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, list) = text.split_once(':').unwrap_or((text, ""));
        let number = |number: &str| {
            number
                .trim()
                .parse::<i32>()
                .map_err(|_| format!("'{number}' is no partition: write topic or topic:0,2"))
        };
        let partitions = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Result<_, _>>()?,
        };
        Ok(TopicSelection { topic: topic.to_owned(), partitions })
    }
}

/// The partitions of the selections, ascending by topic and number; each exists.
pub async fn select(client: &Client, selections: &[TopicSelection]) -> Outcome<Vec<TopicPartition>> {
    let mut selected = Vec::new();
    for TopicSelection { topic, partitions } in selections {
        let known = client.topic(topic, false).await?;
        if let Some(missing) = partitions.iter().find(|it| known.partition(**it).is_none()) {
            let count = known.partitions.len();
            return Err(Failure::new(format!("topic {topic} has no partition {missing}"))
                .hint(format!("its partitions are 0 to {}", count.saturating_sub(1))));
        }
        let chosen =
            known.partitions.iter().filter(|it| partitions.is_empty() || partitions.contains(&it.index));
        selected.extend(chosen.map(|it| TopicPartition::new(topic.as_str(), it.index)));
    }
    selected.sort();
    selected.dedup();
    Ok(selected)
}

/// The offset that each spec means, inside the bounds of its log; a time after the last record means the end.
pub async fn resolve(
    client: &Client,
    specs: &[(TopicPartition, OffsetSpec)],
) -> Outcome<Vec<(TopicPartition, i64)>> {
    let partitions: Vec<TopicPartition> = specs.iter().map(|(it, _)| it.clone()).collect();
    let starts = offsets::all_at(client, &partitions, at::EARLIEST).await?;
    let ends = offsets::all_at(client, &partitions, at::LATEST).await?;
    let timed = specs.iter().filter_map(|(it, spec)| match spec {
        OffsetSpec::Timestamp(timestamp) => Some((it.clone(), *timestamp)),
        _ => None,
    });
    let timed = offsets::list(client, timed.collect::<Vec<_>>()).await?;
    let mut resolved = Vec::new();
    for (partition, spec) in specs {
        let (start, end) = (starts[partition], ends[partition]);
        let offset = match (spec.resolve(start, end), timed.get(partition)) {
            (Some(offset), _) => offset,
            (None, Some(Err(error))) => return Err(error.clone().into()),
            (None, Some(Ok(found))) if found.offset >= 0 => found.offset,
            (None, _) => end,
        };
        resolved.push((partition.clone(), offset));
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections() {
        let selection = |topic: &str, partitions: &[i32]| TopicSelection {
            topic: topic.to_owned(),
            partitions: partitions.to_vec(),
        };
        for (text, want) in [
            ("orders", Ok(selection("orders", &[]))),
            ("orders:0", Ok(selection("orders", &[0]))),
            ("orders:2, 0", Ok(selection("orders", &[2, 0]))),
            ("orders:x", Err("'x' is no partition: write topic or topic:0,2".to_owned())),
        ] {
            assert_eq!(text.parse(), want, "{text}");
        }
    }
}
