//! The cluster's birth, and levels of features (UpdateFeatures, 57).

use crate::decide::Decision;
use crate::{Image, Record, Refusal};

/// A feature with the levels that this release can run at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
    /// Level of a new cluster.
    pub initial: i16,
}

/// Features of this release. A level stands here only when everything it promises to clients is true.
pub static SUPPORTED: &[Feature] = &[
    // KIP-966 eligible leader replicas: part of the records from the first day.
    Feature { name: "eligible.leader.replicas.version", min: 0, max: 1, initial: 1 },
    Feature { name: "group.version", min: 0, max: 0, initial: 0 },
    // 30 is 4.3-IV0.
    Feature { name: "metadata.version", min: 30, max: 30, initial: 30 },
    Feature { name: "transaction.version", min: 0, max: 2, initial: 2 },
];

/// Gives the cluster its id and its features' first levels. Does nothing to a cluster that has an id.
pub fn format(image: &Image, cluster_id: &str) -> Decision<()> {
    if image.cluster_id().is_some() {
        return Decision::unchanged(());
    }
    let mut records = vec![Record::ClusterFormatted { cluster_id: cluster_id.to_owned() }];
    records.extend(
        SUPPORTED
            .iter()
            .filter(|feature| feature.initial != 0)
            .map(|feature| Record::FeatureSet { name: feature.name.to_owned(), level: feature.initial }),
    );
    Decision { records, answer: () }
}

/// How a level may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up only.
    Upgrade,
    /// Down, where nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

/// A level wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature.
    pub name: String,
    /// The level; 0 takes it off the finalized list.
    pub level: i16,
    /// How it may move.
    pub upgrade: UpgradeType,
}

/// Changes levels, all or none; with `validate_only` none.
pub fn update(
    image: &Image,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Result<Decision<()>, Refusal> {
    let mut records = Vec::new();
    for update in updates {
        check(image, update)?;
        if update.level != image.feature(&update.name) {
            records.push(Record::FeatureSet { name: update.name.clone(), level: update.level });
        }
    }
    if validate_only {
        records.clear();
    }
    Ok(Decision { records, answer: () })
}

fn check(image: &Image, update: &FeatureUpdate) -> Result<(), Refusal> {
    let current = image.feature(&update.name);
    let supported = SUPPORTED.iter().find(|feature| feature.name == update.name);
    let reason = match supported {
        _ if update.level < 0 => "A feature version cannot be less than 0.".to_owned(),
        None => "The controller does not support the feature.".to_owned(),
        Some(feature) if update.level > feature.max || update.level < feature.min => {
            format!("The controller only supports versions {}-{}", feature.min, feature.max)
        }
        _ if update.level < current && update.upgrade == UpgradeType::Upgrade => {
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
             downgrade."
                .to_owned()
        }
        _ if update.level > current && update.upgrade != UpgradeType::Upgrade => {
            "Can't downgrade to a newer version.".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Refusal::InvalidFeatureLevel { feature: update.name.clone(), level: update.level, reason })
}
