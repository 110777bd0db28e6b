//! What can go wrong, in words that say what to do about it.

use std::ops::RangeInclusive;
use std::time::Duration;

use milena_wire::{ApiKey, DecodeError, EncodeError, ErrorCode};

/// Why a call failed. Cloned to everyone who waited for the same thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An address that is none.
    #[error("{address} is not an address: {reason}; write host:port, for example localhost:9092")]
    BadAddress {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection could be opened.
    #[error("cannot reach {address}: {reason}; is the broker running? start one with `milena serve`")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The name of the broker has no address.
    #[error(
        "cannot reach {address}: the host name does not resolve ({reason}); it is the bootstrap address or what the \
         broker advertises: check `advertised.listeners`"
    )]
    Unresolved {
        /// `host:port`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("connection to {address} was lost: {reason}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// What ended it.
        reason: String,
    },
    /// No answer in time.
    #[error("{api} was not answered by {address} within {after:?}; the broker is overloaded or stuck")]
    RequestTimedOut {
        /// What was asked.
        api: ApiKey,
        /// `host:port`.
        address: String,
        /// The request time-out.
        after: Duration,
    },
    /// The whole call ran out of time; the last failure is why.
    #[error("gave up after {after:?}: {last}")]
    DeadlinePassed {
        /// The deadline that was given.
        after: Duration,
        /// What the last try said.
        last: Box<Error>,
    },
    /// The broker does not speak any version that we do.
    #[error("{address} serves {api} in {theirs}, and this client in {ours:?}; one of the two is too old")]
    NoCommonVersion {
        /// Which API.
        api: ApiKey,
        /// `host:port`.
        address: String,
        /// What the broker offers.
        theirs: Served,
        /// What the client would take.
        ours: RangeInclusive<i16>,
    },
    /// A broker id that the cluster does not have.
    #[error("broker {id} is not in the cluster; known are {known:?}")]
    UnknownBroker {
        /// As asked for.
        id: i32,
        /// Ids of the last metadata.
        known: Vec<i32>,
    },
    /// The broker refused; the code is Kafka's.
    #[error("{what}: {code}: {}", .message.as_deref().unwrap_or(.code.message()))]
    Refused {
        /// What was to be done, for example `create topic orders`.
        what: String,
        /// Kafka's error code.
        code: ErrorCode,
        /// The broker's own words, where the protocol carries them.
        message: Option<String>,
    },
    /// A partition that the topic does not have.
    #[error("topic {topic} has no partition {partition}, it has {count}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// As asked for.
        partition: i32,
        /// How many it has.
        count: i32,
    },
    /// Bytes that are not an answer.
    #[error("{address} answered {api} with bytes that are no such answer: {reason}")]
    BadAnswer {
        /// Which API.
        api: ApiKey,
        /// `host:port`.
        address: String,
        /// Where decoding stopped.
        reason: DecodeError,
    },
    /// A partition that this consumer does not read.
    #[error("{topic}-{partition} is not among the partitions that this consumer reads")]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// No committed offset, and the options do not say where to begin.
    #[error("the group has no offset for {topic}-{partition}; choose where to begin: earliest or latest")]
    NoPosition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Records that cannot be read.
    #[error("{topic}-{partition} at offset {offset}: {reason}")]
    BadRecords {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Base offset of the batch, or the position before it.
        offset: i64,
        /// What is wrong with them.
        reason: String,
    },
    /// The producer or consumer was closed.
    #[error("closed")]
    Closed,
    /// A request that the chosen version cannot carry.
    #[error("{api} cannot be sent: {reason}")]
    BadRequest {
        /// Which API.
        api: ApiKey,
        /// What does not fit.
        reason: EncodeError,
    },
}

/// Versions a broker offers of an API, if it has it at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served(pub Option<RangeInclusive<i16>>);

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(range) => write!(f, "versions {range:?}"),
            None => f.write_str("no version"),
        }
    }
}

impl Error {
    /// A refusal by `code`, a number off the wire; `what` says what was to be done.
    pub fn refused(what: impl Into<String>, code: i16, message: Option<String>) -> Self {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        Self::Refused { what: what.into(), code, message: message.filter(|it| !it.is_empty()) }
    }

    /// Kafka's error code, if the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::DeadlinePassed { last, .. } => last.code(),
            _ => None,
        }
    }

    /// One word for statistics: the name of Kafka's error code, or of what befell the connection.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code.name(),
            Self::DeadlinePassed { last, .. } => last.name(),
            Self::Unreachable { .. } | Self::Unresolved { .. } => "unreachable",
            Self::Disconnected { .. } => "disconnected",
            Self::RequestTimedOut { .. } => "timed-out",
            Self::UnknownBroker { .. } => "unknown-broker",
            Self::Closed => "closed",
            _ => "other",
        }
    }

    /// Whether the same call may succeed later: lost connections, and what Kafka calls retriable.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unresolved { .. }
            | Self::Disconnected { .. }
            | Self::RequestTimedOut { .. }
            | Self::UnknownBroker { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}
