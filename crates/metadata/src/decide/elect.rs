//! ElectLeaders (43): test id TP-12.

use milena_config::{BrokerConfig, TopicConfig};

use crate::decide::Decision;
use crate::election::{Election, PartitionChange};
use crate::{Image, Record, Refusal, Resource, Topic};

/// What a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica of each partition.
    Preferred,
    /// Anybody alive, for partitions without leader.
    Unclean,
}

impl ElectionType {
    /// Reads Kafka's code.
    pub fn from_code(code: i8) -> Result<Self, Refusal> {
        match code {
            0 => Ok(Self::Preferred),
            1 => Ok(Self::Unclean),
            other => Err(Refusal::UnknownElectionType(other)),
        }
    }
}

/// Answers by topic and partition. When all partitions were asked for, those that need no election are left out.
pub type ElectLeadersAnswer = Vec<(String, Vec<(i32, Result<(), Refusal>)>)>;

/// Elects leaders of the partitions named, or of all.
pub fn elect(
    image: &Image,
    kind: ElectionType,
    partitions: Option<&[(String, Vec<i32>)]>,
) -> Decision<ElectLeadersAnswer> {
    let mut records = Vec::new();
    let answer = match partitions {
        Some(named) => named
            .iter()
            .map(|(name, indexes)| {
                let outcomes =
                    indexes.iter().map(|index| (*index, elect_one(image, kind, name, *index, &mut records)));
                (name.clone(), outcomes.collect())
            })
            .collect(),
        None => image
            .topics()
            .map(|topic| {
                let outcomes = topic
                    .iter()
                    .map(|(index, _)| (index, elect_one(image, kind, &topic.name, index, &mut records)))
                    .filter(|(_, outcome)| *outcome != Err(Refusal::ElectionNotNeeded));
                (topic.name.to_string(), outcomes.collect())
            })
            .collect(),
    };
    Decision { records, answer }
}

fn elect_one(
    image: &Image,
    kind: ElectionType,
    name: &str,
    index: i32,
    records: &mut Vec<Record>,
) -> Result<(), Refusal> {
    let topic: &Topic = image.topic(name).ok_or_else(|| Refusal::NoTopicToElectFor(name.to_owned()))?;
    let partition = topic
        .partition(index)
        .ok_or_else(|| Refusal::NoPartitionToElectFor { name: name.to_owned(), index })?;
    let needed = match kind {
        ElectionType::Preferred => !partition.has_preferred_leader(),
        ElectionType::Unclean => partition.leader.is_none(),
    };
    if !needed {
        return Err(Refusal::ElectionNotNeeded);
    }
    let is_active = |id| image.is_active(id);
    let mut change = PartitionChange::new(partition, &is_active);
    change.election = match kind {
        ElectionType::Preferred => Election::Preferred,
        ElectionType::Unclean => Election::Unclean,
    };
    let after = change.build();
    match (kind, after) {
        (ElectionType::Preferred, Some(after)) if after.has_preferred_leader() => {
            records.push(Record::PartitionSet { topic: topic.id, index, partition: after });
            Ok(())
        }
        (ElectionType::Unclean, Some(after)) if after.leader.is_some() => {
            records.push(Record::PartitionSet { topic: topic.id, index, partition: after });
            Ok(())
        }
        (ElectionType::Preferred, _) => Err(Refusal::PreferredLeaderNotAvailable),
        (ElectionType::Unclean, _) => Err(Refusal::EligibleLeadersNotAvailable),
    }
}

/// How far an election of this topic may go when it happens by itself: `unclean.leader.election.enable`.
pub(crate) fn allowed(image: &Image, config: &BrokerConfig, topic: &str) -> Election {
    let overrides = image.overrides(&Resource::Topic(topic.to_owned()));
    // Most topics have no settings of their own, and a dead broker may have thousands of topics.
    let unclean = match overrides.is_empty() {
        true => config.unclean_leader_election_enable(),
        false => TopicConfig::resolve(&overrides, config).unclean_leader_election_enable(),
    };
    if unclean { Election::Unclean } else { Election::Online }
}
