//! Topics: list, describe, create, grow, delete.

use std::collections::BTreeMap;

use milena_client::{Client, Error, Target};
use milena_wire::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use milena_wire::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use milena_wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic, TopicRequest,
};
use milena_wire::list_partition_reassignments::ListPartitionReassignmentsRequest;
use milena_wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};
use milena_wire::{ApiKey, Uuid};

use super::{CHANGE_TIMEOUT_MS, TopicPartition, check};

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Name.
    pub name: String,
    /// Id; zero if the broker has none.
    pub id: Uuid,
    /// Whether the cluster itself keeps something in it.
    pub internal: bool,
    /// Ascending.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Number.
    pub index: i32,
    /// Leader, if there is one.
    pub leader: Option<i32>,
    /// Its epoch; `None` if the broker does not tell.
    pub leader_epoch: Option<i32>,
    /// Replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Replicas that may still lead though they left the ISR (KIP-966); `None` if the broker does not tell.
    pub elr: Option<Vec<i32>>,
    /// The last eligible leader replicas that are known.
    pub last_known_elr: Option<Vec<i32>>,
}

impl PartitionDescription {
    /// Whether fewer replicas are in sync than there are.
    pub fn is_under_replicated(&self) -> bool {
        self.isr.len() < self.replicas.len()
    }
}

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// Partitions; -1 takes the broker's default.
    pub partitions: i32,
    /// Replicas; -1 takes the broker's default.
    pub replication_factor: i16,
    /// Brokers of each partition, instead of the two above.
    pub assignment: Vec<Vec<i32>>,
    /// Configurations.
    pub configs: Vec<(String, String)>,
}

/// A move of replicas that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reassignment {
    /// Old and new replicas.
    pub replicas: Vec<i32>,
    /// Replicas being added.
    pub adding: Vec<i32>,
    /// Replicas being removed.
    pub removing: Vec<i32>,
}

/// Every topic, by name.
pub async fn list(client: &Client) -> Result<Vec<TopicDescription>, Error> {
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    let answer = client.send_to(Target::Any, request).await?;
    let mut topics: Vec<_> =
        answer.topics.iter().filter(|it| it.error_code == 0).map(from_metadata).collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(topics)
}

/// Topics by name, in that order; each may fail on its own.
pub async fn describe(client: &Client, names: &[String], page: i32) -> Result<Vec<Described>, Error> {
    let versions = client.versions(Target::Any).await?;
    if names.is_empty() {
        Ok(Vec::new())
    } else if versions.highest(ApiKey::DescribeTopicPartitions, i16::MAX).is_some() {
        describe_by_pages(client, names, page).await
    } else {
        describe_by_metadata(client, names).await
    }
}

/// A topic, or why it cannot be described.
pub type Described = Result<TopicDescription, Error>;

async fn describe_by_pages(client: &Client, names: &[String], page: i32) -> Result<Vec<Described>, Error> {
    let mut found: BTreeMap<String, Described> = BTreeMap::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let topics = names.iter().map(|name| TopicRequest { name: name.into() }).collect();
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: page, cursor };
        let answer = client.send_to(Target::Any, request).await?;
        for topic in answer.topics {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            match (found.get_mut(&name), from_page(&name, topic)) {
                // A topic that fills more than a page goes on in the next.
                (Some(Ok(known)), Ok(more)) => known.partitions.extend(more.partitions),
                (_, described) => drop(found.insert(name, described)),
            }
        }
        cursor = match answer.next_cursor {
            None => break,
            Some(next) => Some(Cursor { topic_name: next.topic_name, partition_index: next.partition_index }),
        };
    }
    Ok(names.iter().filter_map(|name| found.remove(name)).collect())
}

async fn describe_by_metadata(client: &Client, names: &[String]) -> Result<Vec<Described>, Error> {
    let named = |name: &String| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(names.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let answer = client.send_to(Target::Any, request).await?;
    let describe = |topic: &MetadataResponseTopic| {
        let name = topic.name.as_deref().unwrap_or_default();
        check(|| format!("describe topic {name}"), topic.error_code, None).map(|()| from_metadata(topic))
    };
    Ok(answer.topics.iter().map(describe).collect())
}

fn from_metadata(topic: &MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|it| PartitionDescription {
            index: it.partition_index,
            leader: (it.leader_id >= 0).then_some(it.leader_id),
            leader_epoch: (it.leader_epoch >= 0).then_some(it.leader_epoch),
            replicas: it.replica_nodes.clone(),
            isr: it.isr_nodes.clone(),
            elr: None,
            last_known_elr: None,
        })
        .collect();
    partitions.sort_by_key(|it| it.index);
    TopicDescription {
        name: topic.name.as_deref().unwrap_or_default().to_owned(),
        id: topic.topic_id,
        internal: topic.is_internal,
        partitions,
    }
}

