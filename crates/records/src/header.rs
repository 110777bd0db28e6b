//! The 61 bytes before a batch's records: what is stored, sent and indexed without reading records.
//!
//! Parsing checks only what later code relies on to be safe (magic, codec, lengths that are not
//! negative); whether a client may send such a batch is `validate`'s question.

use crate::{Compression, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Header of one record batch of format v2, field for field.
///
/// Kafka's layout, big-endian: base offset (0), batch length (8), partition leader epoch (12), magic (16),
/// CRC (17), attributes (21), last offset delta (23), base timestamp (27), max timestamp (35), producer id
/// (43), producer epoch (51), base sequence (53), record count (57). The CRC covers byte 21 to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 as sent by a client. Not covered by the CRC.
    pub base_offset: Offset,
    /// Bytes that follow this field: the batch's size less [`BatchHeader::LOG_OVERHEAD`].
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 as sent by a client. Not covered by the CRC.
    pub partition_leader_epoch: LeaderEpoch,
    /// Format version: always 2.
    pub magic: i8,
    /// CRC-32C of everything from the attributes to the end of the batch.
    pub crc: u32,
    /// Bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon, others zero.
    pub attributes: i16,
    /// Offset of the last record at production less the base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 to which record timestamps are relative; the delete horizon if bit 6 is set.
    pub base_timestamp: i64,
    /// Largest record timestamp in milliseconds since 1970, or the append time; -1 when there is none.
    pub max_timestamp: i64,
    /// Producer of the batch, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Its incarnation, or [`ProducerEpoch::NONE`].
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records that follow; 0 only after compaction.
    pub record_count: i32,
}

/// Meaning of a batch's timestamps: bit 3 of the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Each record carries the time its producer gave it.
    #[default]
    CreateTime,
    /// Every record of the batch has the batch's max timestamp, the time of the append.
    LogAppendTime,
}

/// Why bytes are not the header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than [`BatchHeader::SIZE`] bytes.
    #[error("{0} bytes are too few for a batch header of 61")]
    TooShort(usize),
    /// Formats v0 and v1 are not served (KIP-724), others do not exist.
    #[error("magic {0}, expected 2")]
    Magic(i8),
    /// The length field is smaller than the rest of the header.
    #[error("batch length {0} is below the least possible, 49")]
    Length(i32),
    /// Codec numbers 5 to 7 are not assigned.
    #[error("unknown compression codec {0}")]
    Codec(u8),
    /// A count or delta that is never negative.
    #[error("negative {field} {value}")]
    Negative {
        /// Kafka's name of the field.
        field: &'static str,
        /// What it held.
        value: i32,
    },
}

impl BatchHeader {
    /// Bytes of a header.
    pub const SIZE: usize = 61;
    /// Bytes before those that `batch_length` counts: base offset and the length itself.
    pub const LOG_OVERHEAD: usize = 12;
    /// Where the bytes covered by the CRC begin.
    pub const CRC_START: usize = 21;

    const TIMESTAMP_TYPE: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Reads the header at the start of `bytes`; what follows it need not be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<{ Self::SIZE }>() else {
            return Err(HeaderError::TooShort(bytes.len()));
        };
        let header = Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length: i32::from_be_bytes(field(bytes, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            magic: i8::from_be_bytes(field(bytes, 16)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        header.check().map(|()| header)
    }

    fn check(&self) -> Result<(), HeaderError> {
        if self.magic != 2 {
            return Err(HeaderError::Magic(self.magic));
        }
        if (self.batch_length as i64) < (Self::SIZE - Self::LOG_OVERHEAD) as i64 {
            return Err(HeaderError::Length(self.batch_length));
        }
        if Compression::from_attributes(self.attributes).is_none() {
            return Err(HeaderError::Codec((self.attributes & 0b111) as u8));
        }
        for (field, value) in
            [("lastOffsetDelta", self.last_offset_delta), ("record count", self.record_count)]
        {
            if value < 0 {
                return Err(HeaderError::Negative { field, value });
            }
        }
        Ok(())
    }

    /// Writes every field in its place.
    pub fn write_to(&self, bytes: &mut [u8; Self::SIZE]) {
        bytes[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.0.to_be_bytes());
        bytes[16..17].copy_from_slice(&self.magic.to_be_bytes());
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        self.write_to(&mut bytes);
        bytes
    }

    /// Bytes of the whole batch, header included.
    pub fn total_size(&self) -> usize {
        Self::LOG_OVERHEAD + self.batch_length as usize
    }

    /// Offset of the last record at production. Saturates, so that a corrupt header cannot overflow.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Offset after the last record: where the next batch begins when it is appended.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Sequence number of the last record, wrapping from 2^31-1 to 0; -1 without a producer (PR-15).
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (1 << 31)) as i32
    }

    /// Codec of the record section.
    ///
    /// # Panics
    /// If `attributes` was set by hand to a codec that [`BatchHeader::parse`] refuses.
    pub fn compression(&self) -> Compression {
        Compression::from_attributes(self.attributes).expect("parse refuses unassigned codecs")
    }

    /// Whether record times are the producer's or the broker's.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & Self::TIMESTAMP_TYPE {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are markers for brokers and clients instead of data.
    pub fn is_control(&self) -> bool {
        self.attributes & Self::CONTROL != 0
    }

    /// When tombstones and markers of this batch may go, in milliseconds since 1970 (KIP-534), once
    /// compaction has set it.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & Self::DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Bits 7 to 15 of the attributes, which have no meaning yet.
    pub fn reserved_attributes(&self) -> i16 {
        self.attributes & !0b111_1111
    }

    pub(crate) fn set_compression(&mut self, codec: Compression) {
        self.attributes = (self.attributes & !0b111) | codec as i16;
    }

    pub(crate) fn set_timestamp_type(&mut self, kind: TimestampType) {
        match kind {
            TimestampType::CreateTime => self.attributes &= !Self::TIMESTAMP_TYPE,
            TimestampType::LogAppendTime => self.attributes |= Self::TIMESTAMP_TYPE,
        }
    }

    pub(crate) fn set_transactional(&mut self) {
        self.attributes |= Self::TRANSACTIONAL;
    }

    pub(crate) fn set_control(&mut self) {
        self.attributes |= Self::CONTROL;
    }

    pub(crate) fn set_delete_horizon(&mut self, horizon_ms: i64) {
        self.attributes |= Self::DELETE_HORIZON;
        self.base_timestamp = horizon_ms;
    }

    pub(crate) fn clear_delete_horizon(&mut self) {
        self.attributes &= !Self::DELETE_HORIZON;
    }
}

/// Whether `batch` would be part of a transaction if it is a batch: a look at one byte, for those who ask this of
/// everything that comes in.
pub fn looks_transactional(batch: &[u8]) -> bool {
    const LOW_ATTRIBUTES: usize = BatchHeader::CRC_START + 1;
    batch.get(LOW_ATTRIBUTES).is_some_and(|low| i16::from(*low) & BatchHeader::TRANSACTIONAL != 0)
}

fn field<const N: usize>(bytes: &[u8; BatchHeader::SIZE], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("every field lies within the header")
}
