//! Broker to broker, over gRPC: the listener that serves other nodes, and the connections to them.
//!
//! [`serve`] runs the listener with the services of a [`Routes`], one of which is [`raft_service`]; it
//! hands what arrives to [`milena_quorum::Inbound`]. [`Peers`] is the other end and implements
//! [`milena_quorum::Network`]. Calls carry the cluster's id and the ids of both nodes, so that a wrong
//! address reaches nobody: neither another cluster nor another node.
#![warn(missing_docs)]

mod addresses;
mod control;
mod control_calls;
mod descriptor;
mod identity;
mod line;
pub mod liveness;
mod network;
mod purpose;
pub mod replica;
mod routes;
mod service;
pub mod transactions;

/// What is generated from `proto/`, a module per file.
#[allow(missing_docs, unused_qualifications, clippy::all)]
mod generated {
    /// The service of `proto/raft.proto`; its messages live in crate `quorum`.
    pub(crate) mod raft {
        tonic::include_proto!("milena.raft");
    }
    /// `proto/replica.proto`.
    pub(crate) mod replica {
        tonic::include_proto!("milena.replica");
    }

    /// `proto/liveness.proto`.
    pub(crate) mod liveness {
        tonic::include_proto!("milena.liveness");
    }

    pub(crate) mod control {
        tonic::include_proto!("milena.control");
    }

    /// `proto/transactions.proto`.
    pub(crate) mod transactions {
        tonic::include_proto!("milena.transactions");
    }
}

/// Messages of `proto/control.proto`.
pub mod message {
    pub use crate::generated::control::{
        Applied, ChangeMembersRequest, ChangeMembersResponse, HelloRequest, HelloResponse, MemberStatus,
        NotLeader, Peer, ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, Stage,
        StatusRequest, StatusResponse, change_members_request, change_members_response, propose_response,
        read_index_response,
    };
}

pub use addresses::Addresses;
pub use control::{Controlled, control_service};
pub use control_calls::hello;
pub use identity::Identity;
pub use network::{PeerConfig, Peers};
pub use routes::Routes;
pub use service::{ServeError, raft_service, serve, serve_on};
/// For implementing [`Controlled`].
pub use tonic::async_trait;

/// Longest message in bytes, in both directions: a command and what goes with it.
pub const MAX_MESSAGE: usize = milena_quorum::MAX_COMMAND + (1 << 20);
