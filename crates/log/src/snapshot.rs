//! `<offset>.snapshot`: the producers of a partition at an offset, in Kafka's format version 1.
//!
//! Version (int16), CRC-32C of the rest (uint32), count (int32), then 50 bytes per producer. A file that
//! does not check out is no loss: an older one is taken and more of the log replayed.

use milena_partition::ProducerEntry;
use milena_records::{Offset, ProducerEpoch, ProducerId};

const VERSION: i16 = 1;
const HEADER: usize = 6;
const ENTRY: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

/// The file's bytes.
pub(crate) fn encode(entries: &[ProducerEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 4 + entries.len() * ENTRY);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for entry in entries {
        bytes.extend_from_slice(&entry.producer_id.0.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&entry.last_offset.0.to_be_bytes());
        bytes.extend_from_slice(&entry.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.current_transaction_first_offset.0.to_be_bytes());
    }
    let crc = crate::scan::crc32c(&bytes[HEADER..]);
    bytes[2..HEADER].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the file's bytes; `None` if they are not a whole snapshot of this version.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<ProducerEntry>> {
    let (version, rest) = take::<2>(bytes)?;
    let (crc, counted) = take::<4>(rest)?;
    let (count, mut entries) = take::<4>(counted)?;
    let whole = i16::from_be_bytes(version) == VERSION
        && u32::from_be_bytes(crc) == crate::scan::crc32c(counted)
        && usize::try_from(i32::from_be_bytes(count)).ok()?.checked_mul(ENTRY)? == entries.len();
    let mut producers = Vec::with_capacity(if whole { entries.len() / ENTRY } else { return None });
    while !entries.is_empty() {
        let (entry, rest) = decode_entry(entries)?;
        producers.push(entry);
        entries = rest;
    }
    Some(producers)
}

fn decode_entry(bytes: &[u8]) -> Option<(ProducerEntry, &[u8])> {
    let (producer_id, bytes) = take(bytes)?;
    let (epoch, bytes) = take(bytes)?;
    let (last_sequence, bytes) = take(bytes)?;
    let (last_offset, bytes) = take(bytes)?;
    let (offset_delta, bytes) = take(bytes)?;
    let (timestamp, bytes) = take(bytes)?;
    let (coordinator_epoch, bytes) = take(bytes)?;
    let (first_offset, bytes) = take(bytes)?;
    let entry = ProducerEntry {
        producer_id: ProducerId(i64::from_be_bytes(producer_id)),
        epoch: ProducerEpoch(i16::from_be_bytes(epoch)),
        last_sequence: i32::from_be_bytes(last_sequence),
        last_offset: Offset(i64::from_be_bytes(last_offset)),
        offset_delta: i32::from_be_bytes(offset_delta),
        timestamp: i64::from_be_bytes(timestamp),
        coordinator_epoch: i32::from_be_bytes(coordinator_epoch),
        current_transaction_first_offset: Offset(i64::from_be_bytes(first_offset)),
    };
    Some((entry, bytes))
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk().map(|(chunk, rest)| (*chunk, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(producer_id: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id: ProducerId(producer_id),
            epoch: ProducerEpoch(3),
            last_sequence: 41,
            last_offset: Offset(1000),
            offset_delta: 9,
            timestamp: 1_700_000_000_000,
            coordinator_epoch: -1,
            current_transaction_first_offset: Offset::NONE,
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_changed_byte_is_noticed() {
        for entries in [vec![], vec![entry(1)], vec![entry(1), entry(i64::MAX)]] {
            let bytes = encode(&entries);
            assert_eq!(decode(&bytes), Some(entries));
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert_eq!(decode(&changed), None, "byte {at}");
                assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
            }
        }
    }
}
