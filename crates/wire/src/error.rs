//! Why bytes are not a message, or a message cannot become bytes.

use crate::ApiKey;

/// Bytes that are not the message they should be. `at` counts from the start of the frame's body.
///
/// Kafka closes the connection on any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("bytes end at {at}, {needed} more expected")]
    Truncated {
        /// Where the field starts.
        at: usize,
        /// How many bytes are missing.
        needed: usize,
    },
    /// A length or count that is negative, too large for the bytes left, or past a fixed limit.
    #[error("length {length} at byte {at} does not fit the bytes left")]
    InvalidLength {
        /// Where the length ends and its content should start.
        at: usize,
        /// The length read.
        length: i64,
    },
    /// Null where this version of the message allows none.
    #[error("null before byte {at}, where this version allows none")]
    UnexpectedNull {
        /// Just past the null.
        at: usize,
    },
    /// A string that is not UTF-8.
    #[error("string at byte {at} is not utf-8")]
    NotUtf8 {
        /// Where the string's content starts.
        at: usize,
    },
    /// A varint that does not fit its type.
    #[error("varint before byte {at} is longer than its type")]
    VarintTooLong {
        /// Where reading stopped.
        at: usize,
    },
    /// No API has this key, or none that this crate knows.
    #[error("api key {key} is not known")]
    UnknownApi {
        /// The key in the request header.
        key: i16,
    },
    /// The API is known, this version of it cannot be decoded.
    #[error("{api} version {version} is not supported")]
    UnsupportedVersion {
        /// Which API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
}

/// A message that the chosen version cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string, byte field or array longer than its length prefix can say.
    #[error("{length} bytes or elements are more than a length prefix of at most {limit} can say")]
    TooLong {
        /// Length in bytes or elements.
        length: usize,
        /// The longest that the version can carry.
        limit: usize,
    },
    /// The API has no such version.
    #[error("{api} version {version} is not supported")]
    UnsupportedVersion {
        /// Which API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
}
