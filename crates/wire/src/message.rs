//! What every generated message can do.

use crate::{ApiKey, DecodeError, EncodeError, Reader, Writer};

/// A request, a response, or another versioned value (such as a subscription inside JoinGroup).
pub trait Message: Sized {
    /// Reads one message of `version`. Fields that the version lacks keep Kafka's defaults,
    /// unknown tagged fields are skipped, bytes after the message are left in the reader.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message as `version` has it.
    ///
    /// Fields that the version lacks are left out, whatever they hold. `None` in a field that
    /// this version does not let be null is written as the empty string, array or struct.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request, and what answers it.
pub trait Request: Message {
    /// The API it belongs to.
    const KEY: ApiKey;
    /// The answer, always of the request's version.
    type Response: Response;
}

/// The answer to a request.
pub trait Response: Message {
    /// The API it belongs to.
    const KEY: ApiKey;
}

/// The body of a message or of a struct inside one; the version is already checked.
pub(crate) trait Struct: Sized {
    /// Fewest bytes that one value takes in any version; bounds what an array may allocate.
    const MIN_SIZE: usize;

    fn get(r: &mut Reader, v: i16) -> Result<Self, DecodeError>;

    fn put(&self, w: &mut Writer, v: i16);
}
