//! InitProducerId (22), versions 0 to 5: an identity for an idempotent producer (KIP-98). Any broker answers.

use milena_wire::ErrorCode;
use milena_wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::producer_ids::ProducerIds;

/// A fresh producer id at epoch 0 (TX-2).
pub(crate) async fn answer(ids: ProducerIds, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let failed = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return failed(ErrorCode::InvalidRequest),
        // They need the transaction coordinator, which is not served yet; this code ends the attempt.
        Some(_) => return failed(ErrorCode::TransactionalIdAuthorizationFailed),
    }
    match ids.next().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, ..Default::default() },
        Err(_) => failed(ErrorCode::CoordinatorNotAvailable),
    }
}
