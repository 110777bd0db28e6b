//! One replica of one partition, decided in pure code: which batches of an idempotent producer are
//! accepted ([`producers`]), how far records are committed and may be read ([`replica`]), who is in sync
//! ([`isr`]), what a follower gets ([`fetch`]) and what it does with it ([`follow`]).
//!
//! No I/O and no clock. The caller appends to the log, then tells the replica what became true; time
//! arrives with each call. What is left to others: bytes on disk (`milena-log`), waiting requests
//! (`milena-broker`), who leads (`milena-metadata`).

#[cfg(test)]
mod divergence_tests;
pub mod ended;
pub mod epochs;
pub mod fetch;
pub mod follow;
pub mod followers;
pub mod isr;
pub mod leadership;
pub mod markers;
pub mod producers;
pub mod replica;
#[cfg(test)]
mod testing;
pub mod transactions;
pub mod verification;

pub use ended::MarkerAddress;
pub use epochs::{EpochCache, EpochEnd, EpochEntry};
pub use fetch::{FetchRefusal, FetchVerdict, FollowerFetch};
pub use follow::{BatchVerdict, Judgement, Position, Reply};
pub use followers::Follower;
pub use isr::{IsrAnswer, IsrChange, Patience};
pub use leadership::{
    AppendRefusal, BrokerLife, EpochRefusal, Leadership, Lives, Replication, Role, Transition,
};
pub use markers::{Marker, MarkerFence, MarkerVerdict};
pub use producers::{BatchMetadata, ProducerEntry, Producers, SequenceRefusal, SequenceVerdict};
pub use replica::{LogBounds, Replica};
pub use transactions::{CompletedTransaction, OpenTransactions};
pub use verification::Guard;
