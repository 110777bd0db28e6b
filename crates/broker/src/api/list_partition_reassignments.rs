//! ListPartitionReassignments (46), version 0 (KIP-455). `kafka-topics --describe` asks for it each time.

use milena_metadata::BrokerId;
use milena_metadata::decide::reassign;
use milena_wire::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};

use crate::view::View;

/// What is under way.
pub(crate) fn answer(
    view: &View,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let named: Option<Vec<(String, Vec<i32>)>> = request
        .topics
        .map(|topics| topics.into_iter().map(|it| (it.name.to_string(), it.partition_indexes)).collect());
    let ids = |brokers: Vec<BrokerId>| brokers.into_iter().map(|id| id.0).collect();
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for ongoing in reassign::list(&view.image(), named.as_deref()) {
        if topics.last().is_none_or(|last| *last.name != *ongoing.name) {
            topics.push(OngoingTopicReassignment { name: ongoing.name.into(), ..Default::default() });
        }
        let topic = topics.last_mut().expect("pushed above");
        topic.partitions.push(OngoingPartitionReassignment {
            partition_index: ongoing.index,
            replicas: ids(ongoing.replicas),
            adding_replicas: ids(ongoing.adding),
            removing_replicas: ids(ongoing.removing),
        });
    }
    ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() }
}
