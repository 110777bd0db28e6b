//! IncrementalAlterConfigs and AlterConfigs: CF-4 to CF-7.

use milena_config::Overrides;
use milena_wire::ErrorCode;

use super::*;
use crate::Resource;
use crate::decide::configs::{Alteration, Replacement, Target, alter_incrementally, replace};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn alteration(code: i8, name: &str, operations: &[(&str, i8, Option<&str>)]) -> Alteration {
    let operations = operations
        .iter()
        .map(|(name, code, value)| (name.to_string(), *code, value.map(str::to_owned)))
        .collect();
    Alteration { target: Target { code, name: name.into() }, operations }
}

/// Alters at broker 1 and returns the outcomes.
fn alter(lab: &mut Lab, alterations: &[Alteration]) -> Vec<Result<(), Refusal>> {
    let decision = alter_incrementally(lab.image(), &lab.config, BrokerId(1), alterations, false);
    lab.commit(decision).into_iter().map(|(_, outcome)| outcome).collect()
}

fn lab() -> Lab {
    let mut lab = Lab::of(2);
    lab.assign("t", &[&[1, 2]]);
    lab
}

fn stored(lab: &Lab, resource: Resource) -> Vec<(String, String)> {
    Overrides::clone(&lab.image().overrides(&resource)).into_iter().collect()
}

/// CF-4, CF-5, CF-7.
#[test]
fn alterations_are_refused_with_kafkas_codes_and_sentences() {
    let mut lab = lab();
    for (request, code, text) in [
        (
            alteration(TOPIC, "no", &[("retention.ms", SET, Some("1"))]),
            ErrorCode::UnknownTopicOrPartition,
            "The topic 'no' does not exist.",
        ),
        (alteration(TOPIC, "", &[]), ErrorCode::InvalidRequest, "Default topic resources are not allowed."),
        (
            alteration(TOPIC, "a b", &[]),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            alteration(TOPIC, "t", &[("no.such", SET, Some("1"))]),
            ErrorCode::InvalidConfig,
            "Unknown topic config name: no.such",
        ),
        (
            alteration(TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]),
            ErrorCode::InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            alteration(TOPIC, "t", &[("no.such", SUBTRACT, Some("1"))]),
            ErrorCode::InvalidConfig,
            "Can't SUBTRACT to key no.such because its type is not LIST.",
        ),
        (
            alteration(TOPIC, "t", &[("retention.ms", SET, None), ("segment.ms", SET, None)]),
            ErrorCode::InvalidRequest,
            "Null value not supported for : retention.ms, segment.ms",
        ),
        (
            alteration(TOPIC, "t", &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)]),
            ErrorCode::InvalidRequest,
            "Error due to duplicate config keys",
        ),
        (
            alteration(TOPIC, "t", &[("retention.ms", 9, Some("1"))]),
            ErrorCode::InvalidRequest,
            "Unknown operations type 9",
        ),
        (alteration(64, "t", &[]), ErrorCode::InvalidRequest, "Unknown resource type 64"),
        (
            alteration(BROKER, "2", &[]),
            ErrorCode::InvalidRequest,
            "Unexpected broker id, expected 1, but received 2",
        ),
        (alteration(BROKER, "x", &[]), ErrorCode::InvalidRequest, "Node id must be an integer, but it is: x"),
        (
            alteration(BROKER, "1", &[("node.id", SET, Some("1"))]),
            ErrorCode::InvalidRequest,
            "Cannot update these configs dynamically: Set(node.id)",
        ),
        (
            alteration(BROKER, "", &[("ssl.keystore.location", SET, Some("/a"))]),
            ErrorCode::InvalidRequest,
            "Cannot update these configs at default cluster level: Set(ssl.keystore.location)",
        ),
        (
            alteration(BROKER, "1", &[("min.insync.replicas", SET, Some("2"))]),
            ErrorCode::InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (alteration(GROUP, "", &[]), ErrorCode::InvalidRequest, "Default group resources are not allowed."),
        (
            alteration(GROUP, "g", &[("retention.ms", SET, Some("1"))]),
            ErrorCode::InvalidConfig,
            "Unknown group config name: retention.ms",
        ),
        (alteration(CLIENT_METRICS, "", &[]), ErrorCode::InvalidRequest, "Subscription name can't be empty"),
        (
            alteration(TOPIC, "t", &[("cleanup.policy", SET, Some(&"x".repeat(32_768)))]),
            ErrorCode::InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ),
    ] {
        let before = lab.image().clone();
        let refusal = alter(&mut lab, std::slice::from_ref(&request)).remove(0).unwrap_err();
        assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, text), "{request:?}");
        assert_eq!(*lab.image(), before);
    }
}

