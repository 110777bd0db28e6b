//! DescribeTopicPartitions (75), version 0 (KIP-966): topics in pages of partitions, with eligible leader
//! replicas. Topics come sorted by name; a cursor says where the next page begins (MD-15).

use milena_metadata::{Image, Partition, Topic};
use milena_wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use milena_wire::{ErrorCode, Text};

use crate::authorized;
use crate::services::Services;

/// One page.
pub(crate) fn answer(
    services: &Services,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    if cursor.is_some_and(|cursor| cursor.partition_index < 0) {
        // The response has no top-level error; Kafka fails the request as invalid on each topic.
        let refused =
            request.topics.iter().map(|asked| failed(asked.name.clone(), ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse { topics: refused.collect(), ..Default::default() };
    }
    let image = services.view.image();
    let limit = services.settings().max_request_partition_size_limit().max(1);
    let limit = request.response_partition_limit.clamp(1, limit) as usize;
    let mut page = Page { image: &image, left: limit, response: Default::default() };
    for name in names(&image, request) {
        let first = cursor.filter(|cursor| *cursor.topic_name == *name).map_or(0, |it| it.partition_index);
        if !page.add(&name, first) {
            break;
        }
    }
    page.response
}

/// The topics from the cursor on, sorted.
fn names(image: &Image, request: &DescribeTopicPartitionsRequest) -> Vec<String> {
    let from = request.cursor.as_ref().map(|cursor| cursor.topic_name.to_string()).unwrap_or_default();
    if request.topics.is_empty() {
        return image.topics_from(&from).map(|topic| topic.name.to_string()).collect();
    }
    let mut names: Vec<_> = request.topics.iter().map(|asked| asked.name.to_string()).collect();
    names.retain(|name| *name >= from);
    names.sort();
    names.dedup();
    names
}

struct Page<'a> {
    image: &'a Image,
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    /// Adds a topic from partition `first` on. `false` when the page is full.
    fn add(&mut self, name: &str, first: i32) -> bool {
        let Some(topic) = self.image.topic(name) else {
            self.response.topics.push(failed(name.into(), ErrorCode::UnknownTopicOrPartition));
            return true;
        };
        if self.left == 0 {
            self.response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: first });
            return false;
        }
        let partitions: Vec<_> = topic.iter().skip(first as usize).take(self.left).collect();
        self.left -= partitions.len();
        let next = first + partitions.len() as i32;
        let described = partitions.iter().map(|(index, it)| partition(self.image, *index, it)).collect();
        self.response.topics.push(found(topic, described));
        if (next as usize) < topic.partitions.len() {
            self.response.next_cursor = Some(Cursor { topic_name: name.into(), partition_index: next });
            return false;
        }
        true
    }
}

fn failed(name: Text, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(name),
        topic_authorized_operations: authorized::TOPIC,
        ..Default::default()
    }
}

fn found(
    topic: &Topic,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions,
        topic_authorized_operations: authorized::TOPIC,
        ..Default::default()
    }
}

fn partition(
    image: &Image,
    partition_index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let ids = |brokers: &[milena_metadata::BrokerId]| brokers.iter().map(|id| id.0).collect::<Vec<_>>();
    let is_live = |id: &&milena_metadata::BrokerId| image.broker(**id).is_some_and(|broker| !broker.fenced);
    let leader = partition.leader.filter(|id| is_live(&id));
    DescribeTopicPartitionsResponsePartition {
        error_code: leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).code(),
        partition_index,
        leader_id: leader.map_or(-1, |id| id.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        eligible_leader_replicas: Some(ids(&partition.elr)),
        last_known_elr: Some(ids(&partition.last_known_elr)),
        offline_replicas: partition.replicas.iter().filter(|id| !is_live(id)).map(|id| id.0).collect(),
    }
}
