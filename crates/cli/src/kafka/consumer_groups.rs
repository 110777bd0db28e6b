//! `kafka-consumer-groups`: flags, list, delete, delete offsets. Describing and resetting have files of their own.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use milena_client::Client;
use milena_wire::ErrorCode;

use super::describe_groups;
use super::exception::Exception;
use super::java::{column, key_values, load_properties, width};
use super::options::{Flag, Options, Refusal, optional, switch, value};
use super::reset_offsets;
use super::tool::{self, Spec, When};
use crate::admin::{TopicPartition, group_offsets, groups, topics};
use crate::output::{self, complain};

/// What stands where there is no value.
pub const MISSING: &str = "-";

const ACTIONS: &[&str] = &["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server to connect to", "The broker to connect to. Not for --validate-regex."),
    value("command-config", "command config property file", "A properties file for the client."),
    value("timeout", "timeout (ms)", "Longest wait in milliseconds; 30000 if left out."),
    switch("list", "List groups."),
    switch("describe", "Show a group: its offsets, members or state."),
    switch("delete", "Delete groups that have no members."),
    switch("reset-offsets", "Move the offsets of a group that has no members."),
    switch("delete-offsets", "Delete a group's offsets in topics."),
    value("validate-regex", "regex", "Check a regular expression."),
    value("group", "consumer group", "The group; may be repeated."),
    switch("all-groups", "All groups."),
    value("topic", "topic", "Topic, or topic:0,1 for some partitions; may be repeated."),
    switch("all-topics", "All topics the group has offsets in."),
    switch("dry-run", "Only show what would be reset."),
    switch("execute", "Do reset."),
    switch("export", "Print the result as CSV."),
    value("to-offset", "offset", "Reset to this offset."),
    value("from-file", "path to CSV file", "Reset to the offsets of a CSV file."),
    value("to-datetime", "datetime", "Reset to a point in time, YYYY-MM-DDThh:mm:ss.sss."),
    value("by-duration", "duration", "Reset to this long ago, PnDTnHnMnS."),
    switch("to-earliest", "Reset to the start."),
    switch("to-latest", "Reset to the end."),
    switch("to-current", "Reset to what is committed."),
    value("shift-by", "number-of-offsets", "Move by so many records, forward or back."),
    switch("members", "Describe the members."),
    switch("offsets", "Describe the offsets; the default."),
    optional("state", "states", "Describe the state; with --list, show or filter by state."),
    optional("type", "types", "With --list, show or filter by type."),
    switch("verbose", "Show more."),
];

const SPEC: Spec = Spec {
    intro: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or \
            reset consumer group offsets.",
    flags: FLAGS,
    throw,
};

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

/// Apache's tool reports what went wrong with a group and still exits with 0; scripts look at what it prints.
fn throw(exception: &Exception, when: When) -> ExitCode {
    match when {
        When::Parsing => {
            complain!("Exception in thread \"main\" {exception}");
            ExitCode::FAILURE
        }
        When::Running if exception.class() == "java.lang.IllegalArgumentException" => {
            tool::usage(&SPEC, exception.message())
        }
        When::Running => {
            let failed = format!("Executing consumer group command failed due to {}", exception.message());
            // A closed standard output must not hide the exit code.
            let _ = print_error(&failed);
            complain!("{exception}");
            ExitCode::SUCCESS
        }
    }
}

/// Prints an error where Apache's tool does: on standard output.
pub fn print_error(message: &str) -> std::io::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "\nError: {message}")?;
    out.flush()
}

fn check(options: &Options) -> Result<(), Refusal> {
    if !options.has("validate-regex") {
        options.require(&["bootstrap-server"])?;
    }
    let refuse = |condition: bool, message: &str| match condition {
        true => Err(Refusal::Usage(message.to_owned())),
        false => Ok(()),
    };
    let some_group = options.has("group") || options.has("all-groups");
    if options.has("describe") {
        refuse(!some_group, "Option [describe] takes one of these options: [group], [all-groups]")?;
        refuse(
            options.count(&["members", "offsets", "state"]) > 1,
            "Option [describe] takes at most one of these options: [members], [offsets], [state]",
        )?;
        refuse(options.value("state")?.is_some(), "Option [describe] does not take a value for [state]")?;
    }
    if options.has("delete") {
        refuse(!some_group, "Option [delete] takes one of these options: [group], [all-groups]")?;
        let message = "The consumer does not support topic-specific offset deletion from a consumer group.";
        refuse(options.has("topic"), message)?;
    }
    if options.has("delete-offsets") {
        let complete = options.has("group") && options.has("topic");
        refuse(!complete, "Option [delete-offsets] takes the following options: [group], [topic]")?;
    }
    if options.has("reset-offsets") {
        reset_offsets::check(options)?;
        refuse(!some_group, "Option [reset-offsets] takes one of these options: [group], [all-groups]")?;
    }
    options.exclude("group", &["all-groups", "list"])?;
    options.exclude("topic", &["list", "describe"])?;
    let actions: Vec<String> = ACTIONS.iter().map(|action| format!("--{action}")).collect();
    let message = format!("Command must include exactly one action: {}", actions.join(", "));
    refuse(options.count(ACTIONS) != 1, &message)
}

