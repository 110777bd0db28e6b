//! Who belongs to the Raft groups: changes made by their leaders, and asked for by everybody else.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_peer::message::change_members_request::Change;
use milena_peer::message::change_members_response::Outcome;
use milena_peer::message::{ChangeMembersRequest, NotLeader, Peer};
use milena_peer::{Addresses, Peers};
use milena_quorum::{ChangeError, GroupHandle, GroupStatus, NodeId};
use tokio::time::Instant;

use crate::departure;

/// Longest that one change takes: a new member first gets the log or a snapshot.
const PATIENCE: Duration = Duration::from_secs(30);
/// A member that has not answered for this long is taken for dead when it is removed: should it live, it comes back
/// by itself as an observer.
const SILENCE: Duration = Duration::from_secs(2);
/// Before a leader is asked again, or looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a change to a group that this node leads.
pub(crate) async fn change(group: &GroupHandle, addresses: &Addresses, change: Option<Change>) -> Outcome {
    let status = group.status();
    let is_member = |id: NodeId| status.voters.contains(&id) || status.learners.contains(&id);
    let mut voters: BTreeSet<NodeId> = status.voters.clone();
    let made = match change {
        None => return Outcome::Refused("the request names no change this release knows".to_owned()),
        Some(Change::AddLearner(peer)) => {
            let node = known(addresses, &peer);
            if is_member(node) { Ok(()) } else { group.add_learner(node).await }
        }
        Some(Change::AddVoter(peer)) => {
            let node = known(addresses, &peer);
            if voters.contains(&node) {
                Ok(())
            } else {
                let listens = if is_member(node) { Ok(()) } else { group.add_learner(node).await };
                voters.insert(node);
                match listens {
                    Ok(()) => group.change_voters(voters).await,
                    refused => refused,
                }
            }
        }
        Some(Change::RemoveVoter(node)) => match voters.remove(&NodeId(node)) {
            false => Ok(()),
            true if voters.is_empty() => return Outcome::Refused("the last voter cannot be removed".into()),
            // Its successor does it, so that the group is not without a leader until somebody misses one.
            true if node == group.node_id().0 => {
                departure::transfer(group, |_| true).await;
                return Outcome::NotLeader(NotLeader::default());
            }
            true if is_silent(&status, NodeId(node)) => group.change_voters(voters).await,
            true => group.keep_voters(voters).await,
        },
        Some(Change::Remove(node)) => {
            let node = NodeId(node);
            match (voters.remove(&node), status.learners.contains(&node)) {
                (true, _) if voters.is_empty() => {
                    return Outcome::Refused("the last voter cannot be removed".into());
                }
                (true, _) => group.change_voters(voters).await,
                (false, true) => group.remove_learners(BTreeSet::from([node])).await,
                (false, false) => Ok(()),
            }
        }
    };
    match made {
        Ok(()) => Outcome::Changed(true),
        Err(ChangeError::NotLeader { leader }) => {
            Outcome::NotLeader(NotLeader { leader: leader.map(|id| id.0) })
        }
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Whether a member does not answer the leader.
fn is_silent(status: &GroupStatus, node: NodeId) -> bool {
    let heard = status.replicas.get(&node).and_then(|replica| replica.silent_for);
    heard.is_none_or(|silent| silent > SILENCE)
}

/// The node of a peer, which the leader must be able to reach.
fn known(addresses: &Addresses, peer: &Peer) -> NodeId {
    let node = NodeId(peer.node);
    if !peer.address.is_empty() {
        addresses.set(node, peer.address.as_str());
    }
    node
}

/// Where members are changed: the groups here, and the way to their leaders elsewhere.
pub(crate) struct Members {
    pub(crate) groups: [GroupHandle; 2],
    pub(crate) addresses: Addresses,
    pub(crate) peers: Option<Peers>,
}

/// Why members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// The leader would not.
    #[error("{0}")]
    Refused(String),
    /// Nobody did within the time; it may still happen.
    #[error("the leader of {group} did not answer in time: {last}")]
    TimedOut {
        /// The Raft group.
        group: String,
        /// What was heard last.
        last: String,
    },
}

impl Members {
    /// Makes a change to both groups, one after the other.
    pub(crate) async fn change(&self, change: &Change) -> Result<(), MembersError> {
        for group in &self.groups {
            self.change_one(group, change).await?;
        }
        Ok(())
    }

    /// Whether this node belongs to both groups, as far as it knows.
    pub(crate) fn is_member(&self) -> bool {
        self.groups.iter().all(|group| {
            let (status, me) = (group.status(), group.node_id());
            status.voters.contains(&me) || status.learners.contains(&me)
        })
    }

    async fn change_one(&self, group: &GroupHandle, change: &Change) -> Result<(), MembersError> {
        let deadline = Instant::now() + PATIENCE;
        let mut leader = group.leader().borrow().leader;
        let candidates: Vec<NodeId> = self.addresses.all().into_keys().collect();
        let mut candidates = candidates.iter().copied().cycle();
        let mut last = "no leader is known".to_owned();
        while Instant::now() < deadline {
            // Who knows no leader asks one after the other; each names whom it follows.
            let asked = leader.take().or_else(|| candidates.next());
            let outcome = match asked {
                Some(node) if node == group.node_id() => {
                    self::change(group, &self.addresses, Some(change.clone())).await
                }
                Some(node) => match self.ask(group, node, change).await {
                    Ok(outcome) => outcome,
                    Err(reason) => {
                        last = reason;
                        Outcome::NotLeader(NotLeader::default())
                    }
                },
                None => Outcome::NotLeader(NotLeader::default()),
            };
            match outcome {
                Outcome::Changed(_) => return Ok(()),
                Outcome::Refused(reason) => return Err(MembersError::Refused(reason)),
                Outcome::NotLeader(told) => {
                    leader = told.leader.map(NodeId).or(group.leader().borrow().leader)
                }
            }
            if leader.is_none() || leader == asked {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Err(MembersError::TimedOut { group: group.id().name(), last })
    }

    async fn ask(&self, group: &GroupHandle, node: NodeId, change: &Change) -> Result<Outcome, String> {
        let peers = self.peers.as_ref().ok_or("this node has no peers")?;
        let request = ChangeMembersRequest { group: group.id().0.into(), change: Some(change.clone()) };
        let answer =
            peers.change_members(node, request, PATIENCE).await.map_err(|error| error.to_string())?;
        answer.outcome.ok_or_else(|| format!("node {node} runs a release that does not know this request"))
    }
}
