//! DescribeCluster (60), versions 0 to 2. Version 1 asks for brokers or for controllers (KIP-919), 2 may include
//! fenced brokers (KIP-1073).

use milena_wire::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use milena_wire::{ErrorCode, Text};

use crate::authorized;
use crate::dispatch::Context;
use crate::services::Services;

/// Endpoint type of brokers on the wire.
const BROKERS: i8 = 1;
/// Endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Tells of the brokers, on the listener of the request.
pub(crate) fn answer(
    services: &Services,
    context: &Context,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MismatchedEndpointType, "this is a listener of brokers")),
        _ => Some((ErrorCode::UnsupportedEndpointType, "unknown endpoint type")),
    };
    if let Some((code, message)) = refused {
        return DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message.into()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    let image = services.view.image();
    let wanted = image.brokers().filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = wanted.filter_map(|broker| {
        let endpoint = broker.endpoint(&context.listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: endpoint.host.as_str().into(),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Text::from),
            is_fenced: broker.fenced,
        })
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: image.cluster_id().unwrap_or_default().into(),
        controller_id: services.controller_id().0,
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            authorized::CLUSTER
        } else {
            authorized::NOT_ASKED
        },
        ..Default::default()
    }
}
