//! `milena cluster`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::admin::cluster::{self, Ailing, Members, Quorum, QuorumMember};
use crate::admin::topics::{self, PartitionDescription, TopicDescription};
use crate::connection::ConnectionArgs;
use crate::failure::Outcome;
use crate::output::{self, Align, Format, Table};
use crate::time;

use super::cluster_health::HealthArgs;
use super::cluster_members::MemberArgs;

/// The cluster: describe, health, add-voter, remove-voter, unregister.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show brokers, the metadata quorum, and how many partitions are well.
    Describe(DescribeArgs),
    /// Say whether all is well, and if not, what ails: exit code 0 or 1.
    Health(HealthArgs),
    /// Have a broker vote in the metadata quorum; it was an observer.
    AddVoter(MemberArgs),
    /// Have a broker vote no longer; it stays as an observer.
    RemoveVoter(MemberArgs),
    /// Forget a broker that will not come back.
    Unregister(MemberArgs),
}

impl ClusterCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            ClusterCommand::Describe(it) => it.run().await,
            ClusterCommand::Health(it) => it.run().await,
            ClusterCommand::AddVoter(it) => it.add_voter().await,
            ClusterCommand::RemoveVoter(it) => it.remove_voter().await,
            ClusterCommand::Unregister(it) => it.unregister().await,
        }
    }
}

/// Arguments of `milena cluster describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Serialize)]
struct Cluster {
    cluster_id: Option<String>,
    controller: Option<i32>,
    topics: usize,
    partitions: usize,
    under_replicated: usize,
    offline: usize,
    under_min_isr: usize,
    at_min_isr: usize,
    /// How many percent the broker that leads most partitions is above the average of those that may lead.
    leader_skew_percent: usize,
    brokers: Vec<Broker>,
    quorum: Option<QuorumReport>,
}

#[derive(Debug, Serialize)]
struct Broker {
    id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
    controller: bool,
    fenced: bool,
    leaders: usize,
    replicas: usize,
    in_sync: usize,
}

#[derive(Debug, Serialize)]
struct QuorumReport {
    leader: Option<i32>,
    epoch: i32,
    high_watermark: i64,
    members: Vec<MemberReport>,
}

#[derive(Debug, Serialize)]
struct MemberReport {
    id: i32,
    voter: bool,
    leader: bool,
    log_end: Option<i64>,
    lag: Option<i64>,
    last_fetch_ms_ago: Option<i64>,
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let mut members = cluster::members(&client).await?;
        let topics = topics::list(&client).await?;
        let min_isr = cluster::min_isr(&client, &topics).await?;
        let quorum = cluster::quorum(&client).await?;
        // Any broker takes what is for the controller, and so names itself. The quorum's leader is the one that decides.
        members.controller = quorum.as_ref().map_or(members.controller, |it| it.leader);
        let ailing = Ailing::of(&topics, &min_isr);
        let report = Cluster::new(members, &topics, &ailing, quorum);
        output::print(self.format, &report, tables)
    }
}

impl Cluster {
    fn new(members: Members, topics: &[TopicDescription], ailing: &Ailing, quorum: Option<Quorum>) -> Self {
        let partitions: Vec<&PartitionDescription> = topics.iter().flat_map(|it| &it.partitions).collect();
        let count = |matches: &dyn Fn(&PartitionDescription) -> bool| {
            partitions.iter().filter(|it| matches(it)).count()
        };
        let brokers: Vec<_> = members
            .brokers
            .into_iter()
            .map(|it| Broker {
                controller: members.controller == Some(it.id),
                leaders: count(&|partition| partition.leader == Some(it.id)),
                replicas: count(&|partition| partition.replicas.contains(&it.id)),
                in_sync: count(&|partition| partition.isr.contains(&it.id)),
                id: it.id,
                host: it.host,
                port: it.port,
                rack: it.rack,
                fenced: it.fenced,
            })
            .collect();
        let leaders: Vec<usize> = brokers.iter().filter(|it| !it.fenced).map(|it| it.leaders).collect();
        Cluster {
            cluster_id: members.cluster_id,
            controller: members.controller,
            topics: topics.len(),
            partitions: partitions.len(),
            under_replicated: ailing.under_replicated.len(),
            offline: ailing.offline.len(),
            under_min_isr: ailing.under_min_isr.len(),
            at_min_isr: ailing.at_min_isr.len(),
            leader_skew_percent: skew_percent(&leaders),
            brokers,
            quorum: quorum.map(|it| QuorumReport::new(&it, time::now_ms())),
        }
    }
}

