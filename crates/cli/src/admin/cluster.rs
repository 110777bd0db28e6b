//! The cluster: brokers, controller, metadata quorum, and how many partitions are well.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::ApiKey;
use milena_wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, ReplicaState, RequestPartitionData, RequestTopicData,
};

use super::check;
use super::configs::{self, Kind};
use super::topics::{PartitionDescription, TopicDescription};

/// Name under which the metadata log is asked for.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Who belongs to the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// Broker that decides, if one does.
    pub controller: Option<i32>,
    /// Registered brokers by id, fenced ones too if the broker tells of them.
    pub brokers: Vec<Broker>,
}

/// A registered broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Its advertised address.
    pub host: String,
    /// Its advertised port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Not to be relied on: unreachable, or not yet caught up.
    pub fenced: bool,
}

/// The metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Its leader, if there is one.
    pub leader: Option<i32>,
    /// Its term.
    pub epoch: i32,
    /// First offset that is not committed.
    pub high_watermark: i64,
    /// Those who vote.
    pub voters: Vec<QuorumMember>,
    /// Those who only listen.
    pub observers: Vec<QuorumMember>,
}

/// A member of the quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumMember {
    /// Its id.
    pub id: i32,
    /// Next offset of its log; -1 if nobody knows.
    pub log_end: i64,
    /// When it last fetched, in milliseconds since 1970; -1 if nobody knows.
    pub last_fetch_ms: i64,
}

/// Brokers, controller and id. Asks the broker that answers first.
pub async fn members(client: &Client) -> Result<Members, Error> {
    let versions = client.versions(Target::Any).await?;
    match versions.highest(ApiKey::DescribeCluster, i16::MAX) {
        Some(_) => {
            let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
            let answer = client.send_to(Target::Any, request).await?;
            check(|| "describe the cluster".to_owned(), answer.error_code, answer.error_message.as_deref())?;
            Ok(from_answer(answer))
        }
        None => Ok(from_metadata(&client.metadata())),
    }
}

fn from_answer(answer: DescribeClusterResponse) -> Members {
    let broker = |it: milena_wire::describe_cluster::DescribeClusterBroker| Broker {
        id: it.broker_id,
        host: it.host.to_string(),
        port: it.port,
        rack: it.rack.map(|it| it.to_string()),
        fenced: it.is_fenced,
    };
    let mut brokers: Vec<_> = answer.brokers.into_iter().map(broker).collect();
    brokers.sort_by_key(|it| it.id);
    Members {
        cluster_id: Some(answer.cluster_id.to_string()),
        controller: Some(answer.controller_id).filter(|id| *id >= 0),
        brokers,
    }
}

fn from_metadata(metadata: &milena_client::Metadata) -> Members {
    let broker = |it: &milena_client::Broker| Broker {
        id: it.id,
        host: it.host.clone(),
        port: it.port.into(),
        rack: it.rack.clone(),
        fenced: false,
    };
    Members {
        cluster_id: metadata.cluster_id.clone(),
        controller: metadata.controller,
        brokers: metadata.brokers.values().map(broker).collect(),
    }
}

