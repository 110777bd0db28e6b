//! ApiVersions (18), versions 0 to 5: what this broker serves and which features are in force.
//!
//! Version 3 tells the client's software (KIP-511) and features, 4 may name features whose least level is
//! zero, 5 lets the client say whom it expects to talk to (KIP-1242).

use milena_metadata::decide::features::SUPPORTED;
use milena_wire::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use milena_wire::{ApiKey, ErrorCode, frame};

use crate::connection::{Outcome, Started};
use crate::dispatch::{Context, served};
use crate::view::View;

/// The answer to a version that is not served: in the layout of version 0, with only this API's own range,
/// from which every client goes on (AV-1).
pub(crate) fn unsupported(correlation_id: i32) -> Started {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![range(ApiKey::ApiVersions)],
        ..Default::default()
    };
    Started::Done(match frame::encode_response(&response, 0, correlation_id) {
        Ok(answer) => Outcome::Answer(answer),
        Err(_) => Outcome::Close("answer cannot be encoded"),
    })
}

/// The list of what is served.
pub(crate) fn answer(view: &View, context: &Context, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let tells_software = context.version >= 3;
    if tells_software
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    let image = view.image();
    let features = image.features().map(|(name, level)| FinalizedFeatureKey {
        name: name.into(),
        max_version_level: level,
        min_version_level: level,
    });
    // Before version 4 a client takes a range that begins at zero for an error (KAFKA-17011, AV-6).
    let knows_zero = context.version >= 4;
    let supported = SUPPORTED.iter().filter(|feature| knows_zero || feature.min > 0);
    ApiVersionsResponse {
        api_keys: served().map(range).collect(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: feature.name.into(),
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: image.index() as i64,
        finalized_features: features.collect(),
        ..Default::default()
    }
}

fn range(key: ApiKey) -> ApiVersion {
    let versions = key.advertised();
    ApiVersion { api_key: key.code(), min_version: *versions.start(), max_version: *versions.end() }
}

/// Letters and digits, with dots and hyphens inside (AV-2).
fn is_software_name(name: &str) -> bool {
    let ends = [name.bytes().next(), name.bytes().last()];
    ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for (name, valid) in [
            ("apache-kafka-java", true),
            ("4.3.1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("librdkafka_2", false),
        ] {
            assert_eq!(is_software_name(name), valid, "{name:?}");
        }
    }
}
