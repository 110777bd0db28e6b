//! Turning "from the start" or "since ten o'clock" into offsets: ListOffsets, to the leader of each partition.

use std::collections::BTreeMap;

use milena_wire::ErrorCode;
use milena_wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::options::OffsetSpec;
use crate::retry::Retry;
use crate::{Client, Error, Target};

/// A topic and the number of one of its partitions.
pub type TopicPartition = (String, i32);

impl OffsetSpec {
    /// The timestamp by which ListOffsets knows it (LO-1); an offset needs no question.
    fn timestamp(self) -> Result<i64, i64> {
        match self {
            Self::Latest => Ok(-1),
            Self::Earliest => Ok(-2),
            Self::MaxTimestamp => Ok(-3),
            Self::Timestamp(at) => Ok(at),
            Self::At(offset) => Err(offset),
        }
    }
}

/// The offset that each spec means. Tries again until the client's deadline while leaders move.
pub(crate) async fn resolve(
    client: &Client,
    wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    read_committed: bool,
) -> Result<BTreeMap<TopicPartition, i64>, Error> {
    let mut resolved = BTreeMap::new();
    let mut retry = Retry::new(client.options());
    loop {
        let mut failed = None;
        let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, i64)>> = BTreeMap::new();
        for (partition, spec) in wanted {
            if resolved.contains_key(partition) {
                continue;
            }
            match spec.timestamp() {
                Err(offset) => drop(resolved.insert(partition.clone(), offset)),
                Ok(timestamp) => match leader(client, partition).await {
                    Ok(leader) => by_leader.entry(leader).or_default().push((partition.clone(), timestamp)),
                    Err(error) => failed = Some(error),
                },
            }
        }
        for (leader, asked) in by_leader {
            failed = ask(client, leader, &asked, read_committed, &mut resolved).await.or(failed);
        }
        // A timestamp after the last record means the end.
        for (partition, offset) in &mut resolved {
            if *offset < 0 && matches!(wanted[partition], OffsetSpec::Timestamp(_) | OffsetSpec::MaxTimestamp)
            {
                let end = BTreeMap::from([(partition.clone(), OffsetSpec::Latest)]);
                *offset = Box::pin(resolve(client, &end, read_committed)).await?[partition];
            }
        }
        match failed {
            None => return Ok(resolved),
            Some(error) => retry.pause_after(error).await?,
        }
    }
}

pub(crate) async fn leader(client: &Client, (topic, partition): &TopicPartition) -> Result<i32, Error> {
    let described = client.topic(topic, false).await?;
    let found = described.partition(*partition).ok_or_else(|| Error::NoSuchPartition {
        topic: topic.clone(),
        partition: *partition,
        count: described.partitions.len() as i32,
    })?;
    let none = || Error::refused(format!("find the leader of {topic}-{partition}"), 5, None);
    found.leader.ok_or_else(none)
}

/// Asks one leader; returns the first failure, if any.
async fn ask(
    client: &Client,
    leader: i32,
    asked: &[(TopicPartition, i64)],
    read_committed: bool,
    resolved: &mut BTreeMap<TopicPartition, i64>,
) -> Option<Error> {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for ((topic, partition_index), timestamp) in asked {
        let partition = ListOffsetsPartition {
            partition_index: *partition_index,
            timestamp: *timestamp,
            ..Default::default()
        };
        topics.entry(topic).or_default().push(partition);
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(read_committed),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic { name: name.into(), partitions })
            .collect(),
        timeout_ms: client.options().request_timeout.as_millis().try_into().unwrap_or(i32::MAX),
    };
    let answer = match client.send_once(Target::Broker(leader), request, i16::MAX).await {
        Ok(answer) => answer,
        Err(error) => {
            asked.iter().for_each(|((topic, _), _)| client.forget_topic(topic));
            return Some(error);
        }
    };
    let mut failed = None;
    for topic in answer.topics {
        for partition in topic.partitions {
            let name = topic.name.to_string();
            if partition.error_code == ErrorCode::None.code() {
                resolved.insert((name, partition.partition_index), partition.offset);
            } else {
                client.forget_topic(&name);
                let what = format!("find an offset of {name}-{}", partition.partition_index);
                failed = Some(Error::refused(what, partition.error_code, None));
            }
        }
    }
    failed
}
