//! Reading the records of a batch, keys, values and headers included.

use std::borrow::Cow;

use bytes::Bytes;

use crate::source::{SliceSource, Source};
use crate::{BatchHeader, Compression, HeaderError, Offset, RecordsError, TimestampType, decompress};

/// A batch whose records can be read: inflated once, then borrowed from.
#[derive(Clone, Debug)]
pub struct BatchRecords {
    header: BatchHeader,
    body: Bytes,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it is in its partition.
    pub offset: Offset,
    /// Milliseconds since 1970, the append time if the batch says so, or -1.
    pub timestamp: i64,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in the order they were written.
    pub headers: Headers<'a>,
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// UTF-8 by Kafka's definition, which no broker enforces.
    pub key: &'a [u8],
    /// Value, if any.
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordHeader<'a> {
    /// The key as text; bytes that are not UTF-8 are replaced, as Java's client does.
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

/// Headers of a record; an iterator that can be cloned to start again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    left: i32,
    bytes: &'a [u8],
}

/// Why a batch cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its record section.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl BatchRecords {
    /// Opens the batch at the start of `batch`; the checksum is not verified.
    ///
    /// # Errors
    /// When the header is none, the batch is cut, or the records inflate to more than `limit` bytes.
    pub fn open(batch: &Bytes, limit: usize) -> Result<Self, OpenError> {
        let header = BatchHeader::parse(batch)?;
        if header.total_size() > batch.len() {
            return Err(RecordsError::Truncated.into());
        }
        let body = batch.slice(BatchHeader::SIZE..header.total_size());
        Ok(Self::of(header, body, limit)?)
    }

    /// Opens the batch of `header` and `body`, the bytes after it.
    ///
    /// # Errors
    /// When the records inflate to more than `limit` bytes or not at all.
    pub fn of(header: BatchHeader, body: Bytes, limit: usize) -> Result<Self, RecordsError> {
        let body = match header.compression() {
            Compression::None => body,
            // What compaction leaves of an emptied batch has no compressed bytes (RB-3).
            _ if header.record_count == 0 => Bytes::new(),
            codec => decompress(codec, &body, limit)?.into(),
        };
        Ok(Self { header, body })
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records as they are written, uncompressed.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The records in order; after an error the iterator ends.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            header: &self.header,
            source: SliceSource::new(&self.body),
            left: self.header.record_count,
        }
    }
}

impl<'a> IntoIterator for &'a BatchRecords {
    type Item = Result<Record<'a>, RecordsError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over the records of a [`BatchRecords`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    source: SliceSource<'a>,
    left: i32,
}

impl<'a> RecordIter<'a> {
    fn read(&mut self) -> Result<Record<'a>, RecordsError> {
        let declared = self.source.varint()?;
        let length = usize::try_from(declared).map_err(|_| RecordsError::Length { declared, found: 0 })?;
        let mut fields = SliceSource::new(self.source.take(length)?);
        fields.byte()?;
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let (key, value) = (fields.nullable()?, fields.nullable()?);
        let count = fields.varint()?;
        if count < 0 {
            return Err(RecordsError::HeaderCount(count));
        }
        let headers = Headers { left: count, bytes: fields.rest() };
        for _ in 0..count {
            read_header(&mut fields)?;
        }
        if fields.remaining() > 0 {
            return Err(RecordsError::Length { declared, found: fields.position() });
        }
        Ok(Record {
            offset: Offset(self.header.base_offset.0.wrapping_add(i64::from(offset_delta))),
            timestamp: self.timestamp(timestamp_delta),
            key,
            value,
            headers,
        })
    }

    fn timestamp(&self, delta: i64) -> i64 {
        match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = self.read();
        self.left = if record.is_ok() { self.left - 1 } else { 0 };
        Some(record)
    }
}

fn read_header<'a>(fields: &mut SliceSource<'a>) -> Result<RecordHeader<'a>, RecordsError> {
    let length = fields.varint()?;
    let key = fields.take(usize::try_from(length).map_err(|_| RecordsError::HeaderKey(length))?)?;
    Ok(RecordHeader { key, value: fields.nullable()? })
}

impl<'a> Iterator for Headers<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let mut fields = SliceSource::new(self.bytes);
        let header = read_header(&mut fields).expect("headers were checked when the record was read");
        *self = Self { left: self.left - 1, bytes: fields.rest() };
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}
