//! Why a request is not done: one variant per reason, each with its Kafka error and Kafka's sentence.

use milena_config::Invalid;
use milena_wire::{ErrorCode, Uuid};
use thiserror::Error;

use crate::{BrokerEpoch, BrokerId};

/// A request, or one item of it, that is not done.
///
/// The texts reach people through tools that print them, and scripts that search them: they are worded as Kafka's
/// controller words them, capital letter and full stop included.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant's text says what it means")]
pub enum Refusal {
    #[error("{0}")]
    InvalidTopicName(String),
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    CollidingTopic { name: String, existing: String },
    #[error("Topic '{0}' already exists.")]
    TopicExists(String),
    #[error("Creation of internal topic {0} is prohibited.")]
    ProhibitedTopic(String),
    #[error("Duplicate topic name.")]
    DuplicateTopicName,
    #[error("Duplicate topic id.")]
    DuplicateTopicId,
    #[error("Neither topic name nor id were specified.")]
    NeitherNameNorId,
    #[error("You may not specify both topic name and topic id.")]
    NameAndId,
    #[error("The provided topic name maps to an ID that was already supplied.")]
    NameOfGivenId,
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    #[error("This server does not host this topic ID.")]
    UnknownTopicId(Uuid),
    #[error("Topic deletion is disabled.")]
    DeletionDisabled,

    #[error("A manual partition assignment was specified, but replication factor was not set to -1.")]
    AssignmentAndReplicationFactor,
    #[error("A manual partition assignment was specified, but numPartitions was not set to -1.")]
    AssignmentAndPartitions,
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    NonPositiveReplicationFactor,
    #[error("Number of partitions was set to an invalid non-positive value.")]
    NonPositivePartitions,
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
    #[error(
        "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} cannot be \
         reached because only {registered} broker(s) are registered."
    )]
    TooFewBrokers { wanted: i16, registered: usize },
    #[error("Unable to replicate the partition {wanted} time(s): All brokers are currently fenced.")]
    AllBrokersFenced { wanted: i16 },
    #[error(
        "Unable to replicate the partition {wanted} time(s): All brokers are currently fenced or in controlled \
         shutdown."
    )]
    NoActiveReplica { wanted: i16 },
    #[error("Found multiple manual partition assignments for partition {0}")]
    RepeatedAssignment(i32),
    #[error("partitions should be a consecutive 0-based integer sequence")]
    AssignmentGap,
    #[error("The manual partition assignment includes an empty replica list.")]
    EmptyAssignment,
    #[error("The manual partition assignment includes broker {0}, but no such broker is registered.")]
    UnknownReplica(BrokerId),
    #[error("The manual partition assignment includes the broker {0} more than once.")]
    RepeatedReplica(BrokerId),
    #[error(
        "The manual partition assignment includes a partition with {replicas} replica(s), but this is not consistent \
         with previous partitions, which have {expected} replica(s)."
    )]
    UnevenAssignment { replicas: usize, expected: usize },
    #[error(
        "All brokers specified in the manual partition assignment for partition {0} are fenced or in controlled \
         shutdown."
    )]
    InactiveAssignment(i32),

    #[error("Topic already has {0} partition(s).")]
    SamePartitions(usize),
    #[error("The topic {name} currently has {current} partition(s); {wanted} would not be an increase.")]
    FewerPartitions { name: String, current: usize, wanted: i32 },
    #[error(
        "Attempted to add {additional} additional partition(s), but only {given} assignment(s) were specified."
    )]
    AssignmentCount { additional: usize, given: usize },

    #[error("Null value not supported for topic configs: {}", .0.join(","))]
    NullTopicConfigs(Vec<String>),
    #[error("{0}")]
    InvalidConfig(Invalid),
    #[error("{0}")]
    InvalidBrokerConfig(Invalid),
    #[error(
        "The configuration value cannot be added because it exceeds the maximum value size of {limit} bytes."
    )]
    ConfigTooLong { limit: usize },
    #[error("Can't {operation} to key {key} because its type is not LIST.")]
    NotAList { operation: &'static str, key: String },
    #[error("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")]
    BrokerMinIsr,
    #[error("Each resource must appear at most once.")]
    DuplicateResource,
    #[error("Error due to duplicate config keys")]
    DuplicateConfigKeys,
    #[error("Null value not supported for : {}", .0.join(", "))]
    NullConfigs(Vec<String>),
    #[error("Unknown operations type {0}")]
    UnknownOperation(i8),
    #[error("Unknown resource type {0}")]
    UnknownResourceType(i8),
    #[error("Default topic resources are not allowed.")]
    DefaultTopic,
    #[error("Default group resources are not allowed.")]
    DefaultGroup,
    #[error("Subscription name can't be empty")]
    DefaultSubscription,
    #[error("Node id must be an integer, but it is: {0}")]
    BrokerNameNotANumber(String),
    #[error("Unexpected broker id, expected {expected}, but received {received}")]
    OtherBroker { expected: BrokerId, received: String },
    #[error("The topic '{0}' does not exist.")]
    NoSuchTopicResource(String),

    #[error("No such topic as {0}")]
    NoTopicToElectFor(String),
    #[error("No such partition as {name}-{index}")]
    NoPartitionToElectFor { name: String, index: i32 },
    #[error("Unknown election type {0}")]
    UnknownElectionType(i8),
    #[error("Leader election not needed for topic partition.")]
    ElectionNotNeeded,
    #[error("The preferred leader was not available.")]
    PreferredLeaderNotAvailable,
    #[error("Eligible topic partition leaders are not available.")]
    EligibleLeadersNotAvailable,

    #[error("Unable to find a topic named {0}.")]
    NoTopicToReassign(String),
    #[error("Unable to find partition {name}:{index}.")]
    NoPartitionToReassign { name: String, index: i32 },
    #[error("No partition reassignment is in progress.")]
    NoReassignment,
    #[error("The replication factor is changed from {from} to {to}")]
    ReplicationFactorChange { from: usize, to: usize },
    #[error(
        "Unable to revert partition assignment for {name}:{index} because it would require an unclean leader election."
    )]
    UncleanRevert { name: String, index: i32 },

    #[error("Another broker is registered with that broker id.")]
    DuplicateRegistration,
    #[error("Broker id {0} is not registered.")]
    BrokerNotRegistered(BrokerId),
    #[error("Expected broker epoch {expected}, but got broker epoch {got}")]
    StaleBrokerEpoch { expected: BrokerEpoch, got: BrokerEpoch },
    #[error("Expected cluster id {expected}, but got cluster id {got}")]
    OtherCluster { expected: String, got: String },

    #[error("The controller does not know of the sender's epochs yet.")]
    ControllerBehind,
    #[error("The leader epoch in the request is older than the epoch on the broker.")]
    FencedLeaderEpoch,
    #[error("The sender is not the leader of the partition.")]
    NotTheLeader,
    #[error("The partition epoch in the request is older than the current one.")]
    OldPartitionEpoch,
    #[error("The new ISR is not a set of replicas that includes the leader.")]
    InvalidIsr,
    #[error("The new ISR contains at least one ineligible replica: {0}")]
    IneligibleReplica(BrokerId),
    #[error("The change completed a reassignment and another broker leads now.")]
    NewLeaderElected,

    #[error(
        "Node {0} is registered as a broker. Move its replicas away and unregister it before it becomes a controller \
         alone."
    )]
    RegisteredAsBroker(BrokerId),
    #[error("Invalid update version {level} for feature {feature}. {reason}")]
    InvalidFeatureLevel { feature: String, level: i16, reason: String },
}

