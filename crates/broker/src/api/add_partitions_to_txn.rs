//! AddPartitionsToTxn (24), versions 0 to 5: partitions become part of a transaction before they are written to
//! (KIP-98). From version 4 on many transactions at once, or only the question whether partitions are part of one:
//! what Kafka's brokers send each other (KIP-890). Version 2 knows PRODUCER_FENCED, 5 TRANSACTION_ABORTABLE.

use std::sync::Arc;

use milena_txn::{Partitions, ProducerIdAndEpoch, TopicId};
use milena_wire::ErrorCode;
use milena_wire::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};

use crate::dispatch::Context;
use crate::error::transaction_code;
use crate::services::Services;
use crate::view::View;

/// Adds or looks up; the partitions of one transaction succeed together or not at all (TX-5).
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version < 4 {
        let asked = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results = one(&services, &context, asked).await.topic_results;
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() };
    }
    let asked = request.transactions.into_iter().map(|asked| one(&services, &context, asked));
    let results_by_transaction = futures_util::future::join_all(asked).await;
    AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() }
}

async fn one(
    services: &Services,
    context: &Context,
    asked: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let known = resolve(&services.view, &asked.topics);
    let codes = if asked.transactional_id.is_empty() {
        vec![ErrorCode::InvalidRequest; known.len()]
    } else if known.iter().any(Option::is_none) {
        // One that cannot be added keeps the others from it, which are not to blame.
        let blame = |known: &Option<_>| match known {
            Some(_) => ErrorCode::OperationNotAttempted,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        known.iter().map(blame).collect()
    } else {
        let partitions: Vec<_> = known.into_iter().flatten().collect();
        decide(services, &asked, &partitions).await
    };
    let codes = codes.into_iter().map(|code| super::code_of_fencing(code, context.version >= 2));
    AddPartitionsToTxnResult {
        topic_results: results(asked.topics, codes),
        transactional_id: asked.transactional_id,
    }
}

/// A partition by its topic's id and name.
type Named = (TopicId, String, i32);

/// The partitions in the request's order, `None` for those that do not exist.
fn resolve(view: &View, topics: &[AddPartitionsToTxnTopic]) -> Vec<Option<Named>> {
    let mut partitions = Vec::new();
    for topic in topics {
        let summary = view.topic(&topic.name);
        partitions.extend(topic.partitions.iter().map(|index| {
            let summary = summary.as_ref().filter(|it| (0..it.partitions).contains(index))?;
            Some((TopicId(summary.id.0), summary.name.clone(), *index))
        }));
    }
    partitions
}

/// A code per partition.
async fn decide(
    services: &Services,
    asked: &AddPartitionsToTxnTransaction,
    partitions: &[Named],
) -> Vec<ErrorCode> {
    let producer = ProducerIdAndEpoch { producer_id: asked.producer_id, epoch: asked.producer_epoch };
    if asked.verify_only {
        let wanted: Vec<_> = partitions.iter().map(|(id, _, index)| (*id, *index)).collect();
        let checked =
            services.transactions.check_partitions(&asked.transactional_id, producer, &wanted).await;
        return match checked {
            Ok(verdicts) => verdicts
                .into_iter()
                .map(|verdict| verdict.map_or_else(transaction_code, |()| ErrorCode::None))
                .collect(),
            Err(code) => vec![code; partitions.len()],
        };
    }
    let wanted: Partitions =
        partitions.iter().map(|(id, name, index)| (*id, name.as_str(), *index)).collect();
    let id = asked.transactional_id.to_string();
    let added = services.transactions.add_partitions(id, producer, wanted).await;
    vec![added.err().unwrap_or(ErrorCode::None); partitions.len()]
}

fn results(
    topics: Vec<AddPartitionsToTxnTopic>,
    codes: impl IntoIterator<Item = ErrorCode>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.into_iter();
    let topics = topics.into_iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name,
        results_by_partition: topic
            .partitions
            .into_iter()
            .map(|partition_index| AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: codes.next().unwrap_or(ErrorCode::UnknownServerError).code(),
            })
            .collect(),
    });
    topics.collect()
}
