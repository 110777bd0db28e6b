//! `kafka-groups`

use std::io::Write;
use std::process::ExitCode;

use super::exception::Exception;
use super::java;
use super::options::{Flag, Options, Refusal, switch, value};
use super::tool::{self, Spec, When};
use crate::admin::groups::{self, Listing};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to."),
    switch("list", "List the groups."),
    value("group-type", "type", "Only groups of this type: classic, consumer, share or streams."),
    value("protocol", "protocol", "Only groups of this protocol type."),
    switch("consumer", "Only consumer groups: of type consumer, and classic ones of consumers."),
    switch("share", "Only share groups."),
    switch("streams", "Only streams groups."),
    value("command-config", "command config property file", "A properties file for the client."),
];

const SPEC: Spec = Spec { intro: "This tool helps to list groups of all types.", flags: FLAGS, throw };

/// Types as they are given and as they are printed.
const TYPES: &[(&str, &str)] =
    &[("classic", "Classic"), ("consumer", "Consumer"), ("share", "Share"), ("streams", "Streams")];

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

fn throw(exception: &Exception, when: When) -> ExitCode {
    match when {
        When::Parsing => complain!("{}\n{exception}\n", exception.message()),
        When::Running => complain!("Error while executing groups command : {}", exception.message()),
    }
    ExitCode::FAILURE
}

fn check(options: &Options) -> Result<(), Refusal> {
    if !options.has("list") {
        return Err(Refusal::Usage("Command must include exactly one action: --list.".to_owned()));
    }
    if !options.has("bootstrap-server") {
        return Err(Refusal::Usage("Missing required option(s) [bootstrap-server]".to_owned()));
    }
    if let Some(kind) = options.value("group-type")?
        && !TYPES.iter().any(|(name, _)| name.eq_ignore_ascii_case(kind))
    {
        return Err(Exception::illegal_argument("--group-type must be a valid group type.").into());
    }
    Ok(())
}

async fn work(options: Options) -> Result<(), Refusal> {
    let client = tool::connect(&options, "adminclient-1", "listGroups").await?;
    let protocol = options.value("protocol")?;
    let kind = options.value("group-type")?;
    let is = |group: &Listing, name: &str| group.kind.eq_ignore_ascii_case(name);
    let wanted = |group: &Listing| {
        protocol.is_none_or(|wanted| group.protocol == wanted)
            && kind.is_none_or(|wanted| is(group, wanted))
            && (!options.has("consumer") || is(group, "consumer") || group.is_of_consumers())
            && ["share", "streams"].iter().all(|name| !options.has(name) || is(group, name))
    };
    let found: Vec<Listing> = groups::list(&client, &[], &[]).await?.into_iter().filter(wanted).collect();
    // All columns are as wide as the longest id.
    let width = java::width(20, found.iter().map(|group| group.id.as_str()));
    let mut out = output::stdout();
    writeln!(out, "{:<width$} {:<width$} {:<width$}", "GROUP", "TYPE", "PROTOCOL")?;
    for group in &found {
        let kind = TYPES.iter().find(|(name, _)| is(group, name)).map_or("Classic", |(_, printed)| printed);
        writeln!(out, "{:<width$} {kind:<width$} {:<width$} ", group.id, group.protocol)?;
    }
    Ok(out.flush()?)
}
