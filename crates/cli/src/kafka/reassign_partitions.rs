//! `kafka-reassign-partitions`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use milena_client::Client;

use super::exception::Exception;
use super::options::{Flag, Options, Refusal, switch, value};
use super::reassignment_file::{self as file, Assignment};
use super::throttles;
use super::tool::{self, Spec, When};
use crate::admin::topics::{self, Reassignment};
use crate::admin::{TopicPartition, cluster, live_brokers, log_dirs, reassignments};
use crate::output::{self, complain};

const FLAGS: &[Flag] = &[
    value("bootstrap-server", "Server(s) to use for bootstrapping", "REQUIRED: brokers to connect to."),
    value("command-config", "Admin client property file", "A properties file for the client."),
    switch("generate", "Propose an assignment; changes nothing."),
    switch("execute", "Start the reassignment of a file."),
    switch("verify", "Tell how far the reassignment of a file is; takes off throttles once all are done."),
    switch("cancel", "Cancel the reassignment of a file."),
    switch("list", "List all reassignments that are under way."),
    value("reassignment-json-file", "manual assignment json file path", "File with the assignment."),
    value(
        "topics-to-move-json-file",
        "topics to reassign json file path",
        "File with topics for --generate.",
    ),
    value("broker-list", "brokerlist", "Brokers that --generate may use, separated by commas."),
    switch("disable-rack-aware", "Propose without regard to racks."),
    value("throttle", "throttle", "Bytes a second between brokers, at most, while replicas move."),
    switch("preserve-throttles", "Leave throttles as they are."),
    switch("additional", "Start the reassignment although others are under way."),
    switch("disallow-replication-factor-change", "Refuse to change the number of replicas."),
    value("timeout", "timeout", "Longest wait for log directories, in milliseconds; none are moved."),
];

const SPEC: Spec =
    Spec { intro: "This tool helps to move topic partitions between replicas.", flags: FLAGS, throw };

/// What the tool does, each with the options it needs and those it takes beside.
const ACTIONS: &[(&str, &[&str], &[&str])] = &[
    ("generate", &["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"]),
    (
        "execute",
        &["reassignment-json-file"],
        &["additional", "throttle", "timeout", "disallow-replication-factor-change"],
    ),
    ("verify", &["reassignment-json-file"], &["preserve-throttles"]),
    ("cancel", &["reassignment-json-file"], &["preserve-throttles", "timeout"]),
    ("list", &[], &[]),
];

/// Options that every action takes.
const ALWAYS: &[&str] = &["bootstrap-server", "command-config"];

/// Runs the tool.
pub fn main(arguments: &[String]) -> ExitCode {
    tool::run(&SPEC, arguments, check, work)
}

/// Apache's tool prints everything on standard output.
fn throw(exception: &Exception, when: When) -> ExitCode {
    let mut out = output::stdout();
    // Whoever closed standard output does not want to know.
    let _ = match when {
        When::Parsing => {
            complain!("{exception}");
            Ok(())
        }
        When::Running if exception.is_terse() => writeln!(out, "{}", exception.message()),
        When::Running => writeln!(out, "Error: {}\n{exception}\n", exception.message()),
    };
    let _ = out.flush();
    ExitCode::FAILURE
}

fn terse(message: impl Into<String>) -> Refusal {
    Exception::terse(message).into()
}

fn check(options: &Options) -> Result<(), Refusal> {
    let usage = |message: String| Err(Refusal::Usage(message));
    let given: Vec<_> = ACTIONS.iter().filter(|(name, ..)| options.has(name)).collect();
    let [(action, required, permitted)] = given.as_slice() else {
        let names: Vec<String> = ACTIONS.iter().map(|(name, ..)| format!("--{name}")).collect();
        return usage(format!("Command must include exactly one action: {}", names.join(", ")));
    };
    if !options.has("bootstrap-server") {
        return usage("Please specify either --bootstrap-server or --bootstrap-controller".to_owned());
    }
    options.require(required)?;
    let fits = |name: &str| {
        name == *action || [ALWAYS, required, permitted].iter().any(|names| names.contains(&name))
    };
    match options.given().find(|(name, _)| !fits(name)) {
        None => Ok(()),
        Some((name, _)) => usage(format!("Option \"[{name}]\" can't be used with action \"[{action}]\"")),
    }
}

