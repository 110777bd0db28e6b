//! A message of batches as gRPC frames it, with the records where they are: prost would copy them into one buffer.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::message::{Batches, PartitionBatches};

/// Tag of `Batches.partitions`: field 1, length-delimited.
const PARTITIONS: u8 = 1 << 3 | 2;
/// Tag of `PartitionBatches.records`: field 15, length-delimited.
const RECORDS: u8 = 15 << 3 | 2;
/// gRPC's prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Records shorter than this are copied: a piece of their own costs more.
const SHORT: usize = 8 << 10;

/// The message in pieces that follow each other.
///
/// # Panics
/// If it is longer than 4 GiB, which gRPC cannot say.
pub(super) fn encode(batches: Batches) -> Vec<Bytes> {
    let parts: Vec<_> = batches.partitions.into_iter().map(Part::new).collect();
    let length: usize = parts.iter().map(Part::framed_length).sum();
    let heads: usize = parts.iter().map(Part::copied_length).sum();
    let mut pieces = Vec::with_capacity(1 + 2 * parts.len());
    let mut head = BytesMut::with_capacity(PREFIX + heads);
    head.put_u8(0);
    head.put_u32(u32::try_from(length).expect("bounded by the leader"));
    for part in parts {
        head.put_u8(PARTITIONS);
        encode_varint(part.length as u64, &mut head);
        part.head.encode_raw(&mut head);
        if part.records.is_empty() {
            continue;
        }
        head.put_u8(RECORDS);
        encode_varint(part.records.len() as u64, &mut head);
        if part.records.len() < SHORT {
            head.put_slice(&part.records);
        } else {
            pieces.push(head.split().freeze());
            pieces.push(part.records);
        }
    }
    if !head.is_empty() {
        pieces.push(head.freeze());
    }
    pieces
}

/// One partition's answer, apart from its records.
struct Part {
    head: PartitionBatches,
    records: Bytes,
    /// Of both, encoded.
    length: usize,
}

impl Part {
    fn new(mut partition: PartitionBatches) -> Self {
        let records = std::mem::take(&mut partition.records);
        let of_records = match records.len() {
            0 => 0,
            len => 1 + encoded_len_varint(len as u64) + len,
        };
        Self { length: partition.encoded_len() + of_records, head: partition, records }
    }

    /// With its tag and its length.
    fn framed_length(&self) -> usize {
        1 + encoded_len_varint(self.length as u64) + self.length
    }

    fn copied_length(&self) -> usize {
        let apart = if self.records.len() < SHORT { 0 } else { self.records.len() };
        self.framed_length() - apart
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::message::{Diverging, Key, Refusal};

    #[test]
    fn the_pieces_are_the_message_that_prost_would_write() {
        for sizes in [vec![], vec![0], vec![1], vec![SHORT], vec![0, 5, SHORT - 1, SHORT, 300_000, 0, 7]] {
            let partitions = sizes.iter().enumerate().map(|(at, size)| PartitionBatches {
                key: Some(Key { topic_high: 7, topic_low: u64::MAX, index: at as i32 }),
                leader_epoch: 3,
                fetch_offset: 1 << 40,
                refusal: if at == 1 { Refusal::NotLeader.into() } else { 0 },
                diverging: (at == 2).then_some(Diverging { epoch: 1, end_offset: 2 }),
                high_watermark: at as i64,
                records: vec![at as u8; *size].into(),
                ..PartitionBatches::default()
            });
            let batches = Batches { partitions: partitions.collect() };
            let whole: Vec<u8> = encode(batches.clone()).concat();
            let (prefix, message) = whole.split_at(PREFIX);
            assert_eq!(prefix[1..], (message.len() as u32).to_be_bytes(), "sizes={sizes:?}");
            assert_eq!(prefix[0], 0);
            assert_eq!(Batches::decode(message), Ok(batches), "sizes={sizes:?}");
        }
    }
}
