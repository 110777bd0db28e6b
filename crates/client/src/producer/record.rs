//! A record to be sent, and the batch it travels in.

use std::sync::Arc;

use milena_records::{BatchBuilder, RecordHeader, StoredBatch};
use tokio::time::Instant;

use super::outcome::Outcome;

/// Bytes that a record may take beyond its key, value and headers.
const RECORD_OVERHEAD: usize = 36;
/// Bytes that a record header may take beyond its key and value.
const HEADER_OVERHEAD: usize = 10;

/// A record to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition, if it is not to be chosen by key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; now, if absent.
    pub timestamp: Option<i64>,
    /// Its key, if any.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [RecordHeader<'a>],
}

impl ProducerRecord<'_> {
    /// Most bytes that it takes in a batch.
    pub(crate) fn size(&self) -> usize {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|it| HEADER_OVERHEAD + it.key.len() + length(it.value));
        RECORD_OVERHEAD + length(self.key) + length(self.value) + headers.sum::<usize>()
    }
}

/// A batch from its first record to its acknowledgement.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) content: Content,
    pub(crate) outcome: Arc<Outcome>,
    /// Sequence number of its first record, once it was first sent.
    pub(crate) sequence: Option<i32>,
    /// Memory that it holds, by [`ProducerRecord::size`].
    pub(crate) memory: usize,
    /// Place among all batches of the producer.
    pub(super) number: u64,
    pub(super) created: Instant,
}

/// A batch is built when it is first sent, and sent again as it was built.
#[derive(Debug)]
pub(crate) enum Content {
    Open(BatchBuilder),
    Built(StoredBatch),
}

impl Batch {
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.estimated_size(),
            Content::Built(batch) => batch.total_size(),
        }
    }
}