async fn work(options: Options) -> Result<(), Refusal> {
    let read = |name: &str| -> Result<String, Refusal> {
        Ok(std::fs::read_to_string(options.value(name)?.unwrap_or_default())?)
    };
    let client = tool::connect(&options, "reassign-partitions-tool", "listPartitionReassignments").await?;
    match () {
        () if options.has("list") => list(&client).await,
        () if options.has("generate") => {
            let topics = file::parse_topics(&read("topics-to-move-json-file")?)?;
            generate(&client, &options, topics).await
        }
        () if options.has("execute") => {
            execute(&client, &options, file::parse(&read("reassignment-json-file")?)?).await
        }
        () if options.has("verify") => {
            let keep = options.has("preserve-throttles");
            verify(&client, file::parse(&read("reassignment-json-file")?)?, keep).await
        }
        () => {
            let keep = options.has("preserve-throttles");
            cancel(&client, file::parse(&read("reassignment-json-file")?)?, keep).await
        }
    }
}

async fn list(client: &Client) -> Result<(), Refusal> {
    let moves = topics::reassignments(client).await?;
    let mut out = output::stdout();
    if moves.is_empty() {
        writeln!(out, "No partition reassignments found.")?;
        return Ok(out.flush()?);
    }
    writeln!(out, "Current partition reassignments:")?;
    for (partition, it) in &moves {
        let part = |name: &str, ids: &[i32]| match ids {
            [] => String::new(),
            ids => format!(" {name}: {}.", joined(ids)),
        };
        let (adding, removing) = (part("adding", &it.adding), part("removing", &it.removing));
        writeln!(out, "{partition}: replicas: {}.{adding}{removing}", joined(&it.replicas))?;
    }
    Ok(out.flush()?)
}

async fn execute(client: &Client, options: &Options, wanted: Assignment) -> Result<(), Refusal> {
    let moves = topics::reassignments(client).await?;
    if !options.has("additional") && !moves.is_empty() {
        return Err(terse(
            "Cannot execute because there is an existing partition assignment.  Use --additional to override this and \
             create a new partition assignment in addition to the existing one. The --additional flag can also be used \
             to change the throttle by resubmitting the current reassignment.",
        ));
    }
    let brokers = cluster::members(client).await?.brokers;
    if let Some(unknown) = wanted.values().flatten().find(|id| !brokers.iter().any(|it| it.id == **id)) {
        let message = format!("Unknown broker id {unknown}");
        return Err(Exception::new("org.apache.kafka.tools.AdminCommandFailedException", message).into());
    }
    let current = assignment_of(client, &topic_names(&wanted)).await?;
    let missing: Vec<String> =
        wanted.keys().filter(|at| !current.contains_key(at)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let message = format!("Unable to find partition: {}", missing.join(", "));
        return Err(Exception::kafka("UnknownTopicOrPartitionException", message).in_future().into());
    }
    let current: Assignment = current.into_iter().filter(|(at, _)| wanted.contains_key(at)).collect();
    let mut out = output::stdout();
    writeln!(
        out,
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        file::format(&current, &dirs_of(client, &current).await)
    )?;
    if let Some(rate) = options.number::<i64>("throttle")?.filter(|rate| *rate >= 0) {
        writeln!(
            out,
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
        )?;
        throttles::set(client, &moves, &wanted, &current, rate).await?;
        writeln!(out, "The inter-broker throttle limit was set to {rate} B/s")?;
    }
    out.flush()?;
    let all = wanted.iter().map(|(at, replicas)| (at.clone(), Some(replicas.clone()))).collect();
    let may_change_factor = !options.has("disallow-replication-factor-change");
    let refused = reassignments::alter(client, &all, may_change_factor).await?;
    if !refused.is_empty() {
        return Err(terse(format!("Error reassigning partition(s):\n{}", refusals(&refused))));
    }
    writeln!(
        out,
        "Successfully started partition reassignment{} for {}",
        plural(&wanted),
        names(wanted.keys())
    )?;
    Ok(out.flush()?)
}

