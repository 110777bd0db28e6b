//! FindCoordinator (10), versions 0 to 6. From version 4 many keys at once, answered in the array alone; before
//! in the top-level fields alone (FC-3).
//!
//! The Raft leader of the `coordination` group coordinates every group and every transaction, so all keys have one
//! answer and nothing is ever loading.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use milena_wire::{ErrorCode, Text};

use crate::connection::Started;
use crate::dispatch::{Answer, Context};
use crate::failover::{self, Named};
use crate::services::Services;

/// Kinds of key, `key_type` on the wire.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers at once unless it is to be seen first whether the coordinator lives.
pub(crate) fn start(
    services: &Arc<Services>,
    context: Context,
    answer: Answer,
    request: FindCoordinatorRequest,
) -> Started {
    if failover::is_idle_question(services, || named(services)) {
        return answer.now(describe(services, &context, request));
    }
    let services = Arc::clone(services);
    answer.later(async move {
        failover::over(&services, || named(&services)).await;
        describe(&services, &context, request)
    })
}

fn named(services: &Services) -> Named {
    services.coordinator_id().map(|id| BTreeSet::from([id]))
}

fn describe(
    services: &Services,
    context: &Context,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.version >= 4 {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| find(services, context, request.key_type, key)).collect();
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(services, context, request.key_type, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(services: &Services, context: &Context, key_type: i8, key: Text) -> Coordinator {
    let failed = |key, code: ErrorCode, message: &str| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Default::default()
    };
    if !matches!(key_type, GROUP | TRANSACTION) {
        return failed(key, ErrorCode::InvalidRequest, "unknown coordinator key type");
    }
    let endpoint = services
        .coordinator_id()
        .and_then(|id| services.view.endpoint(id, &context.listener).map(|endpoint| (id, endpoint)));
    match endpoint {
        Some((node_id, endpoint)) => Coordinator {
            key,
            node_id: node_id.0,
            host: endpoint.host.into(),
            port: i32::from(endpoint.port),
            error_message: (context.version >= 4).then(Default::default),
            ..Default::default()
        },
        None => failed(
            key,
            ErrorCode::CoordinatorNotAvailable,
            "no broker leads the coordination group at the moment",
        ),
    }
}
