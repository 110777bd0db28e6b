//! How a producer sends; defaults are those of Kafka 4's Java client.

use std::time::Duration;

use milena_records::{Compression, Level};

/// Whose word a producer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's: offsets are not learnt, errors are not told.
    None,
    /// The leader's.
    Leader,
    /// That of all in-sync replicas.
    #[default]
    All,
}

impl Acks {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a [`Producer`](crate::Producer) behaves.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Whose acknowledgement counts.
    pub acks: Acks,
    /// Lets the broker recognise repeats, so that retries neither duplicate nor reorder. Needs [`Acks::All`].
    pub idempotent: bool,
    /// Codec of the batches.
    pub compression: Compression,
    /// How hard the codec tries.
    pub level: Level,
    /// Longest that a record waits for others to share its batch.
    pub linger: Duration,
    /// Bytes, before compression, at which a batch is full.
    pub batch_size: usize,
    /// Largest record, and about the largest request, in bytes.
    pub max_request_size: usize,
    /// Requests that may be under way to one broker, and batches of one partition.
    pub max_in_flight: usize,
    /// Bytes of records that may wait; [`Producer::send`](crate::Producer::send) waits beyond that.
    pub buffer_memory: usize,
    /// Longest from `send` to the acknowledgement, retries included.
    pub delivery_timeout: Duration,
    /// Longest that the leader waits for its replicas (`request.timeout.ms` of a Produce request).
    pub replication_timeout: Duration,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            level: Level::Default,
            linger: Duration::from_millis(5),
            batch_size: 16 * 1024,
            max_request_size: 1 << 20,
            max_in_flight: 5,
            buffer_memory: 32 << 20,
            delivery_timeout: Duration::from_secs(120),
            replication_timeout: Duration::from_secs(30),
        }
    }
}
