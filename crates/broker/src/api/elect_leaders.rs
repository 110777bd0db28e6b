//! ElectLeaders (43), versions 0 to 2 (KIP-460, TP-12). Version 1 tells preferred from unclean elections.

use std::sync::Arc;

use milena_metadata::decide::elect::{self, ElectionType};
use milena_wire::ErrorCode;
use milena_wire::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::dispatch::Context;
use crate::services::Services;

/// Elects leaders of the partitions named, or of all.
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let named: Option<Vec<(String, Vec<i32>)>> = request
        .topic_partitions
        .map(|topics| topics.into_iter().map(|it| (it.topic.to_string(), it.partitions)).collect());
    let kind = if context.version >= 1 { request.election_type } else { 0 };
    let outcome = services
        .change(request.timeout_ms, |image| {
            Ok(elect::elect(image, ElectionType::from_code(kind)?, named.as_deref()))
        })
        .await;
    match outcome {
        Ok(topics) => {
            let results = topics.into_iter().map(|(topic, partitions)| ReplicaElectionResult {
                topic: topic.into(),
                partition_result: partitions
                    .into_iter()
                    .map(|(partition_id, outcome)| PartitionResult {
                        partition_id,
                        error_code: outcome.as_ref().err().map_or(ErrorCode::None, |it| it.code()).code(),
                        error_message: outcome.err().map(|refusal| refusal.to_string().into()),
                    })
                    .collect(),
            });
            ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
        }
        Err(error) => ElectLeadersResponse { error_code: error.code.code(), ..Default::default() },
    }
}
