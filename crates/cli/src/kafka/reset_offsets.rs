//! `kafka-consumer-groups --reset-offsets`

use std::collections::BTreeMap;
use std::io::Write;

use milena_client::Client;
use milena_wire::ErrorCode;

use super::consumer_groups::{print_error, topic_partitions};
use super::exception::Exception;
use super::java::{self, column, width};
use super::options::{Options, Refusal};
use crate::admin::offsets::{self, at};
use crate::admin::{TopicPartition, group_offsets, groups, topics};
use crate::output::{self, complain};
use crate::time;

const LOGGER: &str = "org.apache.kafka.tools.OffsetsUtils";

/// Flags of which one says where to.
const SCENARIOS: &[&str] = &[
    "to-offset",
    "shift-by",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "from-file",
];

/// Offsets by partition.
type Plan = BTreeMap<TopicPartition, i64>;

/// Checks the flags, and warns that nothing will be done without `--execute`.
pub fn check(options: &Options) -> Result<(), Refusal> {
    if options.has("dry-run") && options.has("execute") {
        let message = "Option [reset-offsets] only accepts one of [execute] and [dry-run]";
        return Err(Refusal::Usage(message.to_owned()));
    }
    if options.count(&["dry-run", "execute"]) == 0 {
        complain!(
            "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command \
             will require either --dry-run or --execute to be specified. You should add the --dry-run option \
             explicitly if you are scripting this command and want to keep the current default behavior without \
             prompting."
        );
    }
    for scenario in SCENARIOS {
        let others: Vec<&str> = SCENARIOS.iter().filter(|it| *it != scenario).copied().collect();
        options.exclude(scenario, &others)?;
    }
    Ok(())
}

/// Resets what the flags say, or shows what would be reset.
pub async fn run(options: &Options, client: &Client, ids: &[String]) -> Result<(), Refusal> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    for id in ids {
        let plan = match inactive(client, id).await? {
            None => reset(options, client, id).await?,
            Some(state) => {
                print_error(&format!(
                    "Assignments can only be reset if the group '{id}' is inactive, but the current state is {state}."
                ))?;
                Plan::new()
            }
        };
        plans.insert(id.clone(), plan);
    }
    match options.has("export") {
        true => export(&plans, ids.len() == 1),
        false => print(&plans),
    }
}

