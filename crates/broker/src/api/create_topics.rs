//! CreateTopics (19), versions 2 to 7. Version 4 allows -1 for the broker's defaults, 5 tells the settings in
//! the answer, 7 the topic id. Answers when the topics can be written to (D12).

use std::sync::Arc;

use milena_config::describe;
use milena_metadata::BrokerId;
use milena_metadata::decide::topics::{self, CreatedTopic, NewTopic};
use milena_wire::Text;
use milena_wire::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use crate::error::Explained;
use crate::random;
use crate::services::Services;

/// Creates each topic for itself (TP-5).
pub(crate) async fn answer(services: Arc<Services>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let wanted: Vec<NewTopic> = request.topics.iter().map(new_topic).collect();
    let settings = services.settings().clone();
    let outcome = services
        .change(request.timeout_ms, |image| {
            topics::create(image, &settings, &wanted, request.validate_only, &mut random::word)
        })
        .await;
    let topics = match outcome {
        Ok(answer) => answer
            .into_iter()
            .map(|(name, outcome)| match outcome {
                Ok(created) => succeeded(&services, name, &created),
                Err(refusal) => failed(name.into(), &Explained::from(&refusal)),
            })
            .collect(),
        Err(error) => request.topics.into_iter().map(|topic| failed(topic.name, &error)).collect(),
    };
    CreateTopicsResponse { topics, ..Default::default() }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|it| (it.partition_index, brokers(&it.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|it| (it.name.to_string(), it.value.as_ref().map(|value| value.to_string())))
            .collect(),
    }
}

fn succeeded(services: &Services, name: String, created: &CreatedTopic) -> CreatableTopicResult {
    let configs = describe::topic(&created.overrides, &services.settings());
    let configs = configs.into_iter().map(|entry| CreatableTopicConfigs {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
    });
    CreatableTopicResult {
        name: name.into(),
        topic_id: created.id,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn failed(name: Text, error: &Explained) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: error.code.code(),
        error_message: Some(error.message.as_str().into()),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
