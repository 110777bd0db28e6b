//! `kafka-transactions`, whose flags are those of a parser with sub-commands.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use milena_client::{Client, Error};
use milena_wire::ErrorCode;

use super::exception::Exception;
use super::options::Refusal;
use super::{java, tool};
use crate::admin::transactions::{self, Filter, Hanging};
use crate::admin::{TopicPartition, topics};
use crate::commands::block_on;
use crate::output::{self, complain};
use crate::time;

/// This tool is used to analyze the transactional state of producers in the cluster. It can be used to detect and
/// recover from hanging transactions.
#[derive(Debug, Parser)]
#[command(name = "kafka-transactions", disable_help_subcommand = true)]
struct Arguments {
    /// hostname and port for the broker to connect to, in the form `host:port` (multiple comma-separated entries can
    /// be given)
    #[arg(long, value_name = "host:port")]
    bootstrap_server: String,
    /// property file containing configs to be passed to admin client
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// list transactions
    List(ListArgs),
    /// describe the state of an active transactional-id
    Describe {
        /// transactional id
        #[arg(long)]
        transactional_id: String,
    },
    /// describe the states of active producers for a topic partition
    DescribeProducers {
        /// optional broker id to describe the producer state on a specific replica
        #[arg(long)]
        broker_id: Option<i32>,
        /// topic name
        #[arg(long)]
        topic: String,
        /// partition number
        #[arg(long)]
        partition: i32,
    },
    /// abort a hanging transaction (requires administrative privileges)
    Abort(AbortArgs),
    /// find hanging transactions
    FindHanging(FindHangingArgs),
    /// Force abort an ongoing transaction on transactionalId (requires administrative privileges)
    #[command(name = "forceTerminateTransaction")]
    ForceTerminate {
        /// transactional id
        #[arg(long = "transactionalId")]
        transactional_id: String,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Duration (in millis) to filter by: if < 0, all transactions will be returned; otherwise, only transactions
    /// running longer than this duration will be returned
    #[arg(long, allow_negative_numbers = true)]
    duration_filter: Option<i64>,
    /// Transactional id regular expression pattern to filter by
    #[arg(long)]
    transactional_id_pattern: Option<String>,
}

#[derive(Debug, Args)]
struct AbortArgs {
    /// topic name
    #[arg(long)]
    topic: String,
    /// partition number
    #[arg(long)]
    partition: i32,
    /// start offset of the transaction to abort
    #[arg(long)]
    start_offset: Option<i64>,
    /// producer id
    #[arg(long)]
    producer_id: Option<i64>,
    /// producer epoch
    #[arg(long)]
    producer_epoch: Option<i16>,
    /// coordinator epoch
    #[arg(long, allow_negative_numbers = true)]
    coordinator_epoch: Option<i32>,
}

#[derive(Debug, Args)]
struct FindHangingArgs {
    /// broker id to search for hanging transactions
    #[arg(long)]
    broker_id: Option<i32>,
    /// maximum transaction timeout in minutes to limit the scope of the search
    #[arg(long, default_value_t = 15)]
    max_transaction_timeout: i32,
    /// topic name to limit search to
    #[arg(long)]
    topic: Option<String>,
    /// partition number
    #[arg(long)]
    partition: Option<i32>,
}

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let arguments: Arguments = match tool::parse("kafka-transactions", arguments) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    tool::end(block_on(arguments.run()), |exception| complain!("{}\n{exception}\n", exception.message()))
}

/// What Kafka's tool says when the cluster refuses.
fn failed<T>(what: impl FnOnce() -> String) -> impl FnOnce(Error) -> Result<T, Refusal> {
    move |error| {
        let cause = Exception::from(error);
        let hint = "Enable debug logging for additional detail.";
        Err(Refusal::Usage(format!("{}: {}. {hint}", what(), cause.message())))
    }
}

fn sentence<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Usage(text.into()))
}

impl Arguments {
    async fn run(self) -> Result<(), Refusal> {
        let properties = match &self.command_config {
            Some(path) => java::load_properties(path)?,
            None => Default::default(),
        };
        let call = self.command.check()?;
        let client = tool::connect_to(&self.bootstrap_server, &properties, "adminclient-1", call).await?;
        match self.command {
            Command::List(it) => it.run(&client).await,
            Command::Describe { transactional_id } => describe(&client, &transactional_id).await,
            Command::DescribeProducers { broker_id, topic, partition } => {
                describe_producers(&client, TopicPartition::new(topic, partition), broker_id).await
            }
            Command::Abort(it) => it.run(&client).await,
            Command::FindHanging(it) => it.run(&client).await,
            Command::ForceTerminate { transactional_id: id } => {
                let ended = transactions::force_terminate(&client, &id).await;
                let what = || format!("Failed to force terminate transactionalId `{id}`");
                ended.or_else(failed(what))
            }
        }
    }
}