/// The metadata quorum, as its leader sees it; `None` where the broker does not tell.
pub async fn quorum(client: &Client) -> Result<Option<Quorum>, Error> {
    let request = || DescribeQuorumRequest {
        topics: vec![RequestTopicData {
            topic_name: METADATA_TOPIC.into(),
            partitions: vec![RequestPartitionData::default()],
        }],
    };
    let answer = match client.send_to(Target::Any, request()).await {
        Ok(answer) => answer,
        Err(Error::NoCommonVersion { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    check(|| "describe the quorum".to_owned(), answer.error_code, answer.error_message.as_deref())?;
    let first = |answer: DescribeQuorumResponse| {
        answer.topics.into_iter().flat_map(|topic| topic.partitions).next().map(from_partition)
    };
    let Some(quorum) = first(answer) else { return Ok(None) };
    // Only the leader knows how far the others are. If it cannot be reached, anybody's answer has the rest.
    let Some(leader) = quorum.leader else { return Ok(Some(quorum)) };
    let answer = client.send_once(Target::Broker(leader), request(), i16::MAX).await;
    let leaders = answer.ok().filter(|answer| answer.error_code == 0).and_then(first);
    Ok(leaders.or(Some(quorum)))
}

fn from_partition(partition: milena_wire::describe_quorum::ResponsePartitionData) -> Quorum {
    let members = |states: Vec<ReplicaState>| {
        let member = |it: ReplicaState| QuorumMember {
            id: it.replica_id,
            log_end: it.log_end_offset,
            last_fetch_ms: it.last_fetch_timestamp,
        };
        states.into_iter().map(member).collect()
    };
    Quorum {
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: members(partition.current_voters),
        observers: members(partition.observers),
    }
}

/// `min.insync.replicas` of each topic.
pub async fn min_isr(client: &Client, topics: &[TopicDescription]) -> Result<BTreeMap<String, usize>, Error> {
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let described = configs::describe(client, Kind::Topic, &names, false).await?;
    let mut found = BTreeMap::new();
    for (name, entries) in names.into_iter().zip(described) {
        // A topic that was deleted meanwhile has none and is missed by nobody.
        let Ok(entries) = entries else { continue };
        let value =
            entries.iter().find(|it| it.name == "min.insync.replicas").and_then(|it| it.value.as_ref());
        found.insert(name, value.and_then(|it| it.parse().ok()).unwrap_or(1));
    }
    Ok(found)
}

/// Partitions that are not well, by what ails them, as `topic-partition`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ailing {
    /// Without a leader.
    pub offline: Vec<String>,
    /// With replicas out of sync.
    pub under_replicated: Vec<String>,
    /// With fewer in sync than `min.insync.replicas`: they refuse `acks=all`.
    pub under_min_isr: Vec<String>,
    /// With exactly as many: the loss of one more would stop writes. Those that always have, as they ask for all
    /// their replicas, are not counted.
    pub at_min_isr: Vec<String>,
}

impl Ailing {
    /// Sorts the partitions.
    pub fn of(topics: &[TopicDescription], min_isr: &BTreeMap<String, usize>) -> Self {
        let mut found = Self::default();
        for topic in topics {
            for partition in &topic.partitions {
                found.add(topic, partition, min_isr.get(&topic.name).copied().unwrap_or(1));
            }
        }
        found
    }

    fn add(&mut self, topic: &TopicDescription, partition: &PartitionDescription, min_isr: usize) {
        let name = || format!("{}-{}", topic.name, partition.index);
        // Kafka asks for no more copies than there can be.
        let needed = min_isr.min(partition.replicas.len());
        if partition.leader.is_none() {
            self.offline.push(name());
        }
        if partition.is_under_replicated() {
            self.under_replicated.push(name());
        }
        if partition.isr.len() < needed {
            self.under_min_isr.push(name());
        } else if partition.isr.len() == needed && needed < partition.replicas.len() {
            self.at_min_isr.push(name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leader, replicas, those in sync.
    type Row<'a> = (Option<i32>, &'a [i32], &'a [i32]);

    fn topic(partitions: &[Row<'_>]) -> TopicDescription {
        let partition = |(index, (leader, replicas, isr)): (usize, &Row<'_>)| PartitionDescription {
            index: index as i32,
            leader: *leader,
            leader_epoch: None,
            replicas: replicas.to_vec(),
            isr: isr.to_vec(),
            elr: None,
            last_known_elr: None,
        };
        TopicDescription {
            name: "t".to_owned(),
            id: milena_wire::Uuid::ZERO,
            internal: false,
            partitions: partitions.iter().enumerate().map(partition).collect(),
        }
    }

    #[test]
    fn partitions_are_sorted_by_what_ails_them() {
        let three = &[1, 2, 3][..];
        let topics = [topic(&[
            (Some(1), three, three),
            (Some(1), three, &[1, 2]),
            (Some(1), three, &[1]),
            (None, three, &[]),
            (Some(1), &[1], &[1]),
        ])];
        let found = Ailing::of(&topics, &BTreeMap::from([("t".to_owned(), 2)]));
        let names = |indexes: &[i32]| indexes.iter().map(|it| format!("t-{it}")).collect::<Vec<_>>();
        assert_eq!(
            found,
            Ailing {
                offline: names(&[3]),
                under_replicated: names(&[1, 2, 3]),
                under_min_isr: names(&[2, 3]),
                at_min_isr: names(&[1]),
            }
        );
    }
}
