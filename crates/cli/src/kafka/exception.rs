//! Java's exceptions as Apache's tools print them. Scripts search for the class names.

use std::fmt;

use milena_client::Error;
use milena_wire::ErrorCode;

/// Package of the exceptions that error codes stand for.
const ERRORS: &str = "org.apache.kafka.common.errors";

/// What tools throw when the message alone says it all.
const TERSE: &str = "org.apache.kafka.tools.TerseException";

/// An exception: its class and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    class: String,
    message: Option<String>,
}

impl Exception {
    /// An exception of a class given with its package.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Exception { class: class.into(), message: Some(message.into()) }
    }

    /// `java.lang.IllegalArgumentException`
    pub fn illegal_argument(message: impl Into<String>) -> Self {
        Exception::new("java.lang.IllegalArgumentException", message)
    }

    /// An exception of `org.apache.kafka.common.errors`.
    pub fn kafka(class: &str, message: impl Into<String>) -> Self {
        Exception::new(format!("{ERRORS}.{class}"), message)
    }

    /// An exception that tools print without its class, see [`Exception::is_terse`].
    pub fn terse(message: impl Into<String>) -> Self {
        Exception::new(TERSE, message)
    }

    /// `org.apache.kafka.common.KafkaException`
    pub fn general(message: impl Into<String>) -> Self {
        Exception::new("org.apache.kafka.common.KafkaException", message)
    }

    /// What Kafka's Java client throws for an error code, with the broker's words if it sent some.
    pub fn of_code(code: i16, message: Option<&str>) -> Self {
        let known = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        Exception::kafka(&class_of(known), message.unwrap_or_else(|| message_of(known)))
    }

    /// An exception of the option parser.
    pub fn jopt(class: &str, message: &str) -> Self {
        Exception::new(format!("joptsimple.{class}"), message)
    }

    /// An option that the tool does not have. ZooKeeper's gets an answer that helps.
    pub fn unrecognized_option(name: &str) -> Self {
        let mut message = format!("{name} is not a recognized option");
        if name == "zookeeper" {
            message.push_str("; Kafka 4 has no ZooKeeper, use --bootstrap-server localhost:9092");
        }
        Exception::jopt("UnrecognizedOptionException", &message)
    }

    /// An option without its argument.
    pub fn missing_argument(name: &str) -> Self {
        Exception::jopt(
            "OptionMissingRequiredArgumentException",
            &format!("Option {name} requires an argument"),
        )
    }

    /// An option given twice that counts once.
    pub fn multiple_arguments(name: &str) -> Self {
        let message = format!("Found multiple arguments for option {name}, but you asked for only one");
        Exception::jopt("MultipleArgumentsForOptionException", &message)
    }

    /// An argument that is not of the option's type.
    pub fn cannot_parse(text: &str, name: &str) -> Self {
        let message = format!("Cannot parse argument '{text}' of option {name}");
        Exception::jopt("OptionArgumentConversionException", &message)
    }

    /// Java's `getMessage()`.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or("null")
    }

    /// Class with its package.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// Whether the class has this name, without the package.
    pub fn is(&self, class: &str) -> bool {
        self.class.rsplit('.').next() == Some(class)
    }

    /// Whether tools print the message only, without a class.
    pub fn is_terse(&self) -> bool {
        self.class == TERSE
    }

    /// The exception that a future wraps this one in.
    #[must_use]
    pub fn in_future(&self) -> Self {
        Exception::new("java.util.concurrent.ExecutionException", self.to_string())
    }
}

impl From<Error> for Exception {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { code, message, .. } => Exception::of_code(code.code(), message.as_deref()),
            Error::NoCommonVersion { .. } | Error::BadRequest { .. } => {
                Exception::kafka("UnsupportedVersionException", error.to_string())
            }
            Error::Disconnected { .. } => Exception::kafka("DisconnectException", error.to_string()),
            Error::BadAddress { .. } => {
                Exception::new("org.apache.kafka.common.config.ConfigException", error.to_string())
            }
            Error::BadAnswer { .. } => Exception::kafka("SchemaException", error.to_string()),
            other => Exception::kafka("TimeoutException", other.to_string()),
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.class),
            None => f.write_str(&self.class),
        }
    }
}

