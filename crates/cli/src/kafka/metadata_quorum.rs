//! `kafka-metadata-quorum`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milena_client::Client;
use milena_wire::Uuid;
use milena_wire::add_raft_voter::Listener;
use milena_wire::describe_quorum::{DescribeQuorumResponse, ReplicaState, ResponsePartitionData};

use super::exception::Exception;
use super::java;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use crate::admin::cluster;
use crate::admin::voters::{self, VoterKey};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "host:port", "REQUIRED: The brokers to connect to."),
    value("bootstrap-controller", "host:port", "Not served: brokers answer for controllers."),
    value("command-config", "file", "A properties file for the client; for add-controller that of the node."),
    switch("status", "describe: a short summary."),
    switch("replication", "describe: how far each node is."),
    switch("human-readable", "describe --replication: times as spans."),
    value("controller-id", "id", "remove-controller: the node to remove."),
    value("controller-directory-id", "id", "remove-controller: its directory id."),
    switch("dry-run", "add-controller, remove-controller: only say what would be done."),
];

const SPEC: Spec = Spec { intro: "This tool describes kraft metadata quorum status.", flags: FLAGS, throw };

/// How long Kafka's tool lets a new voter catch up.
const ADD_TIMEOUT: Duration = Duration::from_secs(60);

/// What the tool is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Describe,
    AddController,
    RemoveController,
}

impl Command {
    fn named(word: &str) -> Option<Self> {
        match word {
            "describe" => Some(Self::Describe),
            "add-controller" => Some(Self::AddController),
            "remove-controller" => Some(Self::RemoveController),
            _ => None,
        }
    }
}

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let command = arguments.iter().find_map(|word| Command::named(word));
    let long = |word: &String| match word.as_str() {
        "-i" => "--controller-id".to_owned(),
        "-d" => "--controller-directory-id".to_owned(),
        _ => word.clone(),
    };
    let arguments: Vec<String> =
        arguments.iter().filter(|word| Command::named(word).is_none()).map(long).collect();
    tool::run(
        &SPEC,
        &arguments,
        |options| check(command, options),
        |options| async move { work(command.expect("checked"), options).await },
    )
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    if exception.is_terse() {
        complain!("{}", exception.message());
    } else {
        // Kafka's futures wrap what went wrong.
        let wrapped = exception.in_future();
        complain!("{}\n{wrapped}", wrapped.message());
    }
    ExitCode::FAILURE
}

/// An exception that is printed without its class.
fn terse(message: impl Into<String>) -> Refusal {
    Exception::terse(message).into()
}

fn check(command: Option<Command>, options: &Options) -> Result<(), Refusal> {
    if options.has("bootstrap-controller") {
        return Err(terse("--bootstrap-controller is not served here; use --bootstrap-server with a broker"));
    }
    options.require(&["bootstrap-server"])?;
    let (status, replication) = (options.has("status"), options.has("replication"));
    match command {
        None => {
            Err(Refusal::Usage("too few arguments: describe, add-controller or remove-controller".into()))
        }
        Some(Command::Describe) if status && replication => {
            Err(terse("Only one of --status or --replication should be specified with describe sub-command"))
        }
        Some(Command::Describe) if status && options.has("human-readable") => {
            Err(terse("The option --human-readable is only supported along with --replication"))
        }
        Some(Command::Describe) if !status && !replication => {
            Err(terse("One of --status or --replication must be specified with describe sub-command"))
        }
        Some(Command::AddController) if !options.has("command-config") => Err(terse(
            "You must supply the configuration file of the controller you are adding when using add-controller.",
        )),
        Some(Command::RemoveController) => options.require(&["controller-id", "controller-directory-id"]),
        Some(_) => Ok(()),
    }
}

async fn work(command: Command, options: Options) -> Result<(), Refusal> {
    match command {
        Command::Describe => describe(&options).await,
        Command::AddController => add(&options).await,
        Command::RemoveController => remove(&options).await,
    }
}