/// `None` if the group has no members, else its state.
async fn inactive(client: &Client, group: &str) -> Result<Option<String>, Refusal> {
    match groups::describe(client, group).await {
        Ok(described) if matches!(described.state.as_str(), "Empty" | "Dead") => Ok(None),
        Ok(described) => Ok(Some(described.state)),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn reset(options: &Options, client: &Client, group: &str) -> Result<Plan, Refusal> {
    let partitions = scope(options, client, group).await?;
    check_partitions(client, &partitions).await?;
    let plan = plan(options, client, group, &partitions).await?;
    if options.has("execute") {
        group_offsets::commit(client, group, &plan).await?;
    }
    Ok(plan)
}

async fn scope(options: &Options, client: &Client, group: &str) -> Result<Vec<TopicPartition>, Refusal> {
    if options.has("all-topics") {
        return Ok(group_offsets::committed(client, group).await?.into_keys().collect());
    }
    if !options.has("topic") && !options.has("from-file") {
        let message = "One of the reset scopes should be defined: --all-topics, --topic.";
        return Err(Refusal::Usage(message.to_owned()));
    }
    let mut partitions = Vec::new();
    let arguments: Vec<&str> = options.values("topic").collect();
    for argument in arguments {
        match topic_partitions(client, argument).await? {
            Ok(found) => partitions.extend(found),
            Err(_) => {
                let exception = Exception::of_code(ErrorCode::UnknownTopicOrPartition.code(), None);
                return Err(exception.in_future().into());
            }
        }
    }
    Ok(partitions)
}

/// Refuses partitions that do not exist or have no leader.
async fn check_partitions(client: &Client, partitions: &[TopicPartition]) -> Result<(), Refusal> {
    let mut names: Vec<String> = partitions.iter().map(|it| it.topic.clone()).collect();
    names.sort();
    names.dedup();
    let described = topics::describe(client, &names, 2000).await?;
    let mut led = BTreeMap::new();
    for topic in described.into_iter().flatten() {
        let leaders = topic.partitions.iter();
        led.extend(
            leaders.map(|it| (TopicPartition::new(topic.name.as_str(), it.index), it.leader.is_some())),
        );
    }
    let join = |wanted: Option<&bool>| {
        let these = partitions.iter().filter(|it| led.get(it) == wanted).map(TopicPartition::to_string);
        these.collect::<Vec<_>>().join(",")
    };
    for (which, class, what) in [
        (None, "UnknownTopicOrPartitionException", "do not exist"),
        (Some(&false), "LeaderNotAvailableException", "have no leader"),
    ] {
        let these = join(which);
        if !these.is_empty() {
            return Err(Exception::kafka(class, format!("The partitions \"{these}\" {what}")).into());
        }
    }
    Ok(())
}

async fn plan(
    options: &Options,
    client: &Client,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<Plan, Refusal> {
    let to = |offset: i64| partitions.iter().map(|it| (it.clone(), offset)).collect();
    if options.has("to-offset") {
        clamp(client, to(options.number("to-offset")?.unwrap_or(0))).await
    } else if options.has("to-earliest") {
        Ok(offsets::all_at(client, partitions, at::EARLIEST).await?)
    } else if options.has("to-latest") {
        Ok(offsets::all_at(client, partitions, at::LATEST).await?)
    } else if let Some(count) = options.number::<i64>("shift-by")? {
        clamp(client, shifted(client, group, partitions, count).await?).await
    } else if let Some(text) = options.value("to-datetime")? {
        at_timestamp(client, partitions, datetime(text)?).await
    } else if let Some(text) = options.value("by-duration")? {
        let span: jiff::SignedDuration = text.parse().map_err(|_| {
            Exception::new("java.time.format.DateTimeParseException", "Text cannot be parsed to a Duration")
        })?;
        at_timestamp(client, partitions, time::now_ms() - span.as_millis() as i64).await
    } else if let Some(path) = options.value("from-file")? {
        from_file(client, group, path, options.values("group").count() == 1).await
    } else if options.has("to-current") {
        current(client, group, partitions).await
    } else {
        let scenarios: Vec<String> = SCENARIOS.iter().map(|it| format!("[{it}]")).collect();
        Err(Refusal::Usage(format!(
            "Option '[reset-offsets]' requires one of the following scenarios: [{}]",
            scenarios.join(", ")
        )))
    }
}

async fn shifted(
    client: &Client,
    group: &str,
    partitions: &[TopicPartition],
    count: i64,
) -> Result<Plan, Refusal> {
    let committed = group_offsets::committed(client, group).await?;
    let shift = |partition: &TopicPartition| match committed.get(partition) {
        Some(it) => Ok((partition.clone(), it.offset + count)),
        None => Err(Exception::illegal_argument(format!(
            "Cannot shift offset for partition {partition} since there is no current committed offset"
        ))),
    };
    Ok(partitions.iter().map(shift).collect::<Result<_, _>>()?)
}

async fn current(client: &Client, group: &str, partitions: &[TopicPartition]) -> Result<Plan, Refusal> {
    let committed = group_offsets::committed(client, group).await?;
    let (known, unknown): (Vec<_>, Vec<_>) =
        partitions.iter().cloned().partition(|it| committed.contains_key(it));
    let mut plan = offsets::all_at(client, &unknown, at::LATEST).await?;
    plan.extend(known.into_iter().map(|it| (it.clone(), committed[&it].offset)));
    Ok(plan)
}

/// Offsets outside of the log become its nearest end, with a warning.
async fn clamp(client: &Client, wanted: Plan) -> Result<Plan, Refusal> {
    let partitions: Vec<_> = wanted.keys().cloned().collect();
    let starts = offsets::all_at(client, &partitions, at::EARLIEST).await?;
    let ends = offsets::all_at(client, &partitions, at::LATEST).await?;
    let clamped = wanted.into_iter().map(|(partition, offset)| {
        let (start, end) = (starts[&partition], ends[&partition]);
        let (bound, words) = match offset {
            offset if offset > end => (end, "higher than latest"),
            offset if offset < start => (start, "lower than earliest"),
            offset => return (partition, offset),
        };
        let message = format!(
            "New offset ({offset}) is {words} offset for topic partition {partition}. Value will be set to {bound}"
        );
        java::log("WARN", &message, LOGGER);
        (partition, bound)
    });
    Ok(clamped.collect())
}

async fn at_timestamp(
    client: &Client,
    partitions: &[TopicPartition],
    timestamp: i64,
) -> Result<Plan, Refusal> {
    let found = offsets::all_at(client, partitions, timestamp).await?;
    let (found, missing): (Plan, Plan) = found.into_iter().partition(|(_, offset)| *offset >= 0);
    let missing: Vec<_> = missing.into_keys().collect();
    let mut out = output::stdout();
    for TopicPartition { topic, partition } in &missing {
        writeln!(
            out,
            "\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
        )?;
    }
    out.flush()?;
    let mut plan = offsets::all_at(client, &missing, at::LATEST).await?;
    plan.extend(found);
    Ok(plan)
}

/// Reads `YYYY-MM-DDThh:mm:ss.sss`, with or without a zone; UTC if it has none.
fn datetime(text: &str) -> Result<i64, Exception> {
    time::parse_instant(text, time::now_ms())
        .ok()
        .filter(|_| text.contains('T'))
        .ok_or_else(|| Exception::new("java.text.ParseException", format!("Unparseable date: \"{text}\"")))
}

/// Reads lines of `topic,partition,offset` for one group, else of `group,topic,partition,offset`.
async fn from_file(client: &Client, group: &str, path: &str, single: bool) -> Result<Plan, Refusal> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exception::new("java.io.UncheckedIOException", format!("{path}: {error}")))?;
    let mut wanted = Plan::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (owner, topic, partition, offset) = match cells.as_slice() {
            [topic, partition, offset] if single => (group, topic, partition, offset),
            [owner, topic, partition, offset] => (*owner, topic, partition, offset),
            _ => return Err(bad_csv(line).into()),
        };
        let partition = partition.parse().map_err(|_| bad_csv(line))?;
        let offset = offset.parse().map_err(|_| bad_csv(line))?;
        if owner == group {
            wanted.insert(TopicPartition::new(*topic, partition), offset);
        }
    }
    if wanted.is_empty() {
        print_error(&format!("No reset plan for group {group} found"))?;
        return Ok(wanted);
    }
    clamp(client, wanted).await
}

