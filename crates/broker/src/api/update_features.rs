//! UpdateFeatures (57), versions 0 to 2 (KIP-584): moves the finalized levels of features, all of them or none.
//! Version 1 names the direction and may only ask whether it would be allowed (KIP-778), 2 has no result per feature.

use std::sync::Arc;

use milena_metadata::decide::features::{self, FeatureUpdate, UpgradeType};
use milena_wire::ErrorCode;
use milena_wire::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use tracing::info;

use crate::dispatch::Context;
use crate::services::Services;

/// Changes the levels.
pub(crate) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names_direction = context.version >= 1;
    let wanted = |update: &FeatureUpdateKey| FeatureUpdate {
        name: update.feature.to_string(),
        level: update.max_version_level,
        upgrade: match (names_direction, update.allow_downgrade) {
            (true, _) => UpgradeType::from_code(update.upgrade_type),
            (false, true) => UpgradeType::SafeDowngrade,
            (false, false) => UpgradeType::Upgrade,
        },
    };
    let updates: Vec<FeatureUpdate> = request.feature_updates.iter().map(wanted).collect();
    let (node, validate_only) = (services.broker_id, request.validate_only);
    let changed = services
        .change(request.timeout_ms, |image| features::update(image, node, &updates, validate_only))
        .await;
    match changed {
        Ok(()) => {
            for update in updates.iter().filter(|_| !validate_only) {
                info!(feature = update.name, level = update.level, "feature level finalized");
            }
            let result = |update: FeatureUpdateKey| UpdatableFeatureResult {
                feature: update.feature,
                error_code: ErrorCode::None.code(),
                // Kafka puts the name of its code there.
                error_message: Some("NONE".into()),
            };
            UpdateFeaturesResponse {
                error_message: None,
                results: request.feature_updates.into_iter().map(result).collect(),
                ..Default::default()
            }
        }
        Err(error) => UpdateFeaturesResponse {
            error_code: error.code.code(),
            error_message: Some(
                format!(
                    "The update failed for all features since the following feature had an error: {}",
                    error.message
                )
                .into(),
            ),
            ..Default::default()
        },
    }
}
