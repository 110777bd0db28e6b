//! Refused values, with the sentences of Kafka's `ConfigDef`.

use super::{broker, overrides};
use crate::{BrokerConfig, ClientMetricsConfig, GroupConfig, StartError, TopicConfig};

#[test]
fn a_topic_refuses_bad_settings_in_kafkas_words() {
    let broker = broker(&[]);
    for (name, value, want) in [
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        ("retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"),
        (
            "segment.bytes",
            "1000",
            "Invalid value 1000 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "segment.bytes",
            "2147483648",
            "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT",
        ),
        (
            "cleanup.policy",
            "foo",
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        ("cleanup.policy", "delete,delete", "Configuration 'cleanup.policy' values must not be duplicated."),
        (
            "compression.type",
            "brotli",
            "Invalid value brotli for configuration compression.type: String must be one of: uncompressed, zstd, lz4, \
             snappy, gzip, producer",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1.0",
        ),
        (
            "min.cleanable.dirty.ratio",
            "NaN",
            "Invalid value NaN for configuration min.cleanable.dirty.ratio: Value must be at least 0.0",
        ),
        (
            "message.timestamp.type",
            "createtime",
            "Invalid value createtime for configuration message.timestamp.type: String must be one of: CreateTime, \
             LogAppendTime",
        ),
        (
            "leader.replication.throttled.replicas",
            "0:1,x",
            "Invalid value 0:1,x for configuration leader.replication.throttled.replicas: \
             leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        (
            "min.insync.replicas",
            "0",
            "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
        ),
        ("no.such.key", "1", "Unknown topic config name: no.such.key"),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
    ] {
        let refusal =
            TopicConfig::validate(&overrides(&[(name, value)]), &broker).map_err(|it| it.to_string());
        assert_eq!(refusal, Err(want.to_owned()), "{name}={value}");
    }
}

#[test]
fn a_topic_accepts_what_kafka_accepts() {
    let broker = broker(&[]);
    for (name, value) in [
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", " compact , delete "),
        ("cleanup.policy", ""),
        ("retention.ms", "-1"),
        ("retention.bytes", "-5"),
        ("preallocate", "TRUE"),
        ("compression.gzip.level", "-1"),
        ("follower.replication.throttled.replicas", "*"),
        ("follower.replication.throttled.replicas", "0:1,1:2"),
        // TP-14: more than the replication factor is not an error here.
        ("min.insync.replicas", "9"),
        ("message.format.version", "2.8"),
        ("message.downconversion.enable", "nonsense"),
    ] {
        assert_eq!(TopicConfig::validate(&overrides(&[(name, value)]), &broker), Ok(()), "{name}={value}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refusal = |pairs: &[(&str, &str)], start: &[(&str, &str)]| {
        TopicConfig::validate(&overrides(pairs), &broker(start)).map_err(|it| it.to_string())
    };
    assert_eq!(
        refusal(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")], &[]),
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)".into())
    );
    // The other side may be the broker's.
    assert_eq!(
        refusal(&[("max.compaction.lag.ms", "5")], &[("log.cleaner.min.compaction.lag.ms", "6")]),
        Err("conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)".into())
    );
    let tiered = &[("remote.log.storage.system.enable", "true")];
    assert_eq!(
        refusal(&[("remote.storage.enable", "true"), ("cleanup.policy", "compact")], tiered),
        Err("Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an empty list."
            .into())
    );
    assert_eq!(
        refusal(&[("remote.storage.enable", "true"), ("local.retention.ms", "700000000")], tiered),
        Err("Invalid value 700000000 for configuration local.retention.ms: Value must not be more than retention.ms \
             property value: 604800000"
            .into())
    );
    assert_eq!(refusal(&[("remote.storage.enable", "true")], tiered), Ok(()));
}

#[test]
fn groups_and_subscriptions_know_their_settings() {
    assert_eq!(GroupConfig::validate(&overrides(&[("consumer.session.timeout.ms", "50000")])), Ok(()));
    assert_eq!(
        GroupConfig::validate(&overrides(&[("retention.ms", "1")])).map_err(|it| it.to_string()),
        Err("Unknown group config name: retention.ms".into())
    );
    assert_eq!(
        ClientMetricsConfig::validate(&overrides(&[("interval.ms", "100"), ("match", "a=b")])),
        Ok(())
    );
    assert_eq!(
        ClientMetricsConfig::validate(&overrides(&[("interval.ms", "99")])).map_err(|it| it.to_string()),
        Err("Invalid value 99 for configuration interval.ms: Value must be at least 100".into())
    );
}

#[test]
fn a_broker_alters_only_what_can_change_while_it_runs() {
    let refusal = |name: &str, value: &str, cluster: bool| {
        BrokerConfig::validate_dynamic(&overrides(&[(name, value)]), cluster).map_err(|it| it.to_string())
    };
    for (name, value, cluster, want) in [
        ("log.retention.ms", "1000", true, Ok(())),
        ("log.retention.ms", "1000", false, Ok(())),
        ("some.plugin.key", "x", true, Ok(())),
        ("ssl.keystore.location", "/a", false, Ok(())),
        (
            "ssl.keystore.location",
            "/a",
            true,
            Err("Cannot update these configs at default cluster level: Set(ssl.keystore.location)"),
        ),
        ("node.id", "3", false, Err("Cannot update these configs dynamically: Set(node.id)")),
        (
            "message.max.bytes",
            "-1",
            true,
            Err("Invalid value -1 for configuration message.max.bytes: Value must be at least 0"),
        ),
    ] {
        assert_eq!(
            refusal(name, value, cluster),
            want.map_err(str::to_owned),
            "{name}={value} cluster={cluster}"
        );
    }
}

#[test]
fn a_broker_does_not_start_with_contradictions() {
    for (pairs, want) in [
        (
            &[("log.retention.ms", "0")][..],
            "log.retention.ms must be unlimited (-1) or, equal or greater than 1",
        ),
        (
            &[("group.min.session.timeout.ms", "10"), ("group.max.session.timeout.ms", "5")],
            "group.max.session.timeout.ms (5) must not be below group.min.session.timeout.ms (10)",
        ),
        (
            &[("num.partitions", "0")],
            "Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ),
    ] {
        let refusal =
            BrokerConfig::new(overrides(pairs)).map(|_| ()).map_err(|it: StartError| it.to_string());
        assert_eq!(refusal, Err(want.to_owned()));
    }
}
