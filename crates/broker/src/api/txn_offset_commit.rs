//! TxnOffsetCommit (28), versions 0 to 5: a group's offsets as part of a transaction (KIP-98). They are pending until
//! the transaction is decided. Version 2 adds the leader epoch, 3 who the member is, which fences zombies (KIP-447),
//! 4 knows TRANSACTION_ABORTABLE; 5 makes the group part of the transaction by itself (KIP-890).

use std::sync::Arc;

use milena_group::{CommitInTransaction, OffsetToCommit, TopicId};
use milena_wire::ErrorCode;
use milena_wire::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

use crate::dispatch::Context;
use crate::services::Services;

/// Commits what exists; a partition that does not gets its own error (OC-4).
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (mut topics, mut offsets, mut slots) = (Vec::new(), Vec::new(), Vec::new());
    for topic in request.topics {
        let found = services.view.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let mut error_code = 0;
            match found.as_ref().filter(|it| (0..it.partitions).contains(&index)) {
                Some(summary) => {
                    slots.push((topics.len(), partitions.len()));
                    offsets.push(OffsetToCommit {
                        topic_id: TopicId(summary.id.0),
                        topic: summary.name.clone(),
                        partition: index,
                        offset: asked.committed_offset,
                        leader_epoch: asked.committed_leader_epoch,
                        metadata: asked.committed_metadata.map(|it| it.to_string()).unwrap_or_default(),
                    });
                }
                None => error_code = ErrorCode::UnknownTopicOrPartition.code(),
            }
            partitions.push(TxnOffsetCommitResponsePartition { partition_index: index, error_code });
        }
        topics.push(TxnOffsetCommitResponseTopic { name: topic.name, partitions });
    }
    let commit = CommitInTransaction {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        offsets,
    };
    let outcome = if request.group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else if request.transactional_id.is_empty() {
        Err(ErrorCode::InvalidRequest)
    } else if commit.offsets.is_empty() {
        Ok(Vec::new())
    } else {
        let longest = services.settings().offset_metadata_max_bytes().max(0) as usize;
        let id = request.transactional_id.to_string();
        services.transactions.commit_offsets(id, commit, context.version >= 5, longest).await
    };
    let codes = match outcome {
        Ok(codes) => codes,
        Err(code) => vec![told(code, context.version); slots.len()],
    };
    for ((topic, partition), code) in slots.into_iter().zip(codes) {
        topics[topic].partitions[partition].error_code = code.code();
    }
    TxnOffsetCommitResponse { topics, ..Default::default() }
}

/// The code as this version knows it: clients take fencing as INVALID_PRODUCER_EPOCH here, and those before version 5
/// come again only for codes about the coordinator.
fn told(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < 4 => ErrorCode::InvalidTxnState,
        ErrorCode::ConcurrentTransactions if version < 5 => ErrorCode::CoordinatorNotAvailable,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_as_the_version_knows_them() {
        use ErrorCode as E;
        for (code, version, expected) in [
            (E::ProducerFenced, 3, E::InvalidProducerEpoch),
            (E::ProducerFenced, 5, E::InvalidProducerEpoch),
            (E::TransactionAbortable, 3, E::InvalidTxnState),
            (E::TransactionAbortable, 4, E::TransactionAbortable),
            (E::ConcurrentTransactions, 4, E::CoordinatorNotAvailable),
            (E::ConcurrentTransactions, 5, E::ConcurrentTransactions),
            (E::NotCoordinator, 0, E::NotCoordinator),
        ] {
            assert_eq!(told(code, version), expected, "{code:?} v{version}");
        }
    }
}
