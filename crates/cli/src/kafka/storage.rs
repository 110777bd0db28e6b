//! `kafka-storage`: ids for clusters, and data directories formatted before the first start. A broker needs neither, it
//! formats its directory by itself; quickstarts and scripts call the tool all the same.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser};
use milena_broker::formatting::{self, FirstVoter, FormatError, Formatting, State};
use milena_config::load::Sources;
use milena_config::quorum::join_address;
use milena_config::{BrokerConfig, StartError};

use super::exception::Exception;
use super::options::Refusal;
use super::{java, tool};
use crate::output::{self, complain};

/// The release whose metadata a new cluster has.
const RELEASE: &str = "4.3-IV0";

/// The Kafka storage tool.
#[derive(Debug, Parser)]
#[command(name = "kafka-storage", disable_help_subcommand = true)]
enum Command {
    /// Get information about the Kafka log directories on this node.
    Info {
        /// The Kafka configuration file to use.
        #[arg(long, short)]
        config: String,
    },
    /// Format the Kafka log directories on this node.
    Format(FormatArgs),
    /// Print a random UUID.
    RandomUuid,
}

#[derive(Debug, Args)]
struct FormatArgs {
    /// The Kafka configuration file to use.
    #[arg(long, short)]
    config: String,
    /// The cluster ID to use.
    #[arg(long, short = 't')]
    cluster_id: String,
    /// When this option is passed, the format command will skip over already formatted directories rather than failing.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// The release version to use for the initial feature settings. A cluster begins with those of 4.3, whatever is given.
    #[arg(long, short)]
    release_version: Option<String>,
    /// The setting to use for a specific feature, in feature=level format. A cluster begins with those of 4.3, whatever is
    /// given.
    #[arg(long, short)]
    feature: Vec<String>,
    /// Used to initialize a controller as a single-node dynamic quorum.
    #[arg(long, short, conflicts_with_all = ["no_initial_controllers", "initial_controllers"])]
    standalone: bool,
    /// Used to initialize a server without specifying a dynamic quorum.
    #[arg(long, short = 'N', conflicts_with = "initial_controllers")]
    no_initial_controllers: bool,
    /// Used to initialize a server with the specified dynamic quorum: a comma-separated list of
    /// id@hostname:port:directory, the same for all nodes.
    #[arg(long, short = 'I')]
    initial_controllers: Option<String>,
}

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let command: Command = match tool::parse("kafka-storage", arguments) {
        Ok(command) => command,
        Err(code) => return code,
    };
    let outcome = match command {
        Command::Info { config } => info(&config),
        Command::Format(args) => format(&args).map(|()| ExitCode::SUCCESS),
        Command::RandomUuid => print(&[formatting::random_id()]).map(|()| ExitCode::SUCCESS),
    };
    tool::end(outcome, |exception| complain!("Exception in thread \"main\" {exception}"))
}

fn print(lines: &[String]) -> Result<(), Refusal> {
    let mut out = output::stdout();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(out.flush()?)
}

/// The settings of a properties file.
fn load(file: &str) -> Result<BrokerConfig, Refusal> {
    let sources = Sources { file: Some((file.to_owned(), java::read_file(file)?)), ..Sources::default() };
    let loaded = sources.load().map_err(|error| match error {
        StartError::Properties { .. } => Exception::illegal_argument(error.to_string()),
        _ => Exception::new("org.apache.kafka.common.config.ConfigException", error.to_string()),
    })?;
    Ok(loaded.broker)
}

/// Prints what the data directory holds; success only if it is formatted.
fn info(file: &str) -> Result<ExitCode, Refusal> {
    let config = load(file)?;
    let dir = config.data_dirs()[0];
    let state = formatting::state(Path::new(dir)).map_err(|error| unusable(&error))?;
    let mut lines = Vec::new();
    if state != State::Missing {
        lines.extend(["Found log directory:".to_owned(), format!("  {dir}"), String::new()]);
    }
    let problem = match &state {
        State::Missing => Some(format!("  {dir} does not exist")),
        State::Empty => Some(format!("  {dir} is not formatted.")),
        State::Formatted(meta) => {
            lines.push(format!(
                "Found metadata: {{cluster.id={}, directory.id={}, node.id={}, version=1}}",
                meta.cluster_id, meta.directory_id, meta.node_id
            ));
            None
        }
    };
    let code = if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    lines.extend(problem.into_iter().flat_map(|problem| ["Found problem:".to_owned(), problem]));
    lines.push(String::new());
    print(&lines)?;
    Ok(code)
}