async fn verify(client: &Client, wanted: Assignment, keep_throttles: bool) -> Result<(), Refusal> {
    let moves = topics::reassignments(client).await?;
    let current = existing_of(client, &topic_names(&wanted)).await?;
    let mut out = output::stdout();
    writeln!(out, "Status of partition reassignment:")?;
    for (at, target) in &wanted {
        if moves.contains_key(at) {
            writeln!(out, "Reassignment of partition {at} is still in progress.")?;
            continue;
        }
        let replicas = current.get(at).cloned().unwrap_or_default();
        if replicas == *target {
            writeln!(out, "Reassignment of partition {at} is completed.")?;
        } else {
            writeln!(
                out,
                "There is no active reassignment of partition {at}, but replica set is {} rather than {}.",
                joined(&replicas),
                joined(target)
            )?;
        }
    }
    writeln!(out)?;
    if moves.is_empty() && !keep_throttles {
        throttles::clear(client, &wanted, &mut out).await?;
    }
    Ok(out.flush()?)
}

async fn cancel(client: &Client, wanted: Assignment, keep_throttles: bool) -> Result<(), Refusal> {
    let moves = topics::reassignments(client).await?;
    let active: BTreeMap<TopicPartition, _> =
        wanted.keys().filter(|at| moves.contains_key(at)).map(|at| (at.clone(), None)).collect();
    let mut out = output::stdout();
    if active.is_empty() {
        writeln!(out, "None of the specified partition reassignments are active.")?;
    } else {
        let refused = reassignments::alter(client, &active, true).await?;
        if !refused.is_empty() {
            let plural = if refused.len() == 1 { "" } else { "s" };
            let message =
                format!("Error cancelling partition reassignment{plural} for:\n{}", refusals(&refused));
            return Err(terse(message));
        }
        let plural = if active.len() == 1 { "" } else { "s" };
        writeln!(out, "Successfully cancelled partition reassignment{plural} for: {}", names(active.keys()))?;
    }
    write!(out, "None of the specified partition moves are active.")?;
    if !keep_throttles {
        throttles::clear(client, &wanted, &mut out).await?;
    }
    Ok(out.flush()?)
}

async fn generate(client: &Client, options: &Options, topics: Vec<String>) -> Result<(), Refusal> {
    let text = options.value("broker-list")?.unwrap_or_default();
    let ids: Result<BTreeSet<i32>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|_| {
        Exception::new("java.lang.NumberFormatException", format!("For input string: \"{text}\""))
    })?;
    let members = cluster::members(client).await?.brokers;
    let chosen: Vec<_> = members.into_iter().filter(|it| ids.contains(&it.id)).collect();
    let current = assignment_of(client, &topics).await?;
    let racks = if options.has("disable-rack-aware") {
        0
    } else {
        chosen.iter().filter_map(|it| it.rack.as_ref()).count()
    };
    if racks != 0 && racks != chosen.len() {
        let message = "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica \
                       assignment without rack information.";
        return Err(Exception::new("org.apache.kafka.server.common.AdminOperationException", message).into());
    }
    let brokers: Vec<(i32, Option<&str>)> =
        chosen.iter().map(|it| (it.id, it.rack.as_deref().filter(|_| racks > 0))).collect();
    let proposed = propose(&current, &alternating(&brokers))?;
    let mut out = output::stdout();
    writeln!(
        out,
        "Current partition replica assignment\n{}\n",
        file::format(&current, &dirs_of(client, &current).await)
    )?;
    writeln!(
        out,
        "Proposed partition reassignment configuration\n{}",
        file::format(&proposed, &file::Dirs::new())
    )?;
    Ok(out.flush()?)
}

/// Brokers so that neighbours are in different racks, as far as there are enough of them.
fn alternating(brokers: &[(i32, Option<&str>)]) -> Vec<i32> {
    let mut racks: BTreeMap<Option<&str>, Vec<i32>> = BTreeMap::new();
    brokers.iter().for_each(|(id, rack)| racks.entry(*rack).or_default().push(*id));
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| racks.values().filter_map(move |ids| ids.get(at).copied())).collect()
}

/// Leaders in turn, followers behind them in the order of the brokers.
fn propose(current: &Assignment, brokers: &[i32]) -> Result<Assignment, Refusal> {
    let propose = |(at, (partition, replicas)): (usize, (&TopicPartition, &Vec<i32>))| {
        if replicas.len() > brokers.len() {
            return Err(Refusal::from(Exception::kafka(
                "InvalidReplicationFactorException",
                format!(
                    "Replication factor: {} larger than available brokers: {}.",
                    replicas.len(),
                    brokers.len()
                ),
            )));
        }
        let chosen = (0..replicas.len()).map(|next| brokers[(at + next) % brokers.len()]).collect();
        Ok((partition.clone(), chosen))
    };
    current.iter().enumerate().map(propose).collect()
}

