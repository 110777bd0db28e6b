//! The gate that a produced batch passes once: after it, the header can be trusted for good.
//!
//! As in Kafka every record is walked, inflated if need be, even when nothing is to change: a header that
//! lies about its records would stop every consumer of the partition (RB-4). The checks are Kafka's
//! (PR-4 to PR-9) and stricter where it lets through what no client sends: attributes of the broker's, offsets that
//! are not consecutive.

use bytes::Bytes;

use crate::compression::Inflater;
use crate::frame::only_batch;
use crate::walk::{Shape, Stop, walk_slice, walk_stream};
use crate::{
    BatchFault, BatchHeader, Compression, Corruption, Invalid, LeaderEpoch, Offset, RecordError,
    RecordsError, Rejection, StoredBatch, TimestampType,
};

/// Most records named in one refusal: enough for a client to see the pattern, and the answer stays small
/// though a batch of a few kilobytes may inflate to millions of records.
pub const MAX_RECORD_ERRORS: usize = 1_000;

/// What a topic takes, and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Milliseconds since 1970.
    pub now: i64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record's time may be.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record's time may be.
    pub after_max_ms: i64,
    /// Whether `cleanup.policy` contains `compact`.
    pub compacted: bool,
    /// `max.message.bytes`, for the batch as sent, header included.
    pub max_message_bytes: usize,
    /// Whether the request is one in which zstd is allowed: Produce 7 and up (KIP-110).
    pub zstd_allowed: bool,
    /// Most bytes the records may inflate to. They are inflated piece by piece, so this bounds time, not memory.
    pub inflated_limit: usize,
}

impl Default for Rules {
    /// Kafka's defaults for a topic, at the time 0.
    fn default() -> Self {
        Self {
            now: 0,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            compacted: false,
            max_message_bytes: 1_048_588,
            zstd_allowed: true,
            inflated_limit: 1 << 30,
        }
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The header as it is to be stored, except for base offset and leader epoch.
    pub header: BatchHeader,
    /// The records, compressed as they came: the bytes that were handed in, shared.
    pub body: Bytes,
    /// Largest timestamp of the batch, or the append time; -1 if no record has one.
    pub max_timestamp: i64,
    /// Place of the first record with that timestamp: the answer to ListOffsets for the max timestamp (LO-3).
    pub max_timestamp_delta: i32,
    /// Records in the batch, at least one.
    pub record_count: i32,
    /// Bytes of the records uncompressed.
    pub inflated_size: u64,
    /// Whether header fields under the checksum had to change (RB-5).
    pub rewritten_crc: bool,
}

impl Validated {
    /// The batch for the log, in its place.
    pub fn into_stored(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> StoredBatch {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = leader_epoch;
        StoredBatch::new(&self.header, self.body)
    }
}

/// Checks what a client sent for one partition: one batch that this topic takes.
///
/// What Kafka puts right is put right: bytes after the batch that are no batch are dropped, a wrong max timestamp
/// and a claim of LogAppendTime are corrected.
///
/// # Errors
/// [`Invalid`], of which the first found is told, in Kafka's order: framing, size, checksum, header, records.
pub fn validate(sent: &Bytes, rules: &Rules) -> Result<Validated, Invalid> {
    let header = check_frame(sent, rules)?;
    let batch = sent.slice(..header.total_size());
    header.verify_crc(&batch).map_err(Corruption::Crc)?;
    check_header(&header)?;
    let body = batch.slice(BatchHeader::SIZE..);
    let mut check = RecordCheck::new(&header, rules);
    let visit = |index, shape| check.record(index, shape);
    let walked = match header.compression() {
        Compression::None => walk_slice(&body, header.record_count, visit),
        codec => match Inflater::new(codec, &body, rules.inflated_limit) {
            Ok(inflater) => walk_stream(inflater, header.record_count, visit),
            Err(error) => Err((0, error)),
        },
    };
    let inflated_size = walked.map_err(unreadable)?;
    check.refusal()?;
    let (max_timestamp, max_timestamp_delta) = match rules.timestamp_type {
        TimestampType::CreateTime => (check.max_timestamp, check.max_timestamp_delta),
        TimestampType::LogAppendTime => (rules.now, 0),
    };
    let (header, rewritten_crc) = set_times(header, &body, rules.timestamp_type, max_timestamp);
    let record_count = header.record_count;
    Ok(Validated {
        header,
        body,
        max_timestamp,
        max_timestamp_delta,
        record_count,
        inflated_size,
        rewritten_crc,
    })
}

/// The header, when there is one batch that is allowed here and not too large.
fn check_frame(sent: &[u8], rules: &Rules) -> Result<BatchHeader, Invalid> {
    let header = only_batch(sent)?;
    if header.compression() == Compression::Zstd && !rules.zstd_allowed {
        return Err(Invalid::UnsupportedCompressionType(Compression::Zstd));
    }
    if header.base_offset != Offset::ZERO {
        return Err(BatchFault::BaseOffset(header.base_offset.0).into());
    }
    let (size, limit) = (header.total_size(), rules.max_message_bytes);
    if size > limit {
        return Err(Invalid::MessageTooLarge { size, limit });
    }
    Ok(header)
}

fn check_header(header: &BatchHeader) -> Result<(), BatchFault> {
    let (last_offset_delta, count) = (header.last_offset_delta, header.record_count);
    if count == 0 || last_offset_delta != count - 1 {
        return Err(BatchFault::Count { last_offset_delta, count });
    }
    if header.is_control() {
        return Err(BatchFault::Control);
    }
    if header.producer_id.is_some() && header.base_sequence < 0 {
        return Err(BatchFault::Sequence {
            sequence: header.base_sequence,
            producer_id: header.producer_id.0,
        });
    }
    if header.is_transactional() && !header.producer_id.is_some() {
        return Err(BatchFault::TransactionalWithoutProducer);
    }
    if header.reserved_attributes() != 0 || header.delete_horizon().is_some() {
        return Err(BatchFault::Attributes(header.attributes));
    }
    Ok(())
}

pub(crate) fn unreadable((index, error): Stop) -> Invalid {
    match error {
        RecordsError::InflatesTooFar { limit } => Invalid::InflatesTooFar { limit },
        error => BatchFault::Records { index, error }.into(),
    }
}

/// Sets timestamp type and max timestamp, with a new checksum if they were others.
fn set_times(mut header: BatchHeader, body: &[u8], kind: TimestampType, max: i64) -> (BatchHeader, bool) {
    if header.timestamp_type() == kind && header.max_timestamp == max {
        return (header, false);
    }
    header.set_timestamp_type(kind);
    header.max_timestamp = max;
    header.crc = header.compute_crc(body);
    (header, true)
}

/// What is gathered while the records pass.
struct RecordCheck {
    base_timestamp: i64,
    least: i64,
    most: i64,
    check_times: bool,
    keys_required: bool,
    /// The time of every record, when the client claims LogAppendTime.
    claimed: Option<i64>,
    max_timestamp: i64,
    max_timestamp_delta: i32,
    wrong_delta: Option<BatchFault>,
    errors: Vec<RecordError>,
    any_timestamp_error: bool,
}

impl RecordCheck {
    fn new(header: &BatchHeader, rules: &Rules) -> Self {
        Self {
            base_timestamp: header.base_timestamp,
            least: rules.now.saturating_sub(rules.before_max_ms),
            most: rules.now.saturating_add(rules.after_max_ms),
            check_times: rules.timestamp_type == TimestampType::CreateTime,
            keys_required: rules.compacted,
            claimed: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            max_timestamp: -1,
            max_timestamp_delta: 0,
            wrong_delta: None,
            errors: Vec::new(),
            any_timestamp_error: false,
        }
    }

