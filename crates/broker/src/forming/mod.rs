//! How a node becomes part of a cluster: an empty directory asks the others who they are, and founds a cluster with
//! them or joins the one that is there; a used one goes on where it was.
//!
//! What the answers mean is decided in [`verdict`]; [`desk`] answers the same question of others.

mod desk;
mod peering;
mod verdict;
#[cfg(test)]
mod verdict_tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use milena_config::BrokerConfig;
use milena_log::MetaProperties;
use milena_peer::hello;
use milena_peer::message::Peer;
use tracing::{info, warn};

use crate::data_dir::DataDir;
use crate::random;

pub(crate) use desk::{Desk, Standing};
pub(crate) use peering::Peering;
pub use verdict::Refusal;
pub(crate) use verdict::{Answer, Newcomer, Verdict, judge, list};

/// Longest that one node takes to say who it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two log lines that say what is waited for.
const COMPLAIN: Duration = Duration::from_secs(5);

/// Why a node is not part of a cluster.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it means")]
pub enum FormingError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Directory(#[from] milena_log::Error),
    #[error(
        "data directory: the file `founding` holds {0:?}, expected voters as id@host:port; remove the directory if the cluster was never used"
    )]
    Founding(String),
}

/// How this node takes part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Membership {
    pub(crate) meta: MetaProperties,
    /// Voters with whom the Raft groups begin; none if they have begun, here or elsewhere.
    pub(crate) founders: Vec<Peer>,
}

/// The membership of a node that has no peers: an empty directory founds a cluster of one.
pub(crate) fn alone(
    data_dir: &DataDir,
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Membership, FormingError> {
    let meta = match data_dir.meta()? {
        Some(meta) => meta,
        None => {
            let cluster_id = cluster_id.map_or_else(|| random::uuid().to_string(), str::to_owned);
            format(data_dir, &cluster_id, node_id, &random::uuid().to_string())?
        }
    };
    Ok(Membership { meta, founders: Vec::new() })
}

/// The membership of a node with peers; waits until it is known.
pub(crate) async fn with_peers(
    data_dir: &DataDir,
    config: &BrokerConfig,
    cluster_id: Option<&str>,
    peering: &Peering,
) -> Result<Membership, FormingError> {
    let before = data_dir.meta()?;
    if let Some(founders) = data_dir.founding()? {
        let founders = parse(&founders).ok_or(FormingError::Founding(founders))?;
        if let Some(meta) = before {
            return Ok(settled(meta, founders, peering));
        }
    }
    if let Some(meta) = before.clone().filter(|_| data_dir.has_raft_log()) {
        return Ok(settled(meta, Vec::new(), peering));
    }
    let node_id = config.node_id();
    let wanted = before.as_ref().map(|meta| meta.cluster_id.clone()).or(cluster_id.map(str::to_owned));
    let voters = config.quorum().voters.iter();
    let voters = voters.map(|voter| Peer { node: voter.id as u64, address: voter.address.clone() }).collect();
    let me = Newcomer {
        node: node_id as u64,
        incarnation: peering.desk.incarnation,
        wanted,
        proposal: random::uuid().to_string(),
        voters,
        address: peering.desk.address.clone(),
    };
    let verdict = if config.quorum().names_others(node_id) {
        peering.desk.stand(Standing::New(me.clone()));
        ask_until_clear(&me, config, peering).await?
    } else {
        let voters = vec![Peer { node: me.node, address: me.address.clone() }];
        Verdict::Found { cluster_id: me.wanted.clone().unwrap_or_else(|| me.proposal.clone()), voters }
    };
    let directory_id = peering.desk.directory.to_string();
    let (cluster_id, founders) = match verdict {
        Verdict::Found { cluster_id, voters } => (cluster_id, voters),
        Verdict::Join { cluster_id, peers } => {
            peering.desk.learn(&peers);
            (cluster_id, Vec::new())
        }
        Verdict::Wait(_) => unreachable!("waiting does not end the questions"),
    };
    if !founders.is_empty() {
        data_dir.write_founding(&list(&founders))?;
    }
    let meta = match before {
        Some(meta) => meta,
        None => format(data_dir, &cluster_id, node_id, &directory_id)?,
    };
    Ok(settled(meta, founders, peering))
}

/// From now on the node answers as one that has a cluster.
fn settled(meta: MetaProperties, founders: Vec<Peer>, peering: &Peering) -> Membership {
    peering.desk.learn(&founders);
    let voters = founders.clone();
    peering.desk.stand(Standing::Settled { cluster_id: meta.cluster_id.clone(), voters });
    Membership { meta, founders }
}

async fn ask_until_clear(
    me: &Newcomer,
    config: &BrokerConfig,
    peering: &Peering,
) -> Result<Verdict, FormingError> {
    let quorum = config.quorum();
    let others = quorum.voters.iter().filter(|voter| voter.id as u64 != me.node);
    let mut addresses: Vec<&str> = others.map(|voter| voter.address.as_str()).collect();
    addresses.extend(quorum.bootstrap_servers.iter().map(String::as_str));
    addresses.dedup();
    let mut complained: Option<tokio::time::Instant> = None;
    loop {
        let asked = addresses.iter().map(|address| async {
            let request = peering.desk.introduction();
            Answer { address: (*address).to_owned(), said: hello(address, request, PATIENCE).await }
        });
        let answers = join_all(asked).await;
        match judge(me, &answers)? {
            Verdict::Wait(missing) => {
                if complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
                    complained = Some(tokio::time::Instant::now());
                    info!(node = me.node, "waiting for {missing}");
                }
            }
            verdict => {
                log(&verdict);
                return Ok(verdict);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn log(verdict: &Verdict) {
    match verdict {
        Verdict::Found { cluster_id, voters } => {
            info!(cluster_id, voters = list(voters), "founding a cluster")
        }
        Verdict::Join { cluster_id, .. } => info!(cluster_id, "joining a running cluster"),
        Verdict::Wait(_) => {}
    }
}

/// Tells everybody known where this node is: it may have come back with another address, at which the leader must
/// find it before it can change what the metadata says.
pub(crate) async fn announce(config: BrokerConfig, desk: Arc<Desk>) {
    let quorum = config.quorum();
    let mut addresses: BTreeSet<String> = desk.addresses.all().into_values().collect();
    addresses.extend(quorum.bootstrap_servers.iter().cloned());
    addresses.extend(quorum.voters.iter().map(|voter| voter.address.clone()));
    addresses.remove(&desk.address);
    let asked = addresses.iter().map(|address| hello(address, desk.introduction(), PATIENCE));
    for said in join_all(asked).await.into_iter().flatten() {
        if said.cluster_id == desk.cluster_id() {
            desk.learn(&said.peers);
        } else if *said.incarnation != desk.incarnation.0 {
            let (node, cluster_id) = (said.node, said.cluster_id);
            warn!(node, cluster_id, "a configured address leads to another cluster");
        }
    }
}

fn format(
    data_dir: &DataDir,
    cluster_id: &str,
    node_id: i32,
    directory_id: &str,
) -> Result<MetaProperties, milena_log::Error> {
    let meta =
        MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: directory_id.to_owned() };
    data_dir.format(&meta)?;
    Ok(meta)
}

/// Reads what [`list`] wrote.
fn parse(voters: &str) -> Option<Vec<Peer>> {
    let one = |entry: &str| {
        let (node, address) = entry.split_once('@')?;
        Some(Peer { node: node.parse().ok()?, address: address.to_owned() })
    };
    voters.trim().split(',').map(one).collect()
}
