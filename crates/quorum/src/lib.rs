//! Raft groups: commands in, one agreed order out, applied state that survives a restart.
//!
//! A [`Node`] holds this process's part of every group: one log on disk for all of them
//! (`wal`), their applied key/value pairs in sled (`state`), and a snapshot file each. A
//! [`GroupHandle`] proposes commands and answers linearizable reads. What commands mean is known
//! to the [`StateMachine`] alone; this crate has never heard of Kafka.
//!
//! openraft does the consensus and stays behind this crate: nothing of it is in the public
//! interface, and [`Network`] and [`Inbound`] speak the messages of `proto/raft.proto`.
#![warn(missing_docs)]

mod answered;
mod candidacy;
mod config;
mod convert;
mod disk;
mod error;
#[cfg(test)]
mod fault_tests;
mod group;
mod id;
mod inbound;
mod leadership;
mod log_store;
mod machine;
mod maintenance;
mod network;
mod node;
mod outbound;
mod reads;
#[cfg(any(test, feature = "simulation"))]
mod sim_disk;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod state;
mod status;
#[cfg(test)]
mod suite;
mod types;
mod wal;

/// Messages of `proto/raft.proto`, spoken between nodes and stored on disk.
#[allow(missing_docs)]
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/milena.raft.rs"));
}

pub use config::{NodeConfig, Timers};
pub use error::{ChangeError, OpenError, ProposeError, ReadError};
pub use group::{Applied, GroupHandle, Submitted};
pub use id::{GroupId, NodeId};
pub use inbound::{Inbound, Refused};
pub use machine::{Change, Changes, StateMachine};
pub use network::{Network, Unreachable};
pub use node::Node;
pub use status::{GroupStatus, LeaderInfo, ReplicaStatus, Vitals};
pub use wal::{Damage, Recovery};

/// Longest command that can be proposed, in bytes. Longer ones are refused with
/// [`ProposeError::TooLarge`]; split them. It bounds a record of the log and a message of the
/// network.
pub const MAX_COMMAND: usize = 8 << 20;
