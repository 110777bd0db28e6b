//! `kafka-log-dirs`

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};
use serde::Serialize;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use crate::admin::live_brokers;
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value(
        "bootstrap-server",
        "The server(s) to use for bootstrapping",
        "REQUIRED: The server to connect to.",
    ),
    switch("describe", "Describe the log directories of the brokers."),
    value("topic-list", "Topic list", "Topics, separated by commas; all if left out."),
    value("broker-list", "Broker list", "Brokers, separated by commas; all if left out."),
    value("command-config", "Admin client property file", "A properties file for the client."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to query log directory usage on the specified brokers.",
    flags: FLAGS,
    throw,
};

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    match exception.is_terse() {
        true => complain!("{}", exception.message()),
        false => complain!("{}\n{exception}\n", exception.message()),
    }
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    options.require(&["bootstrap-server", "describe"])
}

/// What is printed, by the names that Apache's tool gives.
#[derive(Serialize)]
struct Report {
    brokers: Vec<BrokerDirs>,
    version: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BrokerDirs {
    broker: i32,
    log_dirs: Vec<LogDir>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogDir {
    partitions: Vec<Replica>,
    error: Option<String>,
    log_dir: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replica {
    partition: String,
    size: i64,
    offset_lag: i64,
    is_future: bool,
}

async fn work(options: Options) -> Result<(), Refusal> {
    let list = |name: &str| -> Result<Vec<String>, Refusal> {
        let words = options.value(name)?.unwrap_or_default().split(',').map(str::trim);
        Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
    };
    let topics: BTreeSet<String> = list("topic-list")?.into_iter().collect();
    let client = tool::connect(&options, "adminclient-1", "describeLogDirs").await?;
    let live = live_brokers(&client);
    let wanted = match list("broker-list")? {
        ids if ids.is_empty() => live.clone(),
        ids => ids.iter().map(|id| broker_id(id)).collect::<Result<_, _>>()?,
    };
    let joined = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let unknown: Vec<i32> = wanted.iter().copied().filter(|id| !live.contains(id)).collect();
    if !unknown.is_empty() {
        let message = format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            joined(&unknown),
            joined(&live)
        );
        return Err(Exception::terse(message).into());
    }
    let mut out = output::stdout();
    writeln!(out, "Querying brokers for log directories information")?;
    let mut brokers = Vec::new();
    for broker in &wanted {
        brokers.push(BrokerDirs { broker: *broker, log_dirs: describe(&client, *broker, &topics).await? });
    }
    writeln!(out, "Received log directory information from brokers {}", joined(&wanted))?;
    let report = serde_json::to_string(&Report { brokers, version: 1 }).expect("names are strings");
    writeln!(out, "{report}")?;
    Ok(out.flush()?)
}

fn broker_id(text: &str) -> Result<i32, Exception> {
    let message = || format!("For input string: \"{text}\"");
    text.parse().map_err(|_| Exception::new("java.lang.NumberFormatException", message()))
}

/// Directories of a broker with its replicas of `topics`, or of all if none are named.
async fn describe(client: &Client, broker: i32, topics: &BTreeSet<String>) -> Result<Vec<LogDir>, Error> {
    let answer = client.send_to(Target::Broker(broker), DescribeLogDirsRequest { topics: None }).await?;
    let is_wanted = |name: &str| topics.is_empty() || topics.contains(name);
    let dir = |dir: DescribeLogDirsResult| LogDir {
        partitions: dir
            .topics
            .iter()
            .filter(|topic| is_wanted(&topic.name))
            .flat_map(|topic| {
                topic.partitions.iter().map(|it| Replica {
                    partition: format!("{}-{}", topic.name, it.partition_index),
                    size: it.partition_size,
                    offset_lag: it.offset_lag,
                    is_future: it.is_future_key,
                })
            })
            .collect(),
        error: (dir.error_code != ErrorCode::None.code())
            .then(|| Exception::of_code(dir.error_code, None).to_string()),
        log_dir: dir.log_dir.to_string(),
    };
    Ok(answer.results.into_iter().map(dir).collect())
}