async fn work(options: Options) -> Result<(), Refusal> {
    if let Some(regex) = options.value("validate-regex")? {
        return validate_regex(regex);
    }
    let client = connect(&options).await?;
    if options.has("list") {
        list(&options, &client).await
    } else if options.has("describe") {
        describe_groups::run(&options, &client, &group_ids(&options, &client).await?).await
    } else if options.has("delete") {
        delete(&client, &group_ids(&options, &client).await?).await
    } else if options.has("reset-offsets") {
        reset_offsets::run(&options, &client, &group_ids(&options, &client).await?).await
    } else {
        delete_offsets(&options, &client).await
    }
}

async fn connect(options: &Options) -> Result<Client, Refusal> {
    let mut properties = match options.value("command-config")? {
        Some(path) => load_properties(path)?,
        None => key_values([]),
    };
    let timeout = options.number::<u64>("timeout")?.unwrap_or(30_000);
    properties.insert("default.api.timeout.ms".to_owned(), timeout.to_string());
    let bootstrap = options.value("bootstrap-server")?.unwrap_or_default();
    tool::connect_to(bootstrap, &properties, "adminclient-1", "listGroups").await
}

async fn group_ids(options: &Options, client: &Client) -> Result<Vec<String>, Refusal> {
    if options.has("all-groups") {
        let listed = groups::list(client, &[], &[]).await?;
        return Ok(listed.into_iter().filter(groups::Listing::is_of_consumers).map(|it| it.id).collect());
    }
    Ok(options.values("group").map(str::to_owned).collect())
}

fn validate_regex(regex: &str) -> Result<(), Refusal> {
    let mut out = output::stdout();
    match regex::Regex::new(regex) {
        Ok(_) => writeln!(out, "The regular expression `{regex}` is valid.")?,
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            writeln!(out, "The regular expression `{regex}` is invalid: {reason}.")?;
        }
    }
    Ok(out.flush()?)
}

/// Name, width, and the cell of a group.
type ListColumn = (&'static str, usize, fn(&groups::Listing) -> String);

async fn list(options: &Options, client: &Client) -> Result<(), Refusal> {
    const STATES: &[&str] =
        &["Assigning", "CompletingRebalance", "Dead", "Empty", "PreparingRebalance", "Reconciling", "Stable"];
    let states = filter(options.value("state")?, "state", STATES)?;
    let kinds = filter(options.value("type")?, "types", &["Classic", "Consumer"])?;
    let mut listed = groups::list(client, &states, &kinds).await?;
    listed.retain(groups::Listing::is_of_consumers);
    let mut out = output::stdout();
    let mut columns: Vec<ListColumn> =
        vec![("GROUP", width(15, listed.iter().map(|it| it.id.as_str())) + 10, |it| it.id.clone())];
    if options.has("type") {
        columns.push(("TYPE", 20, |it| capitalized(&it.kind)));
    }
    if options.has("state") {
        columns.push(("STATE", 20, |it| it.state.clone()));
    }
    if columns.len() == 1 {
        listed.iter().try_for_each(|it| writeln!(out, "{}", it.id))?;
        return Ok(out.flush()?);
    }
    let header: Vec<String> = columns.iter().map(|(name, width, _)| column(name, *width)).collect();
    writeln!(out, "{}", header.join(" "))?;
    for it in &listed {
        let cells: Vec<String> = columns.iter().map(|(_, width, cell)| column(&cell(it), *width)).collect();
        writeln!(out, "{}", cells.join(" "))?;
    }
    Ok(out.flush()?)
}

/// Brokers say `classic`, Apache's tool prints `Classic`.
fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Reads a filter such as `stable,empty`, in any case.
fn filter(text: Option<&str>, what: &str, valid: &[&str]) -> Result<Vec<String>, Exception> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let known = |word: &str| valid.iter().find(|it| it.eq_ignore_ascii_case(word.trim()));
    let chosen: Option<Vec<String>> =
        text.split(',').map(|word| known(word).map(|it| (*it).to_owned())).collect();
    chosen.ok_or_else(|| {
        let singular = what.trim_end_matches('s');
        Exception::illegal_argument(format!(
            "Invalid {what} list '{text}'. Valid {singular}s are: {}",
            valid.join(", ")
        ))
    })
}

