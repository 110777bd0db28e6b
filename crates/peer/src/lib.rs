//! Broker to broker, over gRPC: the listener that serves other nodes, and the connections to them.
//!
//! [`Peers`] implements [`milena_quorum::Network`]; [`serve`] hands what arrives to
//! [`milena_quorum::Inbound`]. Both carry the cluster's id and the ids of both nodes with every
//! call, so that a wrong address reaches nobody: neither another cluster nor another node.
#![warn(missing_docs)]

mod addresses;
mod identity;
mod line;
mod network;
mod service;

/// The service of `proto/raft.proto`.
#[allow(missing_docs, unused_qualifications, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/milena.raft.rs"));
}

pub use addresses::Addresses;
pub use identity::Identity;
pub use network::{PeerConfig, Peers};
pub use service::{ServeError, serve};

/// Longest message in bytes, in both directions: a command and what goes with it.
pub const MAX_MESSAGE: usize = milena_quorum::MAX_COMMAND + (1 << 20);
