//! Reading compressed record sections piece by piece, never past a limit.
//!
//! Memory is one piece (a codec's block or [`PIECE`] bytes) plus the codec's window, whatever the stream
//! inflates to. zstd may reserve up to the 128 MiB window that level 22 of Java's client declares, but
//! touches only as much of it as it has inflated.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::Compression;
use super::snappy::SnappyReader;
use crate::RecordsError;

/// Bytes inflated at a time by codecs without blocks of their own: one zstd block, and well within L2.
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
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(BufReader<ZstdDecoder<'static, &'a [u8]>>),
}

impl<'a> Inflater<'a> {
    /// Starts to read `input`, which may inflate to `limit` bytes.
    pub(crate) fn new(codec: Compression, input: &'a [u8], limit: usize) -> Result<Self, RecordsError> {
        let stream = match codec {
            Compression::None => Ok(Stream::Plain(input)),
            Compression::Gzip => Ok(Stream::Gzip(Box::new(buffered(MultiGzDecoder::new(input))))),
            Compression::Snappy => Ok(Stream::Snappy(SnappyReader::new(input))),
            Compression::Lz4 => {
                independent_blocks(input).map(|()| Stream::Lz4(Box::new(FrameDecoder::new(input))))
            }
            Compression::Zstd => ZstdDecoder::with_buffer(input)
                .map(buffered)
                .map(Stream::Zstd)
                .map_err(|error| error.to_string()),
        };
        match stream {
            Ok(stream) => Ok(Self { stream, codec, consumed: 0, limit, ended: false }),
            Err(reason) => Err(RecordsError::Codec { codec, reason: reason.into() }),
        }
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
            Stream::Lz4(reader) => reader.fill_buf(),
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
            Err(error) => Err(RecordsError::Codec { codec: self.codec, reason: error.to_string().into() }),
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

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(PIECE, reader)
}

/// Kafka reads only frames of today's format whose blocks stand alone (bit 5 of the flags).
fn independent_blocks(input: &[u8]) -> Result<(), String> {
    match input {
        [0x04, 0x22, 0x4d, 0x18, flags, ..] if flags & 0x20 != 0 => Ok(()),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err("the blocks of the frame depend on each other".into()),
        _ => Err("the magic number of a frame is missing".into()),
    }
}
