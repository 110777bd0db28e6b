//! Which nodes agree on metadata and how they reach each other: `controller.quorum.voters`,
//! `controller.quorum.bootstrap.servers`, `milena.peer.listener`, and Kafka's controller listener.
//!
//! Kafka's controllers have a listener of their own; files that name one say where our brokers meet.

use crate::listeners::{Listener, Listeners};
use crate::{BrokerConfig, Invalid, StartError};

const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP: &str = "controller.quorum.bootstrap.servers";
const PEER_LISTENER: &str = "milena.peer.listener";

/// One voter of the metadata quorum, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub id: i32,
    /// Where its peer listener is, as host:port.
    pub address: String,
}

/// How a node finds the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quorum {
    /// The voters of a new cluster, in ascending order of their ids. Empty if they are to be found out.
    pub voters: Vec<Voter>,
    /// Addresses of nodes to ask, as host:port.
    pub bootstrap_servers: Vec<String>,
    /// Host and port to listen on for other nodes. `None`: this node is and stays alone.
    pub listen: Option<(String, u16)>,
    /// What other nodes are told instead of that, if somebody said.
    pub advertised: Option<String>,
    /// Host of this node as other brokers know it, for one that listens everywhere and was told nothing more.
    pub host: Option<String>,
}

impl Quorum {
    /// Whether any other node is configured, so that this one must not form a cluster by itself.
    pub fn names_others(&self, node_id: i32) -> bool {
        self.voters.iter().any(|voter| voter.id != node_id) || !self.bootstrap_servers.is_empty()
    }

    /// The voter with this id.
    pub fn voter(&self, id: i32) -> Option<&Voter> {
        self.voters.iter().find(|voter| voter.id == id)
    }

    pub(crate) fn resolve(config: &BrokerConfig, listeners: &Listeners) -> Result<Self, StartError> {
        let voters = parse_voters(config.controller_quorum_voters())?;
        let servers = config.controller_quorum_bootstrap_servers().iter();
        let bootstrap_servers: Vec<String> =
            servers.map(|server| parse_address(BOOTSTRAP, server)).collect::<Result<_, _>>()?;
        let mut quorum = Self { voters, bootstrap_servers, listen: None, advertised: None, host: None };
        let own = |listener: &Listener| (listener.host.clone(), listener.port);
        quorum.listen = match listeners.controller.first() {
            Some(listener) => Some(own(listener)),
            None if quorum.names_others(config.node_id()) || config.is_set(PEER_LISTENER) => {
                let address = parse_address(PEER_LISTENER, config.peer_listener())?;
                split_address(&address)
            }
            None => None,
        };
        let advertised = listeners.controller_advertised.first().filter(|it| !it.host.is_empty());
        quorum.advertised = match (quorum.voter(config.node_id()), advertised) {
            (Some(voter), _) => Some(voter.address.clone()),
            (None, Some(listener)) => Some(join_address(&listener.host, listener.port)),
            (None, None) => None,
        };
        let inter_broker = listeners.advertised_for(&listeners.inter_broker);
        let is_told = listeners.controller.is_empty() && quorum.listen.is_some();
        quorum.host = inter_broker.filter(|it| is_told && !it.host.is_empty()).map(|it| it.host.clone());
        Ok(quorum)
    }
}

fn parse_voters(list: &[String]) -> Result<Vec<Voter>, Invalid> {
    let mut voters: Vec<Voter> = Vec::new();
    for entry in list.iter().filter(|entry| !entry.is_empty()) {
        let refuse = || Invalid::value(VOTERS, entry, "each voter is given as id@host:port");
        let (id, address) = entry.split_once('@').ok_or_else(refuse)?;
        let id: i32 = id.trim().parse().ok().filter(|id| *id >= 0).ok_or_else(refuse)?;
        let address = parse_address(VOTERS, address).map_err(|_| refuse())?;
        if let Some(other) = voters.iter().find(|voter| voter.id == id || voter.address == address) {
            let reason = format!("voter {}@{} is named twice", other.id, other.address);
            return Err(Invalid::value(VOTERS, entry, reason));
        }
        voters.push(Voter { id, address });
    }
    voters.sort_by_key(|voter| voter.id);
    Ok(voters)
}

fn parse_address(setting: &str, text: &str) -> Result<String, Invalid> {
    match split_address(text) {
        Some((host, port)) => Ok(join_address(&host, port)),
        None => Err(Invalid::value(setting, text, "an address is given as host:port")),
    }
}

/// Host without brackets, and port.
fn split_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%:".contains(&byte);
    (host.bytes().all(is_plain)).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// The address as it is dialled: an IPv6 host stands in brackets.
pub fn join_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
