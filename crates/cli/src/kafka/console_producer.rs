//! `kafka-console-producer`

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use milena_client::Client;

use super::await_topic::await_topic;
use super::exception::Exception;
use super::java;
use super::line_reader::LineReader;
use super::options::{Flag, Options, Refusal, optional, switch, value};
use super::producer_properties::producer_options;
use super::tool::{self, Spec, When};
use crate::output::complain;
use crate::record::lines::Lines;
use crate::record::sending::{Sending, Sent};

const FLAGS: &[Flag] = &[
    value("topic", "topic", "REQUIRED: The topic to send to."),
    value("bootstrap-server", "server to connect to", "REQUIRED: The broker to connect to."),
    value("broker-list", "broker-list", "As --bootstrap-server; Kafka before 4.0."),
    switch("sync", "Wait for each record's acknowledgement before the next is sent."),
    optional(
        "compression-codec",
        "compression-codec",
        "none, gzip, snappy, lz4 or zstd; gzip if no name follows.",
    ),
    value("batch-size", "size", "Bytes at which a batch is full."),
    value(
        "message-send-max-retries",
        "count",
        "Accepted; records are tried again until the delivery time-out.",
    ),
    value("retry-backoff-ms", "ms", "Accepted; pauses grow by themselves."),
    value("timeout", "timeout_ms", "Longest that a record waits for others to share its batch."),
    value("request-required-acks", "request required acks", "0, 1 or all (-1)."),
    value("request-timeout-ms", "request timeout ms", "Longest wait for an acknowledgement."),
    value("metadata-expiry-ms", "ms", "Accepted; metadata is asked for anew when it has changed."),
    value("max-block-ms", "max block on send", "Longest wait for the topic's metadata."),
    value("max-memory-bytes", "total memory in bytes", "Bytes of records that may wait."),
    value("max-partition-memory-bytes", "memory in bytes per partition", "As --batch-size."),
    value("line-reader", "reader_class", "Accepted for Apache's own line reader."),
    value("socket-buffer-size", "size", "Accepted; the system sizes its buffers."),
    value("property", "prop", "Deprecated: --reader-property."),
    value(
        "reader-property",
        "prop",
        "parse.key, key.separator, parse.headers, null.marker, ... as key=value.",
    ),
    value("reader-config", "config file", "A properties file for the reader."),
    value("producer-property", "producer_prop", "Deprecated: --command-property."),
    value("command-property", "producer_prop", "A property of the producer as key=value."),
    value("producer.config", "config file", "Deprecated: --command-config."),
    value("command-config", "config file", "A properties file for the producer."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to read data from standard input and publish it to Kafka.",
    flags: FLAGS,
    throw,
};

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, when: When) -> ExitCode {
    match when {
        When::Parsing => tool::usage(&SPEC, exception.message()),
        When::Running => {
            complain!("{exception}");
            ExitCode::FAILURE
        }
    }
}

/// An option, the deprecated one that means the same, in the order in which Apache refuses the pair.
const RENAMED: &[(&str, &str, &str)] = &[
    ("command-config", "producer.config", "--command-config and --producer.config"),
    ("command-property", "producer-property", "--command-property and --producer-property"),
    ("reader-property", "property", "--reader-property and --property"),
];

fn check(options: &Options) -> Result<(), Refusal> {
    options.require(&["topic"])?;
    for (new, old, pair) in RENAMED {
        if options.has(new) && options.has(old) {
            return Err(Refusal::Usage(format!("Options {pair} cannot be specified together.")));
        }
    }
    for (new, old, _) in [RENAMED[1], RENAMED[0], RENAMED[2]] {
        if options.has(old) {
            // Whoever closed standard output does not want to know.
            let _ = io::Write::write_all(
                &mut io::stdout(),
                format!("Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead.\n")
                    .as_bytes(),
            );
        }
    }
    match bootstrap(options)? {
        "" => Err(Refusal::Usage("Error while validating the bootstrap address\n".to_owned())),
        list if list
            .split(',')
            .all(|it| it.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())) =>
        {
            Ok(())
        }
        _ => Err(Refusal::Usage("Please provide valid host:port like host1:9091,host2:9092\n".to_owned())),
    }
}

/// Values of an option and of the deprecated one that means the same.
fn either<'a>(options: &'a Options, new: &'a str, old: &'a str) -> impl Iterator<Item = &'a str> {
    options.values(new).chain(options.values(old))
}

/// The bootstrap address; the old name still stands in many tutorials.
fn bootstrap(options: &Options) -> Result<&str, Exception> {
    Ok(options.value("bootstrap-server")?.or(options.value("broker-list")?).unwrap_or_default())
}