    #[inline]
    fn record(&mut self, index: i32, shape: Shape) {
        let timestamp = match self.claimed {
            None => self.base_timestamp.wrapping_add(shape.timestamp_delta),
            Some(claimed) => claimed,
        };
        if timestamp > self.max_timestamp {
            self.max_timestamp = timestamp;
            self.max_timestamp_delta = index;
        }
        if shape.offset_delta != index && self.wrong_delta.is_none() {
            self.wrong_delta = Some(BatchFault::OffsetDelta { index, delta: shape.offset_delta });
        }
        if let Some(reason) = self.rejection(timestamp, shape.has_key) {
            self.reject(index, reason);
        }
    }

    #[inline]
    fn rejection(&self, timestamp: i64, has_key: bool) -> Option<Rejection> {
        if self.keys_required && !has_key {
            return Some(Rejection::NullKey);
        }
        // Kafka asks who set the time only where it does not look at the time itself.
        if self.check_times && timestamp != -1 {
            let in_range = (self.least..=self.most).contains(&timestamp);
            return (!in_range).then_some(Rejection::Timestamp {
                timestamp,
                least: self.least,
                most: self.most,
            });
        }
        self.claimed.map(|_| Rejection::LogAppendTime)
    }

    #[cold]
    fn reject(&mut self, batch_index: i32, reason: Rejection) {
        self.any_timestamp_error |= reason != Rejection::NullKey;
        if self.errors.len() < MAX_RECORD_ERRORS {
            self.errors.push(RecordError { batch_index, reason });
        }
    }

    /// One time out of range makes the whole refusal one about times, as in Kafka.
    fn refusal(&mut self) -> Result<(), Invalid> {
        if let Some(fault) = self.wrong_delta.take() {
            return Err(fault.into());
        }
        let errors = std::mem::take(&mut self.errors);
        match errors.is_empty() {
            true => Ok(()),
            false if self.any_timestamp_error => Err(Invalid::InvalidTimestamp(errors)),
            false => Err(Invalid::RejectedRecords(errors)),
        }
    }
}
