//! What a broker learns from two images.

use super::*;
use crate::Delta;
use crate::Resource;
use crate::decide::configs::{Alteration, Target, alter_incrementally};
use crate::decide::topics::{DoomedTopic, delete};

#[test]
fn nothing_changed_between_an_image_and_itself() {
    let mut lab = Lab::of(1);
    lab.assign("t", &[&[1]]);
    assert!(Delta::between(lab.image(), &lab.image().clone()).is_empty());
}

#[test]
fn several_commands_make_one_delta() {
    let mut lab = Lab::of(2);
    let gone = lab.assign("gone", &[&[1]]);
    lab.assign("kept", &[&[1, 2], &[2, 1]]);
    let before = lab.image().clone();
    let decision =
        delete(lab.image(), &lab.config, &[DoomedTopic { name: Some("gone".into()), id: Uuid::ZERO }])
            .unwrap();
    lab.commit(decision);
    let again = lab.assign("gone", &[&[2]]);
    lab.fence(2);
    let target = Target { code: 2, name: "kept".into() };
    let operations = vec![("retention.ms".to_owned(), 0, Some("5".to_owned()))];
    let decision = alter_incrementally(
        lab.image(),
        &lab.config,
        BrokerId(1),
        &[Alteration { target, operations }],
        false,
    );
    lab.commit(decision);
    let delta = Delta::between(&before, lab.image());
    assert_eq!(delta.deleted.iter().map(|topic| topic.id).collect::<Vec<_>>(), [gone]);
    assert_eq!(delta.created.iter().map(|topic| topic.id).collect::<Vec<_>>(), [again]);
    let mut partitions: Vec<_> = delta
        .partitions
        .iter()
        .map(|it| (&*it.name, it.index, it.before.is_some(), numbers(&it.after.isr)))
        .collect();
    partitions.sort();
    assert_eq!(
        partitions,
        [("gone", 0, false, vec![]), ("kept", 0, true, vec![1]), ("kept", 1, true, vec![1])]
    );
    assert_eq!(delta.configs, [Resource::Topic("kept".into())]);
    assert_eq!(delta.brokers, [BrokerId(2)]);
    assert!(!delta.features);
}

#[test]
fn topics_are_listed_by_name_from_anywhere() {
    let mut lab = Lab::of(1);
    for name in ["c", "a", "b"] {
        lab.assign(name, &[&[1]]);
    }
    let names =
        |from: &str| lab.image().topics_from(from).map(|topic| topic.name.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(""), names("b"), names("bb"), names("d")),
        (
            vec!["a".into(), "b".into(), "c".into()],
            vec!["b".into(), "c".into()],
            vec!["c".into()],
            Vec::<String>::new(),
        )
    );
}
