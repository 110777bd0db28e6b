//! Copies of partitions on several brokers: this broker feeds the followers of what it leads, and fetches what
//! others lead.
//!
//! Decisions are `milena-partition`'s, behind the lock of each [`crate::hosted::Hosted`]; here are the streams
//! that carry positions and batches, the tasks that keep them going, and the ISR changes that follow from them.
//! Specification: replication notes 1.5 to 1.9 and 1.11.

mod feed;
mod fetcher;
mod fetchers;
mod followed;
mod isr;
mod keys;
mod quota;

pub(crate) use feed::Feeder;
pub(crate) use fetchers::{FetcherContext, Fetchers};
pub(crate) use isr::{IsrKeeper, IsrQueue};
pub(crate) use keys::PartitionKey;
pub(crate) use quota::{ReplicationQuota, Side, Throttled};

#[cfg(test)]
mod tests;
