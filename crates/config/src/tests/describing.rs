//! DescribeConfigs: test ids CF-1 to CF-3.

use super::{broker, overrides};
use crate::ConfigType;
use crate::describe::{self, Entry, Source, SynonymEntry};

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
    // A value in hours is shown in the topic's unit.
    let hours = topic(&[], &start);
    assert_eq!((hours.value.as_deref(), hours.source), (Some("7200000"), Source::StaticBroker));
    let untouched = topic(&[], &broker(&[]));
    assert_eq!((untouched.value.as_deref(), untouched.source), (Some("604800000"), Source::Default));
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
