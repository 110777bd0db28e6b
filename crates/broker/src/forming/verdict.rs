//! What a new node makes of the answers to its question "who are you?": wait, found a cluster, or join one.
//!
//! Two lists of voters would be two clusters (F12), and a voter that came back without its log could vote twice (F11).
//! So a node founds only when a majority of the voters was told the same list, only one node may choose the cluster's
//! id, and what is running already is believed only when its leader says so with a quorum behind it.

use std::collections::BTreeSet;

use milena_peer::message::{HelloResponse, Peer, Stage};
use milena_wire::Uuid;

/// Most voters that are taken from a list of addresses; further nodes listen.
const MAX_VOTERS: usize = 5;

/// What this node knows of itself.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub(crate) node: u64,
    pub(crate) incarnation: Uuid,
    /// The cluster id that the operator asked for.
    pub(crate) wanted: Option<String>,
    /// The cluster id, should this node have to choose one.
    pub(crate) proposal: String,
    /// The voters that were configured, by ascending id; none if they are to be found out.
    pub(crate) voters: Vec<Peer>,
    /// Where this node listens for others.
    pub(crate) address: String,
}

/// What came back from one address.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) address: String,
    /// Or why nothing did.
    pub(crate) said: Result<HelloResponse, String>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Ask again; says what is missing.
    Wait(String),
    /// Begin the cluster with these voters.
    Found { cluster_id: String, voters: Vec<Peer> },
    /// Take part in a running cluster.
    Join { cluster_id: String, peers: Vec<Peer> },
}

/// Why a node must not go on. None of these is repaired by waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it means")]
pub enum Refusal {
    #[error(
        "controller.quorum.voters differs between nodes: here it is {ours}, node {node} at {address} has {theirs}; \
         give every node the same list"
    )]
    OtherVoters { node: u64, address: String, ours: String, theirs: String },
    #[error(
        "node {node} at {address} belongs to cluster {theirs}, but this node is to be part of {ours}; give this node \
         the cluster id {theirs}, or other addresses"
    )]
    OtherCluster { node: u64, address: String, ours: String, theirs: String },
    #[error(
        "the nodes at the configured addresses belong to different clusters ({one} and {other}); correct \
         controller.quorum.voters or controller.quorum.bootstrap.servers"
    )]
    TwoClusters { one: String, other: String },
    #[error(
        "node.id {node} is in use: another process at {address} has it; give this node a node.id of its own"
    )]
    IdInUse { node: u64, address: String },
    #[error(
        "controller.quorum.voters says that node {expected} is at {address}, but node {found} answers there; correct \
         the list"
    )]
    WrongNode { address: String, expected: u64, found: u64 },
    #[error(
        "node {node} is a voter of cluster {cluster_id} and was registered with data directory {registered}, but its \
         directory here is empty: a voter without its log could vote twice and lose what was committed. Give it back \
         its directory; or, if that is lost, take it out first (milena cluster remove-voter {node}), start it again, \
         and add it (milena cluster add-voter {node})"
    )]
    LostLog { node: u64, cluster_id: String, registered: Uuid },
}

/// Judges the answers of all addresses that were asked.
pub(crate) fn judge(me: &Newcomer, answers: &[Answer]) -> Result<Verdict, Refusal> {
    let others: Vec<(&str, &HelloResponse)> = answers
        .iter()
        .filter_map(|answer| Some((answer.address.as_str(), answer.said.as_ref().ok()?)))
        .filter(|(_, said)| *said.incarnation != me.incarnation.0)
        .collect();
    for (address, said) in &others {
        if said.node == me.node {
            return Err(Refusal::IdInUse { node: me.node, address: (*address).to_owned() });
        }
        if let Some(voter) =
            me.voters.iter().find(|voter| voter.address == *address && voter.node != said.node)
        {
            let (address, expected, found) = ((*address).to_owned(), voter.node, said.node);
            return Err(Refusal::WrongNode { address, expected, found });
        }
    }
    let cluster_id = agreed_id(me, &others)?;
    let at = |stage: Stage| others.iter().filter(move |(_, said)| said.stage() == stage);
    if at(Stage::Formed).next().is_some() {
        let leader = at(Stage::Formed).find(|(_, said)| said.is_leader);
        return match leader {
            Some((_, leader)) => join(me, leader),
            None => Ok(Verdict::Wait(format!("the leader of cluster {}", cluster_id.unwrap_or_default()))),
        };
    }
    if let Some((address, founder)) = at(Stage::Forming).next() {
        same_voters(me, address, founder)?;
        let founding =
            Verdict::Found { cluster_id: founder.cluster_id.clone(), voters: founder.voters.clone() };
        let is_voter = founder.voters.iter().any(|voter| voter.node == me.node);
        return Ok(if is_voter { founding } else { Verdict::Wait("the voters to found the cluster".into()) });
    }
    found(me, cluster_id, answers, &others)
}