fn from_page(name: &str, topic: DescribeTopicPartitionsResponseTopic) -> Described {
    check(|| format!("describe topic {name}"), topic.error_code, None)?;
    let partition = |it: DescribeTopicPartitionsResponsePartition| PartitionDescription {
        index: it.partition_index,
        leader: (it.leader_id >= 0).then_some(it.leader_id),
        leader_epoch: (it.leader_epoch >= 0).then_some(it.leader_epoch),
        replicas: it.replica_nodes,
        isr: it.isr_nodes,
        elr: it.eligible_leader_replicas,
        last_known_elr: it.last_known_elr,
    };
    let mut partitions: Vec<_> = topic.partitions.into_iter().map(partition).collect();
    partitions.sort_by_key(|it| it.index);
    Ok(TopicDescription {
        name: name.to_owned(),
        id: topic.topic_id,
        internal: topic.is_internal,
        partitions,
    })
}

/// Creates one topic, or only checks that it could be.
pub async fn create(client: &Client, topic: &NewTopic, validate_only: bool) -> Result<(), Error> {
    let assignment = |(at, brokers): (usize, &Vec<i32>)| CreatableReplicaAssignment {
        partition_index: at as i32,
        broker_ids: brokers.clone(),
    };
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.as_str().into(),
            num_partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignment.iter().enumerate().map(assignment).collect(),
            configs: topic.configs.iter().map(config).collect(),
        }],
        timeout_ms: CHANGE_TIMEOUT_MS,
        validate_only,
    };
    let answer = client.send_to(Target::Any, request).await?;
    answer.topics.iter().try_for_each(|it| {
        check(|| format!("create topic {}", it.name), it.error_code, it.error_message.as_deref())
    })
}

/// Raises a topic's partition count to `total`; `assignment` places the new ones.
pub async fn add_partitions(
    client: &Client,
    topic: &str,
    total: i32,
    assignment: Option<&[Vec<i32>]>,
) -> Result<(), Error> {
    let assignments = assignment.map(|new| {
        new.iter().map(|brokers| CreatePartitionsAssignment { broker_ids: brokers.clone() }).collect()
    });
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: topic.into(), count: total, assignments }],
        timeout_ms: CHANGE_TIMEOUT_MS,
        validate_only: false,
    };
    let answer = client.send_to(Target::Any, request).await?;
    answer.results.iter().try_for_each(|it| {
        check(|| format!("add partitions to {}", it.name), it.error_code, it.error_message.as_deref())
    })
}

/// Deletes topics; one result for each, in order.
pub async fn delete(client: &Client, names: &[String]) -> Result<Vec<(String, Result<(), Error>)>, Error> {
    let state = |name: &String| DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO };
    let request = DeleteTopicsRequest {
        topics: names.iter().map(state).collect(),
        topic_names: names.iter().map(Into::into).collect(),
        timeout_ms: CHANGE_TIMEOUT_MS,
    };
    let answer = client.send_to(Target::Any, request).await?;
    let result = |it: &milena_wire::delete_topics::DeletableTopicResult| {
        let name = it.name.as_deref().unwrap_or_default().to_owned();
        let result = check(|| format!("delete topic {name}"), it.error_code, it.error_message.as_deref());
        (name, result)
    };
    Ok(answer.responses.iter().map(result).collect())
}

/// Moves of replicas that are under way; empty where the broker does not serve the question.
pub async fn reassignments(client: &Client) -> Result<BTreeMap<TopicPartition, Reassignment>, Error> {
    let request = ListPartitionReassignmentsRequest::default();
    let answer = match client.send_to(Target::Any, request).await {
        Ok(answer) if answer.error_code == 0 => answer,
        Ok(_) | Err(Error::NoCommonVersion { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let moves = answer.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |it| {
            let reassignment = Reassignment {
                replicas: it.replicas,
                adding: it.adding_replicas,
                removing: it.removing_replicas,
            };
            (TopicPartition::new(name.as_str(), it.partition_index), reassignment)
        })
    });
    Ok(moves.collect())
}
