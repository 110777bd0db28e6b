//! DescribeConfigs: test ids CF-1 to CF-3.

use super::{broker, overrides};
use crate::describe::{self, Entry, Source, SynonymEntry};
use crate::{ConfigType, Scope, tables};

fn place(name: &str, value: &str, source: Source) -> SynonymEntry {
    SynonymEntry { name: name.into(), value: Some(value.into()), source }
}

fn find(entries: Vec<Entry>, name: &str) -> Entry {
    entries.into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is not described"))
}

#[test]
fn a_topic_shows_every_setting_with_its_source() {
    let entries = describe::topic(&overrides(&[("retention.ms", "5")]), &broker(&[]));
    assert_eq!(entries.len(), 33);
    assert!(entries.windows(2).all(|pair| pair[0].name < pair[1].name));
    let set: Vec<_> =
        entries.iter().filter(|entry| entry.source != Source::Default).map(|entry| &*entry.name).collect();
    assert_eq!(set, ["retention.ms"]);
}

#[test]
fn synonyms_go_from_most_to_least_specific_and_end_in_the_default() {
    let start = broker(&[("log.retention.hours", "2")]);
    let altered = start
        .with_dynamic(&overrides(&[("log.retention.ms", "9")]), &overrides(&[("log.retention.ms", "8")]));
    let topic = |pairs, broker| find(describe::topic(&overrides(pairs), broker), "retention.ms");
    let tail = [
        place("log.retention.ms", "8", Source::DynamicBroker),
        place("log.retention.ms", "9", Source::DynamicDefaultBroker),
        place("log.retention.hours", "2", Source::StaticBroker),
        place("log.retention.hours", "168", Source::Default),
    ];
    let own = topic(&[("retention.ms", " 7 ")], &altered);
    assert_eq!((own.value.as_deref(), own.source), (Some("7"), Source::Topic));
    assert_eq!(own.synonyms[0], place("retention.ms", "7", Source::Topic));
    assert_eq!(own.synonyms[1..], tail);
    let inherited = topic(&[], &altered);
    assert_eq!((inherited.value.as_deref(), inherited.source), (Some("8"), Source::DynamicBroker));
    assert_eq!(inherited.synonyms, tail);
}

/// Hours have a say about milliseconds, but neither a topic nor the broker calls them a synonym until milliseconds
/// themselves are set somewhere.
#[test]
fn a_coarser_unit_alone_is_no_synonym() {
    for (pairs, want) in [
        (&[][..], "604800000"),
        (&[("log.retention.hours", "2")], "7200000"),
        (&[("log.retention.minutes", "3")], "180000"),
    ] {
        let config = broker(pairs);
        let topic = find(describe::topic(&overrides(&[]), &config), "retention.ms");
        assert_eq!((topic.value.as_deref(), topic.source), (Some(want), Source::Default), "{pairs:?}");
        assert_eq!(topic.synonyms, []);
        let own = find(describe::topic(&overrides(&[("retention.ms", "99")]), &config), "retention.ms");
        assert_eq!(own.synonyms, [place("retention.ms", "99", Source::Topic)]);
        let behind = find(describe::broker(&config), "log.retention.ms");
        assert_eq!((behind.value, behind.source, behind.synonyms), (None, Source::Default, vec![]));
    }
    let minutes = find(describe::broker(&broker(&[("log.retention.minutes", "3")])), "log.retention.minutes");
    let want = [
        place("log.retention.minutes", "3", Source::StaticBroker),
        place("log.retention.hours", "168", Source::Default),
    ];
    assert_eq!(minutes.synonyms, want);
}

#[test]
fn the_two_names_of_a_node_show_one_value() {
    for (pairs, id) in [
        (&[][..], "1"),
        (&[("node.id", "7")], "7"),
        (&[("broker.id", "8")], "8"),
        (&[("broker.id", "-1")], "1"),
    ] {
        let entries = describe::broker(&broker(pairs));
        let node = find(entries.clone(), "node.id");
        assert_eq!(node.synonyms, [place("node.id", id, Source::StaticBroker)], "{pairs:?}");
        let older = [place("broker.id", id, Source::StaticBroker), place("broker.id", "-1", Source::Default)];
        assert_eq!(find(entries, "broker.id").synonyms, older, "{pairs:?}");
    }
}

