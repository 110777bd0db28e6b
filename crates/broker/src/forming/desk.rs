//! Answers what other nodes ask: who this is, and, once there are groups, to put something before them.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use milena_metadata::BrokerId;
use milena_peer::message::{
    Applied, ChangeMembersRequest, ChangeMembersResponse, HelloRequest, HelloResponse, NotLeader, Peer,
    ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, Stage, StatusRequest,
    StatusResponse, change_members_response, propose_response, read_index_response,
};
use milena_peer::{Addresses, Controlled, async_trait};
use milena_quorum::{GroupHandle, NodeId, ProposeError, ReadError};
use milena_wire::Uuid;

use super::Newcomer;
use crate::cluster::{Committed, members, status};

/// Longest that this node waits for a group on another's behalf; the other asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest for a quorum to confirm a leader who is asked who it is.
const CONFIRMATION: Duration = Duration::from_millis(500);

/// How far this node is.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// It is opening its directory.
    Opening,
    /// It looks for a cluster.
    New(Newcomer),
    /// It has one. The voters are those who found it, if that is going on.
    Settled { cluster_id: String, voters: Vec<Peer> },
}

/// The groups, once they run.
struct Groups {
    cluster: GroupHandle,
    coordination: GroupHandle,
    committed: Committed,
}

/// A node as others see it.
pub(crate) struct Desk {
    pub(crate) node: NodeId,
    /// Id of the data directory.
    pub(crate) directory: Uuid,
    /// Random id of this process.
    pub(crate) incarnation: Uuid,
    /// Where this node listens, as others are told: host:port.
    pub(crate) address: String,
    /// Where the others are.
    pub(crate) addresses: Addresses,
    standing: Mutex<Standing>,
    groups: OnceLock<Groups>,
}

impl Desk {
    /// A node that opens its directory.
    pub(crate) fn new(
        node: NodeId,
        directory: Uuid,
        incarnation: Uuid,
        address: String,
        addresses: Addresses,
    ) -> Self {
        let (standing, groups) = (Mutex::new(Standing::Opening), OnceLock::new());
        Self { node, directory, incarnation, address, addresses, standing, groups }
    }

    /// What this node says of itself when it asks.
    pub(crate) fn introduction(&self) -> HelloRequest {
        HelloRequest {
            node: self.node.0,
            directory: self.directory.0.to_vec().into(),
            address: self.address.clone(),
        }
    }

    /// Takes over where others are, as far as that is not known here.
    pub(crate) fn learn(&self, peers: &[Peer]) {
        for peer in peers.iter().filter(|peer| peer.node != self.node.0 && !peer.address.is_empty()) {
            if self.addresses.get(NodeId(peer.node)).is_none() {
                self.addresses.set(NodeId(peer.node), peer.address.as_str());
            }
        }
    }

    /// Takes a new stand.
    pub(crate) fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap() = standing;
    }

    /// The groups run.
    pub(crate) fn open(&self, cluster: GroupHandle, coordination: GroupHandle, committed: Committed) {
        let _ = self.groups.set(Groups { cluster, coordination, committed });
    }

    /// The cluster's id, once there is one.
    pub(crate) fn cluster_id(&self) -> String {
        match &*self.standing.lock().unwrap() {
            Standing::Settled { cluster_id, .. } => cluster_id.clone(),
            Standing::Opening | Standing::New(_) => String::new(),
        }
    }

    fn group(&self, group: u32) -> Option<&GroupHandle> {
        let groups = self.groups.get()?;
        [&groups.cluster, &groups.coordination].into_iter().find(|handle| u32::from(handle.id().0) == group)
    }

    fn peers(&self) -> Vec<Peer> {
        let known = self.addresses.all().into_iter();
        let others = known.map(|(node, address)| Peer { node: node.0, address });
        others.chain([Peer { node: self.node.0, address: self.address.clone() }]).collect()
    }

    /// What a member of a running cluster adds to its answer.
    async fn formed(&self, groups: &Groups, request: &HelloRequest, answer: &mut HelloResponse) {
        let leads = groups.cluster.leader().borrow().is_self;
        let confirmed = async { groups.cluster.read_index().await.is_ok() };
        answer.is_leader = leads && tokio::time::timeout(CONFIRMATION, confirmed).await.unwrap_or_default();
        let image = groups.committed.image();
        if image.cluster_id().is_none() {
            return;
        }
        answer.set_stage(Stage::Formed);
        let voters = groups.cluster.status().voters.into_iter();
        answer.voters = voters
            .map(|id| Peer { node: id.0, address: self.addresses.get(id).unwrap_or_default() })
            .collect();
        let id = BrokerId(request.node as i32);
        let of_broker = image.broker(id).and_then(|broker| broker.log_dirs.first());
        let registered = of_broker.or_else(|| image.controller(id).map(|controller| &controller.directory));
        answer.registered_directory = registered.map(|id| id.0.to_vec().into()).unwrap_or_default();
        // It may have come back with another address, and cannot say so in the metadata before it is reached.
        if !request.address.is_empty() && answer.registered_directory == request.directory {
            self.addresses.set(NodeId(request.node), request.address.as_str());
        }
    }
}