async fn connect(options: &Options) -> Result<Client, Refusal> {
    tool::connect(options, "admin-1", "describeMetadataQuorum").await
}

async fn describe(options: &Options) -> Result<(), Refusal> {
    let client = connect(options).await?;
    let answer = voters::describe(&client).await?;
    let no_leader = || Exception::new("java.util.NoSuchElementException", "No value present");
    let partition = voters::partition(&answer).ok_or_else(no_leader)?;
    let leader = partition.current_voters.iter().find(|voter| voter.replica_id == partition.leader_id);
    let leader = leader.ok_or_else(no_leader)?;
    let mut out = output::stdout();
    if options.has("replication") {
        let rows = replication(partition, leader, options.has("human-readable"));
        write!(out, "{}", table(&rows))?;
    } else {
        let cluster_id = cluster::members(&client).await?.cluster_id.unwrap_or_default();
        writeln!(out, "{}", status(&cluster_id, &answer, partition, leader))?;
    }
    Ok(out.flush()?)
}

fn status(
    cluster_id: &str,
    answer: &DescribeQuorumResponse,
    partition: &ResponsePartitionData,
    leader: &ReplicaState,
) -> String {
    let last = partition.current_voters.iter().min_by_key(|voter| voter.log_end_offset).unwrap_or(leader);
    let known = |voter: &ReplicaState| Some(voter.last_caught_up_timestamp).filter(|at| *at >= 0);
    let lag_ms = match (known(leader), known(last)) {
        _ if last.replica_id == leader.replica_id => 0,
        (Some(leader), Some(last)) => leader - last,
        _ => -1,
    };
    format!(
        "ClusterId:              {cluster_id}\n\
         LeaderId:               {}\n\
         LeaderEpoch:            {}\n\
         HighWatermark:          {}\n\
         MaxFollowerLag:         {}\n\
         MaxFollowerLagTimeMs:   {lag_ms}\n\
         CurrentVoters:          {}\n\
         CurrentObservers:       {}",
        partition.leader_id,
        partition.leader_epoch,
        partition.high_watermark,
        leader.log_end_offset - last.log_end_offset,
        nodes(answer, &partition.current_voters),
        nodes(answer, &partition.observers),
    )
}

/// Nodes as Kafka prints them: JSON with a space after each colon and comma.
fn nodes(answer: &DescribeQuorumResponse, members: &[ReplicaState]) -> String {
    let one = |member: &ReplicaState| {
        let mut text = format!("{{\"id\": {}", member.replica_id);
        if !member.replica_directory_id.is_zero() {
            text.push_str(&format!(", \"directoryId\": \"{}\"", member.replica_directory_id));
        }
        let node = answer.nodes.iter().find(|node| node.node_id == member.replica_id);
        let listeners = node.into_iter().flat_map(|node| &node.listeners);
        let endpoints: Vec<_> = listeners.map(|it| format!("\"{}\"", endpoint(it))).collect();
        if !endpoints.is_empty() {
            text.push_str(&format!(", \"endpoints\": [{}]", endpoints.join(", ")));
        }
        text + "}"
    };
    format!("[{}]", members.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn endpoint(listener: &milena_wire::describe_quorum::Listener) -> String {
    url(&listener.name, &listener.host, listener.port)
}

/// An IPv6 host stands in brackets.
fn url(name: &str, host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("{name}://{host}:{port}")
}

const HEADER: [&str; 7] =
    ["NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"];

type Row = [String; 7];

fn replication(partition: &ResponsePartitionData, leader: &ReplicaState, human: bool) -> Vec<Row> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let time = |at: i64| match at {
        at if at < 0 => "-1".to_owned(),
        at if human => format!("{} ms ago", (now - at).max(0)),
        at => at.to_string(),
    };
    let row = |member: &ReplicaState, status: &str| {
        [
            member.replica_id.to_string(),
            member.replica_directory_id.to_string(),
            member.log_end_offset.to_string(),
            (leader.log_end_offset - member.log_end_offset).to_string(),
            time(member.last_fetch_timestamp),
            time(member.last_caught_up_timestamp),
            status.to_owned(),
        ]
    };
    let followers = partition.current_voters.iter().filter(|it| it.replica_id != leader.replica_id);
    let mut rows = vec![row(leader, "Leader")];
    rows.extend(followers.map(|it| row(it, "Follower")));
    rows.extend(partition.observers.iter().map(|it| row(it, "Observer")));
    rows
}

/// Columns as wide as their widest cell, each followed by a tab.
fn table(rows: &[Row]) -> String {
    let header: Row = HEADER.map(str::to_owned);
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}\t"));
        cells.collect::<String>() + "\n"
    };
    all().map(line).collect()
}