fn properties(options: &Options) -> Result<BTreeMap<String, String>, Exception> {
    let mut properties = match either(options, "command-config", "producer.config").next() {
        Some(path) => java::load_properties(path)?,
        None => BTreeMap::new(),
    };
    properties.extend(java::key_values(either(options, "command-property", "producer-property")));
    for (flag, property) in [
        ("timeout", "linger.ms"),
        ("request-required-acks", "acks"),
        ("max-block-ms", "max.block.ms"),
        ("max-memory-bytes", "buffer.memory"),
        ("batch-size", "batch.size"),
        ("max-partition-memory-bytes", "batch.size"),
    ] {
        if let Some(value) = options.value(flag)? {
            properties.insert(property.to_owned(), value.to_owned());
        }
    }
    if options.has("compression-codec") {
        let codec = options.value("compression-codec")?.filter(|it| !it.is_empty()).unwrap_or("gzip");
        properties.insert("compression.type".to_owned(), codec.to_owned());
    }
    Ok(properties)
}

fn reader(options: &Options) -> Result<LineReader, Exception> {
    let mut properties = match options.value("reader-config")? {
        Some(path) => java::load_properties(path)?,
        None => BTreeMap::new(),
    };
    properties.extend(java::key_values(either(options, "reader-property", "property")));
    LineReader::new(&properties)
}

async fn work(options: Options) -> Result<(), Refusal> {
    let reader = reader(&options)?;
    let properties = properties(&options)?;
    let producer_options = producer_options(&properties)?;
    let bootstrap = bootstrap(&options)?;
    let topic = options.value("topic")?.unwrap_or_default();
    let max_block_ms = properties.get("max.block.ms").and_then(|text| text.parse().ok()).unwrap_or(60_000);
    let mut waiting = properties.clone();
    waiting.insert("default.api.timeout.ms".to_owned(), max_block_ms.to_string());
    let client = tool::connect_to(bootstrap, &waiting, "console-producer", "metadata").await?;
    let mut sending = Sending::start(&client, producer_options).await?;
    let mut target = Target { client: &client, topic, max_block_ms, found: false };
    let prompt = (io::stdin().is_terminal() && io::stdout().is_terminal()).then_some(">");
    let read =
        send_lines(&mut sending, &reader, &mut target, options.has("sync"), Lines::of_stdin(prompt)).await;
    // What was read before a bad line is sent all the same.
    let flushed = sending.flush().await;
    report(&mut sending, topic);
    read?;
    Ok(flushed?)
}

/// The topic, which may not exist yet.
struct Target<'a> {
    client: &'a Client,
    topic: &'a str,
    max_block_ms: u64,
    found: bool,
}

impl Target<'_> {
    /// Waits for the topic, as long as sending a record may block.
    async fn find(&mut self) -> Result<(), Exception> {
        let patience = Some(Duration::from_millis(self.max_block_ms));
        let who = "[Producer clientId=console-producer]";
        self.found = self.found || await_topic(self.client, self.topic, patience, who).await?;
        match self.found {
            true => Ok(()),
            false => {
                let (topic, limit) = (self.topic, self.max_block_ms);
                let message = format!("Topic {topic} not present in metadata after {limit} ms.");
                Err(Exception::kafka("TimeoutException", message))
            }
        }
    }
}

async fn send_lines(
    sending: &mut Sending,
    reader: &LineReader,
    target: &mut Target<'_>,
    sync: bool,
    mut lines: Lines,
) -> Result<(), Refusal> {
    let mut number = 0;
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            // The records that were typed are sent before the tool ends.
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line else { return Ok(()) };
        number += 1;
        let record = reader.read(&String::from_utf8_lossy(&line?), number)?;
        let sent = match target.find().await {
            Ok(()) => sending.send(target.topic, &record, number).await.map_err(Exception::from),
            Err(exception) => Err(exception),
        };
        match sent {
            Ok(delivery) if sync => {
                delivery.wait().await.map_err(|error| Exception::from(error).in_future())?;
            }
            Ok(_) => {}
            Err(exception) if sync => return Err(exception.in_future().into()),
            Err(exception) => log_failure(target.topic, &Sent::of(&record, number), &exception),
        }
        report(sending, target.topic);
    }
}

/// Logs the records that could not be sent.
fn report(sending: &mut Sending, topic: &str) {
    while let Some((sent, result)) = sending.settled() {
        if let Err(error) = result {
            log_failure(topic, &sent, &Exception::from(error));
        }
    }
}

fn log_failure(topic: &str, sent: &Sent, exception: &Exception) {
    let length =
        |bytes: Option<usize>| bytes.map_or_else(|| "null".to_owned(), |bytes| format!("{bytes} bytes"));
    let message = format!(
        "Error when sending message to topic {topic} with key: {}, value: {} with error:",
        length(sent.key),
        length(sent.value)
    );
    java::log("ERROR", &message, "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback");
    complain!("{exception}");
}
