//! CreateTopics (19) and DeleteTopics (20): test ids TP-1 to TP-8, TP-10.

use std::collections::{BTreeMap, BTreeSet};

use milena_config::{BrokerConfig, Overrides, TopicConfig};
use milena_wire::Uuid;

use crate::decide::partitions::{active, check_assignment};
use crate::decide::{Decision, Random, configs, placement};
use crate::{BrokerId, Image, Partition, Record, Refusal, Resource, names};

/// Most partitions that one request may create, as in Kafka: it bounds the command.
pub const MAX_PARTITIONS: usize = 10_000;
/// The two settings that say how many copies of a record there are, and how many count.
const REPLICATION: &str = "default.replication.factor";
const MIN_ISR: &str = "min.insync.replicas";

/// A topic to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; -1 for the broker's default.
    pub partitions: i32,
    /// Replicas of each; -1 for the broker's default.
    pub replication_factor: i16,
    /// Replicas by partition, chosen by the client; both numbers are then -1.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    /// Settings; null values are refused.
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with the broker's defaults, as automatic creation makes it; internal topics get their own settings
    /// (test id MD-3).
    pub fn automatic(name: &str, config: &BrokerConfig, live_brokers: usize) -> Self {
        let setting = |name: &str, value: String| (name.to_owned(), Some(value));
        let (partitions, replication_factor, configs) = match name {
            "__consumer_offsets" => (
                config.offsets_topic_num_partitions(),
                config.offsets_replication_factor(live_brokers),
                vec![
                    setting("cleanup.policy", "compact".into()),
                    setting("compression.type", "producer".into()),
                    setting("segment.bytes", config.offsets_topic_segment_bytes().to_string()),
                ],
            ),
            "__transaction_state" => (
                config.transaction_state_log_num_partitions(),
                config.transaction_replication_factor(live_brokers),
                vec![
                    setting("cleanup.policy", "compact".into()),
                    setting("compression.type", "uncompressed".into()),
                    setting(
                        "min.insync.replicas",
                        config.transaction_min_insync_replicas(live_brokers).to_string(),
                    ),
                    setting("segment.bytes", config.transaction_state_log_segment_bytes().to_string()),
                    setting("unclean.leader.election.enable", "false".into()),
                ],
            ),
            _ => (-1, -1, Vec::new()),
        };
        Self { name: name.to_owned(), partitions, replication_factor, assignments: Vec::new(), configs }
    }
}

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Its settings, for `milena_config::describe::topic`.
    pub overrides: Overrides,
}

/// Answers by topic, in the order asked; a name that was asked for twice stands there once.
pub type CreateTopicsAnswer = Vec<(String, Result<CreatedTopic, Refusal>)>;

/// Creates topics, each for itself. With `validate_only` everything is checked and nothing created.
pub fn create(
    image: &Image,
    config: &BrokerConfig,
    topics: &[NewTopic],
    validate_only: bool,
    random: Random<'_>,
) -> Result<Decision<CreateTopicsAnswer>, Refusal> {
    check_total(topics, config)?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *seen.entry(&topic.name).or_default() += 1;
    }
    let mut records = Vec::new();
    let mut answer = Vec::new();
    // Two names of one request may collide with each other, too.
    let mut unified = BTreeMap::new();
    for topic in topics {
        let outcome = match seen.insert(&topic.name, 0) {
            Some(0) => continue,
            Some(1) => create_one(image, config, topic, &unified, &mut records, random),
            _ => Err(Refusal::DuplicateTopicName),
        };
        if outcome.is_ok() {
            unified.insert(names::unified(&topic.name), topic.name.clone());
        }
        answer.push((topic.name.clone(), outcome));
    }
    if validate_only {
        records.clear();
    }
    Ok(Decision { records, answer })
}

fn check_total(topics: &[NewTopic], config: &BrokerConfig) -> Result<(), Refusal> {
    let total: usize = topics
        .iter()
        .map(|topic| match topic.partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => usize::try_from(config.num_partitions()).unwrap_or(0),
            partitions => usize::try_from(partitions).unwrap_or(0),
        })
        .fold(0, usize::saturating_add);
    if total > MAX_PARTITIONS { Err(Refusal::TooManyPartitions) } else { Ok(()) }
}

