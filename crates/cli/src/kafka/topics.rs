//! `kafka-topics`

use std::io::Write;
use std::process::ExitCode;

use milena_client::Client;
use milena_wire::ErrorCode;
use regex::Regex;

use super::describe_topics;
use super::exception::Exception;
use super::java;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use super::topic_filter;
use crate::admin::topics::{self, NewTopic, TopicDescription};
use crate::output::{self, complain};

const LOGGER: &str = "org.apache.kafka.tools.TopicCommand";
const ACTIONS: &[&str] = &["create", "list", "alter", "describe", "delete"];
/// Flags that describe only the partitions with a fault.
pub const REPORTS: &[&str] = &[
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
];

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server to connect to", "REQUIRED: The broker to connect to."),
    value("command-config", "command config property file", "A properties file for the client."),
    switch("list", "List topics."),
    switch("create", "Create a topic."),
    switch("delete", "Delete a topic."),
    switch("alter", "Raise the number of partitions. Configurations are altered with kafka-configs."),
    switch("describe", "Show partitions, replicas and configurations."),
    value("topic", "topic", "The topic; a regular expression but for --create."),
    value("topic-id", "topic-id", "The topic to describe, by id."),
    value("config", "name=value", "A configuration of the topic to create."),
    value("delete-config", "name", "No longer supported: use kafka-configs."),
    value("partitions", "# of partitions", "Number of partitions; the cluster's default if left out."),
    value(
        "replication-factor",
        "replication factor",
        "Replicas of each partition; the cluster's default if left out.",
    ),
    value(
        "replica-assignment",
        "broker ids",
        "Brokers of each partition: 1:2,2:3 are two partitions of two replicas.",
    ),
    switch("under-replicated-partitions", "Describe only partitions with replicas that are not in sync."),
    switch("unavailable-partitions", "Describe only partitions without a live leader."),
    switch("under-min-isr-partitions", "Describe only partitions below min.insync.replicas."),
    switch("at-min-isr-partitions", "Describe only partitions exactly at min.insync.replicas."),
    switch("topics-with-overrides", "Describe only topics with configurations of their own."),
    switch("if-exists", "Do nothing if the topic does not exist."),
    switch("if-not-exists", "Do nothing if the topic exists already."),
    switch("exclude-internal", "Leave out the cluster's own topics."),
    value("partition-size-limit-per-response", "number", "Partitions asked for at once."),
];

const SPEC: Spec =
    Spec { intro: "This tool helps to create, delete, describe, or change a topic.", flags: FLAGS, throw };

/// What Apache's tool says instead of the above when it is called without arguments.
const WITHOUT_ARGUMENTS: &str = "Create, delete, describe, or change a topic.";

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    if arguments.is_empty() {
        return tool::usage(&SPEC, WITHOUT_ARGUMENTS);
    }
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, when: When) -> ExitCode {
    match when {
        When::Parsing => complain!("{}\n{exception}\n", exception.message()),
        When::Running => {
            // A closed standard output must not hide the exit code.
            let _ =
                writeln!(std::io::stdout(), "Error while executing topic command : {}", exception.message());
            java::log("ERROR", &format!("{exception}\n"), LOGGER);
        }
    }
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    if options.count(ACTIONS) != 1 {
        let message =
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        return Err(Refusal::Usage(message.to_owned()));
    }
    if options.has("delete-config") {
        complain!(
            "delete-config option is no longer supported and deprecated since version 4.0. \
             The config will be fully removed in future releases."
        );
    }
    if !options.has("bootstrap-server") {
        return Err(Exception::illegal_argument("--bootstrap-server must be specified").into());
    }
    if options.has("describe")
        && options.has("if-exists")
        && !options.has("topic")
        && !options.has("topic-id")
    {
        return Err(Refusal::Usage("--topic or --topic-id is required to describe a topic".to_owned()));
    }
    if !options.has("list") && !options.has("describe") {
        options.require(&["topic"])?;
    }
    if options.has("alter") {
        if options.has("config") {
            let message = "Option combination \"[bootstrap-server],[config]\" can't be used with option \"[alter]\" \
                           (To alter topic configurations, the kafka-configs tool can be used.)";
            return Err(Refusal::Usage(message.to_owned()));
        }
        options.require(&["partitions"])?;
    }
    check_combinations(options)
}

fn check_combinations(options: &Options) -> Result<(), Refusal> {
    for (option, actions) in [
        ("config", &["alter", "create"][..]),
        ("partitions", &["alter", "create"]),
        ("replication-factor", &["create"]),
        ("replica-assignment", &["alter", "create"]),
        ("under-replicated-partitions", &["describe"]),
        ("under-min-isr-partitions", &["describe"]),
        ("at-min-isr-partitions", &["describe"]),
        ("unavailable-partitions", &["describe"]),
        ("topics-with-overrides", &["describe"]),
        ("if-exists", &["alter", "delete", "describe"]),
        ("if-not-exists", &["create"]),
        ("exclude-internal", &["list", "describe"]),
    ] {
        let others: Vec<&str> = ACTIONS.iter().filter(|it| !actions.contains(it)).copied().collect();
        options.exclude(option, &others)?;
    }
    if options.has("create") {
        options.exclude("replica-assignment", &["partitions", "replication-factor"])?;
    }
    REPORTS.iter().try_for_each(|report| options.exclude(report, &["topics-with-overrides"]))
}

async fn work(options: Options) -> Result<(), Refusal> {
    if options.has("create") {
        return create(&options).await;
    }
    let client = tool::connect(&options, "adminclient-1", "listTopics").await?;
    let all = topics::list(&client).await?;
    if options.has("list") {
        list(&options, all)
    } else if options.has("describe") {
        describe_topics::run(&options, &client, all).await
    } else if options.has("alter") {
        alter(&options, &client, all).await
    } else {
        delete(&options, &client, all).await
    }
}

