//! Records: what one looks like in a segment file.
//!
//! A record is a header of [`HEADER`] bytes and a payload. All numbers are little-endian.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of everything after it, payload included |
//! | 4 | 4 | CRC of the record before it, also across segments: the chain |
//! | 8 | 4 | length of the payload |
//! | 12 | 4 | how much of this file was durable when the record was written |
//! | 16 | 2 | [`MAGIC`], to find records again after damage |
//! | 18 | 1 | kind |
//! | 19 | 1 | group |
//! | 20 | 4 | zero |
//! | 24 | 8 | index |
//! | 32 | 8 | term |
//!
//! A CRC proves a record whole, the chain proves that none is missing before it, and the durable
//! position tells a write that never completed from damage to one that had: a later record
//! vouches for everything below it.

use bytes::Bytes;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 40;
/// Stands in every record.
pub(crate) const MAGIC: u16 = 0x4d4c;
/// A length above this is damage. Membership and votes are small; commands are bounded.
pub(crate) const MAX_PAYLOAD: usize = crate::MAX_COMMAND + (64 << 10);

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// First of every file; `index` is the segment's number, the payload a [`SegmentHead`].
    Segment = 1,
    /// An entry without content.
    Blank = 2,
    /// An entry with a command.
    Command = 3,
    /// An entry with a membership.
    Membership = 4,
    /// The group's vote: `term`, the node in `index`; payload: one byte, committed or not.
    Vote = 5,
    /// The group's commit index.
    Committed = 6,
    /// Entries above `index` are void. A payload byte of 1 means all of them are.
    Truncate = 7,
    /// Entries up to `index` are no longer needed.
    Purge = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Segment, Blank, Command, Membership, Vote, Committed, Truncate, Purge]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether it is an entry of a group's log.
    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Kind::Blank | Kind::Command | Kind::Membership)
    }
}

/// A record's header fields, without the checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    pub group: u8,
    pub index: u64,
    pub term: u64,
}

/// A record as found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub head: Head,
    pub crc: u32,
    pub previous: u32,
    /// Position up to which the file was durable when this was written.
    pub durable: u32,
    pub payload_len: usize,
}

impl Found {
    /// Bytes in the file.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.payload_len
    }
}

/// Appends a record to `out` and returns its CRC.
pub(crate) fn encode(out: &mut Vec<u8>, head: Head, payload: &[u8], previous: u32, durable: u32) -> u32 {
    let start = out.len();
    out.reserve(HEADER + payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&previous.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&durable.to_le_bytes());
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.push(head.kind as u8);
    out.push(head.group);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&head.index.to_le_bytes());
    out.extend_from_slice(&head.term.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Bytes that [`decode`] has to see, by what the first [`HEADER`] of them claim.
pub(crate) fn claimed_size(bytes: &[u8]) -> usize {
    match bytes.get(8..12).and_then(|len| len.first_chunk()) {
        Some(len) => HEADER + (u32::from_le_bytes(*len) as usize).min(MAX_PAYLOAD),
        None => HEADER,
    }
}

/// The record at the start of `bytes`, if there is a whole and sound one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Found> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let u32_at = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("within the header"));
    let u64_at = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("within the header"));
    if header[16..18] != MAGIC.to_le_bytes() {
        return None;
    }
    let kind = Kind::from_byte(header[18])?;
    let payload_len = u32_at(8) as usize;
    if payload_len > MAX_PAYLOAD {
        return None;
    }
    let body = bytes.get(4..HEADER + payload_len)?;
    let crc = u32_at(0);
    if crc32c(body) != crc {
        return None;
    }
    Some(Found {
        head: Head { kind, group: header[19], index: u64_at(24), term: u64_at(32) },
        crc,
        previous: u32_at(4),
        durable: u32_at(12),
        payload_len,
    })
}

/// What a file's first record says about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    /// Made up when the log was created; ties other files to this log.
    pub identity: [u8; 16],
    /// Length of the segment before this one; 0 for the first ever.
    pub previous_len: u64,
}

/// Version of the file format, in the first record of every segment.
const FORMAT: u16 = 1;

impl SegmentHead {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(26);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.identity);
        out.extend_from_slice(&self.previous_len.to_le_bytes());
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<SegmentHead> {
        let payload: &[u8; 26] = payload.try_into().ok()?;
        (payload[..2] == FORMAT.to_le_bytes()).then(|| SegmentHead {
            identity: *payload[2..].first_chunk().expect("within 26 bytes"),
            previous_len: u64::from_le_bytes(*payload[18..].first_chunk().expect("within 26 bytes")),
        })
    }
}

/// An entry of a group's log, its payload still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub kind: Kind,
    pub index: u64,
    pub term: u64,
    pub payload: Bytes,
}

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
