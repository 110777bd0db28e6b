//! Reading compressed record sections piece by piece, never past a limit.
//!
//! Memory is one piece (a codec's block or [`PIECE`] bytes) plus the codec's window, whatever the stream
//! inflates to. zstd may reserve up to the 128 MiB window that level 22 of Java's client declares, but
//! touches only as much of it as it has inflated.

use std::io::{BufRead, BufReader};

use flate2::bufread::MultiGzDecoder;

use super::Compression;
use super::lz4::Lz4Reader;
use super::snappy::SnappyReader;
use super::zstd::ZstdReader;
use crate::RecordsError;

/// Bytes of gzip that are inflated at a time; well within L2.
const PIECE: usize = 32 * 1024;

/// Inflates all of `input`, or fails when that is more than `limit` bytes.
///
/// # Errors
/// [`RecordsError::Codec`] and [`RecordsError::InflatesTooFar`].
pub fn decompress(codec: Compression, input: &[u8], limit: usize) -> Result<Vec<u8>, RecordsError> {
    let mut inflater = Inflater::new(codec, input, limit)?;
    let mut output = Vec::new();
    loop {
        let piece = inflater.piece()?;
        if piece.is_empty() {
            return Ok(output);
        }
        let count = piece.len();
        if output.capacity() - output.len() < count {
            let wanted = (output.len() + count).max(2 * output.capacity()).min(limit);
            output.reserve_exact(wanted - output.len());
        }
        output.extend_from_slice(piece);
        inflater.consume(count);
    }
}

/// A compressed record section being inflated.
pub(crate) struct Inflater<'a> {
    stream: Stream<'a>,
    codec: Compression,
    /// Bytes that were consumed; with the piece at hand never above `limit`.
    consumed: usize,
    limit: usize,
    ended: bool,
}

enum Stream<'a> {
    Plain(&'a [u8]),
    Gzip(Box<BufReader<MultiGzDecoder<&'a [u8]>>>),
    Snappy(SnappyReader<'a>),
    Lz4(Lz4Reader<'a>),
    Zstd(ZstdReader<'a>),
}

impl<'a> Inflater<'a> {
    /// Starts to read `input`, which may inflate to `limit` bytes.
    pub(crate) fn new(codec: Compression, input: &'a [u8], limit: usize) -> Result<Self, RecordsError> {
        let gzip = || Box::new(BufReader::with_capacity(PIECE, MultiGzDecoder::new(input)));
        let stream = match codec {
            Compression::None => Stream::Plain(input),
            Compression::Gzip => Stream::Gzip(gzip()),
            Compression::Snappy => Stream::Snappy(SnappyReader::new(input)),
            Compression::Lz4 => Stream::Lz4(Lz4Reader::new(input).map_err(|error| refused(codec, &error))?),
            Compression::Zstd => Stream::Zstd(ZstdReader::new(input)),
        };
        Ok(Self { stream, codec, consumed: 0, limit, ended: false })
    }

    /// The bytes that come next; empty at the end.
    #[inline]
    pub(crate) fn piece(&mut self) -> Result<&[u8], RecordsError> {
        if self.ended {
            return Ok(&[]);
        }
        let left = self.limit - self.consumed;
        let piece = match &mut self.stream {
            Stream::Plain(rest) => Ok(*rest),
            Stream::Gzip(reader) => reader.fill_buf(),
            Stream::Snappy(reader) => reader.fill_buf(left),
            Stream::Lz4(reader) => reader.fill_buf(left),
            Stream::Zstd(reader) => reader.fill_buf(),
        };
        match piece {
            Ok(piece) if piece.len() <= left => {
                // Asked again after its end, a reader would look for another stream.
                self.ended = piece.is_empty();
                Ok(piece)
            }
            Ok(_) => Err(RecordsError::InflatesTooFar { limit: self.limit }),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                Err(RecordsError::InflatesTooFar { limit: self.limit })
            }
            Err(error) => Err(refused(self.codec, &error)),
        }
    }

    /// Passes over the first `count` bytes of the piece at hand.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.consumed += count;
        match &mut self.stream {
            Stream::Plain(rest) => rest.consume(count),
            Stream::Gzip(reader) => reader.consume(count),
            Stream::Snappy(reader) => reader.consume(count),
            Stream::Lz4(reader) => reader.consume(count),
            Stream::Zstd(reader) => reader.consume(count),
        }
    }
}

fn refused(codec: Compression, error: &std::io::Error) -> RecordsError {
    RecordsError::Codec { codec, reason: error.to_string().into() }
}
