//! DescribeTransactions (65), version 0 (KIP-664): what the coordinator knows of transactional ids.

use std::collections::BTreeMap;

use milena_txn::Transaction;
use milena_wire::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use milena_wire::{ErrorCode, Text};

use crate::error::transaction_code;
use crate::transactions::TransactionCoordinator;

/// One state per id; TRANSACTIONAL_ID_NOT_FOUND for one that is not known (TX-13).
pub(crate) async fn answer(
    coordinator: TransactionCoordinator,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let ids: Vec<&str> = request.transactional_ids.iter().map(|id| &**id).collect();
    let described = coordinator.describe(&ids).await;
    let states = request.transactional_ids.iter().enumerate().map(|(at, id)| {
        let outcome = match &described {
            Ok(_) if id.is_empty() => Err(ErrorCode::InvalidRequest),
            Ok(described) => described[at].as_ref().map_err(|refusal| transaction_code(*refusal)),
            Err(code) => Err(*code),
        };
        match outcome {
            Ok(transaction) => state(id.clone(), transaction),
            Err(code) => TransactionState {
                error_code: code.code(),
                transactional_id: id.clone(),
                ..Default::default()
            },
        }
    });
    DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() }
}

fn state(transactional_id: Text, transaction: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (_, name, index) in transaction.partitions().iter() {
        topics.entry(name).or_default().push(index);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| TopicData { topic: topic.into(), partitions });
    TransactionState {
        transactional_id,
        transaction_state: transaction.state().name().into(),
        transaction_timeout_ms: transaction.timeout_ms(),
        transaction_start_time_ms: transaction.start_time_ms().unwrap_or(-1),
        producer_id: transaction.producer().producer_id,
        producer_epoch: transaction.producer().epoch,
        topics: topics.collect(),
        ..Default::default()
    }
}