#[async_trait]
impl Controlled for Desk {
    async fn hello(&self, request: HelloRequest) -> Option<HelloResponse> {
        let mut answer = HelloResponse {
            node: self.node.0,
            incarnation: self.incarnation.0.to_vec().into(),
            peers: self.peers(),
            ..Default::default()
        };
        match &*self.standing.lock().unwrap() {
            Standing::Opening => return None,
            Standing::New(me) => {
                answer.is_wanted = me.wanted.is_some();
                answer.cluster_id = me.wanted.clone().unwrap_or_else(|| me.proposal.clone());
                answer.voters = me.voters.clone();
            }
            Standing::Settled { cluster_id, voters } => {
                answer.set_stage(Stage::Forming);
                answer.cluster_id = cluster_id.clone();
                answer.voters = voters.clone();
            }
        }
        if let Some(groups) = self.groups.get() {
            self.formed(groups, &request, &mut answer).await;
        }
        Some(answer)
    }

    async fn propose(&self, request: ProposeRequest) -> ProposeResponse {
        use propose_response::Outcome;
        let outcome = match self.group(request.group) {
            None => Outcome::NotLeader(NotLeader::default()),
            Some(group) => match tokio::time::timeout(PATIENCE, group.propose(request.command)).await {
                Err(_) => Outcome::Indeterminate("the quorum did not agree in time".to_owned()),
                Ok(Ok(done)) => {
                    Outcome::Applied(Applied { index: done.index, term: done.term, answer: done.answer })
                }
                Ok(Err(ProposeError::NotLeader { leader })) => {
                    Outcome::NotLeader(NotLeader { leader: leader.map(|id| id.0) })
                }
                Ok(Err(error @ ProposeError::TooLarge { .. })) => Outcome::Refused(error.to_string()),
                Ok(Err(error @ (ProposeError::Indeterminate | ProposeError::Stopped { .. }))) => {
                    Outcome::Indeterminate(error.to_string())
                }
            },
        };
        ProposeResponse { outcome: Some(outcome) }
    }

    async fn read_index(&self, request: ReadIndexRequest) -> ReadIndexResponse {
        use read_index_response::Outcome;
        let outcome = match self.group(request.group) {
            None => Outcome::NotLeader(NotLeader::default()),
            Some(group) => match tokio::time::timeout(PATIENCE, group.read_index()).await {
                Err(_) => Outcome::Failed("no quorum confirmed the leadership in time".to_owned()),
                Ok(Ok(index)) => Outcome::Index(index),
                Ok(Err(ReadError::NotLeader { leader })) => {
                    Outcome::NotLeader(NotLeader { leader: leader.map(|id| id.0) })
                }
                Ok(Err(error)) => Outcome::Failed(error.to_string()),
            },
        };
        ReadIndexResponse { outcome: Some(outcome) }
    }

    async fn status(&self, request: StatusRequest) -> StatusResponse {
        self.group(request.group).map(|group| status::to_message(&group.status())).unwrap_or_default()
    }

    async fn change_members(&self, request: ChangeMembersRequest) -> ChangeMembersResponse {
        let outcome = match self.group(request.group) {
            Some(group) => members::change(group, &self.addresses, request.change).await,
            None => change_members_response::Outcome::NotLeader(NotLeader::default()),
        };
        ChangeMembersResponse { outcome: Some(outcome) }
    }
}