/// The cluster id that those who are not free to choose have, if there are any. They must agree.
fn agreed_id(me: &Newcomer, others: &[(&str, &HelloResponse)]) -> Result<Option<String>, Refusal> {
    let mut agreed: Option<&str> = None;
    let decided = |said: &HelloResponse| said.stage() != Stage::New || said.is_wanted;
    for (address, said) in others.iter().filter(|(_, said)| decided(said)) {
        match (&me.wanted, agreed) {
            (Some(ours), _) if *ours != said.cluster_id => {
                return Err(Refusal::OtherCluster {
                    node: said.node,
                    address: (*address).to_owned(),
                    ours: ours.clone(),
                    theirs: said.cluster_id.clone(),
                });
            }
            (None, Some(one)) if one != said.cluster_id => {
                let (one, other) = (one.to_owned(), said.cluster_id.clone());
                return Err(Refusal::TwoClusters { one, other });
            }
            _ => agreed = Some(&said.cluster_id),
        }
    }
    Ok(agreed.map(str::to_owned).or_else(|| me.wanted.clone()))
}

fn join(me: &Newcomer, leader: &HelloResponse) -> Result<Verdict, Refusal> {
    let is_voter = leader.voters.iter().any(|voter| voter.node == me.node);
    if let (true, Ok(registered)) = (is_voter, <[u8; 16]>::try_from(&leader.registered_directory[..])) {
        let (node, cluster_id) = (me.node, leader.cluster_id.clone());
        return Err(Refusal::LostLog { node, cluster_id, registered: Uuid(registered) });
    }
    Ok(Verdict::Join { cluster_id: leader.cluster_id.clone(), peers: leader.peers.clone() })
}

fn same_voters(me: &Newcomer, address: &str, other: &HelloResponse) -> Result<(), Refusal> {
    let ids = |voters: &[Peer]| -> BTreeSet<u64> { voters.iter().map(|voter| voter.node).collect() };
    if me.voters.is_empty() || other.voters.is_empty() || ids(&me.voters) == ids(&other.voters) {
        return Ok(());
    }
    Err(Refusal::OtherVoters {
        node: other.node,
        address: address.to_owned(),
        ours: list(&me.voters),
        theirs: list(&other.voters),
    })
}

/// Whether this node begins the cluster: all that answered are as new as it is.
fn found(
    me: &Newcomer,
    cluster_id: Option<String>,
    answers: &[Answer],
    others: &[(&str, &HelloResponse)],
) -> Result<Verdict, Refusal> {
    for (address, said) in others {
        same_voters(me, address, said)?;
    }
    let voters = match me.voters.is_empty() {
        false => me.voters.clone(),
        true => match discovered(me, answers, others) {
            Ok(voters) => voters,
            Err(missing) => return Ok(Verdict::Wait(missing)),
        },
    };
    let is_voter = |id: u64| voters.iter().any(|voter| voter.node == id);
    if !is_voter(me.node) {
        return Ok(Verdict::Wait("the voters to found the cluster".to_owned()));
    }
    let present = 1 + others.iter().filter(|(_, said)| is_voter(said.node)).count();
    let majority = voters.len() / 2 + 1;
    if present < majority {
        let missing = voters
            .iter()
            .filter(|voter| voter.node != me.node && !others.iter().any(|(_, said)| said.node == voter.node));
        let missing: Vec<_> = missing.cloned().collect();
        return Ok(Verdict::Wait(format!(
            "{} of {} voters to found the cluster; no answer from {}",
            majority,
            voters.len(),
            list(&missing)
        )));
    }
    // One node chooses the id where the operator did not.
    let first = voters.first().map_or(me.node, |voter| voter.node);
    match cluster_id {
        Some(cluster_id) if me.wanted.is_some() || first == me.node => {
            Ok(Verdict::Found { cluster_id, voters })
        }
        None if first == me.node => Ok(Verdict::Found { cluster_id: me.proposal.clone(), voters }),
        _ => Ok(Verdict::Wait(format!("node {first}, which founds the cluster"))),
    }
}

/// The voters where addresses alone are configured: the nodes that answer there, an odd number of them, once all do.
fn discovered(
    me: &Newcomer,
    answers: &[Answer],
    others: &[(&str, &HelloResponse)],
) -> Result<Vec<Peer>, String> {
    let silent: Vec<_> =
        answers.iter().filter(|answer| answer.said.is_err()).map(|answer| answer.address.as_str()).collect();
    if !silent.is_empty() {
        return Err(format!("an answer from {}", silent.join(", ")));
    }
    let mut voters: Vec<Peer> = others
        .iter()
        .map(|(address, said)| Peer { node: said.node, address: (*address).to_owned() })
        .collect();
    // This node is among them if one of the addresses led to itself.
    if others.len() < answers.len() {
        let own = answers.iter().find(|it| it.said.as_ref().is_ok_and(|said| said.node == me.node));
        let address = own.map_or(&me.address, |own| &own.address).clone();
        voters.push(Peer { node: me.node, address });
    }
    voters.sort_by_key(|voter| voter.node);
    voters.dedup_by_key(|voter| voter.node);
    let odd = if voters.len().is_multiple_of(2) { voters.len().saturating_sub(1) } else { voters.len() };
    voters.truncate(odd.clamp(1, MAX_VOTERS));
    Ok(voters)
}

/// The voters as `controller.quorum.voters` has them.
pub(crate) fn list(voters: &[Peer]) -> String {
    if voters.is_empty() {
        return "empty".to_owned();
    }
    voters.iter().map(|voter| format!("{}@{}", voter.node, voter.address)).collect::<Vec<_>>().join(",")
}
