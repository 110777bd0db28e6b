//! `milena cluster`

use clap::{Args, Subcommand};
use milena_client::Target;
use milena_wire::ApiKey;
use milena_wire::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use serde::Serialize;

use crate::admin::topics::{self, PartitionDescription};
use crate::connection::ConnectionArgs;
use crate::failure::Outcome;
use crate::output::{self, Align, Format, Table};

/// The cluster: describe.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show brokers, and how many partitions are well.
    Describe(DescribeArgs),
}

impl ClusterCommand {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        match self {
            ClusterCommand::Describe(it) => it.run().await,
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
    brokers: Vec<Broker>,
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
}

impl DescribeArgs {
    async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        let versions = client.versions(Target::Any).await?;
        let mut cluster = match versions.highest(ApiKey::DescribeCluster, i16::MAX) {
            Some(_) => {
                let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
                from_answer(client.send_to(Target::Any, request).await?)
            }
            None => from_metadata(&client.metadata()),
        };
        let topics = topics::list(&client).await?;
        let partitions: Vec<&PartitionDescription> = topics.iter().flat_map(|it| &it.partitions).collect();
        cluster.topics = topics.len();
        cluster.partitions = partitions.len();
        cluster.under_replicated = partitions.iter().filter(|it| it.is_under_replicated()).count();
        cluster.offline = partitions.iter().filter(|it| it.leader.is_none()).count();
        for broker in &mut cluster.brokers {
            broker.leaders = partitions.iter().filter(|it| it.leader == Some(broker.id)).count();
            broker.replicas = partitions.iter().filter(|it| it.replicas.contains(&broker.id)).count();
        }
        output::print(self.format, &cluster, tables)
    }
}

fn from_answer(answer: DescribeClusterResponse) -> Cluster {
    let controller = Some(answer.controller_id).filter(|id| *id >= 0);
    let broker = |it: milena_wire::describe_cluster::DescribeClusterBroker| Broker {
        id: it.broker_id,
        host: it.host.to_string(),
        port: it.port,
        rack: it.rack.map(|it| it.to_string()),
        controller: controller == Some(it.broker_id),
        fenced: it.is_fenced,
        leaders: 0,
        replicas: 0,
    };
    let mut brokers: Vec<_> = answer.brokers.into_iter().map(broker).collect();
    brokers.sort_by_key(|it| it.id);
    Cluster::new(Some(answer.cluster_id.to_string()), controller, brokers)
}

fn from_metadata(metadata: &milena_client::Metadata) -> Cluster {
    let broker = |it: &milena_client::Broker| Broker {
        id: it.id,
        host: it.host.clone(),
        port: it.port.into(),
        rack: it.rack.clone(),
        controller: metadata.controller == Some(it.id),
        fenced: false,
        leaders: 0,
        replicas: 0,
    };
    Cluster::new(
        metadata.cluster_id.clone(),
        metadata.controller,
        metadata.brokers.values().map(broker).collect(),
    )
}

impl Cluster {
    fn new(cluster_id: Option<String>, controller: Option<i32>, brokers: Vec<Broker>) -> Self {
        Cluster { cluster_id, controller, brokers, topics: 0, partitions: 0, under_replicated: 0, offline: 0 }
    }
}

fn tables(cluster: &Cluster) -> Vec<Table> {
    let mut summary = Table::new([
        ("CLUSTER", Align::Left),
        ("TOPICS", Align::Right),
        ("PARTITIONS", Align::Right),
        ("UNDER-REPLICATED", Align::Right),
        ("OFFLINE", Align::Right),
    ]);
    let counts = [cluster.topics, cluster.partitions, cluster.under_replicated, cluster.offline];
    let id = cluster.cluster_id.clone().unwrap_or_default();
    summary.row([id].into_iter().chain(counts.map(|count| count.to_string())));
    let mut brokers = Table::new([
        ("BROKER", Align::Right),
        ("ADDRESS", Align::Left),
        ("RACK", Align::Left),
        ("ROLE", Align::Left),
        ("LEADERS", Align::Right),
        ("REPLICAS", Align::Right),
    ]);
    for it in &cluster.brokers {
        let role = match (it.fenced, it.controller) {
            (true, _) => "fenced",
            (false, true) => "controller",
            (false, false) => "broker",
        };
        brokers.row([
            it.id.to_string(),
            format!("{}:{}", it.host, it.port),
            it.rack.clone().unwrap_or_default(),
            role.to_owned(),
            it.leaders.to_string(),
            it.replicas.to_string(),
        ]);
    }
    vec![summary, brokers]
}
