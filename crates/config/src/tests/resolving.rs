//! Which layer's value is in force.

use super::{broker, overrides};
use crate::{CompressionType, TimestampType, TopicConfig};

#[test]
fn the_most_specific_layer_wins() {
    let start = broker(&[("log.retention.ms", "4")]);
    let cluster = overrides(&[("log.retention.ms", "3")]);
    let own = overrides(&[("log.retention.ms", "2")]);
    let topic = overrides(&[("retention.ms", "1")]);
    let none = overrides(&[]);
    for (topic, broker, want) in [
        (&none, broker(&[]), 604_800_000),
        (&none, start.clone(), 4),
        (&none, start.with_dynamic(&cluster, &none), 3),
        (&none, start.with_dynamic(&cluster, &own), 2),
        (&topic, start.with_dynamic(&cluster, &own), 1),
    ] {
        assert_eq!(TopicConfig::resolve(topic, &broker).retention_ms(), want);
    }
}

#[test]
fn finer_units_win_and_all_come_out_in_milliseconds() {
    for (pairs, retention, segment) in [
        (&[][..], 604_800_000, 604_800_000),
        (&[("log.retention.hours", "2"), ("log.roll.hours", "3")], 7_200_000, 10_800_000),
        (&[("log.retention.hours", "2"), ("log.retention.minutes", "5")], 300_000, 604_800_000),
        (&[("log.retention.minutes", "5"), ("log.retention.ms", "7"), ("log.roll.ms", "8")], 7, 8),
        (&[("log.retention.hours", "-1")], -1, 604_800_000),
        // Past the range of a 64-bit number of milliseconds nothing wraps.
        (&[("log.retention.hours", "2147483647")], 2_147_483_647 * 3_600_000, 604_800_000),
    ] {
        let broker = broker(pairs);
        let topic = TopicConfig::resolve(&overrides(&[]), &broker);
        assert_eq!((topic.retention_ms(), topic.segment_ms()), (retention, segment), "{pairs:?}");
        assert_eq!(broker.retention_ms(), retention);
    }
}

#[test]
fn a_stored_override_that_no_longer_parses_is_passed_over() {
    let topic =
        TopicConfig::resolve(&overrides(&[("retention.ms", "soon"), ("segment.bytes", "12")]), &broker(&[]));
    assert_eq!((topic.retention_ms(), topic.segment_bytes()), (604_800_000, 1_073_741_824));
}

#[test]
fn what_cannot_change_at_run_time_does_not() {
    let none = overrides(&[]);
    let altered = broker(&[("node.id", "7")])
        .with_dynamic(&none, &overrides(&[("node.id", "8"), ("max.connections", "9")]));
    assert_eq!((altered.node_id(), altered.max_connections()), (7, 9));
}

#[test]
fn words_become_what_they_stand_for() {
    let topic = |pairs| TopicConfig::resolve(&overrides(pairs), &broker(&[]));
    let plain = topic(&[]);
    assert_eq!((plain.deletes(), plain.compacts()), (true, false));
    assert_eq!(
        (plain.timestamp_type(), plain.compression_type()),
        (TimestampType::CreateTime, CompressionType::Producer)
    );
    let set = topic(&[
        ("cleanup.policy", "compact, delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "zstd"),
        ("max.compaction.lag.ms", "60000"),
    ]);
    assert_eq!((set.deletes(), set.compacts()), (true, true));
    assert_eq!(
        (set.timestamp_type(), set.compression_type()),
        (TimestampType::LogAppendTime, CompressionType::Zstd)
    );
    assert_eq!(set.segment_max_age_ms(), 60_000);
    let kept = topic(&[("cleanup.policy", "")]);
    assert_eq!((kept.deletes(), kept.compacts()), (false, false));
}

#[test]
fn a_broker_alone_needs_no_configuration() {
    let config = broker(&[]);
    assert_eq!(config.node_id(), 1);
    assert_eq!(config.data_dirs(), ["./milena-data"]);
    assert_eq!(config.offsets_replication_factor(1), 1);
    assert_eq!(config.transaction_replication_factor(1), 1);
    assert_eq!(config.transaction_min_insync_replicas(1), 1);
    assert_eq!(config.offsets_replication_factor(5), 3);
    // What somebody set is taken at its word, as a cluster that is not complete yet must not settle for less.
    assert_eq!(broker(&[("offsets.topic.replication.factor", "3")]).offsets_replication_factor(1), 3);
}

#[test]
fn log_dirs_win_over_log_dir() {
    assert_eq!(broker(&[("log.dir", "/a")]).data_dirs(), ["/a"]);
    assert_eq!(broker(&[("log.dir", "/a"), ("log.dirs", "/b, /c")]).data_dirs(), ["/b", "/c"]);
}
