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
//! Both modes of Raft are here: a model that is always right and fast, and, with the feature `openraft`, the product's own
//! nodes ([`Mode::Openraft`], and `quorum` for themselves alone).
//!
//! A failing seed prints the schedule cut down to the faults that matter; the same seed gives the same run, event for
//! event.

mod client;
mod consensus;
mod control;
mod disk;
mod faults;
mod follower;
pub mod groups;
#[cfg(feature = "bugs")]
pub mod hunt;
mod incidents;
mod leader;
mod message;
mod network;
mod node;
mod oracle;
pub mod plan;
mod promise;
mod queue;
#[cfg(feature = "openraft")]
pub mod quorum;
mod raft;
pub mod random;
pub mod report;
mod second_mode;
mod shrink;
pub mod transactions;
mod world;

pub use incidents::Incidents;
pub use oracle::Violation;
pub use plan::{Fault, Plan};
pub use report::Report;
pub use shrink::{fewest, shrink};
pub use world::{Mode, Options, run};
