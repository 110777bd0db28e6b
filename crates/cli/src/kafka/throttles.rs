//! Throttles of replicas that `kafka-reassign-partitions` moves: rates of brokers, and which replicas they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use milena_client::Client;

use super::options::Refusal;
use super::reassign_partitions::{Moves, joined};
use super::reassignment_file::Assignment;
use crate::admin::cluster;
use crate::admin::configs::{self, Change, Kind};

const BROKER_RATES: &[&str] = &["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
/// The third is set by moves between directories, and cleared with the others.
const DIRECTORY_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// Sets `rate` bytes a second for what moves: those under way, and those `wanted` instead of `current`.
pub async fn set(
    client: &Client,
    moves: &Moves,
    wanted: &Assignment,
    current: &Assignment,
    rate: i64,
) -> Result<(), Refusal> {
    let mut brokers = BTreeSet::new();
    // By topic: `partition:broker` of those copied from, and of those copied to.
    let mut replicas: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for at in wanted.keys().chain(moves.keys()) {
        let sources: Vec<i32> = match moves.get(at) {
            Some(it) => it.replicas.iter().copied().filter(|id| !it.adding.contains(id)).collect(),
            None => current.get(at).cloned().unwrap_or_default(),
        };
        let targets =
            wanted.get(at).or_else(|| moves.get(at).map(|it| &it.adding)).cloned().unwrap_or_default();
        let targets: Vec<i32> = targets.into_iter().filter(|id| !sources.contains(id)).collect();
        brokers.extend(sources.iter().chain(&targets).copied());
        let (from, to) = replicas.entry(&at.topic).or_default();
        from.extend(sources.iter().map(|id| format!("{}:{id}", at.partition)));
        to.extend(targets.iter().map(|id| format!("{}:{id}", at.partition)));
    }
    let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(",");
    for (topic, (from, to)) in replicas {
        let changes = [
            Change::Set(LEADER_REPLICAS.to_owned(), list(from)),
            Change::Set(FOLLOWER_REPLICAS.to_owned(), list(to)),
        ];
        configs::alter(client, Kind::Topic, topic, &changes).await?;
    }
    let changes: Vec<Change> =
        BROKER_RATES.iter().map(|name| Change::Set((*name).to_owned(), rate.to_string())).collect();
    for broker in brokers {
        configs::alter(client, Kind::Broker, &broker.to_string(), &changes).await?;
    }
    Ok(())
}

/// Takes all throttles off brokers and off the topics of `wanted`.
pub async fn clear(client: &Client, wanted: &Assignment, out: &mut impl Write) -> Result<(), Refusal> {
    let mut brokers: BTreeSet<i32> = cluster::members(client).await?.brokers.iter().map(|it| it.id).collect();
    brokers.extend(wanted.values().flatten().copied());
    let brokers: Vec<i32> = brokers.into_iter().collect();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    writeln!(out, "Clearing broker-level throttles on broker{} {}", plural(brokers.len()), joined(&brokers))?;
    let unset = |names: &[&str]| -> Vec<Change> {
        names.iter().map(|name| Change::Unset((*name).to_owned())).collect()
    };
    let rates: Vec<&str> = BROKER_RATES.iter().copied().chain([DIRECTORY_RATE]).collect();
    for broker in &brokers {
        configs::alter(client, Kind::Broker, &broker.to_string(), &unset(&rates)).await?;
    }
    let topics: BTreeSet<&str> = wanted.keys().map(|at| at.topic.as_str()).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    writeln!(out, "Clearing topic-level throttles on topic{} {}", plural(topics.len()), topics.join(","))?;
    for topic in topics {
        configs::alter(client, Kind::Topic, topic, &unset(&[LEADER_REPLICAS, FOLLOWER_REPLICAS])).await?;
    }
    Ok(())
}
