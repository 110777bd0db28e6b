//! `kafka-get-offsets`

use std::io::Write;
use std::process::ExitCode;

use regex::Regex;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use super::topic_filter;
use crate::admin::offsets::{self, at};
use crate::admin::{TopicPartition, topics};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED. The brokers to connect to."),
    value(
        "topic-partitions",
        "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
        "Topics and partitions, as patterns.",
    ),
    value("topic", "topic", "The topic, as a regular expression; all topics if left out."),
    value("partitions", "partition ids", "Partitions, separated by commas; all if left out."),
    value(
        "time",
        "timestamp or name",
        "latest (default), earliest, max-timestamp or milliseconds since 1970.",
    ),
    value("command-config", "config file", "A properties file for the client."),
    switch("exclude-internal-topics", "Leave out the cluster's own topics."),
];

const SPEC: Spec =
    Spec { intro: "An interactive shell for getting topic-partition offsets.", flags: FLAGS, throw };

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, _: When) -> ExitCode {
    complain!("Error occurred: {}", exception.message());
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    options.require(&["bootstrap-server"])?;
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        return Err(Exception::terse("--topic-partitions cannot be used with --topic or --partitions").into());
    }
    Ok(())
}

async fn work(options: Options) -> Result<(), Refusal> {
    let timestamp = timestamp(options.value("time")?.unwrap_or("latest"))?;
    let rules = rules(&options)?;
    let client = tool::connect(&options, "GetOffsetShell", "listTopics").await?;
    let topics = topics::list(&client).await?;
    let wanted: Vec<TopicPartition> = topics
        .iter()
        .filter(|topic| !(topic.internal && options.has("exclude-internal-topics")))
        .flat_map(|topic| {
            topic.partitions.iter().map(|it| TopicPartition::new(topic.name.as_str(), it.index))
        })
        .filter(|partition| rules.iter().any(|rule| rule.allows(partition)))
        .collect();
    if wanted.is_empty() {
        return Err(
            Exception::terse("Could not match any topic-partitions with the specified filters").into()
        );
    }
    let mut answers: Vec<_> = offsets::list_at(&client, &wanted, timestamp).await?.into_iter().collect();
    answers.sort_by_key(|(partition, _)| partition.to_string());
    let mut out = output::stdout();
    for (partition, answer) in answers {
        match answer {
            Ok(found) if found.offset < 0 => {}
            Ok(found) => writeln!(out, "{}:{}:{}", partition.topic, partition.partition, found.offset)?,
            Err(error) => {
                let exception = Exception::from(error);
                complain!("Skip getting offsets for topic-partition {partition} due to error: {exception}");
            }
        }
    }
    Ok(out.flush()?)
}

fn timestamp(text: &str) -> Result<i64, Exception> {
    match text {
        "latest" => Ok(at::LATEST),
        "earliest" => Ok(at::EARLIEST),
        "max-timestamp" => Ok(at::MAX_TIMESTAMP),
        "earliest-local" => Ok(at::EARLIEST_LOCAL),
        "latest-tiered" => Ok(at::LATEST_TIERED),
        "earliest-pending-upload" => Ok(at::EARLIEST_PENDING_UPLOAD),
        number => number.parse().map_err(|_| {
            Exception::terse(format!(
                "Malformed time argument {number}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / \
                 -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long \
                 format timestamp"
            ))
        }),
    }
}

/// Which partitions are asked for.
#[derive(Debug)]
struct Rule {
    topics: Regex,
    partitions: Partitions,
}

#[derive(Debug, PartialEq, Eq)]
enum Partitions {
    All,
    These(Vec<i32>),
    /// From the first, up to but without the second.
    Range(i32, i32),
}

impl Rule {
    fn allows(&self, partition: &TopicPartition) -> bool {
        let index = partition.partition;
        self.topics.is_match(&partition.topic)
            && match &self.partitions {
                Partitions::All => true,
                Partitions::These(these) => these.contains(&index),
                Partitions::Range(from, to) => (*from..*to).contains(&index),
            }
    }
}

fn rules(options: &Options) -> Result<Vec<Rule>, Exception> {
    if let Some(patterns) = options.value("topic-partitions")? {
        return patterns.split(',').map(rule).collect();
    }
    let partitions = match options.value("partitions")?.filter(|text| !text.is_empty()) {
        None => Partitions::All,
        Some(text) => Partitions::These(text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| {
            Exception::terse(format!("--partitions expects a comma separated list of numeric partition ids, but received: {text}"))
        })?),
    };
    Ok(vec![Rule { topics: topic_filter::compile(options.value("topic")?.unwrap_or(".*"))?, partitions }])
}

/// Reads `topic`, `topic:1`, `topic:1-3`, `topic:1-`, `topic:-3` or any of the last without a topic.
fn rule(text: &str) -> Result<Rule, Exception> {
    let invalid = || Exception::terse(format!("Invalid rule specification: {text}"));
    let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
    let number = |digits: &str, absent: i32| match digits {
        "" => Ok(absent),
        digits => digits.parse().map_err(|_| invalid()),
    };
    let partitions = match partitions.split_once('-') {
        _ if partitions.is_empty() => Partitions::All,
        None => Partitions::These(vec![number(partitions, 0)?]),
        Some((from, to)) => Partitions::Range(number(from, 0)?, number(to, i32::MAX)?),
    };
    Ok(Rule { topics: topic_filter::compile(if topic.is_empty() { ".*" } else { topic })?, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_allow_what_they_name() {
        for (text, allowed, refused) in [
            ("foo", ("foo", 7), ("food", 7)),
            ("foo:1", ("foo", 1), ("foo", 2)),
            ("foo:1-3", ("foo", 2), ("foo", 3)),
            ("foo:2-", ("foo", 9), ("foo", 1)),
            ("foo:-2", ("foo", 1), ("foo", 2)),
            (":0", ("any", 0), ("any", 1)),
        ] {
            let rule = rule(text).unwrap();
            assert!(rule.allows(&TopicPartition::new(allowed.0, allowed.1)), "{text}");
            assert!(!rule.allows(&TopicPartition::new(refused.0, refused.1)), "{text}");
        }
        assert_eq!(rule("foo:x").unwrap_err(), Exception::terse("Invalid rule specification: foo:x"));
    }
}
