//! Metadata (3), versions 0 to 13: brokers, and topics with their leaders.
//!
//! Version 0 means "all topics" by an empty list; from version 1 null means all and empty means none (MD-1).
//! Version 4 may forbid the creation of missing topics, 5 tells offline replicas, 7 leader epochs (KIP-320),
//! 10 topic ids, 12 asks by id.
//!
//! A missing topic that may be created is created before the answer, which then tells of it as usual. Kafka
//! answers UNKNOWN_TOPIC_OR_PARTITION first and has the client ask again.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_metadata::{Image, Partition, Topic};
use milena_wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use milena_wire::{ErrorCode, Text, Uuid};

use crate::authorized;
use crate::connection::Started;
use crate::dispatch::{Answer, Context};
use crate::failover::{self, Named};
use crate::services::Services;

/// Answers at once unless a topic must be created first.
pub(crate) fn start(
    services: &Arc<Services>,
    context: Context,
    answer: Answer,
    request: MetadataRequest,
) -> Started {
    if !is_valid(&context, &request) {
        return answer.now(invalid(&request));
    }
    let missing = missing(services, &context, &request);
    if missing.is_empty() && failover::is_idle_question(services, || named(services, &context, &request)) {
        return answer.now(describe(services, &context, &request, &[]));
    }
    let services = Arc::clone(services);
    answer.later(async move {
        let refused = match missing.is_empty() {
            true => Vec::new(),
            false => services.auto_create(missing).await,
        };
        failover::over(&services, || named(&services, &context, &request)).await;
        describe(&services, &context, &request, &refused)
    })
}

/// The leaders that the answer names, and the controller.
fn named(services: &Services, context: &Context, request: &MetadataRequest) -> Named {
    let image = services.view.image();
    let mut named = BTreeSet::from([services.controller_id()]);
    let add = |topic: &Topic| named.extend(topic.iter().filter_map(|(_, it)| it.leader));
    match asked(context, request) {
        None => image.topics().for_each(add),
        Some(topics) => topics
            .iter()
            .filter_map(|asked| match &asked.name {
                Some(name) => image.topic(name),
                None => image.topic_by_id(asked.topic_id),
            })
            .for_each(add),
    }
    Some(named)
}

/// Below version 12 a topic is asked for by name, and never by id (MD-4).
fn is_valid(context: &Context, request: &MetadataRequest) -> bool {
    let by_name = |topic: &MetadataRequestTopic| topic.name.is_some() && topic.topic_id == Uuid::ZERO;
    context.version >= 12 || request.topics.iter().flatten().all(by_name)
}

fn invalid(request: &MetadataRequest) -> MetadataResponse {
    let refused = request.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: refused.collect(), ..Default::default() }
}

/// Named topics that do not exist and may be created (MD-2).
fn missing(services: &Services, context: &Context, request: &MetadataRequest) -> Vec<String> {
    // The field is there from version 4 on; before, every client counts as wanting it, which is its default.
    if !request.allow_auto_topic_creation || !services.settings().auto_create_topics_enable() {
        return Vec::new();
    }
    let image = services.view.image();
    let names = asked(context, request).into_iter().flatten().filter_map(|topic| topic.name.as_ref());
    names.filter(|name| image.topic(name).is_none()).map(|name| name.to_string()).collect()
}

/// The topics asked for; `None` for all.
fn asked<'a>(context: &Context, request: &'a MetadataRequest) -> Option<&'a [MetadataRequestTopic]> {
    let topics = request.topics.as_deref()?;
    (context.version > 0 || !topics.is_empty()).then_some(topics)
}

fn describe(
    services: &Services,
    context: &Context,
    request: &MetadataRequest,
    refused: &[(String, ErrorCode)],
) -> MetadataResponse {
    let image = services.view.image();
    let authorized = |asked, all| if asked { all } else { authorized::NOT_ASKED };
    let operations = authorized(request.include_topic_authorized_operations, authorized::TOPIC);
    let topics = match asked(context, request) {
        None => image.topics().map(|topic| found(&image, context, topic, operations)).collect(),
        Some(topics) => topics.iter().map(|asked| one(&image, context, asked, refused, operations)).collect(),
    };
    let named = image.brokers().filter(|broker| services.view.names(broker));
    let brokers = named.filter_map(|broker| {
        let endpoint = broker.endpoint(&context.listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Text::from),
        })
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: image.cluster_id().map(Text::from),
        controller_id: services.controller_id().0,
        topics,
        cluster_authorized_operations: authorized(
            request.include_cluster_authorized_operations,
            authorized::CLUSTER,
        ),
        ..Default::default()
    }
}

fn one(
    image: &Image,
    context: &Context,
    asked: &MetadataRequestTopic,
    refused: &[(String, ErrorCode)],
    operations: i32,
) -> MetadataResponseTopic {
    let (topic, unknown) = match &asked.name {
        Some(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
        None => (image.topic_by_id(asked.topic_id), ErrorCode::UnknownTopicId),
    };
    if let Some(topic) = topic {
        return found(image, context, topic, operations);
    }
    let is_invalid = asked.name.as_ref().is_some_and(|name| milena_metadata::names::fault(name).is_some());
    let unknown = if is_invalid { ErrorCode::InvalidTopicException } else { unknown };
    let refused =
        |name: &Text| refused.iter().find(|(refused, _)| **refused == **name).map(|(_, code)| *code);
    MetadataResponseTopic {
        error_code: asked.name.as_ref().and_then(refused).unwrap_or(unknown).code(),
        name: asked.name.clone(),
        topic_id: asked.topic_id,
        topic_authorized_operations: authorized::NOT_ASKED,
        ..Default::default()
    }
}

fn found(image: &Image, context: &Context, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    MetadataResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: topic.iter().map(|(index, it)| partition(image, context, index, it)).collect(),
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

fn partition(
    image: &Image,
    context: &Context,
    partition_index: i32,
    partition: &Partition,
) -> MetadataResponsePartition {
    let endpoint = |id| {
        let broker = image.broker(id).filter(|broker| !broker.fenced)?;
        Some(broker.endpoint(&context.listener).is_some())
    };
    // A leader that clients of this listener cannot reach has its own code since version 6 (MD-5).
    let error = match partition.leader.map(endpoint) {
        Some(Some(true)) => ErrorCode::None,
        Some(Some(false)) if context.version >= 6 => ErrorCode::ListenerNotFound,
        _ => ErrorCode::LeaderNotAvailable,
    };
    let leader = partition.leader.filter(|_| error == ErrorCode::None);
    let ids = |brokers: &[milena_metadata::BrokerId]| brokers.iter().map(|id| id.0).collect();
    let offline = partition.replicas.iter().filter(|id| endpoint(**id).is_none());
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index,
        leader_id: leader.map_or(-1, |id| id.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: offline.map(|id| id.0).collect(),
    }
}
