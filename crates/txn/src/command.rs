//! A change to the transactions, as it travels through Raft.

use bytes::Bytes;
use prost::Message;

use crate::state::TopicId;
use crate::stored::{self, command::Kind};
use crate::transaction::{Partitions, ProducerIdAndEpoch};

/// One entry of the `coordination` log. Times are the proposer's, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// InitProducerId with a transactional id.
    InitProducerId(InitProducerId),
    /// AddPartitionsToTxn, or the first Produce (v12) to a partition.
    AddPartitions(AddPartitions),
    /// AddOffsetsToTxn.
    AddOffsets(AddOffsets),
    /// TxnOffsetCommit.
    CommitOffsets(CommitOffsets),
    /// EndTxn.
    EndTransaction(EndTransaction),
    /// A transaction is open for too long.
    TimeOut(TimeOut),
    /// Markers are below the high watermarks of their partitions.
    MarkersWritten(MarkersWritten),
    /// Topics are gone; nothing is left to mark in them (TX-12).
    DeleteTopics {
        /// Clock of the proposer.
        now_ms: i64,
        /// Ids of the topics.
        topic_ids: Vec<TopicId>,
    },
    /// Transactional ids that nobody used for long are forgotten (TX-9).
    Expire(Vec<Idle>),
}

/// InitProducerId (TX-2, TX-3). The time-out's bounds are checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProducerId {
    /// Not empty.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// `transaction.timeout.ms` of the client.
    pub timeout_ms: i32,
    /// v3 and up: what the client believes to be (KIP-360); `None` for -1.
    pub expected: Option<ProducerIdAndEpoch>,
    /// Never given to anybody; used if the transactional id is new or its epochs are used up.
    pub fresh_producer_id: i64,
}

/// Partitions that become part of the transaction; the first begins it (TX-5). Only of topics that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddPartitions {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// Who asks.
    pub producer: ProducerIdAndEpoch,
    /// What to add.
    pub partitions: Partitions,
}

/// A group whose offsets become part of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddOffsets {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// Who asks.
    pub producer: ProducerIdAndEpoch,
    /// Group id.
    pub group: String,
}

/// Offsets of a group inside the transaction (TX-10). One entry for both machines: the groups apply
/// `group_command`, at the same index, only if this half answers yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// Who asks; the same as inside `group_command`.
    pub producer: ProducerIdAndEpoch,
    /// Group id; the same as inside `group_command`.
    pub group: String,
    /// v5 and up: the group is added by this request (KIP-890). Before, AddOffsetsToTxn must have come first.
    pub adds_group: bool,
    /// The group's half, encoded.
    pub group_command: Bytes,
}

/// EndTxn (TX-6, TX-7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTransaction {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// Who asks.
    pub producer: ProducerIdAndEpoch,
    /// Commit, or abort.
    pub commit: bool,
    /// v5 and up: the end bumps the epoch.
    pub bumps: bool,
    /// Where [`Transactions::needs_producer_id`](crate::Transactions::needs_producer_id) asks for one.
    pub fresh_producer_id: Option<i64>,
}

/// Ignored unless the transaction it names is still open and past its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOut {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// Which transaction.
    pub sequence: u64,
    /// Used if the epochs are used up.
    pub fresh_producer_id: i64,
}

/// Ignored unless it names the present transaction, decided, and its markers' epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkersWritten {
    /// Whose transaction.
    pub transactional_id: String,
    /// Clock of the proposer.
    pub now_ms: i64,
    /// As in the markers.
    pub producer: ProducerIdAndEpoch,
    /// Which transaction.
    pub sequence: u64,
    /// Where they are.
    pub partitions: Partitions,
}

/// A transactional id that seemed idle; touched since, it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// Which.
    pub transactional_id: String,
    /// [`Transaction::update_time_ms`](crate::Transaction::update_time_ms) as the proposer saw it.
    pub update_time_ms: i64,
}

/// The bytes are no command of a version that this broker knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut short.
    #[error("transaction command does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A kind of command that a newer broker wrote.
    #[error("transaction command of an unknown kind")]
    UnknownKind,
    /// A producer id and epoch is missing or out of range.
    #[error("transaction command without a valid producer id and epoch")]
    Producer,
}

