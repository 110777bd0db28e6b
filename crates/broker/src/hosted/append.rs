//! Appending a client's batch: validate, decide, write, and say how far it is replicated.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use milena_config::{CompressionType, TopicConfig};
use milena_partition::{AppendRefusal, Guard, Replication, SequenceRefusal, SequenceVerdict};
use milena_records::{
    BatchFault, BatchHeader, Compression, ControlRecord, HeaderError, Invalid, LeaderEpoch, Level, Offset,
    RecordError, Rules, StoredBatch, TimestampType, Validated,
};
use milena_wire::ErrorCode;
use tracing::error;

use super::{Hosted, State};
use crate::clock;

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Nothing; no answer is sent.
    None,
    /// The leader's write.
    Leader,
    /// All in-sync replicas.
    All,
}

impl Acks {
    /// 0, 1 or -1; anything else is INVALID_REQUIRED_ACKS (PR-1).
    pub(crate) fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// A batch that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of its first record.
    pub(crate) base_offset: Offset,
    /// First offset behind it: replicated when the high watermark is there.
    pub(crate) end: Offset,
    /// On LogAppendTime topics the time of the append, else -1.
    pub(crate) log_append_time: i64,
    /// First offset of the partition.
    pub(crate) log_start: Offset,
    /// Epoch that wrote it: a later leader's high watermark does not count.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Whether all in-sync replicas have it already.
    pub(crate) replicated: bool,
    /// `flush.messages` asks for a flush before this batch is acknowledged.
    pub(crate) must_flush: bool,
}

