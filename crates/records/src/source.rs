//! Where the walk over records takes its bytes from: a slice, or a codec's output piece by piece.

use crate::RecordsError;
use crate::varint::{unzigzag32, unzigzag64};

/// A forward reader of record bytes; nothing is copied, keys and values are skipped.
pub(crate) trait Source {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, RecordsError>;

    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), RecordsError>;

    /// Bytes read and skipped so far.
    fn position(&self) -> u64;

    /// A zig-zag int32.
    #[inline]
    fn varint(&mut self) -> Result<i32, RecordsError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(unzigzag32(u32::from(first)));
        }
        let mut raw = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            raw |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag32(raw));
            }
        }
        Err(RecordsError::VarintTooLong)
    }

    /// A zig-zag int64.
    #[inline]
    fn varlong(&mut self) -> Result<i64, RecordsError> {
        let mut raw = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(unzigzag64(raw));
            }
        }
        Err(RecordsError::VarintTooLong)
    }
}

/// Bytes that are all there.
#[derive(Clone, Debug)]
pub(crate) struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Everything that was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `count` bytes themselves.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordsError> {
        if count > self.remaining() {
            return Err(RecordsError::Truncated);
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// A length-prefixed byte string; any negative length is null, as Kafka reads it.
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordsError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl Source for SliceSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordsError> {
        let byte = *self.bytes.get(self.at).ok_or(RecordsError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), RecordsError> {
        if count > self.remaining() {
            return Err(RecordsError::Truncated);
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.at as u64
    }
}
