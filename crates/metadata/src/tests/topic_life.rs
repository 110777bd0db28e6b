//! CreateTopics and DeleteTopics.

use milena_wire::{ErrorCode, Uuid};

use super::*;
use crate::Resource;
use crate::decide::topics::{DeletedTopic, DoomedTopic, MAX_PARTITIONS};
use crate::names;

/// The error code and sentence of the only topic asked for.
fn refusal(lab: &mut Lab, topic: NewTopic) -> (ErrorCode, String) {
    let answer = lab.create(&[topic]).unwrap();
    let refusal = answer[0].1.clone().expect_err("the topic is refused");
    (refusal.code(), refusal.to_string())
}

/// TP-1, TP-2, TP-3, TP-4.
#[test]
fn topics_are_refused_with_kafkas_codes_and_sentences() {
    let mut lab = Lab::of(2);
    lab.assign("a.b", &[&[1]]);
    lab.assign("old", &[&[1]]);
    let long = "x".repeat(250);
    for (topic, code, text) in [
        (sized("", 1, 1), ErrorCode::InvalidTopicException, "Topic name is invalid: the empty string is not allowed".into()),
        (sized(".", 1, 1), ErrorCode::InvalidTopicException, "Topic name is invalid: '.' is not allowed".into()),
        (sized("..", 1, 1), ErrorCode::InvalidTopicException, "Topic name is invalid: '..' is not allowed".into()),
        (
            sized("a b", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".into(),
        ),
        (
            sized(&long, 1, 1),
            ErrorCode::InvalidTopicException,
            format!("Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"),
        ),
        (sized("a_b", 1, 1), ErrorCode::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b".into()),
        (sized("old", 1, 1), ErrorCode::TopicAlreadyExists, "Topic 'old' already exists.".into()),
        (
            sized("__cluster_metadata", 1, 1),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.".into(),
        ),
        (sized("t", 0, 1), ErrorCode::InvalidPartitions, "Number of partitions was set to an invalid non-positive value.".into()),
        (sized("t", -2, 1), ErrorCode::InvalidPartitions, "Number of partitions was set to an invalid non-positive value.".into()),
        (
            sized("t", 1, 0),
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.".into(),
        ),
        (
            sized("t", 1, 3),
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because \
             only 2 broker(s) are registered."
                .into(),
        ),
        (
            NewTopic { partitions: 1, ..assigned("t", &[&[1]]) },
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.".into(),
        ),
        (
            NewTopic { replication_factor: 1, ..assigned("t", &[&[1]]) },
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1.".into(),
        ),
        (
            assigned("t", &[&[1], &[]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.".into(),
        ),
        (
            assigned("t", &[&[1, 1]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.".into(),
        ),
        (
            assigned("t", &[&[9]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.".into(),
        ),
        (
            assigned("t", &[&[1], &[1, 2]]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 1 replica(s)."
                .into(),
        ),
        (
            NewTopic { assignments: vec![(0, ids(&[1])), (2, ids(&[1]))], ..sized("t", -1, -1) },
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence".into(),
        ),
        (
            NewTopic { assignments: vec![(0, ids(&[1])), (0, ids(&[1]))], ..sized("t", -1, -1) },
            ErrorCode::InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0".into(),
        ),
        (
            with_configs("t", &[("retention.ms", None), ("segment.ms", None)]),
            ErrorCode::InvalidConfig,
            "Null value not supported for topic configs: retention.ms,segment.ms".into(),
        ),
        (with_configs("t", &[("no.such", Some("1"))]), ErrorCode::InvalidConfig, "Unknown topic config name: no.such".into()),
        (
            with_configs("t", &[("retention.ms", Some("-2"))]),
            ErrorCode::InvalidConfig,
            "Invalid value -2 for configuration retention.ms: Value must be at least -1".into(),
        ),
        (
            with_configs("t", &[("cleanup.policy", Some(&"x".repeat(32_768)))]),
            ErrorCode::InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.".into(),
        ),
    ] {
        let before = lab.image().clone();
        assert_eq!(refusal(&mut lab, topic.clone()), (code, text), "{topic:?}");
        assert_eq!(*lab.image(), before, "a refused topic leaves nothing behind");
    }
}

#[test]
fn legal_names_are_accepted() {
    let mut lab = Lab::of(1);
    for name in ["a", "A-1.x_y", &"x".repeat(249), "...", "__consumer_offsets"] {
        assert_eq!(names::fault(name), None);
        assert!(lab.create(&[sized(name, 1, 1)]).unwrap()[0].1.is_ok(), "{name}");
    }
}

/// TP-4, TP-5: errors are per topic, the others proceed.
#[test]
fn topics_of_one_request_stand_each_for_itself() {
    let mut lab = Lab::of(1);
    let answer = lab
        .create(&[
            sized("twice", 1, 1),
            sized("good", 2, 1),
            sized("twice", 1, 1),
            sized("bad", 1, 7),
            sized("x.y", 1, 1),
            sized("x_y", 1, 1),
        ])
        .unwrap();
    let outcomes: Vec<_> = answer
        .iter()
        .map(|(name, it)| (&**name, it.as_ref().map(|it| it.partitions).map_err(Refusal::code)))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("twice", Err(ErrorCode::InvalidRequest)),
            ("good", Ok(2)),
            ("bad", Err(ErrorCode::InvalidReplicationFactor)),
            ("x.y", Ok(1)),
            ("x_y", Err(ErrorCode::InvalidTopicException)),
        ]
    );
    let names: Vec<_> = lab.image().topics().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["good", "x.y"]);
}

/// TP-5.
#[test]
fn validate_only_checks_everything_and_changes_nothing() {
    let mut lab = Lab::of(1);
    let (image, config) = (lab.image().clone(), lab.config.clone());
    let new = [sized("t", 3, 1), sized("u", 1, 2)];
    let decision = topics::create(&image, &config, &new, true, &mut || lab.draw()).unwrap();
    assert_eq!(decision.records, []);
    assert_eq!(decision.answer[0].1.as_ref().map(|it| it.partitions), Ok(3));
    assert_eq!(
        decision.answer[1].1.as_ref().map_err(Refusal::code).err(),
        Some(ErrorCode::InvalidReplicationFactor)
    );
}

/// TP-2, TP-6.
#[test]
fn minus_one_means_the_brokers_default() {
    let mut lab = Lab::of(3).configured(&[("num.partitions", "4"), ("default.replication.factor", "2")]);
    let answer = lab.create(&[sized("t", -1, -1)]).unwrap();
    let created = answer[0].1.clone().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (4, 2));
    let topic = lab.image().topic("t").unwrap();
    assert_eq!((topic.partitions.len(), topic.replication_factor(), topic.id), (4, 2, created.id));
}

#[test]
fn a_topics_settings_are_stored_and_its_minimum_is_in_its_partitions() {
    let mut lab = Lab::of(3);
    let topic = NewTopic {
        replication_factor: 3,
        ..with_configs("t", &[("min.insync.replicas", Some("2")), ("retention.ms", Some("5"))])
    };
    let answer = lab.create(&[topic]).unwrap();
    let overrides = lab.image().overrides(&Resource::Topic("t".into()));
    assert_eq!(*overrides, answer[0].1.clone().unwrap().overrides);
    assert_eq!(overrides.get("retention.ms").map(String::as_str), Some("5"));
    assert_eq!(lab.partition("t", 0).min_insync_replicas, 2);
}

#[test]
fn a_new_partition_is_led_by_its_first_active_replica_at_epoch_zero() {
    let mut lab = Lab::of(3);
    lab.fence(1);
    lab.assign("t", &[&[1, 2, 3]]);
    assert_eq!(lab.shape("t", 0), (vec![1, 2, 3], vec![2, 3], vec![], Some(2)));
    let partition = lab.partition("t", 0);
    assert_eq!((partition.leader_epoch.0, partition.partition_epoch.0), (0, 0));
}

#[test]
fn nobody_creates_topics_where_all_brokers_are_fenced() {
    let mut lab = Lab::of(1);
    lab.fence(1);
    assert_eq!(
        refusal(&mut lab, sized("t", 1, 1)),
        (
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 1 time(s): All brokers are currently fenced.".into()
        )
    );
    assert_eq!(
        refusal(&mut lab, assigned("t", &[&[1]])),
        (
            ErrorCode::InvalidReplicaAssignment,
            "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled \
             shutdown."
                .into()
        )
    );
}

#[test]
fn a_request_for_too_many_partitions_is_refused_whole() {
    let mut lab = Lab::of(1);
    let most = MAX_PARTITIONS as i32;
    assert_eq!(lab.create(&[sized("a", most, 1), sized("b", 1, 1)]), Err(Refusal::TooManyPartitions));
    assert_eq!(
        lab.create(&[sized("a", i32::MAX, 1), sized("b", i32::MAX, 1)]),
        Err(Refusal::TooManyPartitions)
    );
    assert!(lab.create(&[sized("a", most, 1)]).unwrap()[0].1.is_ok());
}

/// Tools take a word that begins with a hyphen for an option, and MD-13 wants every id to be new.
#[test]
fn ids_are_new_and_do_not_begin_with_a_hyphen() {
    let mut lab = Lab::of(1);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..300 {
        let id = lab.assign(&format!("t{number}"), &[&[1]]);
        assert!(!id.to_string().starts_with('-'), "{id}");
        assert!(seen.insert(id.0));
    }
}

/// MD-3.
#[test]
fn automatic_topics_get_their_own_settings() {
    let lab = Lab::of(1);
    let plain = NewTopic::automatic("t", &lab.config, 1);
    assert_eq!((plain.partitions, plain.replication_factor, plain.configs.len()), (-1, -1, 0));
    let offsets = NewTopic::automatic("__consumer_offsets", &lab.config, 1);
    assert_eq!((offsets.partitions, offsets.replication_factor), (50, 1));
    assert!(offsets.configs.contains(&("cleanup.policy".into(), Some("compact".into()))));
    let mut lab = lab;
    let transactions = NewTopic::automatic("__transaction_state", &lab.config, 1);
    assert!(lab.create(&[offsets, transactions]).unwrap().iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(lab.partition("__transaction_state", 0).min_insync_replicas, 1);
}

fn named(name: &str) -> DoomedTopic {
    DoomedTopic { name: Some(name.into()), id: Uuid::ZERO }
}

fn numbered(id: Uuid) -> DoomedTopic {
    DoomedTopic { name: None, id }
}

/// TP-10.
#[test]
fn topics_are_deleted_by_name_or_id() {
    let mut lab = Lab::of(1);
    let (a, b, c) = (lab.assign("a", &[&[1]]), lab.assign("b", &[&[1], &[1]]), lab.assign("c", &[&[1]]));
    let absent = Uuid([7; 16]);
    let doomed = [
        named("a"),
        numbered(b),
        named("no"),
        numbered(absent),
        numbered(Uuid::ZERO),
        DoomedTopic { name: Some("c".into()), id: c },
        named("no2"),
        named("no2"),
    ];
    let decision = topics::delete(lab.image(), &lab.config, &doomed).unwrap();
    let gone = |name: &str, id| DeletedTopic { name: Some(name.into()), id, outcome: Ok(()) };
    let kept = |name: Option<&str>, id, refusal| DeletedTopic {
        name: name.map(str::to_owned),
        id,
        outcome: Err(refusal),
    };
    assert_eq!(
        lab.commit(decision),
        [
            gone("a", a),
            gone("b", b),
            kept(Some("no"), Uuid::ZERO, Refusal::UnknownTopic),
            kept(None, absent, Refusal::UnknownTopicId(absent)),
            kept(None, Uuid::ZERO, Refusal::NeitherNameNorId),
            kept(Some("c"), c, Refusal::NameAndId),
            kept(Some("no2"), Uuid::ZERO, Refusal::DuplicateTopicName),
        ]
    );
    let left: Vec<_> = lab.image().topics().map(|topic| &*topic.name).collect();
    assert_eq!(left, ["c"]);
}

#[test]
fn a_topic_meant_twice_is_deleted_once_and_said_so() {
    let mut lab = Lab::of(1);
    let id = lab.assign("a", &[&[1]]);
    let decision = topics::delete(lab.image(), &lab.config, &[named("a"), numbered(id)]).unwrap();
    let outcomes: Vec<_> = decision.answer.iter().map(|it| it.outcome.clone()).collect();
    assert_eq!(outcomes, [Err(Refusal::NameOfGivenId), Ok(())]);
    let decision = topics::delete(lab.image(), &lab.config, &[numbered(id), numbered(id)]).unwrap();
    assert_eq!(decision.answer.len(), 1);
    assert_eq!(decision.answer[0].outcome, Err(Refusal::DuplicateTopicId));
}

/// TP-10, MD-13: nothing of the old topic clings to the new one.
#[test]
fn a_name_may_be_used_again_at_once() {
    let mut lab = Lab::of(1);
    lab.create(&[with_configs("a.b", &[("retention.ms", Some("5"))])]).unwrap();
    let old = lab.image().topic("a.b").unwrap().id;
    let decision = topics::delete(lab.image(), &lab.config, &[named("a.b")]).unwrap();
    lab.commit(decision);
    let new = lab.assign("a_b", &[&[1]]);
    assert_ne!(old, new);
    assert!(lab.image().topic_by_id(old).is_none());
    assert!(lab.image().overrides(&Resource::Topic("a.b".into())).is_empty());
    assert_eq!(lab.image().resources().count(), 0);
}

#[test]
fn deletion_can_be_switched_off() {
    let mut lab = Lab::of(1).configured(&[("delete.topic.enable", "false")]);
    lab.assign("a", &[&[1]]);
    let refusal = topics::delete(lab.image(), &lab.config, &[named("a")]).map(|_| ()).unwrap_err();
    assert_eq!((refusal.code(), refusal), (ErrorCode::TopicDeletionDisabled, Refusal::DeletionDisabled));
}

/// Decisions in a row rest on each other before anything is committed.
#[test]
fn a_foreseen_image_is_what_the_command_will_give() {
    let mut lab = Lab::of(1);
    let (image, config) = (lab.image().clone(), lab.config.clone());
    let first = topics::create(&image, &config, &[sized("a", 1, 1)], false, &mut || lab.draw()).unwrap();
    let foreseen = first.foresee(&image);
    let second = topics::create(&foreseen, &config, &[sized("a", 1, 1)], false, &mut || lab.draw()).unwrap();
    assert_eq!(second.answer[0].1, Err(Refusal::TopicExists("a".into())));
    lab.commit(first);
    assert_eq!(lab.image().topic("a"), foreseen.topic("a"));
    assert_eq!(foreseen.index(), image.index());
}

/// Three brokers survive the loss of one without anybody having configured it; what is configured is obeyed.
#[test]
fn topics_without_a_replication_factor_have_three_replicas_where_there_are_three_brokers() {
    for (brokers, settings, replicas, min_isr) in [
        (1, &[][..], 1, 1),
        (2, &[], 1, 1),
        (3, &[], 3, 2),
        (4, &[], 3, 2),
        (3, &[("default.replication.factor", "2")], 2, 1),
        (3, &[("min.insync.replicas", "1")], 3, 1),
    ] {
        let mut lab = Lab::of(brokers).configured(settings);
        let created = lab.create(&[sized("t", 1, -1)]).unwrap();
        assert_eq!(created[0].1.as_ref().unwrap().replication_factor, replicas, "{brokers} {settings:?}");
        let partition = lab.partition("t", 0);
        assert_eq!(partition.min_insync_replicas, min_isr, "{brokers} {settings:?}");
    }
}
