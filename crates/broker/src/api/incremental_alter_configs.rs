//! IncrementalAlterConfigs (44), versions 0 and 1 (KIP-339): sets, deletes, appends to and subtracts from
//! settings; each resource whole or not at all (CF-5).

use std::sync::Arc;

use milena_metadata::decide::configs::{self, Alteration, Target};
use milena_wire::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::error::Explained;
use crate::services::Services;

/// Kafka's request has no time-out of its own; its tools wait this long.
pub(super) const TIMEOUT_MS: i32 = 30_000;

/// Answers when this broker goes by the new settings (D12).
pub(crate) async fn answer(
    services: Arc<Services>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let alterations: Vec<_> = request.resources.iter().map(alteration).collect();
    let settings = services.settings().clone();
    let outcome = services
        .change(TIMEOUT_MS, |image| {
            let receiver = services.broker_id;
            Ok(configs::alter_incrementally(image, &settings, receiver, &alterations, request.validate_only))
        })
        .await;
    let responses = match outcome {
        Ok(answer) => answer
            .into_iter()
            .map(|(target, outcome)| result(target, outcome.as_ref().err().map(Explained::from)))
            .collect(),
        Err(error) => alterations.into_iter().map(|it| result(it.target, Some(error.clone()))).collect(),
    };
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

fn alteration(resource: &AlterConfigsResource) -> Alteration {
    let operations = resource.configs.iter().map(|it| {
        (it.name.to_string(), it.config_operation, it.value.as_ref().map(|value| value.to_string()))
    });
    Alteration {
        target: Target { code: resource.resource_type, name: resource.resource_name.to_string() },
        operations: operations.collect(),
    }
}

fn result(target: Target, error: Option<Explained>) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: error.as_ref().map_or(0, |error| error.code.code()),
        error_message: error.map(|error| error.message.into()),
        resource_type: target.code,
        resource_name: target.name.into(),
    }
}
