//! UnregisterBroker (64), version 0: forgets a broker that will not come back (KIP-631). Its replicas stay assigned
//! to it until they are reassigned.
//!
//! Kafka also takes a living broker, which then registers again. Ours does not, so it must be stopped first.

use std::sync::Arc;

use milena_metadata::BrokerId;
use milena_metadata::decide::brokers;
use milena_peer::message::change_members_request::Change;
use milena_quorum::NodeId;
use milena_wire::ErrorCode;
use milena_wire::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use tracing::warn;

use crate::error::Explained;
use crate::services::Services;

/// How long other brokers may take to know of it. The request has no time-out of its own.
const TIMEOUT_MS: i32 = 30_000;

/// Forgets the broker.
pub(crate) async fn answer(
    services: Arc<Services>,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let error = unregister(&services, BrokerId(request.broker_id)).await.err();
    UnregisterBrokerResponse {
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.into()),
        ..Default::default()
    }
}

async fn unregister(services: &Services, id: BrokerId) -> Result<(), Explained> {
    let refuse = |message| Err(Explained::new(ErrorCode::InvalidRequest, message));
    if services.view.image().broker(id).is_some_and(|broker| !broker.fenced) {
        return refuse(format!("Broker {id} is running; stop it before it is unregistered."));
    }
    let node = NodeId(id.0.max(0) as u64);
    if services.cluster_raft.status().voters.contains(&node) {
        return refuse(format!(
            "Broker {id} is a voter of the metadata quorum; remove it from the voters first."
        ));
    }
    let settings = services.settings().clone();
    services.change(TIMEOUT_MS, |image| brokers::unregister(image, &settings, id)).await?;
    // Nobody need keep the log for it any more.
    if let Err(error) = services.members.change(&Change::Remove(node.0)).await {
        warn!(broker = id.0, %error, "the unregistered broker is still an observer of the quorum");
    }
    Ok(())
}