impl Appended {
    /// Records in it.
    pub(crate) fn records(&self) -> u64 {
        u64::try_from(self.end.0 - self.base_offset.0).unwrap_or(0)
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceRefusal {
    #[error(transparent)]
    Replica(#[from] AppendRefusal),
    #[error(transparent)]
    Batch(#[from] Invalid),
    #[error(transparent)]
    Sequence(#[from] SequenceRefusal),
    #[error("the batch of {size} bytes is larger than a segment may be, {limit} bytes")]
    LargerThanSegment { size: usize, limit: usize },
    #[error("the log cannot be written; see the broker's log")]
    Storage,
    #[error("the partition is being deleted or the broker shuts down")]
    Closed,
}

/// How long a producer whose batch was turned away may take to send it again, before a gap in its sequence is one.
const COMES_AGAIN_MS: i64 = 10_000;

impl Hosted {
    /// A batch was not taken, for a reason that passes: it comes again.
    pub(crate) fn refused_for_now(&self) {
        self.refused_ms.store(clock::monotonic_ms(), Ordering::Relaxed);
    }

    /// The code for a refused batch. OUT_OF_ORDER_SEQUENCE_NUMBER is final to a client: librdkafka begins a new producer
    /// epoch and repeats what is under way in all partitions, also what is in their logs (its issue 4953, row P5). So a
    /// batch that was sent together with one that was turned away a moment ago is turned away like it.
    pub(crate) fn code_for(&self, refusal: &ProduceRefusal) -> ErrorCode {
        let code = refusal.code();
        match code {
            ErrorCode::NotLeaderOrFollower | ErrorCode::NotEnoughReplicas | ErrorCode::KafkaStorageError => {
                self.refused_for_now();
            }
            _ if refusal.is_gap() => {
                let at = self.refused_ms.load(Ordering::Relaxed);
                if clock::monotonic_ms().saturating_sub(at) < COMES_AGAIN_MS {
                    return ErrorCode::NotEnoughReplicas;
                }
            }
            _ => {}
        }
        code
    }
}

/// The log could not be written; the cause has been reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorageFault;

impl From<StorageFault> for ProduceRefusal {
    fn from(_: StorageFault) -> Self {
        Self::Storage
    }
}

impl ProduceRefusal {
    /// Kafka's code for it.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Replica(AppendRefusal::NotLeader { .. }) => ErrorCode::NotLeaderOrFollower,
            Self::Replica(AppendRefusal::NotEnoughReplicas { .. }) => ErrorCode::NotEnoughReplicas,
            Self::Batch(invalid) => match invalid {
                Invalid::CorruptMessage(_) => ErrorCode::CorruptMessage,
                // Kafka looks at the transaction before it looks at the batch.
                Invalid::InvalidRecord(BatchFault::TransactionalWithoutProducer) => {
                    ErrorCode::TransactionalIdAuthorizationFailed
                }
                Invalid::InvalidRecord(_) | Invalid::RejectedRecords(_) => ErrorCode::InvalidRecord,
                Invalid::InvalidTimestamp(_) => ErrorCode::InvalidTimestamp,
                Invalid::UnsupportedCompressionType(_) => ErrorCode::UnsupportedCompressionType,
                Invalid::MessageTooLarge { .. } | Invalid::InflatesTooFar { .. } => {
                    ErrorCode::MessageTooLarge
                }
            },
            Self::Sequence(refusal) => match refusal {
                SequenceRefusal::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                SequenceRefusal::FencedEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                SequenceRefusal::TransactionOpen { .. } | SequenceRefusal::NotVerified { .. } => {
                    ErrorCode::InvalidTxnState
                }
                SequenceRefusal::Outdated { .. } => ErrorCode::NotEnoughReplicas,
            },
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::Storage => ErrorCode::KafkaStorageError,
            Self::Closed => ErrorCode::NotLeaderOrFollower,
        }
    }

    /// What the client is told beside the code.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Replica(AppendRefusal::NotLeader { .. }) | Self::Closed => None,
            _ => Some(self.to_string()),
        }
    }

    /// Whether a batch of the same producer is missing before this one.
    fn is_gap(&self) -> bool {
        match self {
            Self::Sequence(SequenceRefusal::OutOfOrder { expected_after, got, .. }) => {
                // Sequences wrap around; what is far ahead is behind.
                (2..1 << 30).contains(&got.wrapping_sub(*expected_after))
            }
            _ => false,
        }
    }

    /// Whether the batch was well-formed and refused for its content: then Kafka tells the log start offset
    /// with the error.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Batch(Invalid::RejectedRecords(_) | Invalid::InvalidTimestamp(_)) => true,
            Self::Batch(Invalid::InvalidRecord(fault)) => !matches!(
                fault,
                BatchFault::Header(
                    HeaderError::TooShort(_)
                        | HeaderError::Magic(_)
                        | HeaderError::Length(_)
                        | HeaderError::Codec(_)
                ) | BatchFault::Cut { .. }
                    | BatchFault::SeveralBatches
                    | BatchFault::BaseOffset(_)
            ),
            _ => false,
        }
    }

    /// The records to blame, if some are (KIP-467).
    pub(crate) fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Batch(Invalid::RejectedRecords(errors) | Invalid::InvalidTimestamp(errors)) => errors,
            _ => &[],
        }
    }

    /// Leader and epoch to go to instead, when there is one (KIP-951).
    pub(crate) fn current_leader(&self) -> Option<(i32, i32)> {
        match self {
            Self::Replica(AppendRefusal::NotLeader { leader, leader_epoch }) if *leader >= 0 => {
                Some((*leader, *leader_epoch))
            }
            _ => None,
        }
    }
}

impl Hosted {
    /// Appends one batch, exactly as it was sent except for offsets, epoch and what the topic's settings ask
    /// for. A repeat of an idempotent producer succeeds without being appended again (PR-14).
    pub(crate) fn append(
        self: &Arc<Self>,
        batch: Bytes,
        acks: Acks,
        zstd_allowed: bool,
        guard: Option<Guard>,
    ) -> Result<Appended, ProduceRefusal> {
        // Before the work of validating, so that a client with old metadata costs little; and again below.
        let now = clock::unix_ms();
        self.with(|state| state.admit(&batch, acks, now)).ok_or(ProduceRefusal::Closed)??;
        let validated = self.validate(&batch, now, zstd_allowed)?;
        let flush_messages = self.config.load().flush_messages();
        let appended = self
            .with(|state| state.append(validated, acks, flush_messages, now, guard))
            .ok_or(ProduceRefusal::Closed)??;
        self.after_append(&appended);
        Ok(appended)
    }

    /// Wakes who waits for what was just appended.
    pub(super) fn after_append(self: &Arc<Self>, appended: &Appended) {
        self.touched.store(true, Ordering::Relaxed);
        match appended.replicated {
            true => self.waiters.wake(),
            false => {
                self.waiters.wake_followers();
                self.isr.watch(self);
            }
        }
    }

