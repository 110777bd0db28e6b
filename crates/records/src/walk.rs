//! One pass over the records of a batch that reads what a broker must know and skips the rest.
//!
//! Allocates nothing per record. Compressed records are inflated piece by piece, so the memory taken
//! does not grow with what they inflate to.

use crate::RecordsError;
use crate::compression::Inflater;
use crate::source::{SliceSource, Source};

/// What a broker needs of a record without its key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) has_key: bool,
}

impl Shape {
    /// Reads one record, its length prefix included, and holds the prefix against what the fields take.
    #[inline]
    fn read(source: &mut impl Source) -> Result<Self, RecordsError> {
        let declared = source.varint()?;
        let start = source.position();
        source.byte()?; // attributes of a record: none are defined
        let timestamp_delta = source.varlong()?;
        let offset_delta = source.varint()?;
        let has_key = skip_nullable(source)?;
        skip_nullable(source)?;
        let headers = source.varint()?;
        if headers != 0 {
            skip_headers(source, headers)?;
        }
        let found = source.position() - start;
        if u64::try_from(declared) != Ok(found) {
            return Err(RecordsError::Length { declared, found });
        }
        Ok(Self { timestamp_delta, offset_delta, has_key })
    }
}

#[inline]
fn skip_nullable(source: &mut impl Source) -> Result<bool, RecordsError> {
    let length = source.varint()?;
    if length > 0 {
        source.skip(length as usize)?;
    }
    Ok(length >= 0)
}

fn skip_headers(source: &mut impl Source, count: i32) -> Result<(), RecordsError> {
    if count < 0 {
        return Err(RecordsError::HeaderCount(count));
    }
    for _ in 0..count {
        let key = source.varint()?;
        if key < 0 {
            return Err(RecordsError::HeaderKey(key));
        }
        source.skip(key as usize)?;
        skip_nullable(source)?;
    }
    Ok(())
}

/// Why a walk stopped: at which record, counted from 0, and what was wrong there.
pub(crate) type Stop = (i32, RecordsError);

/// Walks `count` uncompressed records that must fill `body`.
/// Returns the bytes they take.
pub(crate) fn walk_slice(body: &[u8], count: i32, mut visit: impl FnMut(i32, Shape)) -> Result<u64, Stop> {
    let mut source = SliceSource::new(body);
    for index in 0..count {
        visit(index, Shape::read(&mut source).map_err(|error| (index, error))?);
    }
    match source.remaining() {
        0 => Ok(source.position()),
        _ => Err((count, RecordsError::Trailing)),
    }
}

/// Walks `count` records that must fill what `inflater` yields. Returns the bytes they take inflated.
pub(crate) fn walk_stream(
    inflater: Inflater<'_>,
    count: i32,
    mut visit: impl FnMut(i32, Shape),
) -> Result<u64, Stop> {
    let mut source = StreamSource { inflater, position: 0 };
    let mut index = 0;
    while index < count {
        let used = source.whole_records(&mut index, count, &mut visit)?;
        if used == 0 && index < count {
            // The next record begins in this piece and ends in another one.
            visit(index, Shape::read(&mut source).map_err(|error| (index, error))?);
            index += 1;
        }
    }
    match source.inflater.piece() {
        Ok([]) => Ok(source.position),
        Ok(_) => Err((count, RecordsError::Trailing)),
        Err(error) => Err((count, error)),
    }
}

struct StreamSource<'a> {
    inflater: Inflater<'a>,
    position: u64,
}

impl StreamSource<'_> {
    /// Visits the records that lie within the piece at hand, up to `count` in all; returns the bytes they take.
    fn whole_records(
        &mut self,
        index: &mut i32,
        count: i32,
        visit: &mut impl FnMut(i32, Shape),
    ) -> Result<usize, Stop> {
        let mut slice = SliceSource::new(self.inflater.piece().map_err(|error| (*index, error))?);
        let mut used = 0;
        while *index < count {
            match Shape::read(&mut slice) {
                Ok(shape) => visit(*index, shape),
                Err(RecordsError::Truncated) => break,
                Err(error) => return Err((*index, error)),
            }
            *index += 1;
            used = slice.position() as usize;
        }
        self.advance(used);
        Ok(used)
    }

    fn advance(&mut self, count: usize) {
        self.inflater.consume(count);
        self.position += count as u64;
    }
}

impl Source for StreamSource<'_> {
    fn byte(&mut self) -> Result<u8, RecordsError> {
        let byte = *self.inflater.piece()?.first().ok_or(RecordsError::Truncated)?;
        self.advance(1);
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordsError> {
        let mut left = count;
        while left > 0 {
            let piece = self.inflater.piece()?.len().min(left);
            if piece == 0 {
                return Err(RecordsError::Truncated);
            }
            self.advance(piece);
            left -= piece;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.position
    }
}
