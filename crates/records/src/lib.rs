//! Record batches (format v2): view, validate, stamp, iterate, build, compress.
//!
//! No I/O and no clock: time arrives as an argument. A batch is validated once, where a client's
//! bytes enter; afterwards its body is shared and never copied, and only the 61 header bytes are
//! written anew.

#![warn(missing_docs)]

mod compression;
mod header;
mod ids;

pub use compression::Compression;
pub use header::{BatchHeader, HeaderError, TimestampType};
pub use ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