fn bad_csv(line: &str) -> Exception {
    Exception::new(
        "java.lang.RuntimeException",
        format!("'{line}' is not topic,partition,offset or group,topic,partition,offset"),
    )
}

fn print(plans: &BTreeMap<String, Plan>) -> Result<(), Refusal> {
    let group_width = width(15, plans.keys().map(String::as_str));
    let topic_width = width(15, plans.values().flat_map(|plan| plan.keys().map(|it| it.topic.as_str())));
    let row = |group: &str, topic: &str, partition: &str, offset: &str| {
        format!(
            "\n{} {} {} {offset}",
            column(group, group_width),
            column(topic, topic_width),
            column(partition, 10)
        )
    };
    let mut out = output::stdout();
    if !plans.is_empty() {
        write!(out, "{}", row("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"))?;
    }
    for (group, plan) in plans {
        for (TopicPartition { topic, partition }, offset) in plan {
            write!(out, "{}", row(group, topic, &partition.to_string(), &offset.to_string()))?;
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

fn export(plans: &BTreeMap<String, Plan>, single: bool) -> Result<(), Refusal> {
    let mut out = output::stdout();
    for (group, plan) in plans {
        for (TopicPartition { topic, partition }, offset) in plan {
            if !single {
                write!(out, "{},", csv(group))?;
            }
            writeln!(out, "{},{partition},{offset}", csv(topic))?;
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// A cell; quoted only if it has to be.
fn csv(cell: &str) -> String {
    match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}
