//! Reading LZ4 frames as Kafka's brokers and Java's client do: blocks that stand alone, the header's checksum
//! right, blocks' checksums right where there are any. What they would refuse must not get into a log.
//!
//! A library's frame reader takes memory for the largest block that the header allows: with the 4 MiB that Go
//! clients ask for by default that is 8 MiB and 32 us for a batch of one record. Here the sequences of a block are
//! counted first, so that it gets as much as it inflates to, and a bomb nothing.

use std::io::{Error, ErrorKind, Result};

use twox_hash::XxHash32;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Inflates block by block.
pub(super) struct Lz4Reader<'a> {
    rest: &'a [u8],
    max_block: usize,
    block_checksums: bool,
    block: Block<'a>,
    at: usize,
}

enum Block<'a> {
    /// Written as it is because it does not compress.
    Plain(&'a [u8]),
    Inflated(Vec<u8>),
}

impl Block<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Inflated(bytes) => bytes,
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
        Ok(Self { rest, max_block, block_checksums: flags & 0x10 != 0, block: Block::Plain(&[]), at: 0 })
    }

    /// The rest of the current block or the next one; empty at the end of the frame.
    ///
    /// # Errors
    /// `FileTooLarge` when a block inflates to more than `limit` bytes: nothing is allocated for it.
    pub(super) fn fill_buf(&mut self, limit: usize) -> Result<&[u8]> {
        while self.at == self.block.bytes().len() {
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
            match plain {
                true => self.block = Block::Plain(block),
                false => self.inflate(block, limit)?,
            }
        }
        Ok(&self.block.bytes()[self.at..])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
    }

    fn inflate(&mut self, block: &[u8], limit: usize) -> Result<()> {
        let size = inflated_size(block).ok_or_else(|| invalid("a block is cut short"))?;
        if size > self.max_block {
            return Err(invalid("a block inflates to more than the frame allows"));
        }
        if size > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut inflated = match std::mem::replace(&mut self.block, Block::Plain(&[])) {
            Block::Inflated(mut last) => {
                last.resize(size, 0);
                last
            }
            Block::Plain(_) => vec![0; size],
        };
        let written = lz4_flex::block::decompress_into(block, &mut inflated)
            .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        if written != size {
            return Err(invalid("a block inflates to less than its sequences say"));
        }
        self.block = Block::Inflated(inflated);
        Ok(())
    }
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