async fn create(options: &Options) -> Result<(), Refusal> {
    let topic = new_topic(options)?;
    if topic.name.contains(['.', '_']) {
        let mut out = output::stdout();
        writeln!(
            out,
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could \
             collide. To avoid issues it is best to use either, but not both."
        )?;
        out.flush()?;
    }
    let client = tool::connect(options, "adminclient-1", "createTopics").await?;
    match topics::create(&client, &topic, false).await {
        Ok(()) => Ok(writeln!(std::io::stdout(), "Created topic {}.", topic.name)?),
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) && options.has("if-not-exists") => {
            Ok(())
        }
        Err(error) => Err(refused_value(error.into()).into()),
    }
}

/// Apache's tool checks the values of configurations before it asks the broker, and throws another class.
fn refused_value(exception: Exception) -> Exception {
    match exception.is("InvalidConfigurationException") && exception.message().starts_with("Invalid value") {
        true => Exception::new("org.apache.kafka.common.config.ConfigException", exception.message()),
        false => exception,
    }
}

fn new_topic(options: &Options) -> Result<NewTopic, Exception> {
    let config = |text: &str| {
        let parts: Vec<&str> = text.trim_end_matches('=').split('=').map(str::trim).collect();
        match parts.as_slice() {
            [name, value] => Ok(((*name).to_owned(), (*value).to_owned())),
            _ => Err(Exception::illegal_argument(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
            )),
        }
    };
    let configs = options.values("config").map(config).collect::<Result<_, _>>()?;
    let partitions = options.number::<i32>("partitions")?;
    let replication_factor = options.number::<i32>("replication-factor")?;
    if replication_factor.is_some_and(|count| !(1..=i32::from(i16::MAX)).contains(&count)) {
        let message = format!("The replication factor must be between 1 and {} inclusive", i16::MAX);
        return Err(Exception::illegal_argument(message));
    }
    if partitions.is_some_and(|count| count < 1) {
        return Err(Exception::illegal_argument("The partitions must be greater than 0"));
    }
    Ok(NewTopic {
        name: options.value("topic")?.unwrap_or_default().to_owned(),
        partitions: partitions.unwrap_or(-1),
        replication_factor: replication_factor.map_or(-1, |count| count as i16),
        assignment: assignment(options)?,
        configs,
    })
}

/// Reads `1:2,2:3`: the brokers of each partition.
fn assignment(options: &Options) -> Result<Vec<Vec<i32>>, Exception> {
    let Some(text) = options.value("replica-assignment")?.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let number = |text: &str| {
        text.trim().parse::<i32>().map_err(|_| {
            Exception::new("java.lang.NumberFormatException", format!("For input string: \"{text}\""))
        })
    };
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for (at, text) in text.split(',').enumerate() {
        let brokers = text.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
        let twice = |it: &&i32| brokers.iter().filter(|other| other == it).count() > 1;
        if let Some(duplicate) = brokers.iter().find(twice) {
            return Err(Exception::new(
                "org.apache.kafka.tools.AdminCommandFailedException",
                format!("Partition replica lists may not contain duplicate entries: {duplicate}"),
            ));
        }
        if partitions.first().is_some_and(|first| first.len() != brokers.len()) {
            return Err(Exception::new(
                "org.apache.kafka.tools.AdminOperationException",
                format!("Partition {at} has different replication factor: {brokers:?}"),
            ));
        }
        partitions.push(brokers);
    }
    Ok(partitions)
}

/// The topics that the flags select, by name.
fn select(options: &Options, all: Vec<TopicDescription>) -> Result<Vec<TopicDescription>, Exception> {
    let filter: Option<Regex> = options.value("topic")?.map(topic_filter::compile).transpose()?;
    let chosen = |topic: &TopicDescription| {
        filter.as_ref().is_none_or(|filter| filter.is_match(&topic.name))
            && !(topic.internal && options.has("exclude-internal"))
    };
    Ok(all.into_iter().filter(chosen).collect())
}

/// As [`select`]; a topic that was asked for by name has to exist unless `--if-exists` is given.
pub fn select_existing(
    options: &Options,
    all: Vec<TopicDescription>,
) -> Result<Vec<TopicDescription>, Exception> {
    let found = select(options, all)?;
    match options.value("topic")? {
        Some(name) if found.is_empty() && !name.is_empty() && !options.has("if-exists") => {
            Err(Exception::illegal_argument(format!("Topic '{name}' does not exist as expected")))
        }
        _ => Ok(found),
    }
}

fn list(options: &Options, all: Vec<TopicDescription>) -> Result<(), Refusal> {
    let names: Vec<String> = select(options, all)?.into_iter().map(|topic| topic.name).collect();
    let mut out = output::stdout();
    writeln!(out, "{}", names.join("\n"))?;
    Ok(out.flush()?)
}

async fn alter(options: &Options, client: &Client, all: Vec<TopicDescription>) -> Result<(), Refusal> {
    let wanted = new_topic(options)?;
    for topic in select_existing(options, all)? {
        let new = wanted.assignment.get(topic.partitions.len()..).filter(|_| !wanted.assignment.is_empty());
        topics::add_partitions(client, &topic.name, wanted.partitions, new).await?;
    }
    Ok(())
}

async fn delete(options: &Options, client: &Client, all: Vec<TopicDescription>) -> Result<(), Refusal> {
    let names: Vec<String> = select_existing(options, all)?.into_iter().map(|topic| topic.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    for (_, result) in topics::delete(client, &names).await? {
        result?;
    }
    Ok(())
}
