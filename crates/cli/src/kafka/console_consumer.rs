//! `kafka-console-consumer`
//!
//! Without `--group` Apache's tool joins a group with a random name, for which the broker makes it wait; this
//! one reads the partitions directly, which gives the same records in milliseconds and leaves no group behind.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::process::ExitCode;
use std::time::Duration;

use milena_client::{
    Client, Consumer, ConsumerOptions, GroupOptions, OffsetReset, OffsetSpec, TopicPartition,
};

use super::await_topic::await_topic;
use super::exception::Exception;
use super::java;
use super::message_formatter::MessageFormatter;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use super::topic_filter;
use crate::admin::topics;
use crate::output::{self, complain};
use crate::record::Consumed;
use crate::record::reading::{self, Limits, Sink, Stopped};

const LOGGER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

const FLAGS: &[Flag] = &[
    value("topic", "topic", "The topic to read."),
    value("include", "regex", "Topics to read, as a regular expression."),
    value("partition", "partition", "The partition to read; from its end unless --offset is given."),
    value("offset", "consume offset", "earliest, latest (default) or an offset."),
    value("consumer-property", "consumer_prop", "Deprecated: --command-property."),
    value("command-property", "consumer_prop", "A property of the consumer as key=value."),
    value("consumer.config", "config file", "Deprecated: --command-config."),
    value("command-config", "config file", "A properties file for the consumer."),
    value("formatter", "class", "Apache's default or no-op formatter."),
    value("property", "prop", "Deprecated: --formatter-property."),
    value(
        "formatter-property",
        "prop",
        "print.key, print.offset, print.headers, key.separator, ... as key=value.",
    ),
    value("formatter-config", "config file", "A properties file for the formatter."),
    switch("from-beginning", "Start at the first record instead of at the end."),
    value("max-messages", "num_messages", "Stop after so many records."),
    value("timeout-ms", "timeout_ms", "Stop when no record came for so long."),
    switch("skip-message-on-error", "Accepted; printing a record does not fail."),
    value("bootstrap-server", "server to connect to", "REQUIRED: The broker to connect to."),
    value("key-deserializer", "deserializer for keys", "Class that reads keys."),
    value("value-deserializer", "deserializer for values", "Class that reads values."),
    switch("enable-systest-events", "Print a line at the end."),
    value("isolation-level", "level", "read_uncommitted (default) or read_committed."),
    value("group", "consumer group id", "Read as a member of this group."),
    value("whitelist", "regex", "As --include; Kafka before 4.0."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to read data from Kafka topics and outputs it to standard output.",
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
            java::log("ERROR", "Unknown error when running consumer: ", LOGGER);
            complain!("{exception}");
            ExitCode::FAILURE
        }
    }
}

/// New name, deprecated name.
const RENAMED: &[(&str, &str)] =
    &[("command-property", "consumer-property"), ("command-config", "consumer.config")];

fn check(options: &Options) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(Refusal::Usage(message.to_owned()));
    if options.count(&["topic", "include", "whitelist"]) != 1 {
        return refuse("Exactly one of the following arguments is required: [topic], [include]");
    }
    if options.has("partition") {
        if !options.has("topic") {
            return refuse("The topic is required when partition is specified.");
        }
        if options.has("from-beginning") && options.has("offset") {
            return refuse("Options from-beginning and offset cannot be specified together.");
        }
    } else if options.has("offset") {
        return refuse("The partition is required when offset is specified.");
    }
    options.require(&["bootstrap-server"])?;
    for (new, old) in RENAMED {
        if options.has(new) && options.has(old) {
            return refuse(&format!("Options --{old} and --{new} cannot be specified together."));
        }
    }
    if options.has("property") && options.has("formatter-property") {
        return refuse("Options --property and --formatter-property cannot be specified together.");
    }
    for (new, old) in RENAMED.iter().chain(&[("formatter-property", "property")]) {
        if options.has(old) {
            let mut out = io::stdout();
            writeln!(
                out,
                "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."
            )?;
        }
    }
    start(options)?;
    Ok(())
}

