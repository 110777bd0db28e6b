//! RemoveRaftVoter (81), version 0: makes a voter of both Raft groups an observer (KIP-853). It goes on as a broker, if
//! it lives. One that does not answer leaves the groups, so that it may come back with an empty directory; if it will
//! not come back, UnregisterBroker forgets it.

use std::sync::Arc;

use milena_metadata::BrokerId;
use milena_peer::message::change_members_request::Change;
use milena_wire::ErrorCode;
use milena_wire::remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::add_raft_voter::{check_cluster, key, node};
use crate::error::Explained;
use crate::services::Services;

/// Removes the voter.
pub(crate) async fn answer(
    services: Arc<Services>,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let error = remove(&services, &request).await.err();
    RemoveRaftVoterResponse {
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.into()),
        ..Default::default()
    }
}

async fn remove(services: &Services, request: &RemoveRaftVoterRequest) -> Result<(), Explained> {
    check_cluster(services, request.cluster_id.as_deref())?;
    let node = node(request.voter_id)?;
    let image = services.view.image().clone();
    let directory =
        image.broker(BrokerId(request.voter_id)).and_then(|broker| broker.log_dirs.first().copied());
    let is_another = directory.is_some_and(|directory| directory != request.voter_directory_id);
    if is_another || !services.cluster_raft.status().voters.contains(&node) {
        let key = key(request.voter_id, request.voter_directory_id);
        let message = format!("Cannot remove voter {key}: it is not part of the set of voters.");
        return Err(Explained::new(ErrorCode::VoterNotFound, message));
    }
    Ok(services.members.change(&Change::RemoveVoter(node.0)).await?)
}
