//! Snappy has no stream format of its own. Two are on the wire: one bare block (librdkafka, franz-go), and
//! the framing of xerial's snappy-java (Java, kafka-python): an 8-byte magic, two versions, then blocks
//! behind their int32 length. Both are read, the second is written, as every client reads it.

use std::io::{Error, ErrorKind, Result, Write};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER: usize = 16;
/// Uncompressed bytes of a block as snappy-java writes them.
const BLOCK: usize = 32 * 1024;

/// Inflates block by block.
pub(super) struct SnappyReader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    at: usize,
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let framed = input.len() >= HEADER && input.starts_with(&MAGIC);
        let rest = if framed { &input[HEADER..] } else { input };
        Self { rest, framed, block: Vec::new(), at: 0 }
    }

    /// The rest of the current block or the next one; empty at the end.
    ///
    /// # Errors
    /// `FileTooLarge` when a block declares more than `limit` bytes: nothing is allocated for it.
    pub(super) fn fill_buf(&mut self, limit: usize) -> Result<&[u8]> {
        while self.at == self.block.len() && !self.rest.is_empty() {
            let compressed = self.next_block()?;
            self.block.clear();
            self.at = 0;
            let size = declared_size(compressed)?;
            if size > limit {
                return Err(ErrorKind::FileTooLarge.into());
            }
            self.block.resize(size, 0);
            snap::raw::Decoder::new().decompress(compressed, &mut self.block)?;
        }
        Ok(&self.block[self.at..])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
    }

    fn next_block(&mut self) -> Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        let (length, rest) =
            self.rest.split_first_chunk().ok_or_else(|| invalid("the length of a block is cut short"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(|| invalid("a block is cut short"))?;
        self.rest = rest;
        Ok(block)
    }
}

/// What a block says it inflates to, if that is possible: three bytes copy at most 64.
fn declared_size(block: &[u8]) -> Result<usize> {
    let size = snap::raw::decompress_len(block)?;
    if size / 22 > block.len() {
        return Err(invalid("a block declares more bytes than it can hold"));
    }
    Ok(size)
}

fn invalid(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// Compresses in xerial's framing.
pub(crate) struct SnappyWriter {
    output: Vec<u8>,
    block: Vec<u8>,
}

impl SnappyWriter {
    pub(super) fn new(mut output: Vec<u8>) -> Self {
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&1u32.to_be_bytes()); // version
        output.extend_from_slice(&1u32.to_be_bytes()); // oldest version that can read it
        Self { output, block: Vec::with_capacity(BLOCK) }
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write_block();
        self.output
    }

    fn write_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let block = snap::raw::Encoder::new().compress_vec(&self.block).expect("a block is far below 4 GiB");
        self.output.extend_from_slice(&(block.len() as u32).to_be_bytes());
        self.output.extend_from_slice(&block);
        self.block.clear();
    }
}

impl Write for SnappyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.write_block();
        }
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
