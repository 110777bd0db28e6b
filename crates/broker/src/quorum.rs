//! The two Raft groups of a node with their state machines.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_config::BrokerConfig;
use milena_peer::Peers;
use milena_quorum::{GroupHandle, GroupId, Network, Node, NodeConfig, NodeId, Timers};
use tokio::runtime::Handle;

use crate::cluster::{ClusterMachine, Committed};
use crate::coordination::{CoordinationMachine, CoordinationState};
use crate::data_dir::DataDir;
use crate::forming::{Membership, Peering};

/// Shortest time for an election that is taken from the configuration: below it no heartbeat fits.
const SHORTEST_ELECTION_MS: u64 = 20;

pub(crate) struct Quorum {
    pub(crate) node: Node,
    pub(crate) cluster: GroupHandle,
    pub(crate) committed: Committed,
    pub(crate) coordination: GroupHandle,
    /// What `coordination` replicates.
    pub(crate) coordinated: CoordinationState,
    /// Connections to the other nodes; `None` on a node that is alone.
    pub(crate) peers: Option<Peers>,
}

impl Quorum {
    /// Opens them on the control runtime. With one voter both have a leader when this returns.
    pub(crate) async fn start(
        data_dir: &DataDir,
        config: &BrokerConfig,
        membership: &Membership,
        peering: Option<&Peering>,
        control: &Handle,
    ) -> Result<Self, milena_quorum::OpenError> {
        let node_id = NodeId(config.node_id() as u64);
        let peers = peering.and_then(|peering| peering.belong_to(&membership.meta.cluster_id));
        let mut node_config = NodeConfig::single(data_dir.root(), node_id);
        node_config.disk_health = data_dir.health();
        if let Some(peers) = &peers {
            let network: Arc<dyn Network> = Arc::new(peers.clone());
            let founders: BTreeSet<_> = membership.founders.iter().map(|peer| NodeId(peer.node)).collect();
            node_config = NodeConfig {
                initial_voters: founders,
                timers: timers(config),
                network: Some(network),
                ..node_config
            };
        }
        let started = control.spawn(async move {
            let node = Node::open(node_config).await?;
            let committed = Committed::new();
            let coordinated = CoordinationState::default();
            let (cluster, coordination) = tokio::try_join!(
                node.start(GroupId::CLUSTER, ClusterMachine::new(committed.clone())),
                node.start(GroupId::COORDINATION, CoordinationMachine::new(coordinated.clone())),
            )?;
            Ok::<_, milena_quorum::OpenError>(Self {
                node,
                cluster,
                committed,
                coordination,
                coordinated,
                peers,
            })
        });
        let quorum = started.await.expect("starting the quorum does not panic")?;
        if let Some(peering) = peering {
            peering.serve_raft(quorum.node.inbound());
            peering.desk.open(quorum.cluster.clone(), quorum.coordination.clone(), quorum.committed.clone());
        }
        Ok(quorum)
    }
}

/// Kafka's one second is far too long for us; whoever sets the time means it.
fn timers(config: &BrokerConfig) -> Timers {
    if !config.is_set("controller.quorum.election.timeout.ms") {
        return Timers::default();
    }
    let longest = (config.controller_quorum_election_timeout_ms().max(0) as u64).max(SHORTEST_ELECTION_MS);
    Timers { heartbeat_ms: longest / 8, election_min_ms: longest / 2, election_max_ms: longest }
}