    /// Whether the coordinator must be asked before a batch may be appended, and the guard to append it with then.
    /// `begins_at_zero`: its producer takes a new epoch for each transaction.
    pub(crate) fn verify(&self, batch: &BatchHeader, begins_at_zero: bool) -> Option<Guard> {
        self.with(|state| {
            state.replica.check_append(true).ok()?;
            state.producers.verify(batch, begins_at_zero, clock::unix_ms())
        })?
    }

    /// A batch was refused with an error that makes its client send it again: it is not overtaken by the next.
    pub(crate) fn turned_away(&self, batch: &BatchHeader) {
        self.with(|state| state.producers.refused(batch, clock::unix_ms()));
    }

    fn validate(&self, batch: &Bytes, now: i64, zstd_allowed: bool) -> Result<Validated, ProduceRefusal> {
        let topic = self.config.load();
        let rules = Rules {
            now,
            timestamp_type: match topic.timestamp_type() {
                milena_config::TimestampType::CreateTime => TimestampType::CreateTime,
                milena_config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            before_max_ms: topic.message_timestamp_before_max_ms(),
            after_max_ms: topic.message_timestamp_after_max_ms(),
            compacted: topic.compacts(),
            max_message_bytes: topic.max_message_bytes() as usize,
            zstd_allowed,
            ..Rules::default()
        };
        let validated = milena_records::validate(batch, &rules)?;
        let limit = topic.segment_bytes() as usize;
        if validated.header.total_size() > limit {
            return Err(ProduceRefusal::LargerThanSegment { size: validated.header.total_size(), limit });
        }
        match stored_codec(&topic) {
            Some((codec, level)) => Ok(milena_records::recompress(validated, codec, level, &rules)?),
            None => Ok(validated),
        }
    }

    /// Waits until a batch is as safe as `acks` and the topic's `flush.messages` ask for, at most until `deadline`.
    pub(crate) async fn settled(
        self: &Arc<Self>,
        appended: &Appended,
        acks: Acks,
        deadline: Instant,
    ) -> ErrorCode {
        if appended.must_flush {
            match self.flushed(appended).await {
                ErrorCode::None => {}
                code => return code,
            }
        }
        match acks {
            Acks::All if !appended.replicated => self.replicated(appended, deadline).await,
            _ => ErrorCode::None,
        }
    }

    /// Waits until a batch is on disk. Whoever comes while a flush runs shares the next one.
    pub(crate) async fn flushed(self: &Arc<Self>, appended: &Appended) -> ErrorCode {
        let _turn = self.flushing.lock().await;
        let needed = self.with(|state| state.log.recovery_point() < appended.end);
        let flush = match needed {
            Some(true) => self.due_flush(true),
            Some(false) => return ErrorCode::None,
            None => return ErrorCode::NotLeaderOrFollower,
        };
        let run = |flush: milena_log::FlushHandle| tokio::task::spawn_blocking(move || flush.run());
        match flush.map(run) {
            Some(running) => match running.await {
                Ok(Ok(_)) => ErrorCode::None,
                Ok(Err(error)) => {
                    error!(%error, "flush failed");
                    ErrorCode::KafkaStorageError
                }
                Err(_) => ErrorCode::KafkaStorageError,
            },
            None => ErrorCode::KafkaStorageError,
        }
    }

    /// Waits until a batch is on all in-sync replicas, at most until `deadline`. Anything but `None` leaves open
    /// whether it will be: it is in the leader's log.
    pub(crate) async fn replicated(&self, appended: &Appended, deadline: Instant) -> ErrorCode {
        let parked = self.with(|state| {
            let outcome = state.acks.park(appended.leader_epoch, appended.end);
            // It may have been settled before it was parked.
            state.settle_acks();
            outcome
        });
        let Some(outcome) = parked else { return ErrorCode::NotLeaderOrFollower };
        match tokio::time::timeout_at(deadline.into(), outcome).await {
            Ok(Ok(Replication::Done)) => ErrorCode::None,
            Ok(Ok(Replication::NotEnoughReplicas)) => ErrorCode::NotEnoughReplicasAfterAppend,
            // The partition was closed, or another epoch began.
            Ok(Ok(Replication::EpochOver | Replication::Pending) | Err(_)) => ErrorCode::NotLeaderOrFollower,
            Err(_) => ErrorCode::RequestTimedOut,
        }
    }
}

impl State {
    /// Whether a batch may come in at all; one that is turned away for now is not overtaken by the next.
    fn admit(&mut self, batch: &Bytes, acks: Acks, now: i64) -> Result<(), AppendRefusal> {
        let admitted = self.replica.check_append(acks == Acks::All);
        if let (Err(AppendRefusal::NotEnoughReplicas { .. }), Ok(header)) =
            (admitted, BatchHeader::parse(batch))
        {
            self.producers.refused(&header, now);
        }
        admitted
    }

