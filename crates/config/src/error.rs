//! What can be wrong with a setting, in the words of Kafka's tools: scripts match on them.

use thiserror::Error;

/// A setting that is not accepted. The broker answers INVALID_CONFIG (40) with this text.
///
/// The sentences follow Kafka's `ConfigException` and `InvalidConfigurationException`, capital letter included,
/// as users and test suites search for them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    /// The value has the wrong form or lies outside the setting's bounds.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value {
        /// Name of the setting.
        name: String,
        /// The value as it was given.
        value: String,
        /// What a good value looks like.
        reason: String,
    },
    /// A list names one member twice.
    #[error("Configuration '{name}' values must not be duplicated.")]
    Duplicated {
        /// Name of the setting.
        name: String,
    },
    /// A topic has no such setting.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicConfig(String),
    /// A group has no such setting.
    #[error("Unknown group config name: {0}")]
    UnknownGroupConfig(String),
    /// A client-metrics resource has no such setting.
    #[error("Unknown client metrics configuration: {0}")]
    UnknownClientMetricsConfig(String),
    /// Two settings contradict each other. Holds the whole sentence.
    #[error("{0}")]
    Conflict(String),
    /// Broker settings that cannot change while the broker runs.
    #[error("Cannot update these configs dynamically: Set({0})")]
    ReadOnly(String),
    /// Broker settings that differ per broker by nature and were sent for the whole cluster.
    #[error("Cannot update these configs at default cluster level: Set({0})")]
    PerBrokerOnly(String),
}

impl Invalid {
    /// A value that `reason` rules out.
    pub(crate) fn value(name: &str, value: &str, reason: impl Into<String>) -> Self {
        Self::Value { name: name.to_owned(), value: value.to_owned(), reason: reason.into() }
    }
}

/// Why a broker cannot start with the configuration it was given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// A setting is not acceptable.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// `process.roles` and other settings do not go together. Holds the whole sentence.
    #[error("{0}")]
    Roles(String),
    /// A line of the properties file cannot be read.
    #[error("{file}:{line}: {reason}")]
    Properties {
        /// Name of the file, for the reader of the message.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// `--set` without `=`.
    #[error("--set {0}: expected key=value")]
    Set(String),
    /// The listeners contradict each other. Holds the whole sentence, in Kafka's words where it has some.
    #[error("{0}")]
    Listeners(String),
    /// `KAFKA_CREATE_TOPICS` is not a list of `name:partitions:replicas[:cleanup.policy]`.
    #[error("KAFKA_CREATE_TOPICS: {entry:?}: expected name:partitions:replicas[:cleanup.policy]")]
    CreateTopics {
        /// The entry that cannot be read.
        entry: String,
    },
}
