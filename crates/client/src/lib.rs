//! A small Kafka client: the command line, tests, benchmarks and drills speak through it.
//!
//! [`Client`] sends any request of `milena-wire` to the broker it belongs to; [`Producer`] and
//! [`Consumer`] are built on it. It is made for people who debug brokers: what it sends is what was asked
//! for, errors say what to do, and all that it holds is bounded by its options. Left to others: TLS and
//! SASL, transactions, the newer group protocol, cooperative rebalancing.

mod address;
mod client;
mod connection;
mod consumer;
mod error;
mod link;
mod metadata;
mod options;
mod producer;
mod retry;
mod target;
mod transport;
mod versions;

pub use client::Client;
pub use consumer::{
    Consumer, ConsumerOptions, Fetched, GroupOptions, OffsetReset, OffsetSpec, TopicPartition,
    offset_fetch_code,
};
pub use error::{Error, Served};
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use options::ClientOptions;
pub use producer::{Acks, Delivered, Delivery, Producer, ProducerOptions, ProducerRecord, partition_for_key};
pub use target::Target;
pub use versions::BrokerVersions;
