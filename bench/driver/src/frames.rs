//! Produce requests made beforehand, of which only the producer's id, its epoch, the sequence and the checksum are written
//! anew.

use bytes::Bytes;
use milena_records::{BatchBuilder, BatchHeader, Compression, ProducerEpoch, ProducerId};
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use crate::connection::request;
use crate::load::payloads;
use crate::ready_made::unix_ms;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is said of the producer of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    None,
    Idempotent,
    Transactional,
}

/// Where a frame goes.
pub struct Destination<'a> {
    pub topic: &'a str,
    pub partition: usize,
    /// Connection to the partition's leader.
    pub leader: usize,
    pub transactional_id: Option<&'a str>,
    /// Version of Produce.
    pub version: i16,
}

/// A frame with one batch for one partition.
pub struct Frame {
    bytes: Vec<u8>,
    /// Where the batch stands in it.
    at: usize,
    length: usize,
    header: BatchHeader,
    /// Connection to the partition's leader.
    pub leader: usize,
    /// Of the batch that is written next.
    pub sequence: i32,
    /// Whether the partition has taken a batch of this transaction.
    pub is_in: bool,
}

impl Frame {
    /// Of one partition, with acks=all.
    pub fn new(to: &Destination<'_>, batch: &Bytes) -> Result<Self> {
        let data = PartitionProduceData {
            index: to.partition as i32,
            records: Some(batch.clone().into()),
            ..Default::default()
        };
        let data =
            TopicProduceData { name: to.topic.into(), partition_data: vec![data], ..Default::default() };
        let produce = ProduceRequest {
            transactional_id: to.transactional_id.map(Into::into),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![data],
            ..Default::default()
        };
        let bytes = request(&produce, to.version)?;
        let header = &batch[..BatchHeader::SIZE];
        let at =
            bytes.windows(header.len()).position(|it| it == header).ok_or("the frame lacks its batch")?;
        let header = BatchHeader::parse(batch)?;
        Ok(Self { bytes, at, length: batch.len(), header, leader: to.leader, sequence: 0, is_in: false })
    }

    /// The frame as the producer's next batch; without a sequence if `id` is negative.
    pub fn addressed(&mut self, id: i64, epoch: i16) -> &[u8] {
        self.header.producer_id = ProducerId(id);
        self.header.producer_epoch = ProducerEpoch(epoch);
        self.header.base_sequence = if id < 0 { -1 } else { self.sequence };
        self.header.crc =
            self.header.compute_crc(&self.bytes[self.at + BatchHeader::SIZE..self.at + self.length]);
        self.bytes[self.at..self.at + BatchHeader::SIZE].copy_from_slice(&self.header.to_bytes());
        &self.bytes
    }

    pub fn records(&self) -> i32 {
        self.header.record_count
    }
}

/// A batch of about `bytes`, at most `records`.
pub fn batch(size: usize, bytes: usize, records: u64, guarantee: Guarantee) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if guarantee != Guarantee::None {
        builder = builder.producer(ProducerId(0), ProducerEpoch(0), 0);
    }
    if guarantee == Guarantee::Transactional {
        builder = builder.transactional();
    }
    fill(&mut builder, size, bytes, records);
    builder.build().to_bytes()
}

/// Records of `size` bytes up to about `bytes` before compression, `records` at most and one at least.
pub fn fill(builder: &mut BatchBuilder, size: usize, bytes: usize, records: u64) {
    let now = unix_ms();
    for payload in payloads(size).iter().cycle() {
        builder.push(now, None, Some(payload), &[]);
        if builder.estimated_size() + size > bytes || builder.record_count() as u64 >= records {
            break;
        }
    }
}
