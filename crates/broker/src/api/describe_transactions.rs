//! DescribeTransactions (65), version 0 (KIP-664): none is known until transactions are served.

use milena_wire::ErrorCode;
use milena_wire::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState,
};

/// TRANSACTIONAL_ID_NOT_FOUND for each (TX-13).
pub(crate) fn answer(request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|transactional_id| TransactionState {
        error_code: ErrorCode::TransactionalIdNotFound.code(),
        transactional_id,
        ..Default::default()
    });
    DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() }
}
