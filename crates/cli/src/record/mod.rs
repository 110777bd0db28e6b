//! Records on their way between topics and text.

pub mod json;
pub mod lines;
pub mod reading;
pub mod sending;
pub mod template;

use milena_records::{Record, TimestampType};

/// A record that was read, borrowed from its batch, and where it was.
#[derive(Debug, Clone, Copy)]
pub struct Consumed<'a> {
    /// Topic it is in.
    pub topic: &'a str,
    /// Partition it is in.
    pub partition: i32,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
    /// Whose clock its timestamp is.
    pub timestamp_type: TimestampType,
    /// Offset, timestamp, key, value and headers.
    pub record: Record<'a>,
}

/// A record to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic, if the line names one.
    pub topic: Option<String>,
    /// Partition, if the line names one; otherwise the key decides.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, if the line names them; otherwise now.
    pub timestamp: Option<i64>,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; none deletes the key from a compacted topic.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<NewHeader>,
}

/// A header of a [`NewRecord`]: name and value.
pub type NewHeader = (String, Option<Vec<u8>>);
