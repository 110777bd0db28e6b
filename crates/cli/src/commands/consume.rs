//! `milena consume`

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Duration;

use clap::Args;
use milena_client::{Client, Consumer, ConsumerOptions, GroupOptions, OffsetReset};

use crate::admin::TopicPartition;
use crate::admin::offsets::{self, at};
use crate::completion;
use crate::connection::ConnectionArgs;
use crate::failure::{Failure, Outcome};
use crate::offset_spec::OffsetSpec;
use crate::output::{self, complain};
use crate::partitions::{self, TopicSelection};
use crate::progress::Progress;
use crate::record::Consumed;
use crate::record::reading::{self, Limits, Sink, Stopped};
use crate::record::template::RecordFormat;
use crate::time;

/// Read records.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// Topics, each perhaps with partitions: `orders` or `orders:0,2`.
    #[arg(required = true, value_name = "TOPIC[:PARTITIONS]", add = completion::topics())]
    topics: Vec<TopicSelection>,
    /// Where to begin: start, end, an offset, +10 (after the start), -10 (before the end), @-1h,
    /// @2026-01-31T12:00:00Z. In a group it counts only where nothing is committed.
    #[arg(short, long, value_name = "OFFSET", default_value = "end", allow_hyphen_values = true)]
    offset: OffsetSpec,
    /// As --offset start.
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Where to stop, in the notation of --offset; `end` is the end as it is now.
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, conflicts_with_all = ["group", "exit_at_end"])]
    until: Option<OffsetSpec>,
    /// Partitions of every topic named.
    #[arg(short, long, value_name = "NUMBERS", value_delimiter = ',')]
    partition: Vec<i32>,
    /// Read as a member of this group and commit what was read.
    #[arg(short, long, value_name = "GROUP", add = completion::groups())]
    group: Option<String>,
    /// Stop after so many records.
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Stop at the end as it is now.
    #[arg(short, long)]
    exit_at_end: bool,
    /// Print the last so many records of all, in the order of their timestamps, and stop.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["offset", "from_beginning", "group", "count", "until"])]
    tail: Option<u64>,
    /// Stop when no record came for so long.
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    idle: Option<Duration>,
    /// How a record is printed: text, json, or a template such as '%t %p %o %k %v\n'.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = RecordFormat::parse,
          long_help = FORMAT_HELP)]
    format: RecordFormat,
    /// Leave out records of aborted transactions, and wait for open ones.
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const FORMAT_HELP: &str = "How a record is printed: text (the value, a line each), json (a line each that `milena \
produce -f json` reads), or a template:\n  %t topic, %p partition, %o offset, %e leader epoch, %d timestamp, \
%d{rfc3339} date\n  %k key, %v value, %h headers; with {hex} or {base64} after it\n  %K %V %H lengths of key and \
value, number of headers; %% a percent sign\n  \\n \\t \\r \\0 \\\\ \\xHH bytes";