/// How many percent the largest is above the average; 0 for none.
fn skew_percent(counts: &[usize]) -> usize {
    let sum: usize = counts.iter().sum();
    match counts.iter().max() {
        Some(most) if sum > 0 => (most * counts.len() * 100 / sum).saturating_sub(100),
        _ => 0,
    }
}

impl QuorumReport {
    fn new(quorum: &Quorum, now_ms: i64) -> Self {
        // Only the leader knows how far the others are; offsets of 0 are those that nobody knows.
        let leader = quorum.voters.iter().find(|it| Some(it.id) == quorum.leader);
        let leader_end = leader.map_or(0, |it| it.log_end);
        // The times are the leader's, whose clock need not be ours: it hears itself at the moment of its answer.
        let now_ms = leader.map(|it| it.last_fetch_ms).filter(|at| *at >= 0).unwrap_or(now_ms);
        let member = |it: &QuorumMember, voter| {
            let log_end = Some(it.log_end).filter(|end| *end > 0);
            MemberReport {
                id: it.id,
                voter,
                leader: Some(it.id) == quorum.leader,
                log_end,
                lag: log_end.map(|end| (leader_end - end).max(0)),
                last_fetch_ms_ago: Some(it.last_fetch_ms)
                    .filter(|at| *at >= 0)
                    .map(|at| (now_ms - at).max(0)),
            }
        };
        let voters = quorum.voters.iter().map(|it| member(it, true));
        let observers = quorum.observers.iter().map(|it| member(it, false));
        Self {
            leader: quorum.leader,
            epoch: quorum.epoch,
            high_watermark: quorum.high_watermark,
            members: voters.chain(observers).collect(),
        }
    }
}

fn tables(cluster: &Cluster) -> Vec<Table> {
    let mut summary = Table::new([
        ("CLUSTER", Align::Left),
        ("CONTROLLER", Align::Right),
        ("TOPICS", Align::Right),
        ("PARTITIONS", Align::Right),
        ("UNDER-REPLICATED", Align::Right),
        ("OFFLINE", Align::Right),
        ("UNDER-MIN-ISR", Align::Right),
        ("AT-MIN-ISR", Align::Right),
        ("LEADER-SKEW", Align::Right),
    ]);
    let controller = cluster.controller.map(|id| id.to_string()).unwrap_or_default();
    let counts = [
        cluster.topics,
        cluster.partitions,
        cluster.under_replicated,
        cluster.offline,
        cluster.under_min_isr,
        cluster.at_min_isr,
    ];
    let id = cluster.cluster_id.clone().unwrap_or_default();
    let skew = format!("{}%", cluster.leader_skew_percent);
    summary.row([id, controller].into_iter().chain(counts.map(|count| count.to_string())).chain([skew]));
    let mut tables = vec![summary, brokers(cluster)];
    tables.extend(cluster.quorum.as_ref().map(quorum));
    tables
}

fn brokers(cluster: &Cluster) -> Table {
    let mut table = Table::new([
        ("BROKER", Align::Right),
        ("ADDRESS", Align::Left),
        ("RACK", Align::Left),
        ("ROLE", Align::Left),
        ("LEADERS", Align::Right),
        ("REPLICAS", Align::Right),
        ("IN-SYNC", Align::Right),
    ]);
    for it in &cluster.brokers {
        let role = match (it.fenced, it.controller) {
            (true, _) => "fenced",
            (false, true) => "controller",
            (false, false) => "broker",
        };
        table.row([
            it.id.to_string(),
            format!("{}:{}", it.host, it.port),
            it.rack.clone().unwrap_or_default(),
            role.to_owned(),
            it.leaders.to_string(),
            it.replicas.to_string(),
            it.in_sync.to_string(),
        ]);
    }
    table
}

fn quorum(quorum: &QuorumReport) -> Table {
    let mut table = Table::new([
        ("QUORUM", Align::Right),
        ("ROLE", Align::Left),
        ("TERM", Align::Right),
        ("LOG-END", Align::Right),
        ("LAG", Align::Right),
        ("SEEN-MS-AGO", Align::Right),
    ]);
    let number = |it: Option<i64>| it.map(|it| it.to_string()).unwrap_or_default();
    for it in &quorum.members {
        let role = match (it.leader, it.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "observer",
        };
        table.row([
            it.id.to_string(),
            role.to_owned(),
            quorum.epoch.to_string(),
            number(it.log_end),
            number(it.lag),
            number(it.last_fetch_ms_ago),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_how_far_the_busiest_is_above_the_average() {
        for (counts, want) in
            [(&[][..], 0), (&[0, 0], 0), (&[5], 0), (&[4, 4, 4], 0), (&[6, 3, 3], 50), (&[3, 0, 0], 200)]
        {
            assert_eq!(skew_percent(counts), want, "{counts:?}");
        }
    }
}