impl Command {
    /// What can be told before anybody is asked. The name of the client's first call, for its time-out.
    fn check(&self) -> Result<&'static str, Refusal> {
        Ok(match self {
            Self::List(_) => "listTransactions",
            Self::Describe { .. } => "describeTransactions",
            Self::DescribeProducers { .. } => "describeProducers",
            Self::Abort(it) => {
                it.check()?;
                "abortTransaction"
            }
            Self::FindHanging(it) => {
                it.check()?;
                "describeTopics"
            }
            Self::ForceTerminate { .. } => "fenceProducers",
        })
    }
}

impl ListArgs {
    async fn run(self, client: &Client) -> Result<(), Refusal> {
        let filter = Filter {
            longer_than_ms: self.duration_filter.filter(|it| *it >= 0),
            pattern: self.transactional_id_pattern,
            ..Filter::default()
        };
        let listed = transactions::list(client, &filter).await;
        let listed = listed.or_else(failed(|| "Failed to list transactions".into()))?;
        let rows = listed
            .into_iter()
            .map(|it| [it.id, it.coordinator.to_string(), it.producer_id.to_string(), java_state(&it.state)]);
        print(["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], rows)
    }
}

/// A state that Java's client does not know prints as `Unknown`.
fn java_state(name: &str) -> String {
    if name.is_empty() { "Unknown".to_owned() } else { name.to_owned() }
}

async fn describe(client: &Client, id: &str) -> Result<(), Refusal> {
    let described = transactions::describe(client, id).await;
    let what = || format!("Failed to describe transaction state of transactional-id `{id}`");
    let it = match described {
        Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {
            return sentence(format!(
                "{}: DescribeTransactions request for transactionalId `{id}` failed because the ID could not be \
                 found. Enable debug logging for additional detail.",
                what()
            ));
        }
        described => described.or_else(failed(what))?,
    };
    let none = || "None".to_owned();
    let partitions: Vec<_> = it.partitions.iter().map(TopicPartition::to_string).collect();
    let row = [
        it.coordinator.to_string(),
        it.id,
        it.producer_id.to_string(),
        it.producer_epoch.to_string(),
        java_state(&it.state),
        it.timeout_ms.to_string(),
        it.start_time_ms.map_or_else(none, |at| at.to_string()),
        it.start_time_ms.map_or_else(none, |at| (time::now_ms() - at).to_string()),
        partitions.join(","),
    ];
    let header = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    print(header, [row])
}

async fn describe_producers(
    client: &Client,
    partition: TopicPartition,
    broker: Option<i32>,
) -> Result<(), Refusal> {
    let found = transactions::producers(client, std::slice::from_ref(&partition), broker).await;
    let on = || broker.map_or_else(|| "leader".to_owned(), |id| format!("broker {id}"));
    let what = || format!("Failed to describe producers for partition {partition} on {}", on());
    let found = found.or_else(failed(what))?;
    let rows = found.into_iter().flat_map(|(_, states)| states).map(|it| {
        [
            it.producer_id.to_string(),
            it.producer_epoch.to_string(),
            it.coordinator_epoch.max(-1).to_string(),
            it.last_sequence.to_string(),
            it.last_timestamp.to_string(),
            match it.current_txn_start_offset {
                ..0 => "None".to_owned(),
                at => at.to_string(),
            },
        ]
    });
    let header = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    print(header, rows)
}

impl AbortArgs {
    fn check(&self) -> Result<(), Refusal> {
        match (self.start_offset, self.producer_id) {
            (None, None) => sentence(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or \
                 above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ),
            (None, Some(_)) if self.producer_epoch.is_none() => {
                sentence("Missing required argument --producer-epoch")
            }
            (None, Some(_)) if self.coordinator_epoch.is_none() => {
                sentence("Missing required argument --coordinator-epoch")
            }
            _ => Ok(()),
        }
    }

    async fn run(self, client: &Client) -> Result<(), Refusal> {
        let partition = TopicPartition::new(self.topic.as_str(), self.partition);
        let (producer_id, epoch, coordinator_epoch) = match self.start_offset {
            Some(start) => by_start_offset(client, &partition, start).await?,
            None => (
                self.producer_id.unwrap_or(-1),
                self.producer_epoch.unwrap_or(-1),
                // Unknown before the first marker; no coordinator has less than 0.
                self.coordinator_epoch.unwrap_or(0).max(0),
            ),
        };
        let aborted = transactions::abort(client, &partition, producer_id, epoch, coordinator_epoch).await;
        aborted.or_else(failed(|| {
            format!(
                "Failed to abort transaction AbortTransactionSpec(topicPartition={partition}, \
                 producerId={producer_id}, producerEpoch={epoch}, coordinatorEpoch={coordinator_epoch})"
            )
        }))
    }
}

async fn by_start_offset(
    client: &Client,
    partition: &TopicPartition,
    start: i64,
) -> Result<(i64, i16, i32), Refusal> {
    let found = transactions::producers(client, std::slice::from_ref(partition), None).await;
    let what = || format!("Failed to validate producer state for partition {partition}");
    let found = found.or_else(failed(what))?;
    let mut states = found.into_iter().flat_map(|(_, states)| states);
    match states.find(|it| it.current_txn_start_offset == start) {
        Some(it) => {
            Ok((it.producer_id, it.producer_epoch.try_into().unwrap_or(-1), it.coordinator_epoch.max(0)))
        }
        None => sentence(format!(
            "Could not find any open transactions starting at offset {start} on partition {partition}"
        )),
    }
}

impl FindHangingArgs {
    fn check(&self) -> Result<(), Refusal> {
        if self.topic.is_none() && self.broker_id.is_none() {
            return sentence(
                "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
            );
        }
        if self.partition.is_some() && self.topic.is_none() {
            return sentence("The --partition argument requires --topic to be provided");
        }
        Ok(())
    }

    async fn run(self, client: &Client) -> Result<(), Refusal> {
        let partitions = self.partitions(client).await?;
        let longest_ms = i64::from(self.max_transaction_timeout) * 60_000;
        let now_ms = time::now_ms();
        let found = transactions::find_hanging(client, &partitions, self.broker_id, longest_ms, now_ms).await;
        let what = || format!("Failed to describe producers for {} partitions", partitions.len());
        let found = found.or_else(failed(what))?;
        let rows = found.into_iter().map(|Hanging { partition, producer: it }| {
            [
                partition.topic,
                partition.partition.to_string(),
                it.producer_id.to_string(),
                it.producer_epoch.to_string(),
                it.coordinator_epoch.max(-1).to_string(),
                it.current_txn_start_offset.to_string(),
                it.last_timestamp.to_string(),
                ((now_ms - it.last_timestamp) / 60_000).to_string(),
            ]
        });
        let header = [
            "Topic",
            "Partition",
            "ProducerId",
            "ProducerEpoch",
            "CoordinatorEpoch",
            "StartOffset",
            "LastTimestamp",
            "Duration(min)",
        ];
        print(header, rows)
    }

    async fn partitions(&self, client: &Client) -> Result<Vec<TopicPartition>, Refusal> {
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            return Ok(vec![TopicPartition::new(topic.as_str(), partition)]);
        }
        let all = topics::list(client).await;
        let mut all = all.or_else(failed(|| "Failed to list topics".into()))?;
        if let Some(topic) = &self.topic {
            all.retain(|it| it.name == *topic);
            if all.is_empty() {
                let cause = Exception::of_code(ErrorCode::UnknownTopicOrPartition.code(), None);
                let message = cause.message();
                return sentence(format!(
                    "Failed to describe 1 topics: {message}. Enable debug logging for additional detail."
                ));
            }
        }
        let here = |replicas: &[i32]| self.broker_id.is_none_or(|broker| replicas.contains(&broker));
        let partitions = all.iter().flat_map(|topic| {
            let on_broker = topic.partitions.iter().filter(|it| here(&it.replicas));
            on_broker.map(|it| TopicPartition::new(topic.name.as_str(), it.index))
        });
        Ok(partitions.collect())
    }
}

/// Columns as wide as their widest cell, each followed by a tab.
fn print<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Refusal> {
    let mut out = output::stdout();
    write!(out, "{}", table(header, rows))?;
    Ok(out.flush()?)
}

fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| java::width(0, rows.iter().map(|row| row[column].as_str()));
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}\t"));
        cells.collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_end_with_a_tab() {
        let printed = table(["Topic", "Id"], [["t".to_owned(), "1000".to_owned()]]);
        assert_eq!(printed, "Topic\tId  \t\nt    \t1000\t\n");
    }

    #[test]
    fn what_to_abort_must_be_named() {
        let check = |words: &str| {
            let words =
                format!("kafka-transactions --bootstrap-server x:1 abort --topic t --partition 0{words}");
            match Arguments::try_parse_from(words.split(' ')).unwrap().command.check() {
                Ok(_) => None,
                Err(Refusal::Usage(text)) => Some(text),
                Err(_) => Some("other".to_owned()),
            }
        };
        assert!(check("").unwrap().starts_with("The transaction to abort must be identified"));
        assert_eq!(check(" --producer-id 1").unwrap(), "Missing required argument --producer-epoch");
        let epoch = " --producer-id 1 --producer-epoch 0";
        assert_eq!(check(epoch).unwrap(), "Missing required argument --coordinator-epoch");
        assert_eq!(check(&format!("{epoch} --coordinator-epoch -1")), None);
        assert_eq!(check(" --start-offset 5"), None);
    }
}