fn create_one(
    image: &Image,
    config: &BrokerConfig,
    topic: &NewTopic,
    unified: &BTreeMap<String, String>,
    records: &mut Vec<Record>,
    random: Random<'_>,
) -> Result<CreatedTopic, Refusal> {
    check_name(image, &topic.name, unified)?;
    let mut overrides = check_configs(topic, config)?;
    let replication = match topic.replication_factor {
        -1 => config.topic_replication_factor(image.brokers().count()),
        wanted => wanted,
    };
    let is_default = topic.assignments.is_empty() && topic.replication_factor == -1;
    // Who leaves the number of replicas to us gets what goes with it: one may fail, and nothing is lost.
    if is_default && replication >= 3 && !config.is_set(REPLICATION) && !config.is_set(MIN_ISR) {
        overrides.entry(MIN_ISR.to_owned()).or_insert_with(|| "2".to_owned());
    }
    let min_isr = TopicConfig::resolve(&overrides, config).min_insync_replicas();
    let partitions = lay_out(image, config, topic, (replication, min_isr), random)?;
    let id = topic_id(random);
    let created = CreatedTopic {
        id,
        partitions: partitions.len() as i32,
        replication_factor: partitions[0].replicas.len() as i16,
        overrides,
    };
    records.push(Record::TopicCreated { id, name: topic.name.clone() });
    records.extend(created.overrides.iter().map(|(name, value)| Record::ConfigSet {
        resource: Resource::Topic(topic.name.clone()),
        name: name.clone(),
        value: Some(value.clone()),
    }));
    records.extend((0..).zip(partitions).map(|(index, partition)| Record::PartitionSet {
        topic: id,
        index,
        partition,
    }));
    Ok(created)
}

fn check_name(image: &Image, name: &str, unified: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if name == names::CLUSTER_METADATA {
        return Err(Refusal::ProhibitedTopic(name.to_owned()));
    }
    if let Some(fault) = names::fault(name) {
        return Err(Refusal::InvalidTopicName(fault));
    }
    if image.topic(name).is_some() {
        return Err(Refusal::TopicExists(name.to_owned()));
    }
    let own = names::unified(name);
    let existing =
        image.collisions.get(own.as_str()).map(|it| it.to_string()).or_else(|| unified.get(&own).cloned());
    match existing {
        Some(existing) => Err(Refusal::CollidingTopic { name: name.to_owned(), existing }),
        None => Ok(()),
    }
}

fn check_configs(topic: &NewTopic, config: &BrokerConfig) -> Result<Overrides, Refusal> {
    let nulls: Vec<String> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.clone()).collect();
    if !nulls.is_empty() {
        return Err(Refusal::NullTopicConfigs(nulls));
    }
    let overrides: Overrides =
        topic.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
    configs::check_lengths(overrides.values())?;
    TopicConfig::validate(&overrides, config).map_err(Refusal::InvalidConfig)?;
    Ok(overrides)
}

/// The partitions of a new topic: as the client assigned them, or placed by us. Never empty.
fn lay_out(
    image: &Image,
    config: &BrokerConfig,
    topic: &NewTopic,
    (replication, min_isr): (i16, i32),
    random: Random<'_>,
) -> Result<Vec<Partition>, Refusal> {
    if !topic.assignments.is_empty() {
        return lay_out_assigned(image, topic, min_isr);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(Refusal::NonPositiveReplicationFactor);
    }
    if topic.partitions < -1 || topic.partitions == 0 {
        return Err(Refusal::NonPositivePartitions);
    }
    let partitions = if topic.partitions == -1 { config.num_partitions() } else { topic.partitions };
    placement::place(image, partitions as usize, replication, random)?
        .into_iter()
        .map(|replicas| {
            let isr = active(image, &replicas);
            if isr.is_empty() {
                return Err(Refusal::NoActiveReplica { wanted: replication });
            }
            Ok(Partition::new(replicas, isr, min_isr))
        })
        .collect()
}

