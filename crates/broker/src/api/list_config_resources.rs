//! ListConfigResources (74), versions 0 and 1 (KIP-1142): which resources have settings. Version 0 knows only
//! client-metrics subscriptions.

use milena_metadata::Resource;
use milena_wire::ErrorCode;
use milena_wire::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use crate::dispatch::Context;
use crate::view::View;

/// Codes of the types that can be listed: topics, brokers, broker loggers, client metrics, groups.
const LISTABLE: [i8; 5] = [2, 4, 8, 16, 32];

/// Lists them; all types if none is named.
pub(crate) fn answer(
    view: &View,
    context: &Context,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let types: &[i8] = match request.resource_types.as_slice() {
        _ if context.version == 0 => &[16],
        [] => &LISTABLE,
        named => named,
    };
    if types.iter().any(|code| !LISTABLE.contains(code)) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let image = view.image();
    let mut found: Vec<(i8, String)> = Vec::new();
    for &code in types {
        match code {
            2 => found.extend(image.topics().map(|topic| (code, topic.name.to_string()))),
            4 | 8 => found.extend(image.live_brokers().map(|broker| (code, broker.id.0.to_string()))),
            _ => found.extend(
                image
                    .resources()
                    .filter(|resource| resource.code() == code)
                    .map(|resource: &Resource| (code, resource.name().to_owned())),
            ),
        }
    }
    let resources = found
        .into_iter()
        .map(|(resource_type, name)| ConfigResource { resource_name: name.into(), resource_type });
    ListConfigResourcesResponse { config_resources: resources.collect(), ..Default::default() }
}
