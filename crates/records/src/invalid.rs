//! Why a produced batch is refused, grouped by the error code that Kafka answers.

use std::fmt;

use crate::{Compression, CrcMismatch, HeaderError, RecordsError};

/// A refusal of a produced batch. One variant per answer, so that the broker maps them one to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// CORRUPT_MESSAGE (2): the bytes changed on their way; clients send them again.
    #[error("record batch is corrupt: {0}")]
    CorruptMessage(#[from] Corruption),
    /// INVALID_RECORD (87): the batch is not what a client may send (PR-4, PR-5).
    #[error("{0}")]
    InvalidRecord(#[from] BatchFault),
    /// INVALID_RECORD (87) with record errors: records that this topic does not take (PR-9).
    #[error("one or more records have been rejected: {}", First(.0))]
    RejectedRecords(Vec<RecordError>),
    /// INVALID_TIMESTAMP (32) with record errors: times out of range, or not the client's to set (PR-7).
    #[error("one or more records have been rejected due to invalid timestamp: {}", First(.0))]
    InvalidTimestamp(Vec<RecordError>),
    /// UNSUPPORTED_COMPRESSION_TYPE (76): zstd in a request below version 7.
    #[error("compression codec {0} is not supported in this version of the request")]
    UnsupportedCompressionType(Compression),
    /// MESSAGE_TOO_LARGE (10): above `max.message.bytes` as sent (PR-6).
    #[error("the record batch has {size} bytes, which exceeds the maximum configured value of {limit}")]
    MessageTooLarge {
        /// Bytes of the batch, its header included.
        size: usize,
        /// `max.message.bytes`.
        limit: usize,
    },
    /// MESSAGE_TOO_LARGE (10): it inflates beyond what the broker allows; clients answer it by splitting.
    #[error("the records inflate to more than {limit} bytes")]
    InflatesTooFar {
        /// The rule's limit in bytes.
        limit: usize,
    },
}

impl Invalid {
    /// The records at fault, for the answer's `record_errors`; empty if the batch as a whole is.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::RejectedRecords(errors) | Self::InvalidTimestamp(errors) => errors,
            _ => &[],
        }
    }
}

/// What makes the bytes no batch as a client once wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The checksum is another.
    #[error(transparent)]
    Crc(CrcMismatch),
    /// A length or format that no batch has.
    #[error(transparent)]
    Header(HeaderError),
}

/// What makes a batch one that no client may send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// A header that no batch of a client has.
    #[error("not a record batch: {0}")]
    Header(#[from] HeaderError),
    /// The batch claims more bytes than were sent.
    #[error("there is no whole record batch: its length field says {declared}, and {found} bytes were sent")]
    Cut {
        /// The batch's length field, 0 if that is missing too.
        declared: i32,
        /// Bytes sent for the partition.
        found: usize,
    },
    /// Another batch after the first: Produce takes exactly one per partition.
    #[error("exactly one record batch is allowed per partition")]
    SeveralBatches,
    /// Offsets are the broker's to give.
    #[error("the base offset of the record batch should be 0, but it is {0}")]
    BaseOffset(i64),
    /// No records, or an offset range that does not fit their number.
    #[error("inconsistent last offset delta {last_offset_delta} and count of records {count}")]
    Count {
        /// As in the header.
        last_offset_delta: i32,
        /// As in the header.
        count: i32,
    },
    /// Markers are written by brokers.
    #[error("clients are not allowed to write control records")]
    Control,
    /// An idempotent producer without sequence numbers.
    #[error("invalid sequence number {sequence} in record batch with producer id {producer_id}")]
    Sequence {
        /// As in the header.
        sequence: i32,
        /// As in the header.
        producer_id: i64,
    },
    /// A transaction needs a producer to belong to.
    #[error("transactional record batch without a producer id")]
    TransactionalWithoutProducer,
    /// Bits that are the broker's (delete horizon) or have no meaning yet.
    #[error("attributes {0:#06x} have bits set that clients may not set")]
    Attributes(i16),
    /// The offsets of the records are not consecutive.
    #[error("record {index} has offset delta {delta}")]
    OffsetDelta {
        /// Place in the batch, from 0.
        index: i32,
        /// As in the record.
        delta: i32,
    },
    /// The record section cannot be read.
    #[error("record {index}: {error}")]
    Records {
        /// Place in the batch, from 0, at which reading stopped.
        index: i32,
        /// What was wrong there.
        error: RecordsError,
    },
}

/// One record of a batch that is refused as a whole because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Place in the batch, from 0: `batch_index` of the answer.
    pub batch_index: i32,
    /// Why; its `Display` is the answer's `batch_index_error_message`.
    pub reason: Rejection,
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Compaction keeps the newest record per key, so it needs one.
    #[error("compacted topic cannot accept message without key")]
    NullKey,
    /// Outside `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    #[error("timestamp {timestamp} is out of range: it should be within [{least}, {most}]")]
    Timestamp {
        /// The record's time in milliseconds since 1970.
        timestamp: i64,
        /// First time allowed.
        least: i64,
        /// Last time allowed.
        most: i64,
    },
    /// Only a broker says when a batch was appended.
    #[error("producer should not set timestamp type to LogAppendTime")]
    LogAppendTime,
}

/// How many there are and what the first is.
struct First<'a>(&'a [RecordError]);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => write!(f, "record {}: {}", one.batch_index, one.reason),
            [one, rest @ ..] => {
                write!(f, "record {}: {}; and {} more", one.batch_index, one.reason, rest.len())
            }
        }
    }
}
