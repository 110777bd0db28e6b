//! One replica of one partition, decided in pure code: which batches of an idempotent producer are
//! accepted ([`producers`]), and how far records are committed and may be read ([`replica`]).
//!
//! No I/O and no clock. The caller appends to the log, then tells the replica what became true; time
//! arrives with each call. What is left to others: bytes on disk (`milena-log`), waiting requests
//! (`milena-broker`), who leads (`milena-metadata`).

pub mod producers;
pub mod replica;

pub use producers::{BatchMetadata, ProducerEntry, Producers, SequenceRefusal, SequenceVerdict};
pub use replica::{AppendRefusal, EpochRefusal, FollowerPosition, Leadership, Replica, Role};
