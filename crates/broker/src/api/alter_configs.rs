//! AlterConfigs (33), versions 0 to 2: replaces all overrides of a resource (CF-6). kafkajs knows only this one.

use std::sync::Arc;

use milena_metadata::decide::configs::{self, Replacement, Target};
use milena_wire::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::incremental_alter_configs::TIMEOUT_MS;
use crate::error::Explained;
use crate::services::Services;

/// Answers when this broker goes by the new settings (D12).
pub(crate) async fn answer(services: Arc<Services>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let replacements: Vec<_> = request.resources.iter().map(replacement).collect();
    let settings = services.settings().clone();
    let outcome = services
        .change(TIMEOUT_MS, |image| {
            let receiver = services.broker_id;
            Ok(configs::replace(image, &settings, receiver, &replacements, request.validate_only))
        })
        .await;
    let responses = match outcome {
        Ok(answer) => answer
            .into_iter()
            .map(|(target, outcome)| result(target, outcome.as_ref().err().map(Explained::from)))
            .collect(),
        Err(error) => replacements.into_iter().map(|it| result(it.target, Some(error.clone()))).collect(),
    };
    AlterConfigsResponse { responses, ..Default::default() }
}

fn replacement(resource: &AlterConfigsResource) -> Replacement {
    let configs = resource.configs.iter();
    let configs = configs.map(|it| (it.name.to_string(), it.value.as_ref().map(|value| value.to_string())));
    Replacement {
        target: Target { code: resource.resource_type, name: resource.resource_name.to_string() },
        configs: configs.collect(),
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
