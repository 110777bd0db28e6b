//! The broker as a library: `milena serve` and tests start the same [`Server`].
//!
//! A request walks five rooms: [`connection`] cuts frames and keeps the order of answers, [`dispatch`] decodes,
//! [`api`] has a file per request, [`hosted`] joins what `milena-partition` decides with what `milena-log`
//! stores. [`cluster`] and [`coordination`] are the two replicated state machines with their Raft groups.

mod api;
mod authorized;
mod budget;
mod cleaner;
mod clock;
mod cluster;
mod connection;
mod controller_node;
mod coordination;
mod coordinators;
mod data_dir;
mod departure;
mod dispatch;
mod doors;
mod error;
mod failover;
pub mod formatting;
mod forming;
mod frames;
mod grants;
mod hosted;
mod housekeeping;
mod http;
mod joined;
mod listeners;
mod liveness;
mod meters;
mod parked;
mod partitions;
mod producer_ids;
mod quorum;
mod random;
mod registration;
mod replicas;
mod replication;
mod room;
mod server;
mod services;
mod settings;
mod standstill;
mod start;
mod transactions;
mod view;
mod waiters;

pub use cluster::MembersError;
pub use controller_node::ControllerNode;
pub use forming::{FormingError, Refusal as FormingRefusal};
pub use listeners::ListenError;
/// For the threads of the control runtime.
pub use milena_peer::liveness::urgent as urgent_thread;
pub use server::Server;
pub use start::StartError;

/// The APIs that a broker answers, in the order of the table.
pub fn served_apis() -> impl Iterator<Item = milena_wire::ApiKey> {
    dispatch::served()
}
