//! Reads primitive fields out of a frame, trusting none of its lengths.

use bytes::Bytes;

use crate::{DecodeError, Records, Text, Uuid};

/// Most elements that one array may have. Kafka has the same bound from 4.4.
pub(crate) const MAX_ARRAY_LENGTH: usize = 1_000_000;

/// A position in a frame. Strings, byte fields and records come out as slices of it.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl Reader {
    /// Starts at the first byte.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Reader { bytes: bytes.into(), at: 0 }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    fn ensure(&self, n: usize) -> Result<()> {
        match n.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(needed) => Err(DecodeError::Truncated { at: self.at, needed }),
        }
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some(bytes) = self.bytes[self.at..].first_chunk::<N>() else {
            return Err(DecodeError::Truncated { at: self.at, needed: N - self.remaining() });
        };
        self.at += N;
        Ok(*bytes)
    }

    /// The next `n` bytes, shared with the frame.
    pub fn slice(&mut self, n: usize) -> Result<Bytes> {
        self.ensure(n)?;
        let slice = self.bytes.slice(self.at..self.at + n);
        self.at += n;
        Ok(slice)
    }

    /// Moves past `n` bytes.
    pub fn skip(&mut self, n: usize) -> Result<()> {
        self.ensure(n)?;
        self.at += n;
        Ok(())
    }

    /// One byte; anything but zero is true.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    /// Signed byte.
    pub fn i8(&mut self) -> Result<i8> {
        self.array_of().map(i8::from_be_bytes)
    }

    /// Signed, 2 bytes.
    pub fn i16(&mut self) -> Result<i16> {
        self.array_of().map(i16::from_be_bytes)
    }

    /// Unsigned, 2 bytes.
    pub fn u16(&mut self) -> Result<u16> {
        self.array_of().map(u16::from_be_bytes)
    }

    /// Signed, 4 bytes.
    pub fn i32(&mut self) -> Result<i32> {
        self.array_of().map(i32::from_be_bytes)
    }

    /// Unsigned, 4 bytes.
    pub fn u32(&mut self) -> Result<u32> {
        self.array_of().map(u32::from_be_bytes)
    }

    /// Signed, 8 bytes.
    pub fn i64(&mut self) -> Result<i64> {
        self.array_of().map(i64::from_be_bytes)
    }

    /// IEEE 754, 8 bytes.
    pub fn f64(&mut self) -> Result<f64> {
        self.array_of().map(f64::from_be_bytes)
    }

    /// 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.array_of().map(Uuid)
    }

    /// Unsigned LEB128 of at most 32 bits: lengths, tags and counts of flexible versions.
    pub fn varuint(&mut self) -> Result<u32> {
        // Nearly all fit into one byte.
        let [first] = self.array_of()?;
        if first < 0x80 { Ok(u32::from(first)) } else { self.long_varuint(first) }
    }

    fn long_varuint(&mut self, first: u8) -> Result<u32> {
        let mut value = u32::from(first & 0x7f);
        for place in 1..5 {
            let [byte] = self.array_of()?;
            let bits = u32::from(byte & 0x7f);
            if place == 4 && bits > 0x0f {
                break;
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong { at: self.at })
    }

    /// A length that counts up to the bytes left, or null. Fixed-width prefixes say null with -1,
    /// flexible versions with 0 (and n + 1 otherwise).
    fn length(&mut self, flexible: bool, fixed: impl Fn(&mut Self) -> Result<i64>) -> Result<Option<usize>> {
        let length = if flexible { i64::from(self.varuint()?) - 1 } else { fixed(self)? };
        match usize::try_from(length) {
            Ok(n) if n <= self.remaining() => Ok(Some(n)),
            Err(_) if length == -1 => Ok(None),
            _ => Err(DecodeError::InvalidLength { at: self.at, length }),
        }
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T> {
        value.ok_or(DecodeError::UnexpectedNull { at: self.at })
    }

    /// String with an int16 or varint length; null allowed.
    pub fn nullable_text(&mut self, flexible: bool) -> Result<Option<Text>> {
        let Some(n) = self.length(flexible, |r| r.i16().map(i64::from))? else { return Ok(None) };
        let at = self.at;
        let text = Text::try_from(self.slice(n)?).map_err(|_| DecodeError::NotUtf8 { at })?;
        Ok(Some(text))
    }

    /// String with an int16 or varint length.
    pub fn text(&mut self, flexible: bool) -> Result<Text> {
        let text = self.nullable_text(flexible)?;
        self.not_null(text)
    }

    /// Bytes with an int32 or varint length; null allowed.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>> {
        match self.length(flexible, |r| r.i32().map(i64::from))? {
            Some(n) => self.slice(n).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes with an int32 or varint length.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes> {
        let bytes = self.nullable_bytes(flexible)?;
        self.not_null(bytes)
    }

    /// Record batches: bytes by another name, null allowed.
    pub fn records(&mut self, flexible: bool) -> Result<Option<Records>> {
        Ok(self.nullable_bytes(flexible)?.map(Records::from))
    }

    /// Array with an int32 or varint count; null allowed.
    ///
    /// `min_size` is the fewest bytes that an element takes. A count that the bytes left cannot
    /// hold is refused before anything is allocated for it.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(n) = self.length(flexible, |r| r.i32().map(i64::from))? else { return Ok(None) };
        if n > MAX_ARRAY_LENGTH || n > self.remaining() / min_size.max(1) {
            return Err(DecodeError::InvalidLength { at: self.at, length: n as i64 });
        }
        let mut elements = Vec::with_capacity(n);
        for _ in 0..n {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Array with an int32 or varint count.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let array = self.nullable_array(flexible, min_size, element)?;
        self.not_null(array)
    }

    /// A struct that may be null: one byte, negative for null, then the struct.
    pub fn nullable_struct<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.i8()? < 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// The tagged fields that end every struct of a flexible version.
    ///
    /// `field` gets each tag with a reader over exactly its bytes; what it leaves, such as a tag
    /// it does not know, is skipped.
    pub fn tagged_fields(&mut self, mut field: impl FnMut(u32, &mut Reader) -> Result<()>) -> Result<()> {
        for _ in 0..self.varuint()? {
            let tag = self.varuint()?;
            let size = self.varuint()? as usize;
            self.ensure(size)?;
            let end = self.at + size;
            let mut inner = Reader { bytes: self.bytes.slice(..end), at: self.at };
            field(tag, &mut inner)?;
            self.at = end;
        }
        Ok(())
    }

    /// Moves past tagged fields of which none is known.
    pub fn skip_tagged_fields(&mut self) -> Result<()> {
        for _ in 0..self.varuint()? {
            self.varuint()?;
            let size = self.varuint()? as usize;
            self.skip(size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