impl ConsumeArgs {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let client = self.connection.open().await?;
        match (&self.group, self.tail) {
            (Some(group), _) => self.read_in_group(&client, group).await,
            (None, Some(count)) => self.read_tail(&client, count).await,
            (None, None) => self.read_alone(&client).await,
        }
    }

    fn consumer_options(&self) -> ConsumerOptions {
        let earliest = matches!(self.begin(), OffsetSpec::Start | OffsetSpec::AfterStart(_));
        ConsumerOptions {
            read_committed: self.read_committed,
            reset: if earliest { OffsetReset::Earliest } else { OffsetReset::Latest },
            ..ConsumerOptions::default()
        }
    }

    fn begin(&self) -> OffsetSpec {
        if self.from_beginning { OffsetSpec::Start } else { self.offset }
    }

    async fn selected(&self, client: &Client) -> Outcome<Vec<TopicPartition>> {
        let with_partitions = |it: &TopicSelection| TopicSelection {
            topic: it.topic.clone(),
            partitions: it.partitions.iter().chain(&self.partition).copied().collect(),
        };
        partitions::select(client, &self.topics.iter().map(with_partitions).collect::<Vec<_>>()).await
    }

    async fn read_alone(&self, client: &Client) -> Outcome {
        let selected = self.selected(client).await?;
        let at_spec = |spec: OffsetSpec| selected.iter().map(|it| (it.clone(), spec)).collect::<Vec<_>>();
        let starts = partitions::resolve(client, &at_spec(self.begin())).await?;
        let until = self.until.or(self.exit_at_end.then_some(OffsetSpec::End));
        let ends = match until {
            Some(spec) => Some(partitions::resolve(client, &at_spec(spec)).await?),
            None => None,
        };
        if let OffsetSpec::Exact(wanted) = self.begin() {
            warn_moved(wanted, &starts);
        }
        let (starts, ends) = drop_finished(starts, ends);
        if starts.is_empty() {
            return Ok(());
        }
        self.read(Consumer::assign(client, self.consumer_options(), starts), ends).await
    }

    async fn read_in_group(&self, client: &Client, group: &str) -> Outcome {
        if self.topics.iter().any(|it| !it.partitions.is_empty()) || !self.partition.is_empty() {
            return Err(Failure::new("a member of a group does not choose its partitions")
                .hint("leave out either --group or the partitions"));
        }
        let policy = matches!(self.begin(), OffsetSpec::Start | OffsetSpec::End);
        if !policy {
            return Err(Failure::new(format!("--offset {} means nothing in a group", self.begin()))
                .hint("move the group first: `milena group reset-offsets`"));
        }
        let topics = self.topics.iter().map(|it| it.topic.clone());
        let ends = match self.exit_at_end {
            true => Some(self.unread(client, group).await?),
            false => None,
        };
        if ends.as_ref().is_some_and(BTreeMap::is_empty) {
            return Ok(());
        }
        let options = GroupOptions::new(group);
        let consumer = Consumer::subscribe(client, self.consumer_options(), options, topics);
        self.read(consumer, ends).await
    }

    /// Ends of the partitions in which the group has something left to read.
    async fn unread(&self, client: &Client, group: &str) -> Outcome<Ends> {
        let selected = self.selected(client).await?;
        let committed = crate::admin::group_offsets::committed(client, group).await?;
        let ends = offsets::all_at(client, &selected, at::LATEST).await?;
        let starts = partitions::resolve(
            client,
            &selected.iter().map(|it| (it.clone(), self.begin())).collect::<Vec<_>>(),
        )
        .await?;
        let left = starts.into_iter().filter_map(|(partition, start)| {
            let start = committed.get(&partition).map_or(start, |it| it.offset);
            let end = ends[&partition];
            (end > start).then_some(((partition.topic, partition.partition), end))
        });
        Ok(left.collect())
    }

    async fn read(&self, consumer: Consumer, ends: Option<Ends>) -> Outcome {
        let limits = Limits { records: self.count, idle: self.idle, ends };
        let mut printer = Printer {
            format: self.format.clone(),
            out: output::stdout(),
            progress: Progress::start("records read", !io::stdout().is_terminal()),
        };
        let (_, stopped) = reading::read(consumer, &limits, &mut printer).await;
        conclude(stopped)
    }

    /// Reads the last `count` records of each partition and prints the last `count` of all.
    async fn read_tail(&self, client: &Client, count: u64) -> Outcome {
        let selected = self.selected(client).await?;
        let back = OffsetSpec::BeforeEnd(i64::try_from(count).unwrap_or(i64::MAX));
        let at_spec = |spec: OffsetSpec| selected.iter().map(|it| (it.clone(), spec)).collect::<Vec<_>>();
        let starts = partitions::resolve(client, &at_spec(back)).await?;
        let ends = partitions::resolve(client, &at_spec(OffsetSpec::End)).await?;
        let (starts, ends) = drop_finished(starts, Some(ends));
        if starts.is_empty() {
            return Ok(());
        }
        let consumer = Consumer::assign(client, self.consumer_options(), starts);
        let mut last =
            LastRecords { format: self.format.clone(), count: count as usize, records: VecDeque::new() };
        let limits = Limits { records: None, idle: self.idle, ends };
        let (_, stopped) = reading::read(consumer, &limits, &mut last).await;
        let mut out = output::stdout();
        last.records.iter().try_for_each(|(_, text)| out.write_all(text))?;
        out.flush()?;
        conclude(stopped)
    }
}

/// Where each partition ends.
type Ends = BTreeMap<milena_client::TopicPartition, i64>;
/// Where each partition begins.
type Starts = BTreeMap<milena_client::TopicPartition, milena_client::OffsetSpec>;

/// Leaves out partitions with nothing between start and end.
fn drop_finished(
    starts: Vec<(TopicPartition, i64)>,
    ends: Option<Vec<(TopicPartition, i64)>>,
) -> (Starts, Option<Ends>) {
    let name = |it: &TopicPartition| (it.topic.clone(), it.partition);
    let mut ends: Option<Ends> = ends.map(|ends| ends.iter().map(|(it, end)| (name(it), *end)).collect());
    let open =
        |(it, start): &&(TopicPartition, i64)| ends.as_ref().is_none_or(|ends| ends[&name(it)] > *start);
    let starts: Starts = starts
        .iter()
        .filter(open)
        .map(|(it, start)| (name(it), milena_client::OffsetSpec::At(*start)))
        .collect();
    if let Some(ends) = &mut ends {
        ends.retain(|it, _| starts.contains_key(it));
    }
    (starts, ends)
}

/// Says where an offset lay outside of the log.
fn warn_moved(wanted: i64, starts: &[(TopicPartition, i64)]) {
    for (partition, start) in starts.iter().filter(|(_, start)| *start != wanted) {
        complain!("warning: {partition} does not hold offset {wanted}, reading from {start}");
    }
}

fn conclude(stopped: Stopped) -> Outcome {
    match stopped {
        Stopped::Done | Stopped::Idle | Stopped::Signal(_) => Ok(()),
        Stopped::Output(error) => Err(error.into()),
        Stopped::Failed(error) => Err(error.into()),
    }
}

/// Prints records as they come.
struct Printer {
    format: RecordFormat,
    out: BufWriter<StdoutLock<'static>>,
    progress: Progress,
}

impl Sink for Printer {
    fn take(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        self.progress.count();
        self.format.write(&mut self.out, consumed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Keeps the last records, printed already, in the order of their timestamps.
struct LastRecords {
    format: RecordFormat,
    count: usize,
    records: VecDeque<((i64, i32, i64), Vec<u8>)>,
}

impl Sink for LastRecords {
    fn take(&mut self, consumed: &Consumed<'_>) -> io::Result<()> {
        let record = &consumed.record;
        let place = (record.timestamp, consumed.partition, record.offset.0);
        let mut text = Vec::new();
        self.format.write(&mut text, consumed)?;
        let at = self.records.partition_point(|(other, _)| *other <= place);
        self.records.insert(at, (place, text));
        if self.records.len() > self.count {
            self.records.pop_front();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
