//! Record batches (format v2): view, validate, stamp, iterate, build, compress.
//!
//! No I/O and no clock: time arrives as an argument. A batch is validated once, where a client's
//! bytes enter; afterwards its body is shared and never copied, and only the 61 header bytes are
//! written anew.

#![warn(missing_docs)]

mod batch;
mod builder;
mod compact;
mod compression;
mod control;
mod crc;
mod error;
mod frame;
mod header;
mod ids;
mod invalid;
mod recompress;
mod records;
mod source;
mod validate;
mod varint;
mod walk;

pub use batch::{Batches, StoredBatch, batches};
pub use builder::BatchBuilder;
pub use compact::{Outline, Selection};
pub use compression::{Compression, Level, compress, decompress};
pub use control::{ControlRecord, TransactionResult};
pub use crc::CrcMismatch;
pub use error::RecordsError;
pub use header::{BatchHeader, HeaderError, TimestampType, looks_transactional};
pub use ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
pub use invalid::{BatchFault, Corruption, Invalid, RecordError, Rejection};
pub use recompress::recompress;
pub use records::{BatchRecords, Headers, OpenError, Record, RecordHeader, RecordIter};
pub use validate::{MAX_RECORD_ERRORS, Rules, Validated, validate};
