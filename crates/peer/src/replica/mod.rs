//! Copying partitions between brokers: the stream of `proto/replica.proto`, without knowing what a partition
//! is. Who may fetch, what is answered and what a follower does with it is the broker's.
//!
//! A stream has a connection of its own, served by other threads, so that bulk data delays neither Raft nor liveness. HTTP/2's flow
//! control is the back-pressure: a leader reads no more from disk than its follower takes.

mod client;
mod encode;
mod server;

/// The messages of the stream.
pub mod message {
    pub use crate::generated::replica::{
        Batches, Diverging, Key, PartitionBatches, Position, Positions, Refusal,
    };
}

pub use client::fetch;
pub use server::{Leader, ReplicaService, replica_service};

/// Longest message taken. Leaders keep to far less unless one batch alone is longer.
const LONGEST_MESSAGE: usize = 1 << 30;

/// Bytes under way on one stream before its leader waits for the follower.
const WINDOW: u32 = 16 << 20;

/// Bytes of one HTTP/2 frame: each costs a header and a turn of the connection's task.
const FRAME: u32 = 1 << 20;
