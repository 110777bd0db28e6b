//! The cluster's birth, and levels of features (UpdateFeatures, 57).

use crate::decide::Decision;
use crate::{BrokerId, Image, Record, Refusal};

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
    /// What this release has no word for; refused.
    Unknown,
    /// Up only.
    Upgrade,
    /// Down, where nothing is lost by it.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

impl UpgradeType {
    /// Reads Kafka's code (KIP-778).
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
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

/// Changes levels, all or none; with `validate_only` none. `node` is who answers, for the refusals' texts.
pub fn update(
    image: &Image,
    node: BrokerId,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Result<Decision<()>, Refusal> {
    let mut records = Vec::new();
    for update in updates {
        check(image, node, update)?;
        if update.level != image.feature(&update.name) {
            records.push(Record::FeatureSet { name: update.name.clone(), level: update.level });
        }
    }
    if validate_only {
        records.clear();
    }
    Ok(Decision { records, answer: () })
}

/// In Kafka's order and words.
fn check(image: &Image, node: BrokerId, update: &FeatureUpdate) -> Result<(), Refusal> {
    let current = image.feature(&update.name);
    let supported = SUPPORTED.iter().find(|feature| feature.name == update.name);
    let reason = match supported {
        _ if update.upgrade == UpgradeType::Unknown => {
            "The controller does not support the given upgrade type.".to_owned()
        }
        _ if update.level < 0 => "A feature version cannot be less than 0.".to_owned(),
        None if update.level == 0 => format!("Feature {} not found.", update.name),
        Some(Feature { max: 0, .. }) | None if update.level != 0 => {
            format!("Local controller {node} does not support this feature.")
        }
        Some(feature) if !(feature.min..=feature.max).contains(&update.level) => {
            format!("Local controller {node} only supports versions {}-{}", feature.min, feature.max)
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
