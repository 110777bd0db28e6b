//! The tables themselves, and the page that is written from them.

use std::collections::BTreeSet;

use crate::tables::{self, resources, topic::TOPIC};
use crate::{ConfigType, Effect, Setting, Value, docs};

fn resource_tables() -> [&'static [Setting]; 3] {
    [TOPIC, resources::group::GROUP, resources::client_metrics::CLIENT_METRICS]
}

fn all_rows() -> impl Iterator<Item = &'static Setting> {
    resource_tables().into_iter().chain(tables::BROKER.iter().map(|(_, rows)| *rows)).flatten()
}

#[test]
fn every_default_is_valid() {
    for row in all_rows() {
        if let Some(text) = row.default {
            assert!(row.parse(text).is_ok(), "{}: {:?}", row.name, row.parse(text));
        }
    }
}

#[test]
fn every_row_is_documented_in_sentences() {
    for row in all_rows() {
        let doc = row.doc();
        assert!(doc.ends_with('.') && doc.len() > 20, "{}: {doc:?}", row.name);
        assert!(!doc.contains('|'), "{}: a bar would break the table", row.name);
    }
}

#[test]
fn no_name_stands_twice() {
    for rows in resource_tables() {
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
    }
    let mut seen = BTreeSet::new();
    for (_, rows) in &tables::BROKER {
        for row in *rows {
            assert!(seen.insert(row.name), "{} stands twice", row.name);
        }
    }
}

/// An unset broker must give a topic the topic's own default, whichever way it is looked up.
#[test]
fn a_setting_and_the_broker_settings_behind_it_agree_on_type_and_default() {
    for row in resource_tables().into_iter().flatten() {
        let mut default = None;
        for synonym in row.synonyms() {
            let (_, _, behind) =
                tables::broker(synonym.name).unwrap_or_else(|| panic!("{} is missing", synonym.name));
            let same_kind =
                behind.kind == row.kind || (behind.kind, row.kind) == (ConfigType::Int, ConfigType::Long);
            assert!(same_kind, "{} and {}", row.name, behind.name);
            default = default.or_else(|| match behind.default_value() {
                Value::Null => None,
                Value::Long(number) => Some(Value::Long(synonym.unit.convert(number))),
                value => Some(value),
            });
        }
        if let Some(default) = default {
            assert_eq!(default, row.default_value(), "{}", row.name);
        }
    }
}

/// Kafka 4.3 describes exactly these on a topic.
#[test]
fn topics_have_the_settings_of_kafka_4_3() {
    let names: Vec<_> = TOPIC.iter().map(|row| row.name).collect();
    let mut wanted = vec![
        "cleanup.policy",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "leader.replication.throttled.replicas",
        "local.retention.bytes",
        "local.retention.ms",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "remote.log.copy.disable",
        "remote.log.delete.on.disable",
        "remote.storage.enable",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    ];
    let mut names = names;
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

/// `UPDATE_DOCS=1 cargo test -p milena-config` writes the page.
#[test]
fn the_page_in_docs_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = docs::render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).expect("docs/configuration.md is writable");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page,
        "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p milena-config writes it"
    );
}

/// The documentation calls a setting obeyed: then some code outside the tables reads it, or a topic's setting that
/// falls back to it.
#[test]
fn a_setting_said_to_be_obeyed_is_read_somewhere() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = String::new();
    read_sources(&crates, &mut code);
    let behind_topics: BTreeSet<_> =
        TOPIC.iter().flat_map(|row| row.synonyms()).map(|synonym| synonym.name).collect();
    let unread: Vec<_> = all_rows()
        .filter(|row| row.effect == Effect::Now && !behind_topics.contains(row.name))
        .filter(|row| !code.contains(&format!(".{}()", row.accessor)))
        // Read by name, before there are settings to ask.
        .filter(|row| row.name != "broker.id")
        .map(|row| row.name)
        .collect();
    assert_eq!(unread, Vec::<&str>::new());
}

/// The sources of all crates, without tests and tables.
fn read_sources(directory: &std::path::Path, code: &mut String) {
    for entry in std::fs::read_dir(directory).expect("the workspace is readable").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "tests" && name != "tables" {
            read_sources(&path, code);
        } else if path.extension().is_some_and(|it| it == "rs") && !name.to_string_lossy().contains("test") {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            code.extend(text.chars().filter(|it| !it.is_whitespace()));
        }
    }
}
