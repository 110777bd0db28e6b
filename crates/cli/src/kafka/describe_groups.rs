//! `kafka-consumer-groups --describe`: offsets, members and state of groups.

use std::collections::BTreeMap;
use std::io::{self, Write};

use milena_client::Client;

use super::consumer_groups::{MISSING, print_error};
use super::exception::Exception;
use super::java::{column, width};
use super::options::{Options, Refusal};
use crate::admin::group_offsets::{self, Committed};
use crate::admin::groups::{self, GroupDescription, Member};
use crate::admin::offsets::{self, at};
use crate::admin::{TopicPartition, by_topic};
use crate::output::{self, complain};

/// Describes groups in the order of their names; nothing is printed if one of them cannot be described.
pub async fn run(options: &Options, client: &Client, ids: &[String]) -> Result<(), Refusal> {
    let mut described = BTreeMap::new();
    for id in ids {
        let group = groups::describe(client, id).await.map_err(|error| Exception::from(error).in_future())?;
        described.insert(id.as_str(), group);
    }
    let verbose = options.has("verbose");
    for group in described.values() {
        if options.has("members") {
            print_members(group, verbose)?;
        } else if options.has("state") {
            print_state(client, group, verbose)?;
        } else {
            let rows = rows(client, group).await?;
            print_offsets(group, &rows, verbose)?;
        }
    }
    Ok(())
}

/// Says in which state the group is; true if there is something to print of it.
fn announce(group: &GroupDescription, rows: usize) -> Result<bool, Refusal> {
    match group.state.as_str() {
        "Dead" => {
            print_error(&format!("Consumer group '{}' does not exist.", group.id))?;
            return Ok(false);
        }
        "Empty" => complain!("\nConsumer group '{}' has no active members.", group.id),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            complain!("\nWarning: Consumer group '{}' is rebalancing.", group.id);
        }
        _ => {}
    }
    Ok(rows > 0)
}

/// One partition of a group.
struct Row {
    partition: TopicPartition,
    committed: Option<Committed>,
    log_end: Option<i64>,
    consumer: [String; 3],
}

impl Row {
    fn cells(&self, group: &str, verbose: bool) -> Vec<String> {
        let or_missing =
            |value: Option<i64>| value.map_or_else(|| MISSING.to_owned(), |value| value.to_string());
        let offset = self.committed.map(|it| it.offset);
        let lag = offset.zip(self.log_end).map(|(offset, end)| end - offset);
        let mut cells =
            vec![group.to_owned(), self.partition.topic.clone(), self.partition.partition.to_string()];
        if verbose {
            cells.push(or_missing(self.committed.and_then(|it| it.leader_epoch).map(i64::from)));
        }
        cells.extend([or_missing(offset), or_missing(self.log_end), or_missing(lag)]);
        cells.extend(self.consumer.clone());
        cells
    }
}

/// Partitions with their consumers, those with most partitions first; then partitions without a consumer.
async fn rows(client: &Client, group: &GroupDescription) -> Result<Vec<Row>, Refusal> {
    let committed = group_offsets::committed(client, &group.id).await?;
    let mut members: Vec<&Member> = group.members.iter().filter(|it| !it.assignment.is_empty()).collect();
    members.sort_by_key(|it| std::cmp::Reverse(it.assignment.len()));
    let mut owned: Vec<(TopicPartition, [String; 3])> = Vec::new();
    for member in members {
        let consumer = [member.id.clone(), member.host.clone(), member.client.clone()];
        owned.extend(member.assignment.iter().map(|it| (it.clone(), consumer.clone())));
    }
    let free: Vec<_> = committed.keys().filter(|it| !owned.iter().any(|(owned, _)| owned == *it)).collect();
    let nobody = [MISSING, MISSING, MISSING].map(str::to_owned);
    owned.extend(free.into_iter().map(|it| (it.clone(), nobody.clone())));
    let partitions: Vec<_> = owned.iter().map(|(partition, _)| partition.clone()).collect();
    let ends = offsets::list_at(client, &partitions, at::LATEST).await?;
    let row = |(partition, consumer): (TopicPartition, [String; 3])| Row {
        committed: committed.get(&partition).copied(),
        log_end: ends.get(&partition).and_then(|found| Some(found.as_ref().ok()?.offset)),
        partition,
        consumer,
    };
    Ok(owned.into_iter().map(row).collect())
}

fn print_offsets(group: &GroupDescription, rows: &[Row], verbose: bool) -> Result<(), Refusal> {
    if !announce(group, rows.len())? {
        return Ok(());
    }
    let mut header = vec!["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG"];
    header.extend(["CONSUMER-ID", "HOST", "CLIENT-ID"]);
    let mut widths = vec![
        width(15, [group.id.as_str()]),
        width(15, rows.iter().map(|it| it.partition.topic.as_str())),
        10,
        15,
        15,
        15,
        width(15, rows.iter().map(|it| it.consumer[0].as_str())),
        width(15, rows.iter().map(|it| it.consumer[1].as_str())),
        0,
    ];
    if verbose {
        header.insert(3, "LEADER-EPOCH");
        widths.insert(3, 15);
    }
    let mut out = output::stdout();
    write_row(&mut out, &header.into_iter().map(str::to_owned).collect::<Vec<_>>(), &widths)?;
    for row in rows {
        write_row(&mut out, &row.cells(&group.id, verbose), &widths)?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// A row as Apache's tool writes it: the line break comes first.
fn write_row(out: &mut impl Write, cells: &[String], widths: &[usize]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| column(cell, *width)).collect();
    write!(out, "\n{}", cells.join(" "))
}

/// `topic:0,1;other:2`
fn assignment(partitions: &[TopicPartition]) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let topics = by_topic(partitions.iter().map(|it| (it.clone(), ())));
    let text = |(topic, partitions): (String, Vec<(i32, ())>)| {
        let numbers: Vec<String> = partitions.iter().map(|(number, ())| number.to_string()).collect();
        format!("{topic}:{}", numbers.join(","))
    };
    topics.into_iter().map(text).collect::<Vec<_>>().join(";")
}

