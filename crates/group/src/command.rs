//! A change to the groups, as it travels through Raft.

use prost::Message;

use crate::stored::{self, command::Kind};

/// One entry of the `coordination` log. Only a [`Coordinator`](crate::Coordinator) makes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Command(pub(crate) Kind);

/// The bytes are no command of a version that this broker knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut short.
    #[error("group command does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A kind of command that a newer broker wrote.
    #[error("group command of an unknown kind")]
    UnknownKind,
}

impl Command {
    /// Bytes for the Raft log.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.0.encode(&mut bytes);
        bytes
    }

    /// Length of [`Command::encode`]'s result in bytes.
    pub fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(bytes: impl bytes::Buf) -> Result<Self, DecodeError> {
        stored::Command::decode(bytes)?.kind.map(Self).ok_or(DecodeError::UnknownKind)
    }
}
