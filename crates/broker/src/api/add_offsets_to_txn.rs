//! AddOffsetsToTxn (25), versions 0 to 4: a group's offsets become part of a transaction (KIP-98). Version 2 knows
//! PRODUCER_FENCED, 4 TRANSACTION_ABORTABLE.

use milena_txn::ProducerIdAndEpoch;
use milena_wire::ErrorCode;
use milena_wire::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::dispatch::Context;
use crate::transactions::TransactionCoordinator;

/// Adds the group.
pub(crate) async fn answer(
    coordinator: TransactionCoordinator,
    context: Context,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch: request.producer_epoch };
    let outcome = match request.transactional_id.is_empty() {
        true => Err(ErrorCode::InvalidRequest),
        false => {
            let id = request.transactional_id.to_string();
            coordinator.add_offsets(id, producer, request.group_id.to_string()).await
        }
    };
    let code = outcome.err().unwrap_or(ErrorCode::None);
    AddOffsetsToTxnResponse {
        error_code: super::code_of_fencing(code, context.version >= 2).code(),
        ..Default::default()
    }
}
