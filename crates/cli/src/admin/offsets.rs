//! Offsets of partitions: start, end, by timestamp.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tokio::time::{Instant, sleep};

use super::{CHANGE_TIMEOUT_MS, TopicPartition, by_topic};

/// Timestamps with a meaning of their own; others are milliseconds since 1970.
pub mod at {
    /// The log end offset.
    pub const LATEST: i64 = -1;
    /// The log start offset.
    pub const EARLIEST: i64 = -2;
    /// The record with the greatest timestamp.
    pub const MAX_TIMESTAMP: i64 = -3;
    /// The start of what is on the broker's own disks.
    pub const EARLIEST_LOCAL: i64 = -4;
    /// The end of what is in tiered storage.
    pub const LATEST_TIERED: i64 = -5;
    /// The start of what is not yet in tiered storage.
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

/// What was found: an offset, and the timestamp of the record there. Both -1 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// What the leaders answered, by partition.
pub type Answers = BTreeMap<TopicPartition, Result<Found, Error>>;

/// Longest that partitions are asked for again whose leader has just changed: an election takes a fraction of a second, and who
/// has a partition that is offline should hear so.
const MOVING: Duration = Duration::from_secs(5);

/// Asks the leader of each partition for the offset at `timestamp`. One request for each broker; another after the metadata was
/// asked for anew, while leaders move.
pub async fn list(
    client: &Client,
    wanted: impl IntoIterator<Item = (TopicPartition, i64)>,
) -> Result<Answers, Error> {
    let mut left: Vec<_> = wanted.into_iter().collect();
    let known = client.metadata();
    let unknown = left.iter().map(|(it, _)| it.topic.as_str()).filter(|name| known.topic(name).is_none());
    refresh(client, unknown).await?;
    let began = Instant::now();
    let options = client.options();
    let mut pause = options.retry_backoff;
    let mut answers = Answers::new();
    loop {
        answers.extend(list_once(client, &left).await);
        let waited = began.elapsed();
        left.retain(|(it, _)| match &answers[it] {
            Err(Error::Refused { code, .. }) => has_moved(*code) && waited < MOVING,
            Err(error) => error.is_retriable() && waited < options.deadline,
            Ok(_) => false,
        });
        if left.is_empty() {
            break;
        }
        sleep(pause).await;
        pause = (pause * 2).min(options.retry_backoff_max);
        refresh(client, left.iter().map(|(it, _)| it.topic.as_str())).await?;
    }
    // A broker that cannot be asked fails all; what it refuses, only that.
    let broken = answers.values().find_map(|it| it.as_ref().err().filter(|error| error.code().is_none()));
    broken.cloned().map_or(Ok(answers), Err)
}

async fn refresh<'a>(client: &Client, topics: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let topics: BTreeSet<&str> = topics.collect();
    if topics.is_empty() {
        return Ok(());
    }
    match client.refresh(&topics.into_iter().collect::<Vec<_>>()).await {
        // A topic that does not exist fails its own partitions, not the others.
        Err(error) if error.code().is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Whether a leader refuses because it is none (any more), or is one only since now.
fn has_moved(code: ErrorCode) -> bool {
    use ErrorCode as E;
    matches!(
        code,
        E::NotLeaderOrFollower
            | E::LeaderNotAvailable
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::OffsetNotAvailable
    )
}

async fn list_once(client: &Client, wanted: &[(TopicPartition, i64)]) -> Answers {
    let mut by_leader: BTreeMap<i32, Vec<(TopicPartition, i64)>> = BTreeMap::new();
    let mut answers = BTreeMap::new();
    for (partition, timestamp) in wanted.iter().cloned() {
        match leader(client, &partition) {
            Ok(leader) => by_leader.entry(leader).or_default().push((partition, timestamp)),
            Err(error) => drop(answers.insert(partition, Err(error))),
        }
    }
    for (leader, wanted) in by_leader {
        match ask(client, leader, wanted.clone()).await {
            Ok(found) => answers.extend(found),
            Err(error) => answers.extend(wanted.into_iter().map(|(it, _)| (it, Err(error.clone())))),
        }
    }
    answers
}

/// As [`list`], with one timestamp for all.
pub async fn list_at(
    client: &Client,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<Answers, Error> {
    list(client, partitions.iter().map(|it| (it.clone(), timestamp))).await
}

/// As [`list_at`]; the first partition that fails fails all.
pub async fn all_at(
    client: &Client,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<BTreeMap<TopicPartition, i64>, Error> {
    let answers = list_at(client, partitions, timestamp).await?;
    answers.into_iter().map(|(partition, found)| Ok((partition, found?.offset))).collect()
}

fn leader(client: &Client, partition: &TopicPartition) -> Result<i32, Error> {
    let refused =
        |code: ErrorCode| Error::refused(format!("find the leader of {partition}"), code.code(), None);
    let metadata = client.metadata();
    let described = metadata.topic(&partition.topic).and_then(|topic| topic.partition(partition.partition));
    let described = described.ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
    described.leader.ok_or_else(|| refused(ErrorCode::LeaderNotAvailable))
}

async fn ask(client: &Client, leader: i32, wanted: Vec<(TopicPartition, i64)>) -> Result<Answers, Error> {
    let partition = |(index, timestamp): (i32, i64)| ListOffsetsPartition {
        partition_index: index,
        current_leader_epoch: -1,
        timestamp,
    };
    let topic = |(name, partitions): (String, Vec<(i32, i64)>)| ListOffsetsTopic {
        name: name.into(),
        partitions: partitions.into_iter().map(partition).collect(),
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: by_topic(wanted).into_iter().map(topic).collect(),
        timeout_ms: CHANGE_TIMEOUT_MS,
    };
    let answer = client.send_once(Target::Broker(leader), request, i16::MAX).await?;
    let found = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| {
            let partition = TopicPartition::new(name.as_str(), it.partition_index);
            let found = match it.error_code {
                0 => Ok(Found { offset: it.offset, timestamp: it.timestamp }),
                code => Err(Error::refused(format!("find an offset of {partition}"), code, None)),
            };
            (partition, found)
        })
    });
    Ok(found.collect())
}