async fn add(options: &Options) -> Result<(), Refusal> {
    let path = options.value("command-config")?.unwrap_or_default();
    let properties = java::load_properties(path)?;
    let id = node_id(&properties)?;
    let directory = directory_id(&properties)?;
    let listeners = controller_listeners(&properties)?;
    if !options.has("dry-run") {
        let client = connect(options).await?;
        let voter = VoterKey { id, directory };
        voters::add(&client, None, voter, listeners.clone(), ADD_TIMEOUT).await?;
    }
    let done = if options.has("dry-run") { "DRY RUN of adding" } else { "Added" };
    let endpoints: Vec<_> = listeners.iter().map(|it| url(&it.name, &it.host, it.port)).collect();
    let endpoints = endpoints.join(", ");
    let mut out = output::stdout();
    writeln!(out, "{done} controller {id} with directory id {directory} and endpoints: {endpoints}")?;
    Ok(out.flush()?)
}

const NOT_A_NODE: &str = "Is this a valid controller configuration file?";

fn node_id(properties: &BTreeMap<String, String>) -> Result<i32, Refusal> {
    let text = properties.get("node.id");
    let text = text.ok_or_else(|| terse(format!("node.id not found in configuration file. {NOT_A_NODE}")))?;
    let id: i32 = text.trim().parse().map_err(|_| {
        Exception::new("java.lang.NumberFormatException", format!("For input string: \"{text}\""))
    })?;
    if id < 0 {
        return Err(terse(format!("node.id was negative in configuration file. {NOT_A_NODE}")));
    }
    if !properties.get("process.roles").is_some_and(|roles| roles.contains("controller")) {
        let message =
            format!("process.roles did not contain 'controller' in configuration file. {NOT_A_NODE}");
        return Err(terse(message));
    }
    Ok(id)
}

fn directory_id(properties: &BTreeMap<String, String>) -> Result<Uuid, Refusal> {
    let first = |list: &String| list.trim().split(',').next().unwrap_or_default().to_owned();
    let dir = properties.get("metadata.log.dir").cloned().or_else(|| properties.get("log.dirs").map(first));
    let dir =
        dir.ok_or_else(|| terse(format!("Neither metadata.log.dir nor log.dirs were found. {NOT_A_NODE}")))?;
    let unreadable = |_| terse(format!("Unable to read meta.properties from {dir}"));
    let text = std::fs::read_to_string(format!("{dir}/meta.properties")).map_err(unreadable)?;
    let id = text.lines().find_map(|line| line.strip_prefix("directory.id="));
    id.and_then(|id| id.trim().parse().ok()).ok_or_else(|| terse(format!("No directory id found in {dir}")))
}

fn controller_listeners(properties: &BTreeMap<String, String>) -> Result<Vec<Listener>, Refusal> {
    let names = properties.get("controller.listener.names");
    let names = names
        .ok_or_else(|| terse(format!("controller.listener.names was not found. {NOT_A_NODE}")))?
        .split(',')
        .map(|name| name.trim().to_ascii_uppercase());
    let lists = ["advertised.listeners", "listeners"].iter().filter_map(|list| properties.get(*list));
    let all: Vec<Listener> = lists.flat_map(|list| list.split(',')).filter_map(listener).collect();
    names
        .map(|name| {
            all.iter().find(|listener| *listener.name == *name).cloned().ok_or_else(|| {
                terse(format!("Cannot find information about controller listener name: {name}"))
            })
        })
        .collect()
}