/// Values of an option and of the deprecated one that means the same.
fn either<'a>(options: &'a Options, new: &'a str, old: &'a str) -> impl Iterator<Item = &'a str> {
    options.values(new).chain(options.values(old))
}

/// What the consumer's properties and flags say together.
struct Settings {
    properties: BTreeMap<String, String>,
    group: Option<String>,
    earliest: bool,
}

fn settings(options: &Options) -> Result<Settings, Refusal> {
    let file = match either(options, "command-config", "consumer.config").next() {
        Some(path) => java::load_properties(path)?,
        None => BTreeMap::new(),
    };
    let extra = java::key_values(either(options, "command-property", "consumer-property"));
    let mut groups: Vec<&str> =
        [options.value("group")?, property(&file, "group.id"), property(&extra, "group.id")]
            .into_iter()
            .flatten()
            .collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > 1 {
        let groups: Vec<String> = groups.iter().map(|it| format!("'{it}'")).collect();
        return Err(Refusal::Usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '--consumer.config') do not match. Detected group ids: {}",
            groups.join(", ")
        )));
    }
    let group = groups.first().map(|it| (*it).to_owned());
    if group.is_some() && options.has("partition") {
        return Err(Refusal::Usage("Options group and partition cannot be specified together.".to_owned()));
    }
    let mut properties = file;
    properties.extend(extra);
    let reset = property(&properties, "auto.offset.reset");
    let earliest = options.has("from-beginning") || reset == Some("earliest");
    if let Some(reset) = reset.filter(|reset| options.has("from-beginning") && *reset != "earliest") {
        return Err(Refusal::Usage(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
        )));
    }
    Ok(Settings { properties, group, earliest })
}

fn property<'a>(properties: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    properties.get(name).map(String::as_str)
}

/// Where `--partition` starts.
fn start(options: &Options) -> Result<OffsetSpec, Refusal> {
    let Some(text) = options.value("offset")? else {
        return Ok(if options.has("from-beginning") { OffsetSpec::Earliest } else { OffsetSpec::Latest });
    };
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(OffsetSpec::Earliest),
        "latest" => Ok(OffsetSpec::Latest),
        number => number.parse().ok().filter(|offset| *offset >= 0).map(OffsetSpec::At).ok_or_else(|| {
            Refusal::Usage(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                 non-negative long."
            ))
        }),
    }
}

