//! CreatePartitions (37): test id TP-9. Also the rules for replicas that a client assigns.

use milena_config::{BrokerConfig, TopicConfig};

use crate::decide::topics::MAX_PARTITIONS;
use crate::decide::{Decision, Random, placement};
use crate::{BrokerId, Image, Partition, Record, Refusal, Resource};

/// More partitions for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic.
    pub name: String,
    /// How many it shall have.
    pub count: i32,
    /// Replicas of each new one, chosen by the client.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Answers by topic, in the order asked; a name that was asked for twice stands there once.
pub type CreatePartitionsAnswer = Vec<(String, Result<(), Refusal>)>;

/// Adds partitions, each topic for itself. With `validate_only` everything is checked and nothing created.
pub fn create(
    image: &Image,
    config: &BrokerConfig,
    topics: &[MorePartitions],
    validate_only: bool,
    random: Random<'_>,
) -> Decision<CreatePartitionsAnswer> {
    let mut records = Vec::new();
    let mut answer: CreatePartitionsAnswer = Vec::new();
    for topic in topics {
        if answer.iter().any(|(name, _)| *name == topic.name) {
            continue;
        }
        let times = topics.iter().filter(|other| other.name == topic.name).count();
        let outcome = if times > 1 {
            Err(Refusal::DuplicateTopicName)
        } else if records.len() > MAX_PARTITIONS {
            Err(Refusal::TooManyPartitions)
        } else {
            create_one(image, config, topic, &mut records, random)
        };
        answer.push((topic.name.clone(), outcome));
    }
    if validate_only {
        records.clear();
    }
    Decision { records, answer }
}

fn create_one(
    image: &Image,
    config: &BrokerConfig,
    request: &MorePartitions,
    records: &mut Vec<Record>,
    random: Random<'_>,
) -> Result<(), Refusal> {
    let topic = image.topic(&request.name).ok_or(Refusal::UnknownTopic)?;
    let current = topic.partitions.len();
    let wanted = usize::try_from(request.count).unwrap_or(0);
    if wanted == current {
        return Err(Refusal::SamePartitions(current));
    }
    if wanted < current {
        let (name, wanted) = (request.name.clone(), request.count);
        return Err(Refusal::FewerPartitions { name, current, wanted });
    }
    let additional = wanted - current;
    if additional > MAX_PARTITIONS {
        return Err(Refusal::TooManyPartitions);
    }
    let replication = topic.replication_factor();
    let layout = match &request.assignments {
        Some(given) if given.len() != additional => {
            return Err(Refusal::AssignmentCount { additional, given: given.len() });
        }
        Some(given) => {
            for replicas in given {
                check_assignment(image, replicas, Some(replication))?;
            }
            given.clone()
        }
        None => placement::place(image, additional, replication as i16, random)?,
    };
    let overrides = image.overrides(&Resource::Topic(request.name.clone()));
    let min_isr = TopicConfig::resolve(&overrides, config).min_insync_replicas();
    let mut added = Vec::new();
    for (index, replicas) in (current as i32..).zip(layout) {
        let isr = active(image, &replicas);
        if isr.is_empty() {
            return Err(match request.assignments {
                Some(_) => Refusal::InactiveAssignment(index),
                None => Refusal::NoActiveReplica { wanted: replication as i16 },
            });
        }
        let partition = Partition::new(replicas, isr, min_isr);
        added.push(Record::PartitionSet { topic: topic.id, index, partition });
    }
    records.extend(added);
    Ok(())
}

/// The brokers of the list that may be in an ISR.
pub(crate) fn active(image: &Image, replicas: &[BrokerId]) -> Vec<BrokerId> {
    replicas.iter().copied().filter(|id| image.is_active(*id)).collect()
}

/// Whether a client's list of replicas can be: known brokers, none twice, as many as the partitions before it have.
pub(crate) fn check_assignment(
    image: &Image,
    replicas: &[BrokerId],
    replication: Option<usize>,
) -> Result<(), Refusal> {
    if replicas.is_empty() {
        return Err(Refusal::EmptyAssignment);
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, id) in sorted.iter().enumerate() {
        if image.broker(*id).is_none() {
            return Err(Refusal::UnknownReplica(*id));
        }
        if at > 0 && sorted[at - 1] == *id {
            return Err(Refusal::RepeatedReplica(*id));
        }
    }
    match replication {
        Some(expected) if expected != replicas.len() => {
            Err(Refusal::UnevenAssignment { replicas: replicas.len(), expected })
        }
        _ => Ok(()),
    }
}
