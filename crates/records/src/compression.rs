//! The codecs of a batch's record section: their numbers and names here, their streams below.

mod deflate;
mod inflate;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;

pub(crate) use deflate::Deflater;
pub use deflate::{Level, compress};
pub(crate) use inflate::Inflater;
pub use inflate::decompress;

/// Codec of a batch's record section; the discriminant is bits 0 to 2 of the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None = 0,
    /// An RFC 1952 stream.
    Gzip = 1,
    /// Raw block (librdkafka, franz-go) or xerial framing (Java, kafka-python); readers take both.
    Snappy = 2,
    /// An LZ4 frame with independent blocks.
    Lz4 = 3,
    /// Zstandard frames, with or without content size (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// Every codec, in the order of its number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec in bits 0 to 2 of `attributes`; `None` for the unassigned numbers 5 to 7.
    pub fn from_attributes(attributes: i16) -> Option<Self> {
        Self::ALL.get(usize::from((attributes & 0b111) as u16)).copied()
    }

    /// Kafka's name, as in `compression.type`: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
