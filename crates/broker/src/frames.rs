//! Cuts a connection's byte stream into request frames.
//!
//! The length prefix is checked before anything is allocated for it, and a frame of a known length is read
//! straight into a buffer of exactly that size: a batch inside it is later written, kept and sent to readers
//! from these same bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::budget::{Budget, Charge};

/// Bytes asked of the socket while the next frame's length is unknown. Small pipelined requests arrive
/// many to a read; of a large frame at most this much is moved once.
const CHUNK: usize = 64 * 1024;

/// Frames up to this size are given their room at once: a producer's default limit, with some to spare.
const COMMON: usize = 1_200 * 1024;

/// Width of the length prefix.
const PREFIX: usize = 4;

/// Why a connection's input cannot be read further. Each closes the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The prefix is negative or above `socket.request.max.bytes`. The text says so when it looks like
    /// another protocol.
    #[error("request of {size} bytes is outside 0..={limit} (socket.request.max.bytes){hint}")]
    Size { size: i32, limit: usize, hint: &'static str },
    /// The peer went away in the middle of a frame.
    #[error("connection ended inside a request, {got} bytes after its start")]
    Torn { got: usize },
    #[error("reading from the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads frames of one connection.
pub(crate) struct FrameReader {
    buffer: BytesMut,
    limit: usize,
    charge: Charge,
}

impl FrameReader {
    /// Frames above `limit` bytes are refused; bytes held beyond one chunk count against `budget`.
    pub(crate) fn new(limit: usize, budget: &Budget) -> Self {
        Self { buffer: BytesMut::new(), limit, charge: budget.charge() }
    }

    /// The next complete frame among the bytes that were read, without its length prefix.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(size) = self.frame_size()? else { return Ok(None) };
        if self.buffer.len() < PREFIX + size {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let frame = self.buffer.split_to(size).freeze();
        self.charge.set(self.buffer.len().saturating_sub(CHUNK));
        Ok(Some(frame))
    }

    /// Waits for more bytes. `false` means that the peer closed the connection between two frames.
    ///
    /// Dropping the future before it is ready loses nothing.
    pub(crate) async fn fill(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> Result<bool, FrameError> {
        self.charge.settled().await;
        let wanted = match self.frame_size()? {
            Some(size) => (PREFIX + size - self.buffer.len()).min(self.may_reserve(size)),
            None => CHUNK,
        };
        self.buffer.reserve(wanted);
        let read = socket.read_buf(&mut (&mut self.buffer).limit(wanted)).await?;
        self.charge.set(self.buffer.len().saturating_sub(CHUNK));
        match (read, self.buffer.len()) {
            (0, 0) => Ok(false),
            (0, got) => Err(FrameError::Torn { got }),
            _ => Ok(true),
        }
    }

    /// Bytes to make room for, towards a frame of this size. A common one gets all its room at once. The room of
    /// a very large one doubles as its bytes arrive, so that a length alone costs nothing.
    fn may_reserve(&self, size: usize) -> usize {
        if size <= COMMON { size + PREFIX } else { self.buffer.len().max(CHUNK) }
    }

    fn frame_size(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let size = i32::from_be_bytes(*prefix);
        match usize::try_from(size) {
            Ok(bytes) if bytes <= self.limit => Ok(Some(bytes)),
            _ => Err(FrameError::Size { size, limit: self.limit, hint: foreign_protocol(*prefix) }),
        }
    }
}

/// What the first four bytes look like when they are no length.
fn foreign_protocol(prefix: [u8; PREFIX]) -> &'static str {
    match &prefix {
        b"GET " | b"POST" | b"HEAD" | b"PUT " => "; it looks like HTTP, but this is a Kafka listener",
        [0x16, 0x03, ..] => "; it looks like TLS, but this listener is PLAINTEXT",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames_of(input: &[u8], limit: usize) -> (Vec<Bytes>, Result<bool, FrameError>) {
        let mut reader = FrameReader::new(limit, &Budget::new(1 << 20));
        let (mut socket, mut frames) = (input, Vec::new());
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => match reader.fill(&mut socket).await {
                    Ok(true) => {}
                    end => return (frames, end),
                },
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn frames_come_out_whole_and_in_order() {
        let big = vec![7u8; 200_000];
        let mut input = vec![0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0];
        input.extend_from_slice(&200_000u32.to_be_bytes());
        input.extend_from_slice(&big);
        let (frames, end) = frames_of(&input, 1 << 20).await;
        assert_eq!(frames, [Bytes::from("ab"), Bytes::new(), Bytes::from(big)]);
        assert!(matches!(end, Ok(false)));
    }

    #[tokio::test]
    async fn lengths_outside_the_limit_end_the_connection() {
        for (prefix, text) in [
            (*b"GET ", "HTTP"),
            ([0x16, 0x03, 0x01, 0x02], "TLS"),
            ([0xff; 4], "-1 bytes"),
            ([0x7f, 0xff, 0xff, 0xff], "2147483647 bytes"),
        ] {
            let (frames, end) = frames_of(&prefix, 1000).await;
            assert_eq!(frames.len(), 0);
            let error = end.unwrap_err();
            assert!(matches!(error, FrameError::Size { .. }), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[tokio::test]
    async fn a_frame_cut_in_half_is_torn() {
        let (frames, end) = frames_of(&[0, 0, 0, 9, 1, 2], 1000).await;
        assert_eq!(frames.len(), 0);
        assert!(matches!(end, Err(FrameError::Torn { got: 6 })));
    }
}