async fn delete(client: &Client, ids: &[String]) -> Result<(), Refusal> {
    let results = groups::delete(client, ids).await;
    let names = |deleted: bool| {
        let names =
            results.iter().filter(|(_, result)| result.is_ok() == deleted).map(|(id, _)| format!("'{id}'"));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut out = output::stdout();
    if results.values().all(Result::is_ok) {
        writeln!(out, "Deletion of requested consumer groups ({}) was successful.", names(true))?;
        return Ok(out.flush()?);
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for (id, result) in &results {
        if let Err(error) = result {
            let exception = Exception::from(error.clone());
            writeln!(out, "* Group '{id}' could not be deleted due to: {exception}")?;
        }
    }
    if results.values().any(Result::is_ok) {
        writeln!(out, "\nThese consumer groups were deleted successfully: {}", names(true))?;
    }
    Ok(out.flush()?)
}

async fn delete_offsets(options: &Options, client: &Client) -> Result<(), Refusal> {
    let group = options.value("group")?.unwrap_or_default();
    let arguments: Vec<&str> = options.values("topic").collect();
    let mut results: BTreeMap<TopicPartition, Result<(), String>> = BTreeMap::new();
    let mut wanted = Vec::new();
    for argument in arguments {
        match topic_partitions(client, argument).await? {
            Ok(partitions) => wanted.extend(partitions),
            Err(message) => drop(results.insert(TopicPartition::new(argument, -1), Err(message))),
        }
    }
    let mut out = output::stdout();
    match group_offsets::delete(client, group, &wanted).await {
        Ok(deleted) => {
            let failed = deleted.values().any(Result::is_err);
            let text = |result: Result<(), milena_client::Error>| {
                result.map_err(|error| Exception::from(error).in_future().message().to_owned())
            };
            results.extend(deleted.into_iter().map(|(partition, result)| (partition, text(result))));
            match failed {
                false => writeln!(out, "Request succeeded for deleting offsets from group {group}.")?,
                true => writeln!(
                    out,
                    "\nError: Encountered some partition-level error, see the follow-up details."
                )?,
            }
        }
        Err(error) => {
            let known = matches!(
                error.code(),
                Some(
                    ErrorCode::InvalidGroupId
                        | ErrorCode::GroupIdNotFound
                        | ErrorCode::GroupAuthorizationFailed
                        | ErrorCode::NonEmptyGroup
                )
            );
            let exception = Exception::from(error);
            match known {
                true => writeln!(out, "\nError: {}", exception.message())?,
                false => writeln!(out, "\nError: Encountered some unknown error: {exception}")?,
            }
            let failed = wanted.into_iter().map(|it| (it, Err(exception.to_string())));
            results.extend(failed);
        }
    }
    print_deleted(&mut out, &results)?;
    Ok(out.flush()?)
}

fn print_deleted(
    out: &mut impl Write,
    results: &BTreeMap<TopicPartition, Result<(), String>>,
) -> std::io::Result<()> {
    let topic_width = width(15, results.keys().map(|it| it.topic.as_str()));
    let row = |topic: &str, partition: &str, status: &str| {
        format!("\n{} {} {}", column(topic, topic_width), column(partition, 10), column(status, 15))
    };
    write!(out, "{}", row("TOPIC", "PARTITION", "STATUS"))?;
    for (partition, result) in results {
        let index =
            if partition.partition < 0 { MISSING.to_owned() } else { partition.partition.to_string() };
        let status =
            result.as_ref().map_or_else(|error| format!("Error: {error}"), |()| "Successful".to_owned());
        write!(out, "{}", row(&partition.topic, &index, &status))?;
    }
    writeln!(out)
}

/// The partitions of `topic` or `topic:0,1`. The inner error says why the topic has none.
pub async fn topic_partitions(
    client: &Client,
    argument: &str,
) -> Result<Result<Vec<TopicPartition>, String>, Refusal> {
    let parts: Vec<&str> = argument.split(':').collect();
    match parts.as_slice() {
        [topic] => {
            let described = topics::describe(client, &[(*topic).to_owned()], 2000).await?;
            match described.into_iter().next() {
                Some(Ok(described)) => {
                    let partitions = described.partitions.iter();
                    Ok(Ok(partitions.map(|it| TopicPartition::new(*topic, it.index)).collect()))
                }
                Some(Err(error)) => Ok(Err(Exception::from(error).to_string())),
                None => {
                    Ok(Err(Exception::of_code(ErrorCode::UnknownTopicOrPartition.code(), None).to_string()))
                }
            }
        }
        [topic, list] => {
            let partition = |text: &str| {
                text.parse().map(|index| TopicPartition::new(*topic, index)).map_err(|_| {
                    Exception::illegal_argument(format!(
                        "Invalid partition '{text}' specified in topic arg '{argument}''"
                    ))
                })
            };
            Ok(Ok(list.split(',').map(partition).collect::<Result<_, _>>()?))
        }
        _ => Err(Exception::illegal_argument(format!(
            "Invalid topic arg '{argument}', expected topic name and partitions"
        ))
        .into()),
    }
}
