//! EndTxn (26), versions 0 to 5: commits or aborts a transaction (KIP-98). It is answered when the decision is in the
//! log of the coordinator's quorum; markers follow (TX-6). Version 2 knows PRODUCER_FENCED, 4 TRANSACTION_ABORTABLE;
//! from 5 on the producer has a new epoch afterwards, which the answer tells (KIP-890, TX-7).

use milena_txn::ProducerIdAndEpoch;
use milena_wire::ErrorCode;
use milena_wire::end_txn::{EndTxnRequest, EndTxnResponse};

use crate::dispatch::Context;
use crate::transactions::TransactionCoordinator;

/// Decides the transaction.
pub(crate) async fn answer(
    coordinator: TransactionCoordinator,
    context: Context,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch: request.producer_epoch };
    let bumps = context.version >= 5;
    let outcome = match request.transactional_id.is_empty() {
        true => Err(ErrorCode::InvalidRequest),
        false => {
            coordinator.end(request.transactional_id.to_string(), producer, request.committed, bumps).await
        }
    };
    match outcome {
        Ok(next) if bumps => {
            EndTxnResponse { producer_id: next.producer_id, producer_epoch: next.epoch, ..Default::default() }
        }
        Ok(_) => EndTxnResponse::default(),
        Err(code) => EndTxnResponse {
            error_code: super::code_of_fencing(code, context.version >= 2).code(),
            ..Default::default()
        },
    }
}