fn format(args: &FormatArgs) -> Result<(), Refusal> {
    let config = load(&args.config)?;
    let voters = voters(args, &config)?;
    let directory = match &voters {
        None => "metadata",
        Some(voters) if voters.iter().all(|voter| voter.node_id != config.node_id()) => "dynamic metadata",
        Some(_) => "dynamic metadata voter",
    };
    let formatting = Formatting { cluster_id: args.cluster_id.clone(), voters: voters.unwrap_or_default() };
    let dir = Path::new(config.data_dirs()[0]);
    let said = match formatting::format(&config, dir, &formatting) {
        Ok(()) => {
            format!("Formatting {directory} directory {} with metadata.version {RELEASE}.", dir.display())
        }
        Err(FormatError::Already { found, .. }) if found.cluster_id != args.cluster_id => {
            let message = format!(
                "Invalid cluster.id in: {}. Expected {}, but read {}",
                dir.join("meta.properties").display(),
                args.cluster_id,
                found.cluster_id
            );
            return Err(Exception::new("java.lang.RuntimeException", message).into());
        }
        Err(FormatError::Already { .. }) if args.ignore_formatted => {
            "All of the log directories are already formatted.".to_owned()
        }
        Err(FormatError::Already { .. }) => {
            return Err(Refusal::Usage(format!(
                "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the \
                 others.",
                dir.display()
            )));
        }
        Err(error) => return Err(unusable(&error).into()),
    };
    print(&[said])
}

/// A directory that cannot be read or written.
fn unusable(error: &FormatError) -> Exception {
    Exception::new("java.io.UncheckedIOException", error.to_string())
}

/// The voters with whom the cluster is to begin; `None` if they follow from the settings.
fn voters(args: &FormatArgs, config: &BrokerConfig) -> Result<Option<Vec<FirstVoter>>, Refusal> {
    let is_dynamic = args.standalone || args.initial_controllers.is_some();
    if !config.quorum().voters.is_empty() {
        if is_dynamic {
            return Err(Refusal::Usage(
                "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
                 --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
                 controller.quorum.bootstrap.servers instead."
                    .to_owned(),
            ));
        }
        return Ok(None);
    }
    if let Some(list) = &args.initial_controllers {
        return Ok(Some(list.split(',').map(voter).collect::<Result<_, _>>()?));
    }
    if args.standalone {
        // Without a listener for other nodes the node is alone anyway.
        let voter = own_address(config).map(|address| FirstVoter {
            node_id: config.node_id(),
            address,
            directory_id: None,
        });
        return Ok(Some(voter.into_iter().collect()));
    }
    if config.process_roles().iter().any(|role| role == "controller") && !args.no_initial_controllers {
        return Err(Refusal::Usage(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers."
                .to_owned(),
        ));
    }
    Ok(None)
}

/// Where others reach this node.
fn own_address(config: &BrokerConfig) -> Option<String> {
    let quorum = config.quorum();
    let listens = quorum.listen.as_ref().map(|(host, port)| {
        let anywhere = matches!(host.as_str(), "" | "0.0.0.0" | "::");
        join_address(if anywhere { "localhost" } else { host }, *port)
    });
    quorum.advertised.clone().or(listens)
}

/// Reads `id@host:port:directory`.
fn voter(text: &str) -> Result<FirstVoter, Exception> {
    let refuse = |why: &str| Exception::illegal_argument(why);
    let (id, rest) = text.split_once('@').ok_or_else(|| refuse("No @ found in dynamic voter string."))?;
    let node_id = id
        .trim()
        .parse()
        .ok()
        .filter(|id| *id >= 0)
        .ok_or_else(|| refuse("Failed to parse node id in dynamic voter string."))?;
    let (address, directory) =
        rest.rsplit_once(':').ok_or_else(|| refuse("No colon following hostname could be found."))?;
    if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(refuse("No colon following port could be found."));
    }
    let directory_id =
        directory.parse().map_err(|_| refuse("Failed to parse directory ID in dynamic voter string."))?;
    Ok(FirstVoter { node_id, address: address.to_owned(), directory_id: Some(directory_id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_voters_are_read_as_kafka_writes_them() {
        let read = voter("2@[::1]:9093:JEXY6aqzQY-32P5TStzaFg").unwrap();
        assert_eq!((read.node_id, read.address.as_str()), (2, "[::1]:9093"));
        assert_eq!(read.directory_id.unwrap().to_string(), "JEXY6aqzQY-32P5TStzaFg");
        for wrong in ["", "x@host:1:JEXY6aqzQY-32P5TStzaFg", "2@host:9093", "2@host", "2@host:9093:short"] {
            assert!(voter(wrong).is_err(), "{wrong}");
        }
    }
}
