//! From an open data directory to a running part of a cluster: peers, membership, quorum.

use std::sync::Arc;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_log::MetaProperties;
use milena_peer::message::Peer;
use milena_peer::message::change_members_request::Change;
use milena_wire::Uuid;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::cluster::{Controller, Members, whereabouts};
use crate::data_dir::DataDir;
use crate::forming::{self, Peering};
use crate::quorum::Quorum;
use crate::random;
use crate::start::{StartError, check_meta};

/// Before the leader is asked again whether this node is a member.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest that a new node asks to be a member.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before it asks again, when others are being added.
const RETRY: Duration = Duration::from_millis(100);

/// Between two questions of a member whether it still is one.
const CONFIRMATION: Duration = Duration::from_secs(10);

/// A node whose Raft groups run.
pub(crate) struct Joined {
    pub(crate) meta: MetaProperties,
    pub(crate) quorum: Quorum,
    /// `None` on a node that is alone.
    pub(crate) peering: Option<Peering>,
    pub(crate) controller: Controller,
}

impl Joined {
    /// Waits until the node belongs to a cluster: its own, one it founds with others, or one that runs already.
    pub(crate) async fn join(
        config: &BrokerConfig,
        data_dir: &DataDir,
        cluster_id: Option<&str>,
        control: &Handle,
    ) -> Result<Self, StartError> {
        let before = check_meta(data_dir, config, cluster_id)?;
        let directory = before.as_ref().and_then(|meta| meta.directory_id.parse().ok());
        let directory: Uuid = directory.unwrap_or_else(random::uuid);
        let peering = Peering::open(config, directory, random::uuid(), control)?;
        let membership = match &peering {
            Some(peering) => forming::with_peers(data_dir, config, cluster_id, peering).await?,
            None => forming::alone(data_dir, config.node_id(), cluster_id)?,
        };
        let started = Quorum::start(data_dir, config, &membership, peering.as_ref(), control).await;
        let quorum = started?;
        let controller =
            Controller::new(quorum.cluster.clone(), quorum.peers.clone(), quorum.committed.clone());
        if let (Some(peering), Some(peers)) = (&peering, &quorum.peers) {
            let (committed, addresses) = (quorum.committed.clone(), peering.desk.addresses.clone());
            let following = whereabouts::follow(committed, addresses, peers.clone());
            let closing = peering.closing.clone();
            control.spawn(async move { closing.run_until_cancelled(following).await });
        }
        match &peering {
            // Who founds a cluster is a member of it.
            Some(peering) if membership.founders.is_empty() => {
                be_member(config, &quorum, peering, control).await?
            }
            Some(_) => {}
            None if quorum.cluster.status().voters.len() > 1 => {
                return Err(StartError::NoPeers { node: config.node_id() });
            }
            None => {}
        }
        Ok(Self { meta: membership.meta, quorum, peering, controller })
    }
}

/// A node that comes to a running cluster is added by its leader before it hears anything. One that was taken out
/// while nobody could reach it does not know, so everybody asks now and then; a leader to whom it is no news does
/// nothing.
async fn be_member(
    config: &BrokerConfig,
    quorum: &Quorum,
    peering: &Peering,
    control: &Handle,
) -> Result<(), StartError> {
    let members = Members {
        groups: [quorum.cluster.clone(), quorum.coordination.clone()],
        addresses: peering.desk.addresses.clone(),
        peers: quorum.peers.clone(),
    };
    let own = Peer { node: peering.desk.node.0, address: peering.desk.address.clone() };
    let change = Change::AddLearner(own);
    let announced = forming::announce(config.clone(), Arc::clone(&peering.desk));
    if members.is_member() {
        control.spawn(announced);
    } else {
        info!(node = %peering.desk.node, "asking to be a member of the quorum");
        announced.await;
        let deadline = Instant::now() + PATIENCE;
        while let Err(refused) = members.change(&change).await {
            // Members are added one at a time, and brokers of a new cluster come all at once.
            if Instant::now() > deadline {
                return Err(refused.into());
            }
            debug!(%refused, "not a member yet");
            tokio::time::sleep(RETRY).await;
        }
    }
    let closing = peering.closing.clone();
    let asking = async move {
        loop {
            match members.change(&change).await {
                Ok(()) => tokio::time::sleep(CONFIRMATION).await,
                Err(error) => {
                    debug!(%error, "membership not confirmed yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    control.spawn(async move { closing.run_until_cancelled(asking).await });
    Ok(())
}
