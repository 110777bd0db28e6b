//! A node's peer side: the listener for other nodes, where they are, and the connections to them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_config::quorum::join_address;
use milena_peer::{Addresses, Identity, PeerConfig, Peers, Routes, control_service, raft_service, serve_on};
use milena_quorum::{Inbound, NodeId};
use milena_wire::Uuid;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Desk;
use crate::listeners::{self, ListenError};

/// Longest that connections of other nodes may take to close when this one stops.
const CLOSING: Duration = Duration::from_millis(200);

/// What a node needs to talk to other nodes.
pub(crate) struct Peering {
    /// Who this node is, and what it answers when others ask.
    pub(crate) desk: Arc<Desk>,
    /// The services on the listener. More may be added while it runs.
    pub(crate) routes: Routes,
    /// Ends the streams of services when the node stops.
    pub(crate) closing: CancellationToken,
    identity: Arc<OnceLock<Identity>>,
    serving: Vec<JoinHandle<()>>,
}

impl Peering {
    /// Listens for other nodes, on the control runtime but for bulk data, which the present one serves; `None` where no
    /// peers are configured. Only the question who
    /// this is gets an answer for now.
    pub(crate) fn open(
        config: &BrokerConfig,
        directory: Uuid,
        incarnation: Uuid,
        control: &Handle,
    ) -> Result<Option<Self>, ListenError> {
        let Some((host, port)) = &config.quorum().listen else { return Ok(None) };
        let (sockets, port) = listeners::open_for_peers(host, *port)?;
        let node = NodeId(config.node_id() as u64);
        let address = config
            .quorum()
            .advertised
            .clone()
            .unwrap_or_else(|| own_address(host, config.quorum().host.as_deref(), &sockets, port));
        let addresses = Addresses::default();
        for voter in config.quorum().voters.iter().filter(|voter| voter.id != config.node_id()) {
            addresses.set(NodeId(voter.id as u64), voter.address.as_str());
        }
        let desk = Arc::new(Desk::new(node, directory, incarnation, address, addresses));
        let identity = Arc::new(OnceLock::new());
        let routes = Routes::default().with(control_service(Arc::clone(&identity), desk.clone()));
        let closing = CancellationToken::new();
        let bulk = Handle::current();
        let serving = sockets.into_iter().map(|socket| {
            let (routes, closing, bulk) = (routes.clone(), closing.clone(), bulk.clone());
            control.spawn(async move {
                let listener = match TcpListener::from_std(socket) {
                    Ok(listener) => listener,
                    Err(error) => return error!(%error, "peer listener failed"),
                };
                if let Err(error) = serve_on(listener, routes, &bulk, closing).await {
                    error!(%error, "peer listener failed");
                }
            })
        });
        let serving = serving.collect();
        Ok(Some(Self { desk, routes, closing, identity, serving }))
    }

    /// The cluster is known: other nodes of it may call, and be called.
    pub(crate) fn belong_to(&self, cluster_id: &str) -> Option<Peers> {
        let identity = Identity::new(cluster_id, self.desk.node)?;
        let identity = self.identity.get_or_init(|| identity);
        Some(Peers::new(identity.clone(), self.desk.addresses.clone(), PeerConfig::default()))
    }

    /// Who this node is, for further services.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.get().cloned()
    }

    /// Serves the Raft groups.
    pub(crate) fn serve_raft(&self, inbound: Inbound) {
        if let Some(identity) = self.identity.get() {
            self.routes.add(raft_service(identity.clone(), inbound, self.closing.clone()));
        }
    }

    /// Closes the listener and its connections.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        for serving in self.serving {
            // Whoever does not hang up in time is cut off with the process.
            let _ = tokio::time::timeout(CLOSING, serving).await;
        }
    }
}

/// What others are told when nobody said: the host that was configured, the one by which other brokers know this one, or
/// this machine's name.
fn own_address(host: &str, known_as: Option<&str>, sockets: &[std::net::TcpListener], port: u16) -> String {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    let everywhere = sockets.iter().any(|socket| socket.local_addr().is_ok_and(is_any));
    match everywhere {
        true => join_address(known_as.unwrap_or(&listeners::machine_name()), port),
        false => join_address(host, port),
    }
}