/// Replicas of all partitions of these topics; a topic that is not there fails all.
async fn assignment_of(client: &Client, names: &[String]) -> Result<Assignment, Refusal> {
    let found = existing_of(client, names).await?;
    match names.iter().find(|name| !found.keys().any(|at| at.topic == **name)) {
        None => Ok(found),
        Some(name) => {
            let message = format!("Topic {name} not found.");
            Err(Exception::kafka("UnknownTopicOrPartitionException", message).in_future().into())
        }
    }
}

/// The same of those topics that are there.
async fn existing_of(client: &Client, names: &[String]) -> Result<Assignment, Refusal> {
    let topics = topics::list(client).await?;
    let wanted = topics.into_iter().filter(|topic| names.contains(&topic.name));
    Ok(wanted
        .flat_map(|topic| {
            let name = topic.name;
            topic
                .partitions
                .into_iter()
                .map(move |it| (TopicPartition::new(name.as_str(), it.index), it.replicas))
        })
        .collect())
}

/// Where the replicas are now. A broker that does not answer leaves its directories open.
async fn dirs_of(client: &Client, assignment: &Assignment) -> file::Dirs {
    let brokers: BTreeSet<i32> = assignment.values().flatten().copied().collect();
    let mut dirs = file::Dirs::new();
    for broker in live_brokers(client).into_iter().filter(|id| brokers.contains(id)) {
        let found = log_dirs::of_broker(client, broker, assignment.keys()).await.unwrap_or_default();
        dirs.extend(found.into_iter().map(|(at, dir)| ((at, broker), dir)));
    }
    dirs
}

fn topic_names(assignment: &Assignment) -> Vec<String> {
    let names: BTreeSet<&String> = assignment.keys().map(|at| &at.topic).collect();
    names.into_iter().cloned().collect()
}

fn refusals(refused: &BTreeMap<TopicPartition, (i16, Option<String>)>) -> String {
    let line = |(at, (code, words)): (&TopicPartition, &(i16, Option<String>))| {
        format!("{at}: {}", Exception::of_code(*code, words.as_deref()).message())
    };
    refused.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn names<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> String {
    partitions.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn plural(assignment: &Assignment) -> &'static str {
    if assignment.len() == 1 { "" } else { "s" }
}

pub(super) fn joined(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Moves under way by partition.
pub(super) type Moves = BTreeMap<TopicPartition, Reassignment>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_action_with_its_own_options() {
        let checked = |line: &str| {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            check(&Options::parse(FLAGS, &line).unwrap())
        };
        assert_eq!(checked("--bootstrap-server b:1 --list"), Ok(()));
        assert_eq!(
            checked("--bootstrap-server b:1 --execute --reassignment-json-file f --throttle 5 --additional"),
            Ok(())
        );
        for (line, want) in [
            (
                "--list --verify",
                "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list",
            ),
            ("--list", "Please specify either --bootstrap-server or --bootstrap-controller"),
            ("--bootstrap-server b:1 --verify", "Missing required argument \"[reassignment-json-file]\""),
            (
                "--bootstrap-server b:1 --list --throttle 5",
                "Option \"[throttle]\" can't be used with action \"[list]\"",
            ),
        ] {
            assert_eq!(checked(line), Err(Refusal::Usage(want.to_owned())), "{line}");
        }
    }

    #[test]
    fn a_proposal_spreads_leaders_and_racks() {
        let brokers = alternating(&[(1, Some("a")), (2, Some("a")), (3, Some("b"))]);
        assert_eq!(brokers, [1, 3, 2]);
        let current: Assignment = (0..3).map(|it| (TopicPartition::new("t", it), vec![1, 2])).collect();
        let proposed = propose(&current, &brokers).unwrap();
        assert_eq!(proposed.into_values().collect::<Vec<_>>(), [vec![1, 3], vec![3, 2], vec![2, 1]]);
        assert!(propose(&current, &[1]).is_err());
    }
}
