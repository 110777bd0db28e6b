//! The record of a node that votes on metadata and keeps no partitions.

use milena_wire::Uuid;

use crate::BrokerId;

/// A node with `process.roles=controller`. One that is broker too is registered as [`crate::Broker`] alone.
///
/// It is not told to clients. That it is registered says which voters cannot coordinate groups, and by its directory a
/// voter that has lost its log is recognized (test id F11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedicatedController {
    /// Its number; brokers and controllers share one series.
    pub id: BrokerId,
    /// Id of its data directory.
    pub directory: Uuid,
    /// Where other nodes reach it, as host:port.
    pub peer_address: String,
}
