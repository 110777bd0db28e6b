//! What can be wrong with the records behind a batch's header.

use crate::Compression;

/// Why the record section of a batch cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The bytes end before the records that the header counts.
    #[error("the bytes end within a record")]
    Truncated,
    /// Bytes follow the last record that the header counts.
    #[error("bytes remain after the last record")]
    Trailing,
    /// An int32 of more than 5 bytes or an int64 of more than 10.
    #[error("a variable-length integer has too many bytes")]
    VarintTooLong,
    /// A record's length prefix disagrees with its fields.
    #[error("the record declares {declared} bytes but its fields take {found}")]
    Length {
        /// What the prefix says.
        declared: i32,
        /// What was read.
        found: u64,
    },
    /// A record with a negative number of headers.
    #[error("negative number of record headers {0}")]
    HeaderCount(i32),
    /// Header keys are never null.
    #[error("negative length {0} of a record header's key")]
    HeaderKey(i32),
    /// The codec refuses the bytes.
    #[error("not a valid {codec} stream: {reason}")]
    Codec {
        /// Codec named by the batch's attributes.
        codec: Compression,
        /// The library's words.
        reason: Box<str>,
    },
    /// The records inflate to more than the caller allows; nothing beyond the limit was produced.
    #[error("the records inflate to more than {limit} bytes")]
    InflatesTooFar {
        /// The caller's limit in bytes.
        limit: usize,
    },
}
