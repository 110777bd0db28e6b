//! The tables. One page per subject; a setting stands on exactly one of them.

pub mod clients;
pub mod groups;
pub mod identity;
pub mod logs;
pub mod milena;
pub mod replication;
pub mod resources;
pub mod sasl;
pub mod security;
pub mod sockets;
pub mod topic;
pub mod transactions;

use crate::Setting;

/// The broker's pages, with their titles in the documentation. The position of a page is the part number its rows
/// are declared with.
pub static BROKER: [(&str, &[Setting]); 10] = [
    ("Identity and quorum", identity::IDENTITY),
    ("Listeners and sockets", sockets::SOCKETS),
    ("Topics and logs", logs::LOGS),
    ("Replication", replication::REPLICATION),
    ("Groups and offsets", groups::GROUPS),
    ("Transactions", transactions::TRANSACTIONS),
    ("Security", security::SECURITY),
    ("SASL: Kerberos, OAuth, logins", sasl::SASL),
    ("Quotas, tiered storage, metrics", clients::CLIENTS),
    ("Milena's own", milena::MILENA),
];

/// The broker's setting called `name`, with its position in [`BROKER`].
pub fn broker(name: &str) -> Option<(usize, usize, &'static Setting)> {
    BROKER.iter().enumerate().find_map(|(part, (_, rows))| {
        rows.iter().enumerate().find(|(_, row)| row.name == name).map(|(index, row)| (part, index, row))
    })
}

/// The topic setting called `name`.
pub fn topic(name: &str) -> Option<&'static Setting> {
    topic::TOPIC.iter().find(|row| row.name == name)
}

/// Settings that DescribeConfigs names only when somebody set them: Kafka's internal ones, those of its authorizer and
/// of the list of remote segments, and quotas of replication, which exist only where they were altered.
pub static SHOWN_WHEN_SET: &[&str] = &[
    "allow.everyone.if.no.acl.found",
    "follower.replication.throttled.rate",
    "group.consumer.regex.refresh.interval.ms",
    "leader.imbalance.per.broker.percentage",
    "leader.replication.throttled.rate",
    "log.initial.task.delay.ms",
    "producer.id.expiration.check.interval.ms",
    "replica.alter.log.dirs.io.max.bytes.per.second",
    "rlmm.config.remote.log.metadata.topic.replication.factor",
    "server.max.startup.time.ms",
    "super.users",
    "unclean.leader.election.interval.ms",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
];

/// Topic settings that Kafka had up to 3.x. They are accepted with a warning and change nothing, as charts and
/// modules written for older releases still send them.
pub static RETIRED_TOPIC_SETTINGS: &[&str] = &["message.format.version", "message.downconversion.enable"];
