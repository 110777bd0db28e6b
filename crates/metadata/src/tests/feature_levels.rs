//! The cluster's birth, and levels of features.

use super::*;
use crate::decide::features::{FeatureUpdate, SUPPORTED, UpgradeType, format, update};

#[test]
fn a_cluster_is_born_once_with_the_levels_of_this_release() {
    let lab = Lab::of(0);
    assert_eq!(lab.image().cluster_id(), Some("5L6g3nShT-eMCtK--X86sw"));
    assert_eq!(
        lab.image().features().collect::<Vec<_>>(),
        [("eligible.leader.replicas.version", 1), ("metadata.version", 30), ("transaction.version", 2)]
    );
    assert_eq!(format(lab.image(), "another").records, []);
    assert!(SUPPORTED.iter().all(|feature| (feature.min..=feature.max).contains(&feature.initial)));
}

#[test]
fn levels_move_within_what_is_supported() {
    let mut lab = Lab::of(0);
    let one = |name: &str, level, upgrade| [FeatureUpdate { name: name.into(), level, upgrade }];
    for (updates, want) in [
        (
            one("metadata.version", 31, UpgradeType::Upgrade),
            "Invalid update version 31 for feature metadata.version. Local controller 3 only supports versions 30-30",
        ),
        (
            one("no.version", 1, UpgradeType::Upgrade),
            "Invalid update version 1 for feature no.version. Local controller 3 does not support this feature.",
        ),
        (
            one("no.version", 0, UpgradeType::SafeDowngrade),
            "Invalid update version 0 for feature no.version. Feature no.version not found.",
        ),
        (
            one("group.version", 1, UpgradeType::Upgrade),
            "Invalid update version 1 for feature group.version. Local controller 3 does not support this feature.",
        ),
        (
            one("transaction.version", 3, UpgradeType::Upgrade),
            "Invalid update version 3 for feature transaction.version. Local controller 3 only supports versions 0-2",
        ),
        (
            one("transaction.version", 2, UpgradeType::from_code(9)),
            "Invalid update version 2 for feature transaction.version. The controller does not support the given \
             upgrade type.",
        ),
        (
            one("group.version", -1, UpgradeType::Upgrade),
            "Invalid update version -1 for feature group.version. A feature version cannot be less than 0.",
        ),
        (
            one("eligible.leader.replicas.version", 0, UpgradeType::Upgrade),
            "Invalid update version 0 for feature eligible.leader.replicas.version. Can't downgrade the version of \
             this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
    ] {
        assert_eq!(
            update(lab.image(), BrokerId(3), &updates, false).map_err(|it| it.to_string()).err().as_deref(),
            Some(want)
        );
    }
    let down = one("eligible.leader.replicas.version", 0, UpgradeType::SafeDowngrade);
    assert_eq!(update(lab.image(), BrokerId(3), &down, true).unwrap().records, [], "validate only");
    let decision = update(lab.image(), BrokerId(3), &down, false).unwrap();
    lab.commit(decision);
    assert_eq!(
        lab.image().features().collect::<Vec<_>>(),
        [("metadata.version", 30), ("transaction.version", 2)]
    );
}

#[test]
fn cluster_of_an_earlier_release_takes_up_transactions_of_the_second_protocol() {
    let mut lab = Lab::of(0);
    let old = Record::FeatureSet { name: "transaction.version".into(), level: 0 };
    lab.commit(Decision { records: vec![old], answer: () });
    assert_eq!(lab.image().feature("transaction.version"), 0);
    let to = |level, upgrade| [FeatureUpdate { name: "transaction.version".into(), level, upgrade }];
    for (level, upgrade, want) in [
        (2, UpgradeType::UnsafeDowngrade, None),
        (1, UpgradeType::Upgrade, Some(1)),
        (2, UpgradeType::Upgrade, Some(2)),
        (2, UpgradeType::Upgrade, Some(2)),
        (1, UpgradeType::Upgrade, None),
        (1, UpgradeType::UnsafeDowngrade, Some(1)),
    ] {
        match (update(lab.image(), BrokerId(1), &to(level, upgrade), false), want) {
            (Ok(decision), Some(want)) => {
                lab.commit(decision);
                assert_eq!(lab.image().feature("transaction.version"), want);
            }
            (outcome, want) => assert_eq!((outcome.is_ok(), want), (false, None), "{level} {upgrade:?}"),
        }
    }
}
