//! Writing batches: for the client, for tests, and for the markers that brokers write.

use bytes::{BufMut, Bytes, BytesMut};

use crate::varint::{put_varint, put_varlong, size};
use crate::{
    BatchHeader, Compression, LeaderEpoch, Level, Offset, ProducerEpoch, ProducerId, RecordHeader,
    StoredBatch, compress,
};

/// Gathers records and writes them as one batch.
///
/// The caller bounds the size: see [`BatchBuilder::estimated_size`].
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Compression,
    level: Level,
    records: BytesMut,
}

impl BatchBuilder {
    /// An empty batch at offset 0 without a producer.
    pub fn new(codec: Compression) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            magic: 2,
            crc: 0,
            attributes: codec as i16,
            last_offset_delta: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            record_count: 0,
        };
        Self { header, codec, level: Level::Default, records: BytesMut::new() }
    }

    /// Sets how hard the codec tries.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Names the idempotent producer and the sequence number of the first record.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Makes the batch part of its producer's transaction.
    pub fn transactional(mut self) -> Self {
        self.header.set_transactional();
        self
    }

    /// Makes the records markers. Only brokers write such batches.
    pub fn control(mut self) -> Self {
        self.header.set_control();
        self
    }

    /// Adds a record; `timestamp` is in milliseconds since 1970, or -1 for none.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) {
        if self.header.record_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        let offset_delta = self.header.record_count;
        let timestamp_delta = timestamp.wrapping_sub(self.header.base_timestamp);
        let length = 1
            + size(timestamp_delta)
            + size(i64::from(offset_delta))
            + nullable_size(key)
            + nullable_size(value)
            + size(headers.len() as i64)
            + headers.iter().map(|it| nullable_size(Some(it.key)) + nullable_size(it.value)).sum::<usize>();
        self.records.reserve(5 + length);
        put_varint(&mut self.records, length as i32);
        self.records.put_u8(0);
        put_varlong(&mut self.records, timestamp_delta);
        put_varint(&mut self.records, offset_delta);
        put_nullable(&mut self.records, key);
        put_nullable(&mut self.records, value);
        put_varint(&mut self.records, headers.len() as i32);
        for header in headers {
            put_nullable(&mut self.records, Some(header.key));
            put_nullable(&mut self.records, header.value);
        }
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// Records so far.
    pub fn record_count(&self) -> usize {
        self.header.record_count as usize
    }

    /// Bytes of the batch if it were written uncompressed now.
    pub fn estimated_size(&self) -> usize {
        BatchHeader::SIZE + self.records.len()
    }

    /// Compresses and writes the batch. Without records it is an empty one, which no broker takes from a client.
    ///
    /// # Panics
    /// When the batch has 2 GiB or more, which its length field cannot express.
    pub fn build(mut self) -> StoredBatch {
        let body: Bytes = match self.codec {
            Compression::None => self.records.freeze(),
            _ if self.header.record_count == 0 => Bytes::new(),
            codec => compress(codec, self.level, &self.records).into(),
        };
        self.header.batch_length = i32::try_from(BatchHeader::SIZE - BatchHeader::LOG_OVERHEAD + body.len())
            .expect("a batch is smaller than 2 GiB");
        self.header.crc = self.header.compute_crc(&body);
        StoredBatch::new(&self.header, body)
    }
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| size(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}