/// The class of a code: its name in camel case, but for these.
fn class_of(code: ErrorCode) -> String {
    let special = match code {
        ErrorCode::UnknownServerError => "UnknownServerException",
        ErrorCode::CorruptMessage => "CorruptRecordException",
        ErrorCode::RequestTimedOut => "TimeoutException",
        ErrorCode::MessageTooLarge => "RecordTooLargeException",
        ErrorCode::StaleControllerEpoch => "ControllerMovedException",
        ErrorCode::OffsetMetadataTooLarge => "OffsetMetadataTooLarge",
        ErrorCode::RecordListTooLarge => "RecordBatchTooLargeException",
        ErrorCode::TopicAuthorizationFailed => "TopicAuthorizationException",
        ErrorCode::GroupAuthorizationFailed => "GroupAuthorizationException",
        ErrorCode::ClusterAuthorizationFailed => "ClusterAuthorizationException",
        ErrorCode::TransactionalIdAuthorizationFailed => "TransactionalIdAuthorizationException",
        ErrorCode::TopicAlreadyExists => "TopicExistsException",
        ErrorCode::InvalidConfig => "InvalidConfigurationException",
        ErrorCode::OutOfOrderSequenceNumber => "OutOfOrderSequenceException",
        ErrorCode::DuplicateSequenceNumber => "DuplicateSequenceException",
        ErrorCode::InvalidProducerIdMapping => "InvalidPidMappingException",
        ErrorCode::InvalidTransactionTimeout => "InvalidTxnTimeoutException",
        ErrorCode::KafkaStorageError => "KafkaStorageException",
        ErrorCode::SaslAuthenticationFailed => "SaslAuthenticationException",
        ErrorCode::NonEmptyGroup => "GroupNotEmptyException",
        _ => "",
    };
    if !special.is_empty() {
        return special.to_owned();
    }
    let camel: String = code.name().split('_').map(capitalized).collect();
    if camel.ends_with("Exception") { camel } else { camel + "Exception" }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_owned() + &rest.to_lowercase()
}

/// Java's words for a code that came without any from the broker, where tools print them.
fn message_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownServerError => {
            "The server experienced an unexpected error when processing the request."
        }
        ErrorCode::OffsetOutOfRange => {
            "The requested offset is not within the range of offsets maintained by the server."
        }
        ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        ErrorCode::RequestTimedOut => "The request timed out.",
        ErrorCode::MessageTooLarge => {
            "The request included a message larger than the max message size the server will accept."
        }
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode::NotCoordinator => "This is not the correct coordinator.",
        ErrorCode::InvalidTopicException => {
            "The request attempted to perform an operation on an invalid topic."
        }
        ErrorCode::TopicAlreadyExists => "Topic with this name already exists.",
        ErrorCode::InvalidPartitions => "Number of partitions is below 1.",
        ErrorCode::InvalidReplicationFactor => {
            "Replication factor is below 1 or larger than the number of available brokers."
        }
        ErrorCode::InvalidGroupId => "The group id is invalid.",
        ErrorCode::UnknownMemberId => "The coordinator is not aware of this member.",
        ErrorCode::NonEmptyGroup => "The group is not empty.",
        ErrorCode::GroupIdNotFound => "The group id does not exist.",
        ErrorCode::GroupSubscribedToTopic => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        ErrorCode::UnsupportedVersion => "The version of API is not supported.",
        ErrorCode::TopicAuthorizationFailed => "Topic authorization failed.",
        ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode::ClusterAuthorizationFailed => "Cluster authorization failed.",
        other => other.message(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_classes_of_kafkas_client() {
        for (code, class) in [
            (ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException"),
            (ErrorCode::InvalidTopicException, "InvalidTopicException"),
            (ErrorCode::NetworkException, "NetworkException"),
            (ErrorCode::TopicAlreadyExists, "TopicExistsException"),
            (ErrorCode::InvalidReplicationFactor, "InvalidReplicationFactorException"),
            (ErrorCode::InvalidConfig, "InvalidConfigurationException"),
            (ErrorCode::GroupIdNotFound, "GroupIdNotFoundException"),
            (ErrorCode::NonEmptyGroup, "GroupNotEmptyException"),
            (ErrorCode::NotLeaderOrFollower, "NotLeaderOrFollowerException"),
            (ErrorCode::RequestTimedOut, "TimeoutException"),
        ] {
            assert_eq!(class_of(code), class);
        }
    }

    #[test]
    fn the_brokers_words_come_first() {
        let exception = Exception::of_code(36, Some("Topic 'a' already exists."));
        assert_eq!(
            exception.to_string(),
            "org.apache.kafka.common.errors.TopicExistsException: Topic 'a' already exists."
        );
        assert_eq!(Exception::of_code(36, None).message(), "Topic with this name already exists.");
        assert!(exception.is("TopicExistsException"));
    }
}