impl Command {
    /// Bytes for the Raft log, without the leading zero that tells them from a group's.
    pub fn encode(&self) -> Vec<u8> {
        stored::Command { kind: Some(self.to_stored()) }.encode_to_vec()
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(bytes: impl bytes::Buf) -> Result<Self, DecodeError> {
        Self::from_stored(stored::Command::decode(bytes)?.kind.ok_or(DecodeError::UnknownKind)?)
    }

    fn to_stored(&self) -> Kind {
        match self.clone() {
            Self::InitProducerId(it) => Kind::InitProducerId(stored::InitProducerId {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                timeout_ms: it.timeout_ms,
                expected: it.expected.map(ProducerIdAndEpoch::to_stored),
                fresh_producer_id: it.fresh_producer_id,
            }),
            Self::AddPartitions(it) => Kind::AddPartitions(stored::AddPartitions {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: Some(it.producer.to_stored()),
                topics: it.partitions.to_stored(),
            }),
            Self::AddOffsets(it) => Kind::AddOffsets(stored::AddOffsets {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: Some(it.producer.to_stored()),
                group: it.group,
            }),
            Self::CommitOffsets(it) => Kind::CommitOffsets(stored::CommitOffsets {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: Some(it.producer.to_stored()),
                group: it.group,
                adds_group: it.adds_group,
                group_command: it.group_command,
            }),
            Self::EndTransaction(it) => Kind::EndTransaction(stored::EndTransaction {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: Some(it.producer.to_stored()),
                commit: it.commit,
                bumps: it.bumps,
                fresh_producer_id: it.fresh_producer_id,
            }),
            Self::TimeOut(it) => Kind::TimeOut(stored::TimeOut {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                sequence: it.sequence,
                fresh_producer_id: it.fresh_producer_id,
            }),
            Self::MarkersWritten(it) => Kind::MarkersWritten(stored::MarkersWritten {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: Some(it.producer.to_stored()),
                sequence: it.sequence,
                topics: it.partitions.to_stored(),
            }),
            Self::DeleteTopics { now_ms, topic_ids } => Kind::DeleteTopics(stored::DeleteTopics {
                now_ms,
                topic_ids: topic_ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect(),
            }),
            Self::Expire(idle) => Kind::Expire(stored::Expire {
                idle: idle
                    .into_iter()
                    .map(|it| stored::Idle {
                        transactional_id: it.transactional_id,
                        update_time_ms: it.update_time_ms,
                    })
                    .collect(),
            }),
        }
    }

    fn from_stored(kind: Kind) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::InitProducerId(it) => Self::InitProducerId(InitProducerId {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                timeout_ms: it.timeout_ms,
                expected: it.expected.map(|expected| required(Some(expected))).transpose()?,
                fresh_producer_id: it.fresh_producer_id,
            }),
            Kind::AddPartitions(it) => Self::AddPartitions(AddPartitions {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: required(it.producer)?,
                partitions: Partitions::from_stored(it.topics),
            }),
            Kind::AddOffsets(it) => Self::AddOffsets(AddOffsets {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: required(it.producer)?,
                group: it.group,
            }),
            Kind::CommitOffsets(it) => Self::CommitOffsets(CommitOffsets {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: required(it.producer)?,
                group: it.group,
                adds_group: it.adds_group,
                group_command: it.group_command,
            }),
            Kind::EndTransaction(it) => Self::EndTransaction(EndTransaction {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: required(it.producer)?,
                commit: it.commit,
                bumps: it.bumps,
                fresh_producer_id: it.fresh_producer_id,
            }),
            Kind::TimeOut(it) => Self::TimeOut(TimeOut {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                sequence: it.sequence,
                fresh_producer_id: it.fresh_producer_id,
            }),
            Kind::MarkersWritten(it) => Self::MarkersWritten(MarkersWritten {
                transactional_id: it.transactional_id,
                now_ms: it.now_ms,
                producer: required(it.producer)?,
                sequence: it.sequence,
                partitions: Partitions::from_stored(it.topics),
            }),
            Kind::DeleteTopics(it) => Self::DeleteTopics {
                now_ms: it.now_ms,
                topic_ids: it
                    .topic_ids
                    .iter()
                    .filter_map(|id| Some(TopicId(id.as_ref().try_into().ok()?)))
                    .collect(),
            },
            Kind::Expire(it) => Self::Expire(
                it.idle
                    .into_iter()
                    .map(|it| Idle {
                        transactional_id: it.transactional_id,
                        update_time_ms: it.update_time_ms,
                    })
                    .collect(),
            ),
        })
    }
}

fn required(producer: Option<stored::ProducerIdAndEpoch>) -> Result<ProducerIdAndEpoch, DecodeError> {
    producer.and_then(ProducerIdAndEpoch::from_stored).ok_or(DecodeError::Producer)
}