fn formatter(options: &Options) -> Result<Printer, Refusal> {
    let class = options.value("formatter")?.unwrap_or("DefaultMessageFormatter");
    let format = match class.rsplit('.').next() {
        Some("NoOpMessageFormatter") => None,
        Some("DefaultMessageFormatter") => {
            let mut properties = match options.value("formatter-config")? {
                Some(path) => java::load_properties(path)?,
                None => BTreeMap::new(),
            };
            for (flag, name) in
                [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
            {
                if let Some(class) = options.value(flag)? {
                    properties.insert(name.to_owned(), class.to_owned());
                }
            }
            properties.extend(java::key_values(either(options, "formatter-property", "property")));
            Some(MessageFormatter::new(&properties).map_err(Refusal::Usage)?)
        }
        _ => return Err(Refusal::Usage(class.to_owned())),
    };
    Ok(Printer { format, out: output::stdout() })
}

/// Prints records on standard output.
struct Printer {
    format: Option<MessageFormatter>,
    out: BufWriter<StdoutLock<'static>>,
}

impl Sink for Printer {
    fn take(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        match &self.format {
            Some(format) => format.write(&mut self.out, consumed),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

async fn work(options: Options) -> Result<(), Refusal> {
    let settings = settings(&options)?;
    let mut printer = formatter(&options)?;
    let limits = Limits {
        records: options.number::<i64>("max-messages")?.and_then(|count| u64::try_from(count).ok()),
        idle: options
            .number::<i64>("timeout-ms")?
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis),
        ends: None,
    };
    let bootstrap = options.value("bootstrap-server")?.unwrap_or_default();
    let client = tool::connect_to(bootstrap, &settings.properties, "console-consumer", "metadata").await?;
    let (count, stopped) = match topics_are_there(&options, &client, limits.idle).await? {
        true => {
            let consumer = consumer(&options, &settings, &client).await?;
            reading::read(consumer, &limits, &mut printer).await
        }
        false => (0, Stopped::Idle),
    };
    let outcome = conclude(stopped);
    complain!("Processed a total of {count} messages");
    if options.has("enable-systest-events") {
        writeln!(printer.out, "shutdown_complete")?;
        printer.flush()?;
    }
    outcome
}

/// What Apache's tool says and how it ends; a time-out and a failed read are not failures to it.
fn conclude(stopped: Stopped) -> Result<(), Refusal> {
    let exception = match stopped {
        Stopped::Done => return Ok(()),
        Stopped::Signal(number) => return Err(Refusal::Signal(number)),
        Stopped::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            complain!("Unable to write to standard out, closing consumer.");
            return Ok(());
        }
        Stopped::Output(error) => return Err(error.into()),
        Stopped::Idle => "org.apache.kafka.common.errors.TimeoutException".to_owned(),
        Stopped::Failed(error) => Exception::from(error).to_string(),
    };
    java::log("ERROR", "Error processing message, terminating consumer process: ", LOGGER);
    complain!("{exception}");
    Ok(())
}

async fn consumer(options: &Options, settings: &Settings, client: &Client) -> Result<Consumer, Refusal> {
    let isolation = options.value("isolation-level")?.or(property(&settings.properties, "isolation.level"));
    let consumer_options = ConsumerOptions {
        read_committed: isolation == Some("read_committed"),
        reset: if settings.earliest { OffsetReset::Earliest } else { OffsetReset::Latest },
        ..ConsumerOptions::default()
    };
    let topics = topic_names(options, client).await?;
    if let Some(partition) = options.number::<i32>("partition")? {
        let partitions = topics.into_iter().map(|topic| (topic, partition));
        let start = start(options)?;
        return Ok(Consumer::assign(client, consumer_options, partitions.map(|it| (it, start))));
    }
    match &settings.group {
        Some(group) => {
            let mut group_options = GroupOptions::new(group.clone());
            if property(&settings.properties, "enable.auto.commit").is_some_and(|it| !java::is_true(it)) {
                group_options.auto_commit = None;
            }
            group_options.instance_id = settings.properties.get("group.instance.id").cloned();
            Ok(Consumer::subscribe(client, consumer_options, group_options, topics))
        }
        None => {
            let start = if settings.earliest { OffsetSpec::Earliest } else { OffsetSpec::Latest };
            let partitions = all_partitions(client, &topics).await?;
            Ok(Consumer::assign(client, consumer_options, partitions.into_iter().map(|it| (it, start))))
        }
    }
}

/// Waits for a topic that was named and does not exist yet.
async fn topics_are_there(
    options: &Options,
    client: &Client,
    patience: Option<Duration>,
) -> Result<bool, Refusal> {
    match options.value("topic")? {
        Some(topic) => {
            Ok(await_topic(client, topic, patience, "[Consumer clientId=console-consumer]").await?)
        }
        None => Ok(true),
    }
}

async fn topic_names(options: &Options, client: &Client) -> Result<Vec<String>, Refusal> {
    let Some(include) = options.value("include")?.or(options.value("whitelist")?) else {
        return Ok(options.values("topic").map(str::to_owned).collect());
    };
    let filter = topic_filter::compile(include)?;
    let listed = topics::list(client).await?.into_iter();
    Ok(listed.filter(|it| !it.internal && filter.is_match(&it.name)).map(|it| it.name).collect())
}

/// Every partition of the topics.
async fn all_partitions(client: &Client, topics: &[String]) -> Result<Vec<TopicPartition>, Refusal> {
    let mut partitions = Vec::new();
    for name in topics {
        let topic = client.topic(name, false).await?;
        partitions.extend(topic.partitions.iter().map(|it| (name.clone(), it.index)));
    }
    Ok(partitions)
}