impl Refusal {
    /// The error code a client gets.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidTopicName(_) | Self::CollidingTopic { .. } => ErrorCode::InvalidTopicException,
            Self::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            Self::ProhibitedTopic(_)
            | Self::DuplicateTopicName
            | Self::DuplicateTopicId
            | Self::NeitherNameNorId
            | Self::NameAndId
            | Self::NameOfGivenId
            | Self::AssignmentAndReplicationFactor
            | Self::AssignmentAndPartitions
            | Self::InvalidBrokerConfig(_)
            | Self::DuplicateResource
            | Self::DuplicateConfigKeys
            | Self::NullConfigs(_)
            | Self::UnknownOperation(_)
            | Self::UnknownResourceType(_)
            | Self::DefaultTopic
            | Self::DefaultGroup
            | Self::DefaultSubscription
            | Self::BrokerNameNotANumber(_)
            | Self::OtherBroker { .. }
            | Self::UnknownElectionType(_)
            | Self::NotTheLeader
            | Self::InvalidIsr => ErrorCode::InvalidRequest,
            Self::UnknownTopic
            | Self::NoSuchTopicResource(_)
            | Self::NoTopicToElectFor(_)
            | Self::NoPartitionToElectFor { .. }
            | Self::NoTopicToReassign(_)
            | Self::NoPartitionToReassign { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::UnknownTopicId(_) => ErrorCode::UnknownTopicId,
            Self::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
            Self::NonPositiveReplicationFactor
            | Self::TooFewBrokers { .. }
            | Self::AllBrokersFenced { .. }
            | Self::NoActiveReplica { .. }
            | Self::ReplicationFactorChange { .. } => ErrorCode::InvalidReplicationFactor,
            Self::NonPositivePartitions | Self::SamePartitions(_) | Self::FewerPartitions { .. } => {
                ErrorCode::InvalidPartitions
            }
            Self::TooManyPartitions => ErrorCode::PolicyViolation,
            Self::RepeatedAssignment(_)
            | Self::AssignmentGap
            | Self::EmptyAssignment
            | Self::UnknownReplica(_)
            | Self::RepeatedReplica(_)
            | Self::UnevenAssignment { .. }
            | Self::InactiveAssignment(_)
            | Self::AssignmentCount { .. }
            | Self::UncleanRevert { .. } => ErrorCode::InvalidReplicaAssignment,
            Self::NullTopicConfigs(_)
            | Self::InvalidConfig(_)
            | Self::ConfigTooLong { .. }
            | Self::NotAList { .. }
            | Self::BrokerMinIsr => ErrorCode::InvalidConfig,
            Self::ElectionNotNeeded => ErrorCode::ElectionNotNeeded,
            Self::PreferredLeaderNotAvailable => ErrorCode::PreferredLeaderNotAvailable,
            Self::EligibleLeadersNotAvailable => ErrorCode::EligibleLeadersNotAvailable,
            Self::NoReassignment => ErrorCode::NoReassignmentInProgress,
            Self::DuplicateRegistration => ErrorCode::DuplicateBrokerRegistration,
            Self::BrokerNotRegistered(_) => ErrorCode::BrokerIdNotRegistered,
            Self::StaleBrokerEpoch { .. } => ErrorCode::StaleBrokerEpoch,
            Self::OtherCluster { .. } => ErrorCode::InconsistentClusterId,
            Self::ControllerBehind => ErrorCode::NotController,
            Self::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
            Self::OldPartitionEpoch => ErrorCode::InvalidUpdateVersion,
            Self::IneligibleReplica(_) => ErrorCode::IneligibleReplica,
            Self::NewLeaderElected => ErrorCode::NewLeaderElected,
            Self::RegisteredAsBroker(_) => ErrorCode::InvalidRegistration,
            Self::InvalidFeatureLevel { .. } => ErrorCode::InvalidUpdateVersion,
        }
    }
}
