//! Control records: markers that brokers write between the data, one per batch.

use bytes::{Buf, BufMut, Bytes};

use crate::{BatchBuilder, BatchHeader, BatchRecords, Compression, ProducerEpoch, ProducerId, StoredBatch};

/// Bytes that the records of a control batch may inflate to; no broker compresses them, and a marker has 16.
const LARGEST_CONTROL_BATCH: usize = 64 << 10;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// Its records are not for consumers that read committed.
    Abort,
    /// Its records count.
    Commit,
}

/// Kind of a control record, the second int16 of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlRecord {
    /// End of a producer's transaction on this partition.
    EndTransaction {
        /// Commit or abort.
        result: TransactionResult,
        /// Epoch of the coordinator that decided; an older one is a zombie's.
        coordinator_epoch: i32,
    },
    /// A kind of Kafka's metadata log (2 to 6), or one of a later version; brokers skip it.
    Other(i16),
}

impl ControlRecord {
    /// Reads a control record; `None` if key or value are too short for their kind.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let mut key = key?;
        let _version = key.try_get_i16().ok()?;
        let result = match key.try_get_i16().ok()? {
            0 => TransactionResult::Abort,
            1 => TransactionResult::Commit,
            other => return Some(Self::Other(other)),
        };
        let mut value = value?;
        let _version = value.try_get_i16().ok()?;
        let coordinator_epoch = value.try_get_i32().ok()?;
        Some(Self::EndTransaction { result, coordinator_epoch })
    }

    /// Reads the only record of a control batch; `None` if the batch is none, or its record cannot be read.
    pub fn of(header: &BatchHeader, body: &Bytes) -> Option<Self> {
        if !header.is_control() {
            return None;
        }
        let batch = BatchRecords::of(*header, body.clone(), LARGEST_CONTROL_BATCH).ok()?;
        let record = batch.iter().next()?.ok()?;
        Self::parse(record.key, record.value)
    }

    /// The batch of the marker that ends a transaction of `producer_id` at `timestamp` (milliseconds since 1970).
    pub fn end_transaction(
        result: TransactionResult,
        coordinator_epoch: i32,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: i64,
    ) -> StoredBatch {
        let (mut key, mut value) = (Vec::with_capacity(4), Vec::with_capacity(6));
        key.put_i16(0);
        key.put_i16(match result {
            TransactionResult::Abort => 0,
            TransactionResult::Commit => 1,
        });
        value.put_i16(0);
        value.put_i32(coordinator_epoch);
        let mut batch = BatchBuilder::new(Compression::None)
            .producer(producer_id, producer_epoch, -1)
            .transactional()
            .control();
        batch.push(timestamp, Some(&key), Some(&value), &[]);
        batch.build()
    }
}
