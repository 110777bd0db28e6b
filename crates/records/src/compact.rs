//! What compaction does to a batch: it drops records and leaves everything else as it was.
//!
//! Base offset, last offset delta, sequence, epoch and producer stay (CP-1), so that offsets and the
//! producer's state read the same as before. Records that stay are copied as they are written; only where
//! the base timestamp becomes the delete horizon (KIP-534) is their time delta written anew.

use bytes::{BufMut, Bytes, BytesMut};

use crate::source::{SliceSource, Source};
use crate::varint::{put_varint, put_varlong, size};
use crate::{
    BatchHeader, BatchRecords, Compression, Level, Offset, RecordsError, StoredBatch, TimestampType, compress,
};

/// What the cleaner asks of a record: neither value nor headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Where it is in its partition.
    pub offset: Offset,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Whether it has no value: the key is deleted.
    pub is_tombstone: bool,
}

/// The records of a batch that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Where they are in the uncompressed records, neighbours joined.
    ranges: Vec<std::ops::Range<usize>>,
    kept: i32,
    total: i32,
    kept_bytes: usize,
    /// Largest time delta of those kept.
    most_delta: Option<i64>,
}

impl Selection {
    /// Number of records that stay.
    pub fn kept(&self) -> usize {
        self.kept as usize
    }

    /// Whether none is dropped.
    pub fn is_all(&self) -> bool {
        self.kept == self.total
    }
}

/// A record with the place of its bytes.
struct Raw<'a> {
    outline: Outline<'a>,
    timestamp_delta: i64,
    /// From behind the time delta to the record's end.
    tail: &'a [u8],
    attributes: u8,
}

fn read<'a>(source: &mut SliceSource<'a>, base: Offset) -> Result<Raw<'a>, RecordsError> {
    let declared = source.varint()?;
    let length = usize::try_from(declared).map_err(|_| RecordsError::Length { declared, found: 0 })?;
    let mut fields = SliceSource::new(source.take(length)?);
    let attributes = fields.byte()?;
    let timestamp_delta = fields.varlong()?;
    let tail = fields.rest();
    let offset_delta = fields.varint()?;
    let key = fields.nullable()?;
    let is_tombstone = fields.varint()? < 0;
    let offset = Offset(base.0.wrapping_add(i64::from(offset_delta)));
    Ok(Raw { outline: Outline { offset, key, is_tombstone }, timestamp_delta, tail, attributes })
}

impl BatchRecords {
    /// Shows `visit` every record without its value, until it answers false.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn outlines(&self, mut visit: impl FnMut(Outline<'_>) -> bool) -> Result<(), RecordsError> {
        let mut source = SliceSource::new(self.body());
        for _ in 0..self.header().record_count {
            if !visit(read(&mut source, self.header().base_offset)?.outline) {
                break;
            }
        }
        Ok(())
    }

    /// Chooses the records to keep.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn select(&self, mut keep: impl FnMut(&Outline<'_>) -> bool) -> Result<Selection, RecordsError> {
        let header = self.header();
        let total = header.record_count;
        let mut selection = Selection { ranges: Vec::new(), kept: 0, total, kept_bytes: 0, most_delta: None };
        let mut source = SliceSource::new(self.body());
        for _ in 0..total {
            let start = source.position() as usize;
            let raw = read(&mut source, header.base_offset)?;
            if !keep(&raw.outline) {
                continue;
            }
            let end = source.position() as usize;
            match selection.ranges.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = end,
                None => selection.ranges.push(start..end),
            }
            selection.kept += 1;
            selection.kept_bytes += end - start;
            selection.most_delta = selection.most_delta.max(Some(raw.timestamp_delta));
        }
        Ok(selection)
    }

    /// The batch with the selected records only, in its own codec. With `delete_horizon` (milliseconds since
    /// 1970) the batch says from when on its tombstones or its marker may go (CP-4); a horizon that it has
    /// already stays without it.
    ///
    /// # Panics
    /// If the selection is another batch's, or holds no record.
    pub fn rewrite(&self, selection: &Selection, delete_horizon: Option<i64>) -> StoredBatch {
        let mut header = *self.header();
        assert!(selection.kept > 0 && selection.total == header.record_count, "{selection:?} of {header:?}");
        let shift = delete_horizon.map_or(0, |horizon| horizon.wrapping_sub(header.base_timestamp));
        let mut plain = BytesMut::with_capacity(selection.kept_bytes + selection.kept as usize * 2);
        for range in &selection.ranges {
            let bytes = &self.body()[range.clone()];
            if shift == 0 {
                plain.put_slice(bytes);
            } else {
                shift_times(bytes, shift, &mut plain);
            }
        }
        if header.timestamp_type() == TimestampType::CreateTime {
            let most = selection.most_delta.expect("a record is kept");
            header.max_timestamp = header.base_timestamp.wrapping_add(most);
        }
        if let Some(horizon) = delete_horizon {
            header.set_delete_horizon(horizon);
        }
        header.record_count = selection.kept;
        let body = match header.compression() {
            Compression::None => plain.freeze(),
            codec => compress(codec, Level::Default, &plain).into(),
        };
        seal(header, body)
    }
}

/// Copies records, their time deltas counted from a base that is `shift` milliseconds later.
fn shift_times(bytes: &[u8], shift: i64, into: &mut BytesMut) {
    let mut source = SliceSource::new(bytes);
    while source.remaining() > 0 {
        let raw = read(&mut source, Offset::ZERO).expect("the record was read when it was selected");
        let delta = raw.timestamp_delta.wrapping_sub(shift);
        let length = 1 + size(delta) + raw.tail.len();
        into.reserve(5 + length);
        put_varint(into, length as i32);
        into.put_u8(raw.attributes);
        put_varlong(into, delta);
        into.put_slice(raw.tail);
    }
}

impl BatchHeader {
    /// A batch of these offsets and this producer without a record: what is left of one whose records are
    /// all dropped but whose end or producer must not be forgotten (CP-6).
    pub fn emptied(&self) -> StoredBatch {
        let mut header = *self;
        header.set_compression(Compression::None);
        header.clear_delete_horizon();
        header.base_timestamp = header.max_timestamp;
        header.record_count = 0;
        seal(header, Bytes::new())
    }
}

/// Sets length and checksum.
fn seal(mut header: BatchHeader, body: Bytes) -> StoredBatch {
    header.batch_length = i32::try_from(BatchHeader::SIZE - BatchHeader::LOG_OVERHEAD + body.len())
        .expect("a batch that lost records is smaller than 2 GiB");
    header.crc = header.compute_crc(&body);
    StoredBatch::new(&header, body)
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
