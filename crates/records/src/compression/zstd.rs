//! Reading zstd streams with a context that is kept for the next one: making one takes 8 us, more than most
//! else that a small batch costs.

use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};

use ::zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective, get_error_name};

/// Bytes inflated at a time: one zstd block, and well within L2.
const PIECE: usize = 32 * 1024;
/// Largest context that is kept, in bytes: room for the window of the default level. What a stream with a larger
/// window took is given back at once.
const KEEP: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// What can be used again.
struct Context {
    context: DCtx<'static>,
    piece: Vec<u8>,
}

/// Inflates piece by piece.
pub(super) struct ZstdReader<'a> {
    context: Option<Context>,
    input: InBuffer<'a>,
    at: usize,
    /// Whether the input so far ends with a frame.
    whole: bool,
}

impl<'a> ZstdReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let new = || Context { context: DCtx::create(), piece: Vec::with_capacity(PIECE) };
        let mut context = KEPT.take().unwrap_or_else(new);
        context.piece.clear();
        Self { context: Some(context), input: InBuffer::around(input), at: 0, whole: true }
    }

    /// The rest of the current piece or the next one; empty at the end.
    pub(super) fn fill_buf(&mut self) -> Result<&[u8]> {
        let Context { context, piece } = self.context.as_mut().expect("taken only when dropped");
        while self.at == piece.len() {
            let before = self.input.pos;
            if before == self.input.src.len() && self.whole {
                return Ok(&[]);
            }
            self.at = 0;
            piece.clear();
            let mut output = OutBuffer::around(piece);
            let hint = context
                .decompress_stream(&mut output, &mut self.input)
                .map_err(|code| Error::new(ErrorKind::InvalidData, get_error_name(code)))?;
            self.whole = hint == 0;
            // No output and no input taken: the stream wants bytes that are not there.
            if piece.is_empty() && self.input.pos == before {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(&piece[self.at..])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Drop for ZstdReader<'_> {
    fn drop(&mut self) {
        let kept = self.context.take().filter(|it| it.context.sizeof() <= KEEP);
        if let Some(mut kept) = kept
            && kept.context.reset(ResetDirective::SessionOnly).is_ok()
        {
            KEPT.set(Some(kept));
        }
    }
}

#[cfg(test)]
#[path = "zstd_tests.rs"]
mod tests;
