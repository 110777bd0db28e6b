//! DeleteTopics (20), versions 1 to 6. Version 5 tells why not, 6 names topics by id as well. Answers when the
//! names can be used again (TP-10).

use std::sync::Arc;

use milena_metadata::decide::topics::{self, DoomedTopic};
use milena_wire::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use milena_wire::{ErrorCode, Uuid};

use crate::dispatch::Context;
use crate::error::Explained;
use crate::services::Services;

/// Deletes each topic for itself.
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let wanted: Vec<DoomedTopic> = if context.version >= 6 {
        let named = request.topics.iter().map(|topic| DoomedTopic {
            name: topic.name.as_ref().map(|name| name.to_string()),
            id: topic.topic_id,
        });
        named.collect()
    } else {
        let named = request.topic_names.iter();
        named.map(|name| DoomedTopic { name: Some(name.to_string()), id: Uuid::ZERO }).collect()
    };
    let settings = services.settings().clone();
    let outcome =
        services.change(request.timeout_ms, |image| topics::delete(image, &settings, &wanted)).await;
    let responses = match outcome {
        Ok(answer) => answer
            .into_iter()
            .map(|it| result(&context, it.name, it.id, it.outcome.as_ref().err().map(Explained::from)))
            .collect(),
        Err(error) => wanted
            .into_iter()
            .map(|topic| result(&context, topic.name, topic.id, Some(error.clone())))
            .collect(),
    };
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn result(
    context: &Context,
    name: Option<String>,
    topic_id: Uuid,
    error: Option<Explained>,
) -> DeletableTopicResult {
    // Before version 3 the client does not know TOPIC_DELETION_DISABLED.
    let code = match error.as_ref().map_or(ErrorCode::None, |error| error.code) {
        ErrorCode::TopicDeletionDisabled if context.version < 3 => ErrorCode::InvalidRequest,
        code => code,
    };
    DeletableTopicResult {
        name: name.map(Into::into),
        topic_id,
        error_code: code.code(),
        error_message: error.map(|error| error.message.into()),
    }
}
