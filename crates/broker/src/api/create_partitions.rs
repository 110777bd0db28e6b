//! CreatePartitions (37), versions 0 to 3: more partitions for a topic (TP-9). Answers when they can be
//! written to.

use std::sync::Arc;

use milena_metadata::BrokerId;
use milena_metadata::decide::partitions::{self, MorePartitions};
use milena_wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use crate::error::Explained;
use crate::random;
use crate::services::Services;

/// Adds to each topic for itself.
pub(crate) async fn answer(
    services: Arc<Services>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let wanted: Vec<_> = request
        .topics
        .iter()
        .map(|topic| MorePartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic
                .assignments
                .as_ref()
                .map(|each| each.iter().map(|it| brokers(&it.broker_ids)).collect()),
        })
        .collect();
    let settings = services.settings().clone();
    let outcome = services
        .change(request.timeout_ms, |image| {
            Ok(partitions::create(image, &settings, &wanted, request.validate_only, &mut random::word))
        })
        .await;
    let results = match outcome {
        Ok(answer) => answer
            .into_iter()
            .map(|(name, outcome)| result(name.into(), outcome.as_ref().err().map(Explained::from)))
            .collect(),
        Err(error) => {
            request.topics.into_iter().map(|topic| result(topic.name, Some(error.clone()))).collect()
        }
    };
    CreatePartitionsResponse { results, ..Default::default() }
}

fn result(name: milena_wire::Text, error: Option<Explained>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name,
        error_code: error.as_ref().map_or(0, |error| error.code.code()),
        error_message: error.map(|error| error.message.into()),
    }
}
