//! DescribeConfigs (32), versions 1 to 4: every setting of a resource with its default, source and type (CF-1 to
//! CF-4). Version 1 tells sources and synonyms, 3 types and documentation.

use milena_config::describe::{self, Entry};
use milena_metadata::{Image, Refusal, Resource};
use milena_wire::ErrorCode;
use milena_wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::error::Explained;
use crate::services::Services;

/// Type code of a broker's loggers, which are not resources of the cluster.
const BROKER_LOGGER: i8 = 8;

/// Describes each resource for itself.
pub(crate) fn answer(services: &Services, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = services.view.image();
    let results = request.resources.iter().map(|asked| match entries(services, &image, asked) {
        Ok(entries) => found(request, asked, entries),
        Err(error) => DescribeConfigsResult {
            error_code: error.code.code(),
            error_message: Some(error.message.into()),
            resource_type: asked.resource_type,
            resource_name: asked.resource_name.clone(),
            ..Default::default()
        },
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn entries(
    services: &Services,
    image: &Image,
    asked: &DescribeConfigsResource,
) -> Result<Vec<Entry>, Explained> {
    let name = asked.resource_name.to_string();
    let config = services.settings();
    if asked.resource_type == BROKER_LOGGER {
        // Log levels are set by the environment, not by this API; there are none to tell.
        return own_id(services, &name).map(|()| Vec::new());
    }
    let unknown = || Explained::from(&Refusal::UnknownResourceType(asked.resource_type));
    let resource = Resource::from_code(asked.resource_type, name).ok_or_else(unknown)?;
    let overrides = image.overrides(&resource);
    match &resource {
        Resource::Topic(name) => {
            if let Some(fault) = milena_metadata::names::fault(name) {
                return Err(Explained::new(ErrorCode::InvalidTopicException, fault));
            }
            match image.topic(name) {
                Some(_) => Ok(describe::topic(&overrides, &config)),
                None => Err(Explained::from(&Refusal::UnknownTopic)),
            }
        }
        Resource::Broker(name) if name.is_empty() => Ok(describe::cluster_default(&overrides)),
        Resource::Broker(name) => own_id(services, name).map(|()| describe::broker(&config)),
        Resource::Group(name) if name.is_empty() => {
            Err(Explained::new(ErrorCode::InvalidRequest, "Group name must not be empty"))
        }
        Resource::Group(_) => Ok(describe::group(&overrides, &config)),
        Resource::ClientMetrics(name) if name.is_empty() => Err(Explained::new(
            ErrorCode::InvalidRequest,
            "Client metrics subscription name must not be empty",
        )),
        Resource::ClientMetrics(_) => Ok(describe::client_metrics(&overrides, &config)),
    }
}

/// A broker's settings are told by the broker itself.
fn own_id(services: &Services, name: &str) -> Result<(), Explained> {
    let expected = services.broker_id;
    match name.parse::<i32>() {
        Err(_) => {
            let message = format!("Broker id must be an integer, but it is: {name}");
            Err(Explained::new(ErrorCode::InvalidRequest, message))
        }
        Ok(id) if id != expected.0 => {
            Err(Explained::from(&Refusal::OtherBroker { expected, received: name.to_owned() }))
        }
        Ok(_) => Ok(()),
    }
}

fn found(
    request: &DescribeConfigsRequest,
    asked: &DescribeConfigsResource,
    entries: Vec<Entry>,
) -> DescribeConfigsResult {
    // Null keys mean all; an empty list does too, as older clients send it.
    let keys = asked.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let wanted = |entry: &Entry| keys.is_none_or(|keys| keys.iter().any(|key| **key == *entry.name));
    DescribeConfigsResult {
        error_message: Some("".into()),
        resource_type: asked.resource_type,
        resource_name: asked.resource_name.clone(),
        configs: entries.into_iter().filter(wanted).map(|entry| told(request, entry)).collect(),
        ..Default::default()
    }
}

fn told(request: &DescribeConfigsRequest, entry: Entry) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms);
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms
            .map(|it| DescribeConfigsSynonym {
                name: it.name.into(),
                value: it.value.map(Into::into),
                source: it.source as i8,
            })
            .collect(),
        config_type: entry.kind as i8,
        documentation: entry.documentation.filter(|_| request.include_documentation).map(Into::into),
    }
}