#[test]
fn operations_do_what_they_say() {
    let mut lab = lab();
    let topic = Resource::Topic("t".into());
    for (operation, value, want) in [
        // The default is `delete`: appending starts from what is in force.
        (APPEND, "compact", Some("delete,compact")),
        (APPEND, "compact", Some("delete,compact")),
        (SUBTRACT, "delete", Some("compact")),
        (SUBTRACT, "nothing", Some("compact")),
        (SET, "delete", Some("delete")),
        (SUBTRACT, "delete", Some("")),
        (DELETE, "", None),
        (DELETE, "", None),
    ] {
        let value = (operation != DELETE).then_some(value);
        let request = alteration(TOPIC, "t", &[("cleanup.policy", operation, value)]);
        assert_eq!(alter(&mut lab, &[request]), [Ok(())]);
        assert_eq!(lab.image().overrides(&topic).get("cleanup.policy").map(String::as_str), want);
    }
    assert_eq!(lab.image().resources().count(), 0, "no empty maps are left behind");
}

#[test]
fn a_resource_changes_whole_or_not_at_all() {
    let mut lab = lab();
    lab.assign("u", &[&[1]]);
    let outcomes = alter(
        &mut lab,
        &[
            alteration(TOPIC, "t", &[("retention.ms", SET, Some("5")), ("segment.ms", SET, Some("0"))]),
            alteration(TOPIC, "u", &[("retention.ms", SET, Some("6"))]),
            alteration(GROUP, "g", &[("consumer.session.timeout.ms", SET, Some("50000"))]),
            alteration(CLIENT_METRICS, "m", &[("interval.ms", SET, Some("1000"))]),
            alteration(GROUP, "twice", &[]),
            alteration(GROUP, "twice", &[]),
        ],
    );
    let codes: Vec<_> = outcomes.iter().map(|it| it.as_ref().map_err(Refusal::code).map(|_| ())).collect();
    assert_eq!(
        codes,
        [
            Err(ErrorCode::InvalidConfig),
            Ok(()),
            Ok(()),
            Ok(()),
            Err(ErrorCode::InvalidRequest),
            Err(ErrorCode::InvalidRequest)
        ]
    );
    assert_eq!(stored(&lab, Resource::Topic("t".into())), []);
    assert_eq!(stored(&lab, Resource::Topic("u".into())), [("retention.ms".into(), "6".into())]);
    assert_eq!(stored(&lab, Resource::Group("g".into())).len(), 1);
    assert_eq!(stored(&lab, Resource::ClientMetrics("m".into())).len(), 1);
}

#[test]
fn retired_settings_are_kept_without_effect() {
    let mut lab = lab();
    let request = alteration(TOPIC, "t", &[("message.format.version", SET, Some("2.8"))]);
    assert_eq!(alter(&mut lab, &[request]), [Ok(())]);
}

