//! A whole cluster on one thread, from one seed.
//!
//! The decisions are the product's: `partition` for replicas and producers, `metadata` for the controller. What
//! surrounds them is simulated: network, clocks, disks, a Raft that is always right, clients. Faults come from a
//! schedule that the seed draws. After every event the oracles look for what must never be, and in the end, with all
//! faults healed, for what must have become of everything.
//!
//! Transactions have a simulation of their own, [`transactions`], with simpler replication and a rougher network; so have
//! consumer groups and their offsets, [`groups`].
//!
//! A failing seed prints the schedule cut down to the faults that matter; the same seed gives the same run, event for
//! event.

mod client;
mod control;
mod disk;
mod follower;
pub mod groups;
#[cfg(feature = "bugs")]
pub mod hunt;
mod leader;
mod message;
mod network;
mod node;
mod oracle;
pub mod plan;
mod promise;
mod queue;
mod raft;
pub mod random;
pub mod report;
mod shrink;
pub mod transactions;
mod world;

pub use oracle::Violation;
pub use plan::{Fault, Plan};
pub use report::Report;
pub use shrink::shrink;
pub use world::{Options, run};
