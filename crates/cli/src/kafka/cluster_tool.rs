//! `kafka-cluster`, whose flags are those of a parser with sub-commands.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser};
use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::unregister_broker::UnregisterBrokerRequest;

use super::exception::Exception;
use super::options::Refusal;
use super::{java, tool};
use crate::admin::cluster;
use crate::commands::block_on;
use crate::output::{self, complain};

/// The Kafka cluster tool.
#[derive(Debug, Parser)]
#[command(name = "kafka-cluster", disable_help_subcommand = true)]
enum Command {
    /// Get information about the ID of a cluster.
    #[command(name = "cluster-id")]
    Id(Connection),
    /// Unregister a broker.
    Unregister {
        #[command(flatten)]
        connection: Connection,
        /// The ID of the broker to unregister.
        #[arg(long, short)]
        id: i32,
    },
    /// List endpoints
    #[command(name = "list-endpoints")]
    Endpoints {
        #[command(flatten)]
        connection: Connection,
        /// Whether to include fenced brokers when listing broker endpoints
        #[arg(long)]
        include_fenced_brokers: bool,
    },
}

#[derive(Debug, Args)]
struct Connection {
    /// A list of host/port pairs to use for establishing the connection to the Kafka cluster.
    #[arg(long, short = 'b')]
    bootstrap_server: String,
    /// Config properties file for the Admin client.
    #[arg(long, short = 'c', visible_alias = "config")]
    command_config: Option<String>,
}

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let command: Command = match tool::parse("kafka-cluster", arguments) {
        Ok(command) => command,
        Err(code) => return code,
    };
    tool::end(block_on(command.run()), |exception| complain!("{}\n{exception}\n", exception.message()))
}

impl Connection {
    async fn open(&self, call: &str) -> Result<Client, Refusal> {
        let properties = match &self.command_config {
            Some(path) => java::load_properties(path)?,
            None => Default::default(),
        };
        tool::connect_to(&self.bootstrap_server, &properties, "adminclient-1", call).await
    }
}

impl Command {
    async fn run(self) -> Result<(), Refusal> {
        match self {
            Command::Id(connection) => print_id(&connection.open("describeCluster").await?).await,
            Command::Unregister { connection, id } => {
                unregister(&connection.open("unregisterBroker").await?, id).await
            }
            Command::Endpoints { connection, include_fenced_brokers } => {
                print_endpoints(&connection.open("describeCluster").await?, include_fenced_brokers).await
            }
        }
    }
}

async fn print_id(client: &Client) -> Result<(), Refusal> {
    let mut out = output::stdout();
    match cluster::members(client).await?.cluster_id {
        Some(id) => writeln!(out, "Cluster ID: {id}")?,
        None => writeln!(out, "No cluster ID found. The Kafka version is probably too old.")?,
    }
    Ok(out.flush()?)
}

async fn unregister(client: &Client, id: i32) -> Result<(), Refusal> {
    let mut out = output::stdout();
    match client.send_to(Target::Controller, UnregisterBrokerRequest { broker_id: id }).await {
        Ok(answer) if answer.error_code == ErrorCode::None.code() => {
            writeln!(out, "Broker {id} is no longer registered.")?;
        }
        Ok(answer) => {
            return Err(Exception::of_code(answer.error_code, answer.error_message.as_deref())
                .in_future()
                .into());
        }
        Err(Error::NoCommonVersion { .. }) => {
            writeln!(out, "The target cluster does not support the broker unregistration API.")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(out.flush()?)
}

/// Columns as Apache's tool has them: hosts as wide as the widest, racks no less than ten.
async fn print_endpoints(client: &Client, fenced_too: bool) -> Result<(), Refusal> {
    let brokers = cluster::members(client).await?.brokers;
    let brokers: Vec<_> = brokers.into_iter().filter(|it| fenced_too || !it.fenced).collect();
    let racks: Vec<&str> = brokers.iter().map(|it| it.rack.as_deref().unwrap_or("null")).collect();
    let host_width = java::width(0, brokers.iter().map(|it| it.host.as_str()));
    let rack_width = java::width(10, racks.iter().copied());
    let mut out = output::stdout();
    let mut line = |[id, host, port, rack, state, kind]: [&str; 6]| {
        writeln!(out, "{id:<10} {host:<host_width$} {port:<10} {rack:<rack_width$} {state:<10} {kind:<15}")
    };
    line(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"])?;
    for (it, rack) in brokers.iter().zip(racks) {
        let state = if it.fenced { "fenced" } else { "unfenced" };
        line([&it.id.to_string(), &it.host, &it.port.to_string(), rack, state, "broker"])?;
    }
    Ok(out.flush()?)
}