/// CF-7: unknown broker settings are stored. KAFKA-14136: a broker's are written even if unchanged.
#[test]
fn broker_settings_are_stored_for_one_or_all() {
    let mut lab = lab();
    let requests = [
        alteration(BROKER, "", &[("log.retention.ms", SET, Some("5"))]),
        alteration(BROKER, "1", &[("plugin.key", SET, Some("x"))]),
    ];
    assert_eq!(alter(&mut lab, &requests), [Ok(()), Ok(())]);
    assert_eq!(stored(&lab, Resource::ALL_BROKERS), [("log.retention.ms".into(), "5".into())]);
    assert_eq!(stored(&lab, Resource::Broker("1".into())), [("plugin.key".into(), "x".into())]);
    let again = alter_incrementally(lab.image(), &lab.config, BrokerId(1), &requests, false);
    assert_eq!(again.records.len(), 2);
}

/// CF-6.
#[test]
fn the_older_api_replaces_all_overrides() {
    let mut lab = lab();
    alter(
        &mut lab,
        &[alteration(TOPIC, "t", &[("retention.ms", SET, Some("5")), ("segment.ms", SET, Some("6"))])],
    );
    let replacement = |configs: &[(&str, Option<&str>)]| Replacement {
        target: Target { code: TOPIC, name: "t".into() },
        configs: configs.iter().map(|(name, value)| (name.to_string(), value.map(str::to_owned))).collect(),
    };
    let ask = |lab: &mut Lab, configs: &[(&str, Option<&str>)]| {
        let decision = replace(lab.image(), &lab.config, BrokerId(1), &[replacement(configs)], false);
        lab.commit(decision).remove(0).1
    };
    assert_eq!(ask(&mut lab, &[("flush.ms", Some("7"))]), Ok(()));
    assert_eq!(stored(&lab, Resource::Topic("t".into())), [("flush.ms".into(), "7".into())]);
    assert_eq!(ask(&mut lab, &[("flush.ms", None)]), Err(Refusal::NullConfigs(vec!["flush.ms".into()])));
    assert_eq!(ask(&mut lab, &[]), Ok(()));
    assert_eq!(stored(&lab, Resource::Topic("t".into())), []);
}

#[test]
fn validate_only_changes_nothing() {
    let lab = lab();
    let request = alteration(TOPIC, "t", &[("retention.ms", SET, Some("5"))]);
    let decision = alter_incrementally(lab.image(), &lab.config, BrokerId(1), &[request], true);
    assert_eq!((decision.records, decision.answer[0].1.clone()), (vec![], Ok(())));
}

/// The minimum moves with the partition's epoch, and eligible replicas start afresh (replication notes, 1.10).
#[test]
fn a_new_minimum_reaches_the_partitions_in_the_same_step() {
    let mut lab = lab();
    let request = alteration(TOPIC, "t", &[("min.insync.replicas", SET, Some("2"))]);
    assert_eq!(alter(&mut lab, &[request]), [Ok(())]);
    let partition = lab.partition("t", 0);
    assert_eq!(
        (partition.min_insync_replicas, partition.partition_epoch.0, partition.leader_epoch.0),
        (2, 1, 0)
    );
    lab.fence(2);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![1], vec![2], Some(1)));
    let request = alteration(TOPIC, "t", &[("min.insync.replicas", DELETE, None)]);
    assert_eq!(alter(&mut lab, &[request]), [Ok(())]);
    assert_eq!(lab.shape("t", 0), (vec![1, 2], vec![1], vec![], Some(1)));
    assert_eq!(lab.partition("t", 0).min_insync_replicas, 1);
    // The cluster's default moves the topics that have none of their own.
    let own = NewTopic {
        configs: vec![("min.insync.replicas".into(), Some("1".into()))],
        ..assigned("own", &[&[1, 2]])
    };
    lab.create(&[own]).unwrap();
    alter(&mut lab, &[alteration(BROKER, "", &[("min.insync.replicas", SET, Some("2"))])]);
    assert_eq!(lab.partition("t", 0).min_insync_replicas, 2);
    assert_eq!(lab.partition("own", 0).min_insync_replicas, 1);
}
