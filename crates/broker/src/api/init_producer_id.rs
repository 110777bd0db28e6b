//! InitProducerId (22), versions 0 to 5: an identity for an idempotent producer (KIP-98), from any broker; or for a
//! transactional one, whose coordinator fences its predecessor. Version 3 tells what the producer has already
//! (KIP-360), 4 knows PRODUCER_FENCED. Version 6, which is decoded but not advertised, asks for two-phase commit
//! (KIP-939), which is not served.

use std::sync::Arc;

use milena_txn::ProducerIdAndEpoch;
use milena_wire::ErrorCode;
use milena_wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::dispatch::Context;
use crate::producer_ids::ProducerIds;
use crate::services::Services;

/// What a client without a producer says of it.
const NONE: i64 = -1;

/// A fresh producer id at epoch 0 (TX-2), or the next epoch of a transactional id (TX-3).
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let outcome = match &request.transactional_id {
        None => fresh(&services.producer_ids).await,
        Some(_) => transactional(&services, &request).await,
    };
    match outcome {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.producer_id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: super::code_of_fencing(code, context.version >= 4).code(),
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

/// A producer without transactions has no coordinator that it could look for: it is told to ask again, as by Kafka.
async fn fresh(ids: &ProducerIds) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let producer_id = ids.next().await.map_err(|_| ErrorCode::CoordinatorLoadInProgress)?;
    Ok(ProducerIdAndEpoch { producer_id, epoch: 0 })
}

async fn transactional(
    services: &Services,
    request: &InitProducerIdRequest,
) -> Result<ProducerIdAndEpoch, ErrorCode> {
    let transactional_id = request.transactional_id.as_deref().unwrap_or_default();
    let expected = match (request.producer_id, request.producer_epoch) {
        (NONE, -1) => None,
        (NONE, _) | (_, -1) => return Err(ErrorCode::InvalidRequest),
        (producer_id, epoch) => Some(ProducerIdAndEpoch { producer_id, epoch }),
    };
    if transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    if request.enable2_pc {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if request.keep_prepared_txn {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let longest = services.settings().transaction_max_timeout_ms();
    if !(1..=longest).contains(&request.transaction_timeout_ms) {
        return Err(ErrorCode::InvalidTransactionTimeout);
    }
    let timeout_ms = request.transaction_timeout_ms;
    services.transactions.init_producer_id(transactional_id.to_owned(), timeout_ms, expected).await
}
