//! Reads records until a limit is reached, and commits exactly what was handed on.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use milena_client::{Consumer, Error, Fetched, OffsetSpec, TopicPartition};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::Consumed;
use crate::output;

/// Longest wait for records before limits are looked at again.
const POLL: Duration = Duration::from_millis(500);

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// When to stop.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// After so many records.
    pub records: Option<u64>,
    /// When none came for so long.
    pub idle: Option<Duration>,
    /// Where each partition ends; records from there on are not handed on.
    pub ends: Option<BTreeMap<TopicPartition, i64>>,
}

/// Why reading stopped.
#[derive(Debug)]
pub enum Stopped {
    /// As many records were read as were wanted, or the end was reached.
    Done,
    /// No record came for as long as it was waited for.
    Idle,
    /// SIGINT or SIGTERM, by its number.
    Signal(u8),
    /// The reader of the output has gone, or it cannot be written.
    Output(io::Error),
    /// Reading failed.
    Failed(Error),
}

/// What takes the records.
pub trait Sink {
    /// Takes one record.
    fn take(&mut self, consumed: &Consumed<'_>) -> io::Result<()>;
    /// Called when no more records are at hand.
    fn flush(&mut self) -> io::Result<()>;
}

/// Reads until a limit; returns how many records were handed on, and why it stopped.
pub async fn read(mut consumer: Consumer, limits: &Limits, sink: &mut impl Sink) -> (u64, Stopped) {
    let mut count = 0;
    let stopped = read_on(&mut consumer, limits, sink, &mut count).await;
    let flushed = sink.flush();
    let closed = consumer.close().await;
    match (stopped, flushed, closed) {
        (Stopped::Done | Stopped::Idle | Stopped::Signal(_), Err(error), _) => {
            (count, Stopped::Output(error))
        }
        (Stopped::Done | Stopped::Idle | Stopped::Signal(_), _, Err(error)) => {
            (count, Stopped::Failed(error))
        }
        (stopped, _, _) => (count, stopped),
    }
}

async fn read_on(consumer: &mut Consumer, limits: &Limits, sink: &mut impl Sink, count: &mut u64) -> Stopped {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Stopped::Output(io::Error::other("signals cannot be handled"));
    };
    let mut quiet_since = Instant::now();
    loop {
        if limits.records == Some(*count) || limits.reached(consumer) {
            return Stopped::Done;
        }
        let patience = limits.idle.map_or(POLL, |idle| idle.saturating_sub(quiet_since.elapsed()).min(POLL));
        let fetched = tokio::select! {
            fetched = consumer.poll(patience) => fetched,
            _ = interrupt.recv() => return Stopped::Signal(SIGINT),
            _ = terminate.recv() => return Stopped::Signal(SIGTERM),
        };
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(error) => return Stopped::Failed(error),
        };
        if !fetched.is_empty() {
            quiet_since = Instant::now();
        } else if output::reader_is_gone() {
            return Stopped::Output(io::ErrorKind::BrokenPipe.into());
        } else if limits.idle.is_some_and(|idle| quiet_since.elapsed() >= idle) {
            return Stopped::Idle;
        }
        if let Err(stopped) = hand_on(consumer, limits, sink, &fetched, count) {
            return stopped;
        }
    }
}

impl Limits {
    /// Whether every partition with an end has been read up to it.
    fn reached(&self, consumer: &Consumer) -> bool {
        let Some(ends) = &self.ends else { return false };
        let positions = consumer.positions();
        ends.iter().all(|(partition, end)| *end <= 0 || positions.get(partition).is_some_and(|at| at >= end))
    }

    fn is_beyond(&self, fetched: &Fetched, offset: i64) -> bool {
        let end =
            self.ends.as_ref().and_then(|ends| ends.get(&(fetched.topic.to_string(), fetched.partition)));
        end.is_some_and(|end| offset >= *end)
    }
}

fn hand_on(
    consumer: &mut Consumer,
    limits: &Limits,
    sink: &mut impl Sink,
    fetched: &[Fetched],
    count: &mut u64,
) -> Result<(), Stopped> {
    for (at, batch) in fetched.iter().enumerate() {
        let header = batch.header();
        let (timestamp_type, leader_epoch) = (header.timestamp_type(), header.partition_leader_epoch.0);
        for record in batch.iter() {
            let record = record.map_err(Stopped::Failed)?;
            if limits.records == Some(*count) {
                go_back(consumer, batch, record.offset.0, &fetched[at + 1..]);
                return Ok(());
            }
            if limits.is_beyond(batch, record.offset.0) {
                break;
            }
            let partition = batch.partition;
            let consumed = Consumed { topic: &batch.topic, partition, leader_epoch, timestamp_type, record };
            sink.take(&consumed).map_err(Stopped::Output)?;
            *count += 1;
        }
    }
    sink.flush().map_err(Stopped::Output)
}

/// Puts the positions back to the first record of each partition that was not handed on, so that no more is
/// committed than was.
fn go_back(consumer: &mut Consumer, batch: &Fetched, offset: i64, rest: &[Fetched]) {
    let first = |it: &Fetched| it.iter().next().and_then(|record| Some(record.ok()?.offset.0));
    let mut back: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    back.insert((batch.topic.to_string(), batch.partition), offset);
    for later in rest {
        if let Some(offset) = first(later) {
            back.entry((later.topic.to_string(), later.partition)).or_insert(offset);
        }
    }
    for (partition, offset) in back {
        // A partition that has been taken away meanwhile needs no position.
        let _ = consumer.seek(&partition, OffsetSpec::At(offset));
    }
}