    fn append(
        &mut self,
        validated: Validated,
        acks: Acks,
        flush_messages: i64,
        now: i64,
        guard: Option<Guard>,
    ) -> Result<Appended, ProduceRefusal> {
        self.replica.check_append(acks == Acks::All)?;
        let leader_epoch = self.replica.leadership().leader_epoch;
        let log_append_time = match validated.header.timestamp_type() {
            TimestampType::LogAppendTime => validated.max_timestamp,
            TimestampType::CreateTime => -1,
        };
        if let SequenceVerdict::Duplicate(known) = self.producers.check(&validated.header)? {
            return Ok(Appended {
                base_offset: known.base_offset(),
                log_append_time: if log_append_time < 0 { -1 } else { known.timestamp },
                ..self.present(known.last_offset + 1, flush_messages)
            });
        }
        if let Err(refusal) = self.producers.check_transaction(&validated.header, guard) {
            if matches!(refusal, SequenceRefusal::Outdated { .. }) {
                self.producers.refused(&validated.header, now);
            }
            return Err(refusal.into());
        }
        let batch = validated.into_stored(self.log.log_end(), leader_epoch);
        Ok(Appended { log_append_time, ..self.write(batch, flush_messages, now)? })
    }

    /// Writes a batch that was decided on at the log end, and tells whom it concerns.
    pub(super) fn write(
        &mut self,
        batch: StoredBatch,
        flush_messages: i64,
        now: i64,
    ) -> Result<Appended, StorageFault> {
        let info = self.log.append(std::slice::from_ref(&batch), now).map_err(|error| {
            error!(%error, "append failed");
            StorageFault
        })?;
        if info.rolled
            && let Err(error) = self.log.take_snapshot(&self.producers.entries(), info.base_offset)
        {
            // Not fatal: recovery then reads more of the log.
            tracing::warn!(%error, "producer snapshot not written");
        }
        self.rolled |= info.rolled;
        self.record(&batch);
        if self.replica.appended(info.log_end, clock::monotonic_ms()) {
            self.settle_acks();
        }
        Ok(Appended { base_offset: info.base_offset, ..self.present(info.log_end, flush_messages) })
    }

    /// Takes note of a batch that is in the log, of data or a marker.
    pub(super) fn record(&mut self, batch: &StoredBatch) {
        let header = batch.header();
        self.unflushed.add(header.record_count);
        match batch.control() {
            Some(ControlRecord::EndTransaction { result, coordinator_epoch }) => {
                let ended = self.producers.record_marker(&header, result, coordinator_epoch);
                if let Some(ended) = ended.filter(|ended| ended.aborted)
                    && let Err(error) = self.log.note_aborted((&ended).into())
                {
                    // It is remembered, and found; before it could be forgotten it is written, or nothing else is.
                    tracing::warn!(%error, "aborted transaction stays in memory");
                }
            }
            Some(ControlRecord::Other(_)) => {}
            None => self.producers.record(&header),
        }
    }

    /// How far what ends at `end` is replicated and flushed.
    pub(super) fn present(&self, end: Offset, flush_messages: i64) -> Appended {
        Appended {
            base_offset: end,
            end,
            log_append_time: -1,
            log_start: self.log.log_start(),
            leader_epoch: self.replica.leadership().leader_epoch,
            replicated: self.replica.high_watermark() >= end,
            must_flush: self.unflushed.records >= flush_messages,
        }
    }
}

/// The codec in which a topic's data is stored; `None` keeps the producer's (RB-6).
fn stored_codec(topic: &TopicConfig) -> Option<(Compression, Level)> {
    Some(match topic.compression_type() {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Compression::None, Level::Default),
        CompressionType::Gzip => (Compression::Gzip, Level::Of(topic.compression_gzip_level())),
        CompressionType::Snappy => (Compression::Snappy, Level::Default),
        CompressionType::Lz4 => (Compression::Lz4, Level::Default),
        CompressionType::Zstd => (Compression::Zstd, Level::Of(topic.compression_zstd_level())),
    })
}