/// Name, width, and the cell of a member.
type MemberColumn = (&'static str, usize, Box<dyn Fn(&Member) -> String>);

fn print_members(group: &GroupDescription, verbose: bool) -> Result<(), Refusal> {
    announce(group, group.members.len())?;
    let members = &group.members;
    let mut columns: Vec<MemberColumn> = Vec::new();
    let id = group.id.clone();
    columns.push(("GROUP", width(15, [id.as_str()]), Box::new(move |_| id.clone())));
    columns.push((
        "CONSUMER-ID",
        width(15, members.iter().map(|it| it.id.as_str())),
        Box::new(|it| it.id.clone()),
    ));
    if members.iter().any(|it| it.instance.is_some()) {
        let instance = |it: &Member| it.instance.clone().unwrap_or_default();
        let instances: Vec<String> = members.iter().map(instance).collect();
        let width = width(17, instances.iter().map(String::as_str));
        columns.push(("GROUP-INSTANCE-ID", width, Box::new(instance)));
    }
    columns.push((
        "HOST",
        width(15, members.iter().map(|it| it.host.as_str())),
        Box::new(|it| it.host.clone()),
    ));
    columns.push((
        "CLIENT-ID",
        width(15, members.iter().map(|it| it.client.as_str())),
        Box::new(|it| it.client.clone()),
    ));
    columns.push(("#PARTITIONS", 15, Box::new(|it| it.assignment.len().to_string())));
    if verbose {
        columns.extend(verbose_columns(group));
    }
    let mut out = output::stdout();
    writeln!(out)?;
    let line = |cell: &dyn Fn(&MemberColumn) -> String| {
        let cells: Vec<String> = columns.iter().map(|it| column(&cell(it), it.1)).collect();
        // Without more columns Apache's rows end in a blank.
        cells.join(" ") + if verbose { "" } else { " " }
    };
    writeln!(out, "{}", line(&|(name, _, _)| (*name).to_owned()))?;
    for member in members {
        writeln!(out, "{}", line(&|(_, _, cell)| cell(member)))?;
    }
    Ok(out.flush()?)
}

fn verbose_columns(group: &GroupDescription) -> Vec<MemberColumn> {
    let members = &group.members;
    let current: Vec<String> = members.iter().map(|it| assignment(&it.assignment)).collect();
    let target: Vec<String> = members.iter().map(|it| assignment(&it.target)).collect();
    let target_epoch = group.epochs.map_or_else(|| MISSING.to_owned(), |(_, epoch)| epoch.to_string());
    let epoch = |it: &Member| it.epoch.map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string());
    let mut columns: Vec<MemberColumn> = vec![
        ("CURRENT-EPOCH", 15, Box::new(epoch)),
        (
            "CURRENT-ASSIGNMENT",
            width(20, current.iter().map(String::as_str)),
            Box::new(|it| assignment(&it.assignment)),
        ),
        ("TARGET-EPOCH", 15, Box::new(move |_| target_epoch.clone())),
        (
            "TARGET-ASSIGNMENT",
            width(20, target.iter().map(String::as_str)),
            Box::new(|it| assignment(&it.target)),
        ),
    ];
    let has = |upgraded: bool| members.iter().any(|it| it.upgraded == Some(upgraded));
    if has(true) && has(false) {
        let upgraded = |it: &Member| it.upgraded.map_or_else(|| MISSING.to_owned(), |it| it.to_string());
        columns.push(("UPGRADED", 0, Box::new(upgraded)));
    }
    columns
}

fn print_state(client: &Client, group: &GroupDescription, verbose: bool) -> Result<(), Refusal> {
    if !announce(group, 1)? {
        return Ok(());
    }
    let metadata = client.metadata();
    let coordinator = match metadata.brokers.get(&group.coordinator) {
        Some(broker) => format!("{}:{}  ({})", broker.host, broker.port, broker.id),
        None => format!("({})", group.coordinator),
    };
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let epoch = |epoch: Option<i32>| epoch.map_or_else(|| MISSING.to_owned(), |epoch| epoch.to_string());
    let count = group.members.len().to_string();
    let mut columns = vec![
        ("GROUP", group.id.clone(), width(15, [group.id.as_str()])),
        ("COORDINATOR (ID)", coordinator.clone(), width(25, [coordinator.as_str()])),
        ("ASSIGNMENT-STRATEGY", assignor.to_owned(), 20),
        ("STATE", group.state.clone(), 20),
    ];
    if verbose {
        columns.push(("GROUP-EPOCH", epoch(group.epochs.map(|it| it.0)), 15));
        columns.push(("TARGET-ASSIGNMENT-EPOCH", epoch(group.epochs.map(|it| it.1)), 25));
    }
    columns.push(("#MEMBERS", count, 0));
    let widths: Vec<usize> = columns.iter().map(|it| it.2).collect();
    let mut out = output::stdout();
    write_row(&mut out, &columns.iter().map(|it| it.0.to_owned()).collect::<Vec<_>>(), &widths)?;
    write_row(&mut out, &columns.iter().map(|it| it.1.clone()).collect::<Vec<_>>(), &widths)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
