//! `milena produce`

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, ValueEnum};
use milena_client::{Acks, ProducerOptions};
use milena_records::Compression;

use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::output::complain;
use crate::progress::Progress;
use crate::record::lines::Lines;
use crate::record::sending::{Sending, Settled};
use crate::record::{NewRecord, json};
use crate::time;

use super::{Each, counted, key_value};

/// Failed records that are told one by one; the rest is counted.
const TOLD: usize = 10;

/// Write records, one a line of standard input.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// Topic; may be left out if every line is JSON that names one.
    #[arg(value_name = "TOPIC", add = completion::topics())]
    topic: Option<String>,
    /// What a line is: the value, or a record as `milena consume -f json` prints it.
    #[arg(short, long, value_enum, default_value_t)]
    format: LineFormat,
    /// Values to write instead of reading standard input; may be repeated.
    #[arg(short, long = "value", value_name = "VALUE")]
    values: Vec<String>,
    /// Key of every record that has none of its own.
    #[arg(short, long)]
    key: Option<String>,
    /// What separates key and value on a line.
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "key")]
    key_separator: Option<String>,
    /// Header of every record; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Partition of every record; otherwise the key decides, as in Kafka's Java client.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Let keys decide even if JSON lines name partitions.
    #[arg(long, conflicts_with = "partition")]
    ignore_partitions: bool,
    /// Codec of the batches.
    #[arg(short = 'z', long, value_enum, default_value_t)]
    compression: Codec,
    /// Whose acknowledgement to wait for.
    #[arg(long, value_enum, default_value_t)]
    acks: AcksArg,
    /// Longest that a record waits for others to share its batch.
    #[arg(long, value_name = "SPAN", default_value = "5ms", value_parser = time::parse_span)]
    linger: Duration,
    /// An empty line is a record without a value, which deletes its key from a compacted topic.
    #[arg(long)]
    tombstones: bool,
    /// Do not say how many records were written.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum LineFormat {
    /// A value.
    #[default]
    Text,
    /// A record as one JSON object.
    Json,
}

/// `--compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// `--acks`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum AcksArg {
    /// Nobody's.
    #[value(name = "0")]
    None,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// That of all in-sync replicas.
    #[default]
    #[value(alias = "-1")]
    All,
}

impl ProduceArgs {
    fn options(&self) -> ProducerOptions {
        let acks = match self.acks {
            AcksArg::None => Acks::None,
            AcksArg::Leader => Acks::Leader,
            AcksArg::All => Acks::All,
        };
        let compression = match self.compression {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        };
        ProducerOptions {
            acks,
            idempotent: acks == Acks::All,
            compression,
            linger: self.linger,
            batch_size: 256 * 1024,
            // Whether a record is too large is for the broker to say.
            max_request_size: 64 << 20,
            buffer_memory: 128 << 20,
            delivery_timeout: self.connection.timeout,
            ..ProducerOptions::default()
        }
    }

    /// Runs the command.
    pub async fn run(self) -> Outcome {
        if self.topic.is_none() && self.format == LineFormat::Text {
            return Err(Failure::new("which topic?").hint("milena produce TOPIC"));
        }
        let client = self.connection.open().await?;
        let mut work = Work {
            sending: Sending::start(&client, self.options()).await?,
            each: Each::new(),
            sent: 0,
            failed: 0,
            progress: Progress::start("records written", !io::stdin().is_terminal() && !self.quiet),
        };
        let read = match self.values.is_empty() {
            true => self.send_stdin(&mut work).await,
            false => self.send_values(&mut work).await,
        };
        let flushed = work.sending.flush().await;
        work.settle();
        let Work { each, sent, failed, progress, .. } = work;
        drop(progress);
        if failed > TOLD {
            each_more(failed - TOLD);
        }
        if !self.quiet {
            complain!("{} written", counted(sent, "record"));
        }
        read?;
        flushed?;
        each.outcome()
    }

    async fn send_values(&self, work: &mut Work) -> Outcome {
        for (at, value) in self.values.iter().enumerate() {
            self.send_line(work, value.clone().into_bytes(), at + 1).await?;
        }
        Ok(())
    }

    async fn send_stdin(&self, work: &mut Work) -> Outcome {
        let mut lines = Lines::of_stdin(None);
        let mut number = 0;
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                // What was read until now is written before the command ends.
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(line) = line else { return Ok(()) };
            number += 1;
            self.send_line(work, line?, number).await?;
        }
    }

    async fn send_line(&self, work: &mut Work, line: Vec<u8>, number: usize) -> Outcome {
        let record = self.record(line, number)?;
        let topic = self.topic.as_deref().or(record.topic.as_deref()).ok_or_else(|| {
            Failure::new(format!("line {number} names no topic"))
                .hint("name it: milena produce TOPIC -f json")
        })?;
        work.sending.send(topic, &record, number).await?;
        work.settle();
        Ok(())
    }

    fn record(&self, line: Vec<u8>, number: usize) -> Outcome<NewRecord> {
        let mut record = match self.format {
            LineFormat::Text => self.text_record(line, number)?,
            LineFormat::Json => {
                let line = String::from_utf8(line)
                    .map_err(|_| Failure::new(format!("line {number} is not UTF-8, so it is not JSON")))?;
                json::from_line(&line).map_err(|error| {
                    Failure::new(format!("line {number}: {error}"))
                        .hint("a line looks like {\"key\":\"k\",\"value\":\"v\",\"headers\":[{\"key\":\"h\",\"value\":\"x\"}]}")
                })?
            }
        };
        if record.key.is_none() {
            record.key = self.key.clone().map(String::into_bytes);
        }
        let header = |(name, value): &(String, String)| (name.clone(), Some(value.clone().into_bytes()));
        record.headers.extend(self.headers.iter().map(header));
        if self.ignore_partitions {
            record.partition = None;
        }
        record.partition = self.partition.or(record.partition);
        Ok(record)
    }

    fn text_record(&self, line: Vec<u8>, number: usize) -> Outcome<NewRecord> {
        let (key, value) = match &self.key_separator {
            None => (None, line),
            Some(separator) => {
                let separator = separator.as_bytes();
                let at =
                    line.windows(separator.len().max(1)).position(|it| it == separator).ok_or_else(|| {
                        let separator = String::from_utf8_lossy(separator).into_owned();
                        Failure::new(format!("line {number} has no key separator {separator:?}"))
                    })?;
                (Some(line[..at].to_vec()), line[at + separator.len()..].to_vec())
            }
        };
        let tombstone = self.tombstones && value.is_empty();
        Ok(NewRecord { key, value: (!tombstone).then_some(value), ..NewRecord::default() })
    }
}

/// Records on their way, and what became of those before.
struct Work {
    sending: Sending,
    each: Each,
    sent: usize,
    failed: usize,
    progress: Progress,
}

impl Work {
    fn settle(&mut self) {
        while let Some(settled) = self.sending.settled() {
            self.take(settled);
        }
    }

    fn take(&mut self, (sent, result): Settled) {
        match result {
            Ok(_) => {
                self.sent += 1;
                self.progress.count();
            }
            Err(error) => {
                self.failed += 1;
                if self.failed <= TOLD {
                    let failure: Failure = error.into();
                    self.each.failed(failure.at(&format!("line {}", sent.line)));
                }
            }
        }
    }
}

fn each_more(count: usize) {
    complain!("error: {count} more records could not be written");
}
