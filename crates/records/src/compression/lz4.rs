//! Reading LZ4 frames as Kafka's brokers and Java's client do: blocks that stand alone, the header's checksum
//! right, blocks' checksums right where there are any. What they would refuse must not get into a log.
//!
//! A library's frame reader takes memory for the largest block that the header allows: with the 4 MiB that Go
//! clients ask for by default that is 8 MiB and 32 us for a batch of one record. Blocks of 64 KiB, which Java and
//! librdkafka ask for, are inflated into a buffer that is kept. The sequences of larger ones are counted first, so
//! that a block gets as much as it inflates to, and a bomb nothing.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};

use lz4_flex::block::{DecompressError, decompress_into};
use twox_hash::XxHash32;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Bytes of the buffer that a thread keeps: the smallest block that a frame can allow. Counting sequences takes
/// half as long as inflating them.
const KEEP: usize = 64 * 1024;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Inflates block by block.
pub(super) struct Lz4Reader<'a> {
    rest: &'a [u8],
    max_block: usize,
    block_checksums: bool,
    buffer: Vec<u8>,
    block: Block<'a>,
    at: usize,
}

#[derive(Clone, Copy)]
enum Block<'a> {
    /// Written as it is because it does not compress.
    Plain(&'a [u8]),
    /// That many bytes of the buffer.
    Inflated(usize),
}

impl<'a> Block<'a> {
    fn bytes<'b>(self, buffer: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Inflated(length) => &buffer[..length],
        }
    }
}

impl<'a> Lz4Reader<'a> {
    /// Reads the frame's header.
    pub(super) fn new(input: &'a [u8]) -> Result<Self> {
        let Some((magic, descriptor)) = input.split_first_chunk() else { return Err(CUT.into()) };
        if *magic != MAGIC {
            return Err(invalid("the magic number of a frame is missing"));
        }
        let [flags, size, ..] = descriptor else { return Err(CUT.into()) };
        // Version 1, no dictionary, reserved bits zero.
        if flags & 0b1100_0011 != 0b0100_0000 || size & 0b1000_1111 != 0 {
            return Err(invalid("the frame is of an unknown kind"));
        }
        if flags & 0x20 == 0 {
            return Err(invalid("the blocks of the frame depend on each other"));
        }
        let max_block = match size >> 4 {
            it @ 4..=7 => 1 << (8 + 2 * it),
            _ => return Err(invalid("the largest block has no valid size")),
        };
        let length = if flags & 0x08 == 0 { 2 } else { 10 };
        let (descriptor, rest) = descriptor.split_at_checked(length).ok_or(CUT)?;
        let (checksum, rest) = rest.split_first().ok_or(CUT)?;
        if *checksum != (XxHash32::oneshot(0, descriptor) >> 8) as u8 {
            return Err(invalid("the checksum of the frame's header is wrong"));
        }
        let block_checksums = flags & 0x10 != 0;
        Ok(Self { rest, max_block, block_checksums, buffer: KEPT.take(), block: Block::Plain(&[]), at: 0 })
    }

    /// The rest of the current block or the next one; empty at the end of the frame.
    ///
    /// # Errors
    /// `FileTooLarge` when a block inflates to more than `limit` bytes: no more than [`KEEP`] is allocated for it.
    pub(super) fn fill_buf(&mut self, limit: usize) -> Result<&[u8]> {
        while self.at == self.block.bytes(&self.buffer).len() {
            let (size, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
            let size = u32::from_le_bytes(*size);
            if size == 0 {
                return Ok(&[]);
            }
            let (plain, size) = (size >> 31 == 1, (size & 0x7fff_ffff) as usize);
            if size > self.max_block {
                return Err(invalid("a block is larger than the frame allows"));
            }
            let (block, rest) = rest.split_at_checked(size).ok_or(CUT)?;
            self.rest = rest;
            if self.block_checksums {
                let (checksum, rest) = rest.split_first_chunk().ok_or(CUT)?;
                self.rest = rest;
                if u32::from_le_bytes(*checksum) != XxHash32::oneshot(0, block) {
                    return Err(invalid("the checksum of a block is wrong"));
                }
            }
            self.at = 0;
            self.block = match plain {
                true => Block::Plain(block),
                false => Block::Inflated(self.inflate(block, limit)?),
            };
        }
        Ok(&self.block.bytes(&self.buffer)[self.at..])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
    }

    /// Bytes of the buffer that `block` inflated to.
    fn inflate(&mut self, block: &[u8], limit: usize) -> Result<usize> {
        let room = match self.max_block {
            small @ ..=KEEP => small,
            _ => inflated_size(block).ok_or_else(|| invalid("a block is cut short"))?,
        };
        if room > self.max_block {
            return Err(too_large());
        }
        if room > KEEP.max(limit) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        let inflated = decompress_into(block, &mut self.buffer[..room]).map_err(|error| match error {
            DecompressError::OutputTooSmall { .. } => too_large(),
            other => Error::new(ErrorKind::InvalidData, other),
        })?;
        match inflated > limit {
            true => Err(ErrorKind::FileTooLarge.into()),
            false => Ok(inflated),
        }
    }
}

impl Drop for Lz4Reader<'_> {
    fn drop(&mut self) {
        if self.buffer.len() <= KEEP {
            KEPT.set(std::mem::take(&mut self.buffer));
        }
    }
}

fn too_large() -> Error {
    invalid("a block inflates to more than the frame allows")
}

/// Bytes that the sequences of a block make: literals, and copies of four bytes and up.
fn inflated_size(block: &[u8]) -> Option<usize> {
    let mut rest = block;
    let mut size = 0_usize;
    loop {
        let (token, after) = rest.split_first()?;
        rest = after;
        let literals = length(usize::from(token >> 4), &mut rest)?;
        size += literals;
        rest = rest.get(literals..)?;
        // The last sequence has no copy.
        if rest.is_empty() {
            return Some(size);
        }
        rest = rest.get(2..)?;
        size += 4 + length(usize::from(token & 15), &mut rest)?;
    }
}

/// A length of four bits, continued in bytes as long as they are 255.
fn length(nibble: usize, rest: &mut &[u8]) -> Option<usize> {
    let mut length = nibble;
    if nibble == 15 {
        loop {
            let (byte, after) = rest.split_first()?;
            *rest = after;
            length += usize::from(*byte);
            if *byte < 255 {
                break;
            }
        }
    }
    Some(length)
}

const CUT: ErrorKind = ErrorKind::UnexpectedEof;

fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
#[path = "lz4_tests.rs"]
mod tests;