fn listener(entry: &str) -> Option<Listener> {
    let (name, address) = entry.trim().split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    Some(Listener {
        name: name.to_ascii_uppercase().into(),
        host: if host.is_empty() { "localhost" } else { host }.into(),
        port: port.parse().ok()?,
    })
}

async fn remove(options: &Options) -> Result<(), Refusal> {
    let id: i32 = options.number("controller-id")?.unwrap_or_default();
    if id < 0 {
        return Err(terse(format!("Invalid negative --controller-id: {id}")));
    }
    let text = options.value("controller-directory-id")?.unwrap_or_default();
    let directory: Uuid = text.parse().map_err(|_| {
        terse(format!("Failed to parse --controller-directory-id: Input string `{text}` is not valid"))
    })?;
    if !options.has("dry-run") {
        let client = connect(options).await?;
        voters::remove(&client, None, VoterKey { id, directory }).await?;
    }
    // Kafka's own two spaces in a dry run.
    let done = if options.has("dry-run") { "DRY RUN of removing " } else { "Removed " };
    let mut out = output::stdout();
    writeln!(out, "{done} KRaft controller {id} with directory id {directory}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_wire::describe_quorum::{Listener as Endpoint, Node};

    fn member(id: i32, end: i64, caught_up: i64) -> ReplicaState {
        ReplicaState {
            replica_id: id,
            replica_directory_id: Uuid([id as u8; 16]),
            log_end_offset: end,
            last_fetch_timestamp: caught_up,
            last_caught_up_timestamp: caught_up,
        }
    }

    fn partition() -> ResponsePartitionData {
        ResponsePartitionData {
            leader_id: 2,
            leader_epoch: 7,
            high_watermark: 90,
            current_voters: vec![member(1, 80, 1_000), member(2, 91, 1_500)],
            observers: vec![member(4, 91, -1)],
            ..Default::default()
        }
    }

    #[test]
    fn status_is_worded_as_kafka_does() {
        let endpoint = Endpoint { name: "CONTROLLER".into(), host: "::1".into(), port: 9093 };
        let answer = DescribeQuorumResponse {
            nodes: vec![Node { node_id: 1, listeners: vec![endpoint] }],
            ..Default::default()
        };
        let partition = partition();
        let printed = status("c", &answer, &partition, &partition.current_voters[1]);
        assert_eq!(
            printed,
            "ClusterId:              c\nLeaderId:               2\nLeaderEpoch:            7\n\
             HighWatermark:          90\nMaxFollowerLag:         11\nMaxFollowerLagTimeMs:   500\n\
             CurrentVoters:          [{\"id\": 1, \"directoryId\": \"AQEBAQEBAQEBAQEBAQEBAQ\", \
             \"endpoints\": [\"CONTROLLER://[::1]:9093\"]}, {\"id\": 2, \"directoryId\": \
             \"AgICAgICAgICAgICAgICAg\"}]\n\
             CurrentObservers:       [{\"id\": 4, \"directoryId\": \"BAQEBAQEBAQEBAQEBAQEBA\"}]"
        );
    }

    #[test]
    fn replication_lists_the_leader_first() {
        let partition = partition();
        let rows = replication(&partition, &partition.current_voters[1], false);
        let seen: Vec<_> = rows.iter().map(|row| [&*row[0], &*row[3], &*row[4], &*row[6]]).collect();
        let want =
            [["2", "0", "1500", "Leader"], ["1", "11", "1000", "Follower"], ["4", "0", "-1", "Observer"]];
        assert_eq!(seen, want);
    }
}
