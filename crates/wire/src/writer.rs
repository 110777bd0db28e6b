//! Builds a frame as a chain of slices, so that record batches are sent without being copied.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{EncodeError, Records, Text, Uuid};

/// From this length on a slice is chained instead of copied: one more element of a vectored
/// write costs about as much as copying this many bytes.
const CHAIN_FROM: usize = 1024;

/// Collects the bytes of one frame.
///
/// Small fields go to one growing buffer, large slices are remembered with the place at which
/// they belong; [`finish`](Writer::finish) cuts the buffer there.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    /// Position in `buffer` before which each slice goes, ascending.
    chained: Vec<(usize, Bytes)>,
    chained_length: usize,
    error: Option<EncodeError>,
}

impl Writer {
    /// An empty frame.
    pub fn new() -> Self {
        Writer::default()
    }

    /// An empty frame with room for `capacity` bytes of small fields.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer { buffer: BytesMut::with_capacity(capacity), ..Writer::default() }
    }

    /// Bytes written so far, chained ones included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.chained_length
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame's slices in order, none of them empty.
    pub fn finish(self) -> Vec<Bytes> {
        let mut rest = self.buffer.freeze();
        let mut parts = Vec::with_capacity(2 * self.chained.len() + 1);
        let mut cut = 0;
        for (at, slice) in self.chained {
            if at > cut {
                parts.push(rest.split_to(at - cut));
                cut = at;
            }
            parts.push(slice);
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        parts
    }

    /// The frame in one piece; copies if anything was chained.
    pub fn into_bytes(self) -> Bytes {
        let mut parts = self.finish();
        if parts.len() == 1 { parts.remove(0) } else { parts.concat().into() }
    }

    /// The first value that did not fit, if any; `Message::encode` reports it.
    pub(crate) fn take_error(&mut self) -> Result<(), EncodeError> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Overwrites four bytes at `at`, which must have been written before anything was chained.
    pub(crate) fn set_i32(&mut self, at: usize, value: i32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Raw bytes, without a length.
    pub fn slice(&mut self, bytes: &Bytes) {
        if bytes.len() < CHAIN_FROM {
            self.buffer.put_slice(bytes);
        } else {
            self.chained.push((self.buffer.len(), bytes.clone()));
            self.chained_length += bytes.len();
        }
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// Signed byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Signed, 2 bytes.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Unsigned, 2 bytes.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Signed, 4 bytes.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Unsigned, 4 bytes.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Signed, 8 bytes.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// IEEE 754, 8 bytes.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(&value.0);
    }

    /// Unsigned LEB128: lengths, tags and counts of flexible versions.
    pub fn varuint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A length or count: varint of n + 1 in flexible versions, else int16 (`limit` is
    /// `i16::MAX`) or int32.
    fn length(&mut self, length: usize, flexible: bool, fixed_limit: usize) {
        let limit = if flexible { i32::MAX as usize } else { fixed_limit };
        if length > limit {
            self.error.get_or_insert(EncodeError::TooLong { length, limit });
        }
        match (flexible, fixed_limit == SHORT) {
            (true, _) => self.varuint((length as u32).wrapping_add(1)),
            (false, true) => self.i16(length as i16),
            (false, false) => self.i32(length as i32),
        }
    }

    fn null(&mut self, flexible: bool, fixed_limit: usize) {
        match (flexible, fixed_limit == SHORT) {
            (true, _) => self.varuint(0),
            (false, true) => self.i16(-1),
            (false, false) => self.i32(-1),
        }
    }

    /// String with an int16 or varint length.
    pub fn text(&mut self, text: &str, flexible: bool) {
        self.length(text.len(), flexible, SHORT);
        self.buffer.put_slice(text.as_bytes());
    }

    /// String that may be null if the version is `nullable`; empty instead if it is not.
    pub fn nullable_text(&mut self, text: &Option<Text>, flexible: bool, nullable: bool) {
        match text {
            Some(text) => self.text(text, flexible),
            None if nullable => self.null(flexible, SHORT),
            None => self.length(0, flexible, SHORT),
        }
    }

    /// Bytes with an int32 or varint length.
    pub fn bytes(&mut self, bytes: &Bytes, flexible: bool) {
        self.length(bytes.len(), flexible, LONG);
        self.slice(bytes);
    }

    /// Bytes that may be null if the version is `nullable`; empty instead if it is not.
    pub fn nullable_bytes(&mut self, bytes: &Option<Bytes>, flexible: bool, nullable: bool) {
        match bytes {
            Some(bytes) => self.bytes(bytes, flexible),
            None if nullable => self.null(flexible, LONG),
            None => self.length(0, flexible, LONG),
        }
    }

    /// Record batches, each part chained or copied as its length asks.
    pub fn records(&mut self, records: &Option<Records>, flexible: bool) {
        let Some(records) = records else { return self.null(flexible, LONG) };
        self.length(records.len(), flexible, LONG);
        for part in records.parts() {
            self.slice(part);
        }
    }

    /// Array with an int32 or varint count.
    pub fn array<T>(&mut self, elements: &[T], flexible: bool, mut element: impl FnMut(&mut Self, &T)) {
        self.length(elements.len(), flexible, LONG);
        for it in elements {
            element(self, it);
        }
    }

    /// Array that may be null if the version is `nullable`; empty instead if it is not.
    pub fn nullable_array<T>(
        &mut self,
        elements: &Option<Vec<T>>,
        flexible: bool,
        nullable: bool,
        element: impl FnMut(&mut Self, &T),
    ) {
        match elements {
            Some(elements) => self.array(elements, flexible, element),
            None if nullable => self.null(flexible, LONG),
            None => self.length(0, flexible, LONG),
        }
    }

    /// A struct that may be null: one byte, -1 for null and 1 otherwise, then the struct.
    pub fn nullable_struct<T>(&mut self, value: &Option<T>, write: impl FnOnce(&mut Self, &T)) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// One tagged field: tag, size, content. The caller has written the number of fields.
    pub fn tagged_field(&mut self, tag: u32, content: impl FnOnce(&mut Self)) {
        let mut inner = Writer::new();
        content(&mut inner);
        self.varuint(tag);
        self.varuint(inner.len() as u32);
        if let Err(error) = inner.take_error() {
            self.error.get_or_insert(error);
        }
        for part in inner.finish() {
            self.slice(&part);
        }
    }
}

const SHORT: usize = i16::MAX as usize;
const LONG: usize = i32::MAX as usize;

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
