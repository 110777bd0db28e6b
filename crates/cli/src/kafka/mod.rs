//! Apache Kafka's tools by their own names, flags and output.
//!
//! Standard output and exit codes are those of Kafka 4.3 byte for byte; standard error has the same
//! lines without Java's stack traces. `tests/cli/run` compares each with Apache's own tool.

mod await_topic;
mod broker_api_versions;
mod cluster_tool;
mod config_entity;
mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod delete_records;
mod describe_groups;
mod describe_topics;
mod exception;
mod get_offsets;
mod groups;
mod java;
mod leader_election;
mod line_reader;
mod log_dirs;
mod message_formatter;
mod metadata_quorum;
mod options;
mod producer_perf_test;
mod producer_properties;
mod reassign_partitions;
mod reassignment_file;
mod reset_offsets;
mod server_start;
mod server_stop;
mod storage;
mod throttles;
mod tool;
mod topic_filter;
mod topics;
mod transactions;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// One of Apache's tools that this binary stands in for.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    name: &'static str,
    main: fn(&[String]) -> ExitCode,
}

/// Every tool.
const TOOLS: &[Tool] = &[
    Tool { name: "kafka-topics", main: topics::main },
    Tool { name: "kafka-console-producer", main: console_producer::main },
    Tool { name: "kafka-console-consumer", main: console_consumer::main },
    Tool { name: "kafka-consumer-groups", main: consumer_groups::main },
    Tool { name: "kafka-configs", main: configs::main },
    Tool { name: "kafka-get-offsets", main: get_offsets::main },
    Tool { name: "kafka-broker-api-versions", main: broker_api_versions::main },
    Tool { name: "kafka-leader-election", main: leader_election::main },
    Tool { name: "kafka-reassign-partitions", main: reassign_partitions::main },
    Tool { name: "kafka-cluster", main: cluster_tool::main },
    Tool { name: "kafka-metadata-quorum", main: metadata_quorum::main },
    Tool { name: "kafka-transactions", main: transactions::main },
    Tool { name: "kafka-groups", main: groups::main },
    Tool { name: "kafka-delete-records", main: delete_records::main },
    Tool { name: "kafka-log-dirs", main: log_dirs::main },
    Tool { name: "kafka-producer-perf-test", main: producer_perf_test::main },
    Tool { name: "kafka-storage", main: storage::main },
    Tool { name: "kafka-server-start", main: server_start::main },
    Tool { name: "kafka-server-stop", main: server_stop::main },
];

impl Tool {
    /// The tool of this name: any directory, with or without `.sh`.
    pub fn named(called: &OsStr) -> Option<Tool> {
        let file = Path::new(called).file_name()?.to_str()?;
        let name = file.strip_suffix(".sh").unwrap_or(file);
        TOOLS.iter().find(|tool| tool.name == name).copied()
    }

    /// Runs the tool with the arguments after its name.
    pub fn run(self, arguments: Vec<OsString>) -> ExitCode {
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
        (self.main)(&arguments)
    }

    /// Names of all tools.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TOOLS.iter().map(|tool| tool.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_file_name() {
        for (called, want) in [
            ("kafka-topics", Some("kafka-topics")),
            ("/opt/kafka/bin/kafka-topics.sh", Some("kafka-topics")),
            ("./kafka-console-consumer.sh", Some("kafka-console-consumer")),
            ("milena", None),
            ("kafka-topics.bat", None),
            ("", None),
        ] {
            assert_eq!(Tool::named(OsStr::new(called)).map(|tool| tool.name), want, "{called}");
        }
    }
}
