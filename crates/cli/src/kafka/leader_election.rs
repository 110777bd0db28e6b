//! `kafka-leader-election`

use std::io::Write;
use std::process::ExitCode;

use milena_wire::ErrorCode;
use serde::Deserialize;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use crate::admin::TopicPartition;
use crate::admin::elections::{self, Election};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "host:port", "REQUIRED: brokers to connect to, separated by commas."),
    value("admin.config", "config file", "Older name of --command-config."),
    value("command-config", "Config file", "A properties file for the client."),
    value("election-type", "election type", "REQUIRED: preferred, or unclean, which may lose records."),
    value("topic", "topic name", "Topic of the partition to elect a leader for."),
    value("partition", "partition id", "The partition; required with --topic."),
    value(
        "path-to-json-file",
        "Path to JSON file",
        "File of partitions: {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1}]}.",
    ),
    switch("all-topic-partitions", "Elect leaders for all partitions that need one."),
];

const SPEC: Spec = Spec {
    intro: "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are \
            preferred replicas and unclean replicas.",
    flags: FLAGS,
    throw,
};

/// Ways to say which partitions are meant.
const CHOICES: &[&str] = &["topic", "all-topic-partitions", "path-to-json-file"];

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    complain!("{}\n{exception}\n", exception.message());
    ExitCode::FAILURE
}

fn failed(message: impl Into<String>) -> Refusal {
    Exception::new("org.apache.kafka.tools.AdminCommandFailedException", message).into()
}

fn invalid(message: &str) -> Refusal {
    Exception::new("org.apache.kafka.server.common.AdminOperationException", message).into()
}

fn check(options: &Options) -> Result<(), Refusal> {
    let required = ["bootstrap-server", "election-type"];
    let missing: Vec<&str> = required.into_iter().filter(|name| !options.has(name)).collect();
    if !missing.is_empty() {
        return Err(failed(format!("Missing required option(s): {}", missing.join(", "))));
    }
    if options.count(CHOICES) != 1 {
        let choices = CHOICES.join(", ");
        return Err(failed(format!("One and only one of the following options is required: {choices}")));
    }
    match (options.has("topic"), options.has("partition")) {
        (true, false) => Err(failed("Missing required option(s): partition")),
        (false, true) => Err(failed("Option partition is only allowed if topic is used")),
        _ => Ok(()),
    }
}

async fn work(options: Options) -> Result<(), Refusal> {
    let (election, name) = election(&options)?;
    let wanted = partitions(&options)?;
    let client = match options.value("admin.config")? {
        Some(path) => {
            let bootstrap = options.value("bootstrap-server")?.unwrap_or_default();
            tool::connect_to(bootstrap, &super::java::load_properties(path)?, "adminclient-1", "electLeaders")
                .await?
        }
        None => tool::connect(&options, "adminclient-1", "electLeaders").await?,
    };
    let results = elections::elect(&client, election, wanted.as_deref()).await?;
    let code = |of: ErrorCode| of.code();
    let list = |wanted: i16| {
        let chosen = results.iter().filter(|(_, (code, _))| *code == wanted);
        chosen.map(|(partition, _)| partition.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut out = output::stdout();
    let (succeeded, needless) = (list(0), list(code(ErrorCode::ElectionNotNeeded)));
    if !succeeded.is_empty() {
        writeln!(out, "Successfully completed leader election ({name}) for partitions {succeeded}")?;
    }
    if !needless.is_empty() {
        writeln!(out, "Valid replica already elected for partitions {needless}")?;
    }
    let mut failures = 0;
    for (partition, (code, words)) in &results {
        if *code == 0 || *code == ErrorCode::ElectionNotNeeded.code() {
            continue;
        }
        failures += 1;
        let error = Exception::of_code(*code, words.as_deref());
        writeln!(out, "Error completing leader election ({name}) for partition: {partition}: {error}")?;
    }
    out.flush()?;
    if failures == 0 { Ok(()) } else { Err(failed(format!("{failures} replica(s) could not be elected"))) }
}

fn election(options: &Options) -> Result<(Election, &'static str), Refusal> {
    let text = options.value("election-type")?.unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "preferred" => Ok((Election::Preferred, "PREFERRED")),
        "unclean" => Ok((Election::Unclean, "UNCLEAN")),
        _ => Err(Exception::cannot_parse(text, "election-type").into()),
    }
}

/// The partitions that are meant; `None` for all.
fn partitions(options: &Options) -> Result<Option<Vec<TopicPartition>>, Refusal> {
    if let (Some(topic), Some(partition)) = (options.value("topic")?, options.number("partition")?) {
        return Ok(Some(vec![TopicPartition::new(topic, partition)]));
    }
    let Some(path) = options.value("path-to-json-file")? else { return Ok(None) };
    let text = std::fs::read_to_string(path)?;
    parse(&text).map(Some)
}

#[derive(Deserialize)]
struct File {
    partitions: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Named {
    topic: String,
    partition: i32,
}

fn parse(text: &str) -> Result<Vec<TopicPartition>, Refusal> {
    let file: File = serde_json::from_str(text).map_err(|_| invalid("Replica election data is empty"))?;
    let named =
        file.partitions.ok_or_else(|| invalid("Replica election data is missing \"partitions\" field"))?;
    let mut found: Vec<_> =
        named.iter().map(|it| TopicPartition::new(it.topic.as_str(), it.partition)).collect();
    found.sort();
    let mut twice: Vec<String> =
        found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string()).collect();
    twice.dedup();
    if twice.is_empty() {
        Ok(found)
    } else {
        Err(invalid(&format!("Replica election data contains duplicate partitions: [{}]", twice.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_partitions_once() {
        let text = r#"{"partitions": [{"topic": "b", "partition": 1}, {"topic": "a", "partition": 0}]}"#;
        assert_eq!(parse(text), Ok(vec![TopicPartition::new("a", 0), TopicPartition::new("b", 1)]));
        let text = r#"{"partitions": [{"topic": "a", "partition": 0}, {"topic": "a", "partition": 0}]}"#;
        assert_eq!(parse(text), Err(invalid("Replica election data contains duplicate partitions: [a-0]")));
        assert_eq!(parse("{}"), Err(invalid("Replica election data is missing \"partitions\" field")));
    }

    #[test]
    fn exactly_one_way_to_name_partitions() {
        let checked = |line: &str| {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            check(&Options::parse(FLAGS, &line).unwrap())
        };
        let base = "--bootstrap-server b:1 --election-type preferred";
        assert_eq!(checked(&format!("{base} --all-topic-partitions")), Ok(()));
        assert_eq!(checked(&format!("{base} --topic t --partition 1")), Ok(()));
        for (line, want) in [
            ("--topic t", "Missing required option(s): bootstrap-server, election-type"),
            (
                base,
                "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
            ),
            (&format!("{base} --topic t"), "Missing required option(s): partition"),
            (
                &format!("{base} --all-topic-partitions --partition 1"),
                "Option partition is only allowed if topic is used",
            ),
        ] {
            assert_eq!(checked(line), Err(failed(want)), "{line}");
        }
    }
}
