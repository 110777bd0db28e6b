//! AddRaftVoter (80), versions 0 and 1: makes a broker a voter of both Raft groups (KIP-853). It was an observer
//! before, as every broker is that does not vote. Version 1 may ask for an answer before the change is committed
//! (KIP-1186); ours comes when it is.

use std::sync::Arc;
use std::time::Duration;

use milena_metadata::BrokerId;
use milena_peer::message::Peer;
use milena_peer::message::change_members_request::Change;
use milena_quorum::NodeId;
use milena_wire::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};
use milena_wire::{ErrorCode, Uuid};

use crate::error::Explained;
use crate::services::Services;

/// Adds the voter.
pub(crate) async fn answer(services: Arc<Services>, request: AddRaftVoterRequest) -> AddRaftVoterResponse {
    let outcome = add(&services, &request).await;
    let error = outcome.err();
    AddRaftVoterResponse {
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.into()),
        ..Default::default()
    }
}

async fn add(services: &Services, request: &AddRaftVoterRequest) -> Result<(), Explained> {
    check_cluster(services, request.cluster_id.as_deref())?;
    let node = node(request.voter_id)?;
    let key = key(request.voter_id, request.voter_directory_id);
    if services.cluster_raft.status().voters.contains(&node) {
        let message = format!("The voter id for {key} is already part of the set of voters.");
        return Err(Explained::new(ErrorCode::DuplicateVoter, message));
    }
    let image = services.view.image().clone();
    let broker = image.broker(BrokerId(request.voter_id));
    let directory = broker.and_then(|broker| broker.log_dirs.first().copied());
    if let Some(directory) = directory.filter(|it| *it != request.voter_directory_id) {
        let message = format!("Broker {} is registered with directory id {directory}.", request.voter_id);
        return Err(Explained::new(ErrorCode::InvalidVoterKey, message));
    }
    if broker.is_some_and(|broker| broker.broker_only) {
        return Err(Explained::new(ErrorCode::InvalidRequest, not_a_controller(&key)));
    }
    // What it registered is where it listens for other brokers; Kafka's tools send the controller listener instead.
    let registered = broker.map(|broker| broker.peer_address.clone()).filter(|address| !address.is_empty());
    let given = request.listeners.first();
    let given = given.map(|it| milena_config::quorum::join_address(&it.host, it.port));
    let Some(address) = registered.or(given) else {
        let message = format!("No address is known at which {key} can be reached.");
        return Err(Explained::new(ErrorCode::InvalidRequest, message));
    };
    let change = Change::AddVoter(Peer { node: node.0, address });
    let patience = Duration::from_millis(request.timeout_ms.max(0) as u64);
    match tokio::time::timeout(patience, services.members.change(&change)).await {
        Ok(changed) => changed.map_err(Explained::from),
        Err(_) => {
            Err(Explained::new(ErrorCode::RequestTimedOut, "the voter has not caught up within the time-out"))
        }
    }
}

/// What to do about a node that is asked to vote and was not started for it. Kafka has the same code for a node that
/// does not know how to vote.
fn not_a_controller(key: &str) -> String {
    format!(
        "Aborted add voter operation for {key} since its process.roles is broker. Restart it with \
         process.roles=broker,controller and a listener named in controller.listener.names, then add it again."
    )
}

/// Refuses a request for another cluster. One that names none is for any.
pub(crate) fn check_cluster(services: &Services, asked: Option<&str>) -> Result<(), Explained> {
    let image = services.view.image();
    let ours = image.cluster_id().unwrap_or_default();
    match asked {
        Some(asked) if asked != ours => {
            let message = format!("The cluster id is {ours}, not {asked}.");
            Err(Explained::new(ErrorCode::InconsistentClusterId, message))
        }
        _ => Ok(()),
    }
}

/// The node of a voter.
pub(crate) fn node(voter_id: i32) -> Result<NodeId, Explained> {
    let refused =
        |_| Explained::new(ErrorCode::InvalidRequest, format!("Invalid negative voter id {voter_id}."));
    u64::try_from(voter_id).map(NodeId).map_err(refused)
}

/// A voter as Kafka writes it.
pub(crate) fn key(id: i32, directory: Uuid) -> String {
    format!("(id={id}, directoryId={directory})")
}