#[test]
fn what_kafka_keeps_to_itself_appears_when_it_is_set() {
    let shown = |pairs| describe::broker(&broker(pairs)).iter().any(|entry| entry.name == "super.users");
    assert_eq!((shown(&[]), shown(&[("super.users", "User:ann")])), (false, true));
}

/// What Apache Kafka 4.3.1 answers for a broker, a line per setting: name, type, whether it can be altered, default.
const KAFKA: &str = include_str!("data/kafka-4.3.1-broker.txt");

/// Settings of [`KAFKA`] that differ on purpose: listeners are fixed while a broker runs, data lies elsewhere, and a node
/// needs neither roles nor controllers' listeners to be named.
const DIFFERENT: &[&str] =
    &["listeners", "listener.security.protocol.map", "log.dir", "process.roles", "controller.listener.names"];

#[test]
fn a_broker_shows_the_settings_of_kafka_4_3() {
    let entries = describe::broker(&broker(&[]));
    let line = |name: &str| {
        let (_, _, row) = tables::broker(name).expect("a described setting has a row");
        let change = if row.scope == Scope::ReadOnly { "fixed" } else { "alterable" };
        let default = row.default.map_or("null".to_owned(), |text| format!("{text:?}"));
        format!("{name} {} {change} {default}", row.kind.name())
    };
    let of_kafka = |name: &&str| !name.starts_with("milena.") && !DIFFERENT.contains(name);
    let ours: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).filter(of_kafka).map(line).collect();
    let theirs: Vec<_> =
        KAFKA.lines().filter(|line| of_kafka(&line.split(' ').next().unwrap_or(line))).collect();
    let missing: Vec<_> = theirs.iter().filter(|line| !ours.iter().any(|it| it == **line)).collect();
    let extra: Vec<_> = ours.iter().filter(|line| !theirs.contains(&line.as_str())).collect();
    assert!(missing.is_empty() && extra.is_empty(), "Kafka: {missing:#?}\nMilena: {extra:#?}");
}

#[test]
fn a_broker_shows_types_and_what_cannot_change() {
    let config =
        broker(&[("node.id", "3"), ("ssl.key.password", "secret"), ("my.plugin.token", "secret too")]);
    for (name, value, source, kind, sensitive, read_only) in [
        ("node.id", Some("3"), Source::StaticBroker, ConfigType::Int, false, true),
        ("message.max.bytes", Some("1048588"), Source::Default, ConfigType::Int, false, false),
        ("log.dirs", None, Source::Default, ConfigType::List, false, true),
        ("ssl.key.password", None, Source::StaticBroker, ConfigType::Password, true, false),
        ("my.plugin.token", None, Source::StaticBroker, ConfigType::Unknown, true, true),
        (
            "log.cleaner.io.max.bytes.per.second",
            Some("1.7976931348623157E308"),
            Source::Default,
            ConfigType::Double,
            false,
            false,
        ),
    ] {
        let entry = find(describe::broker(&config), name);
        assert_eq!(
            (entry.value.as_deref(), entry.source, entry.kind, entry.sensitive, entry.read_only),
            (value, source, kind, sensitive, read_only),
            "{name}"
        );
        assert!(entry.synonyms.iter().all(|place| !place.value.as_deref().unwrap_or("").contains("secret")));
    }
}

#[test]
fn the_cluster_default_shows_only_what_was_altered() {
    let entries = describe::cluster_default(&overrides(&[("log.retention.ms", "5")]));
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].value.as_deref(), entries[0].source, entries[0].kind),
        (Some("5"), Source::DynamicDefaultBroker, ConfigType::Long)
    );
}

#[test]
fn a_group_shows_its_settings() {
    let entry = find(
        describe::group(&overrides(&[("consumer.session.timeout.ms", "50000")]), &broker(&[])),
        "consumer.session.timeout.ms",
    );
    assert_eq!((entry.value.as_deref(), entry.source), (Some("50000"), Source::Group));
    let entry = find(describe::group(&overrides(&[]), &broker(&[])), "share.isolation.level");
    assert_eq!((entry.value.as_deref(), entry.source), (Some("read_uncommitted"), Source::Default));
}
