//! Writing compressed record sections, in one go or piece by piece.

use std::io::{self, Write};

use ::zstd::stream::write::Encoder as ZstdEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Compression;
use super::snappy::SnappyWriter;

/// How hard a codec tries, on its own scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The codec's own choice, which is Kafka's default too: gzip 6, zstd 3.
    #[default]
    Default,
    /// `compression.gzip.level` (1 to 9) or `compression.zstd.level` (-131072 to 22); values beyond are
    /// clamped. lz4 is always written at its fastest level, and snappy has none.
    Of(i32),
}

/// Compresses `input` as Kafka's clients expect it: snappy in xerial's framing, lz4 with independent blocks.
pub fn compress(codec: Compression, level: Level, input: &[u8]) -> Vec<u8> {
    let mut deflater = Deflater::new(codec, level, input.len());
    deflater.write(input);
    deflater.finish()
}

/// A compressed record section being written.
pub(crate) enum Deflater {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(SnappyWriter),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Deflater {
    /// Starts a stream that will take `size` bytes.
    pub(crate) fn new(codec: Compression, level: Level, size: usize) -> Self {
        let output = Vec::with_capacity(if codec == Compression::None { size } else { size / 2 });
        match codec {
            Compression::None => Self::Plain(output),
            Compression::Gzip => Self::Gzip(GzEncoder::new(output, gzip_level(level))),
            Compression::Snappy => Self::Snappy(SnappyWriter::new(output)),
            Compression::Lz4 => Self::Lz4(Box::new(FrameEncoder::with_frame_info(frame_info(), output))),
            Compression::Zstd => Self::Zstd(in_memory(zstd_encoder(output, level, size))),
        }
    }

    pub(crate) fn write(&mut self, piece: &[u8]) {
        in_memory(match self {
            Self::Plain(output) => output.write_all(piece),
            Self::Gzip(encoder) => encoder.write_all(piece),
            Self::Snappy(encoder) => encoder.write_all(piece),
            Self::Lz4(encoder) => encoder.write_all(piece),
            Self::Zstd(encoder) => encoder.write_all(piece),
        });
    }

    /// Bytes of output so far; what an encoder still holds back is not counted.
    pub(crate) fn written(&self) -> usize {
        match self {
            Self::Plain(output) => output.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Snappy(encoder) => encoder.output().len(),
            Self::Lz4(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => in_memory(encoder.finish()),
            Self::Snappy(encoder) => encoder.finish(),
            Self::Lz4(encoder) => in_memory(encoder.finish().map_err(io::Error::from)),
            Self::Zstd(encoder) => in_memory(encoder.finish()),
        }
    }
}

fn in_memory<T>(written: io::Result<T>) -> T {
    written.expect("an encoder that writes into memory does not fail")
}

fn gzip_level(level: Level) -> flate2::Compression {
    match level {
        Level::Default => flate2::Compression::default(),
        Level::Of(level) => flate2::Compression::new(level.clamp(1, 9) as u32),
    }
}

/// Blocks of 64 KiB, the size that Java's client writes and every reader has buffers for.
fn frame_info() -> FrameInfo {
    FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB)
}

/// The frame tells its content size, so that readers can allocate once.
fn zstd_encoder(output: Vec<u8>, level: Level, size: usize) -> io::Result<ZstdEncoder<'static, Vec<u8>>> {
    let level = match level {
        Level::Default => ::zstd::DEFAULT_COMPRESSION_LEVEL,
        Level::Of(level) => {
            let allowed = ::zstd::compression_level_range();
            level.clamp(*allowed.start(), *allowed.end())
        }
    };
    let mut encoder = ZstdEncoder::new(output, level)?;
    encoder.set_pledged_src_size(Some(size as u64))?;
    Ok(encoder)
}
