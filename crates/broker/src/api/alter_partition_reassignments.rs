//! AlterPartitionReassignments (45), versions 0 and 1 (KIP-455, TP-13). Version 1 may forbid that the replication
//! factor changes (KIP-860).

use std::sync::Arc;

use milena_metadata::BrokerId;
use milena_metadata::decide::reassign::{self, Reassignment};
use milena_wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};

use crate::services::Services;

/// Starts or cancels each for itself.
pub(crate) async fn answer(
    services: Arc<Services>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let mut wanted = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|it| ReassignablePartitionResponse {
            partition_index: it.partition_index,
            error_message: None,
            ..Default::default()
        });
        let partitions = partitions.collect::<Vec<_>>();
        wanted.extend(topic.partitions.iter().map(|it| Reassignment {
            name: topic.name.to_string(),
            index: it.partition_index,
            replicas: it.replicas.as_ref().map(|ids| ids.iter().copied().map(BrokerId).collect()),
        }));
        topics.push(ReassignableTopicResponse { name: topic.name, partitions });
    }
    let settings = services.settings().clone();
    let allow = request.allow_replication_factor_change;
    let outcome = services
        .change(request.timeout_ms, |image| Ok(reassign::alter(image, &settings, &wanted, allow)))
        .await;
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: allow,
        error_message: None,
        responses: topics,
        ..Default::default()
    };
    match outcome {
        Ok(verdicts) => {
            let slots = response.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
            for (slot, verdict) in slots.zip(verdicts) {
                if let Err(refusal) = verdict {
                    slot.error_code = refusal.code().code();
                    slot.error_message = Some(refusal.to_string().into());
                }
            }
        }
        Err(error) => {
            response.error_code = error.code.code();
            response.error_message = Some(error.message.into());
        }
    }
    response
}
