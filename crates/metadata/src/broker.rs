//! The record of one broker, as every broker knows it.

use milena_wire::Uuid;

use crate::{BrokerEpoch, BrokerId};

/// A registered broker: one process life of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// Its process life. Filled in when the registration is applied.
    pub epoch: BrokerEpoch,
    /// Random id of the process.
    pub incarnation: Uuid,
    /// Addresses for clients, one per listener.
    pub endpoints: Vec<Endpoint>,
    /// Rack, if it has one.
    pub rack: Option<String>,
    /// Not to be relied on: unreachable, or not yet caught up. A fenced broker is in no ISR and leads nothing.
    pub fenced: bool,
    /// On its way out: it gives its leaderships away and enters no ISR.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Where other brokers reach it, as host:port.
    pub peer_address: String,
    /// Its `process.roles` has no controller: it may not become a voter of the metadata quorum.
    pub broker_only: bool,
}

impl Broker {
    /// Whether it may lead and be in an ISR.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Its address on the listener `name`.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == name)
    }
}

/// Address of a broker for the clients of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener, in upper case.
    pub listener: String,
    /// Host, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Kafka's code of the security protocol.
    pub security_protocol: i16,
}