fn lay_out_assigned(image: &Image, topic: &NewTopic, min_isr: i32) -> Result<Vec<Partition>, Refusal> {
    if topic.replication_factor != -1 {
        return Err(Refusal::AssignmentAndReplicationFactor);
    }
    if topic.partitions != -1 {
        return Err(Refusal::AssignmentAndPartitions);
    }
    let mut by_index = BTreeMap::new();
    let mut replication = None;
    for (index, replicas) in &topic.assignments {
        if by_index.contains_key(index) {
            return Err(Refusal::RepeatedAssignment(*index));
        }
        check_assignment(image, replicas, replication)?;
        replication = Some(replicas.len());
        let isr = active(image, replicas);
        if isr.is_empty() {
            return Err(Refusal::InactiveAssignment(*index));
        }
        by_index.insert(*index, Partition::new(replicas.clone(), isr, min_isr));
    }
    if !by_index.keys().copied().eq(0..by_index.len() as i32) {
        return Err(Refusal::AssignmentGap);
    }
    Ok(by_index.into_values().collect())
}

/// A random id (RFC 9562 version 4) whose text does not begin with a hyphen, which tools would take for an option.
fn topic_id(random: Random<'_>) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random().to_be_bytes());
        bytes[8..].copy_from_slice(&random().to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        // `-` stands for 62: the first six bits decide.
        if bytes[0] >> 2 != 62 {
            return Uuid(bytes);
        }
    }
}

/// A topic to delete: by name, or from version 6 by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoomedTopic {
    /// Name, or null.
    pub name: Option<String>,
    /// Id, or zero.
    pub id: Uuid,
}

/// What became of one [`DoomedTopic`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// The name, where it was given or the id is known.
    pub name: Option<String>,
    /// The id, where it was given or the name is known; else zero.
    pub id: Uuid,
    /// Whether it is gone.
    pub outcome: Result<(), Refusal>,
}

/// Deletes topics, each for itself. The name may be used again at once: a new topic has another id.
pub fn delete(
    image: &Image,
    config: &BrokerConfig,
    topics: &[DoomedTopic],
) -> Result<Decision<Vec<DeletedTopic>>, Refusal> {
    if !config.delete_topic_enable() {
        return Err(Refusal::DeletionDisabled);
    }
    let mut records = Vec::new();
    let mut answer = Vec::new();
    let mut reported = BTreeSet::new();
    for (at, topic) in topics.iter().enumerate() {
        let repeated = topics.iter().enumerate().any(|(other, it)| other != at && it == topic);
        if repeated && !reported.insert((topic.name.clone(), topic.id)) {
            continue;
        }
        let found = if repeated {
            Err(if topic.name.is_some() { Refusal::DuplicateTopicName } else { Refusal::DuplicateTopicId })
        } else {
            find_doomed(image, topic, topics)
        };
        answer.push(match found {
            Ok((name, id)) => {
                records.push(Record::TopicDeleted { id });
                DeletedTopic { name: Some(name), id, outcome: Ok(()) }
            }
            Err(refusal) => DeletedTopic { name: topic.name.clone(), id: topic.id, outcome: Err(refusal) },
        });
    }
    Ok(Decision { records, answer })
}

/// Name and id of the topic that is meant.
fn find_doomed(image: &Image, topic: &DoomedTopic, all: &[DoomedTopic]) -> Result<(String, Uuid), Refusal> {
    let found = match (&topic.name, topic.id) {
        (None, Uuid::ZERO) => return Err(Refusal::NeitherNameNorId),
        (Some(_), id) if !id.is_zero() => return Err(Refusal::NameAndId),
        (Some(name), _) => {
            let found = image.topic(name).ok_or(Refusal::UnknownTopic)?;
            if all.iter().any(|other| other.name.is_none() && other.id == found.id) {
                return Err(Refusal::NameOfGivenId);
            }
            found
        }
        (None, id) => image.topic_by_id(id).ok_or(Refusal::UnknownTopicId(id))?,
    };
    Ok((found.name.to_string(), found.id))
}
