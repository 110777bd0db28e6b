//! `kafka-delete-records`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
};
use serde::Deserialize;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, value};
use super::tool::{self, Spec, When};
use crate::admin::{TopicPartition, by_topic};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: The server to connect to."),
    value(
        "offset-json-file",
        "Offset json file path",
        "REQUIRED: The JSON file with offset per partition: {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \
         \"offset\": 1}], \"version\": 1}",
    ),
    value("command-config", "command config property file path", "A properties file for the client."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to delete records of the given partitions down to the specified offset.",
    flags: FLAGS,
    throw,
};

/// How long a leader waits for its followers to let go of the records too.
const PATIENCE_MS: i32 = 30_000;

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    complain!("{}\n{exception}\n", exception.message());
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    options.require(&["bootstrap-server", "offset-json-file"])
}

async fn work(options: Options) -> Result<(), Refusal> {
    let path = options.value("offset-json-file")?.unwrap_or_default();
    let text = std::fs::read_to_string(path)
        .map_err(|_| Exception::new("java.io.IOException", format!("Unable to read file {path}")))?;
    let wanted = parse(&text)?;
    let client = tool::connect(&options, "adminclient-1", "deleteRecords").await?;
    let mut out = output::stdout();
    writeln!(out, "Executing records delete operation")?;
    let results = delete(&client, &wanted).await?;
    writeln!(out, "Records delete operation completed:")?;
    for (partition, result) in results {
        match result {
            Ok(low_watermark) => writeln!(out, "partition: {partition}\tlow_watermark: {low_watermark}")?,
            Err(exception) => writeln!(out, "partition: {partition}\terror: {exception}")?,
        }
    }
    Ok(out.flush()?)
}

#[derive(Deserialize)]
struct File {
    #[serde(default = "first_version")]
    version: i32,
    partitions: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    topic: String,
    partition: i32,
    offset: i64,
}

fn first_version() -> i32 {
    1
}

fn invalid(message: impl Into<String>) -> Exception {
    Exception::new("org.apache.kafka.tools.AdminOperationException", message)
}

/// Partitions and the offsets before which their records go.
fn parse(text: &str) -> Result<Vec<(TopicPartition, i64)>, Exception> {
    let file: File = serde_json::from_str(text)
        .map_err(|error| invalid(format!("The input string is not a valid JSON: {error}")))?;
    if file.version != 1 {
        return Err(invalid(format!("Not supported version field value {}", file.version)));
    }
    let entries = file.partitions.ok_or_else(|| invalid("Missing partitions field"))?;
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    let mut wanted = Vec::new();
    for entry in entries {
        let partition = TopicPartition::new(entry.topic, entry.partition);
        if !seen.insert(partition.clone()) {
            twice.push(partition.to_string());
        }
        wanted.push((partition, entry.offset));
    }
    if !twice.is_empty() {
        let message = format!("Offset json file contains duplicate topic partitions: {}", twice.join(","));
        return Err(Exception::new("org.apache.kafka.tools.AdminCommandFailedException", message));
    }
    Ok(wanted)
}

/// Log start of each partition afterwards, or why it has not moved.
async fn delete(
    client: &Client,
    wanted: &[(TopicPartition, i64)],
) -> Result<BTreeMap<TopicPartition, Result<i64, Exception>>, Error> {
    let mut of_leader: BTreeMap<i32, Vec<(TopicPartition, i64)>> = BTreeMap::new();
    let mut results = BTreeMap::new();
    for (at, offset) in wanted {
        // Apache's tool asks for a minute before it says the same.
        match leader(client, at).await {
            Ok(leader) => of_leader.entry(leader).or_default().push((at.clone(), *offset)),
            Err(error) => drop(results.insert(at.clone(), Err(error.into()))),
        }
    }
    for (leader, partitions) in of_leader {
        let request = DeleteRecordsRequest { topics: topics(partitions), timeout_ms: PATIENCE_MS };
        for topic in client.send_to(Target::Broker(leader), request).await?.topics {
            for answer in &topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), answer.partition_index);
                results.insert(at, outcome(answer));
            }
        }
    }
    Ok(results)
}

async fn leader(client: &Client, at: &TopicPartition) -> Result<i32, Error> {
    let topic = client.topic(&at.topic, false).await?;
    let leader = topic.partition(at.partition).and_then(|partition| partition.leader);
    leader.ok_or_else(|| {
        let code = ErrorCode::UnknownTopicOrPartition.code();
        Error::refused(format!("find the leader of {at}"), code, None)
    })
}

fn topics(partitions: Vec<(TopicPartition, i64)>) -> Vec<DeleteRecordsTopic> {
    let topic = |(name, partitions): (String, Vec<(i32, i64)>)| DeleteRecordsTopic {
        name: name.into(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, offset)| DeleteRecordsPartition { partition_index, offset })
            .collect(),
    };
    by_topic(partitions).into_iter().map(topic).collect()
}

fn outcome(answer: &DeleteRecordsPartitionResult) -> Result<i64, Exception> {
    match answer.error_code {
        0 => Ok(answer.low_watermark),
        code => Err(Exception::of_code(code, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_may_be_named_once() {
        let entry = |partition: i32| format!(r#"{{"topic":"aa","partition":{partition},"offset":5}}"#);
        let file = |entries: &[String]| format!(r#"{{"partitions":[{}],"version":1}}"#, entries.join(","));
        let read = parse(&file(&[entry(0), entry(1)])).unwrap();
        assert_eq!(read, [(TopicPartition::new("aa", 0), 5), (TopicPartition::new("aa", 1), 5)]);
        let refused = parse(&file(&[entry(0), entry(0)])).unwrap_err();
        assert_eq!(refused.message(), "Offset json file contains duplicate topic partitions: aa-0");
        assert!(parse("{}").is_err() && parse("no").is_err());
        assert!(parse(r#"{"partitions":[],"version":2}"#).is_err());
    }
}
