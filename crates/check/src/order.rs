//! The version order: what is known of each offset of each partition, from polls and acknowledgements.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::event::{Event, Outcome, Poll, Send, Value};
use crate::history::History;

/// What is known of one partition.
#[derive(Debug, Default)]
pub(crate) struct Partition<'a> {
    /// Its sends, in the order in which the answers came.
    pub(crate) sends: Vec<&'a Send>,
    /// Its polls, in the order in which they ended.
    pub(crate) polls: Vec<&'a Poll>,
    /// Values that are or were at each offset.
    pub(crate) at: BTreeMap<i64, HashSet<Value>>,
    /// Values that polls returned from each offset.
    pub(crate) read_at: BTreeMap<i64, HashSet<Value>>,
    /// Offsets at which each value is or was.
    pub(crate) of: HashMap<Value, HashSet<i64>>,
    /// What the last consumer to be driven to the end has read, and that end.
    pub(crate) last_read: Option<(BTreeMap<i64, Value>, i64)>,
}

/// Partitions by name, in the order of their names.
pub(crate) type Partitions<'a> = BTreeMap<&'a str, Partition<'a>>;

pub(crate) fn partitions(history: &History) -> Partitions<'_> {
    let mut partitions = Partitions::new();
    let mut driven = Vec::new();
    for event in &history.events {
        match event {
            Event::Send(it) => {
                let partition = partitions.entry(&it.partition).or_default();
                partition.sends.push(it);
                if let Outcome::Acked { offset: Some(offset), .. } = it.outcome {
                    partition.know(offset, it.value);
                }
            }
            Event::Poll(it) => {
                let partition = partitions.entry(&it.partition).or_default();
                partition.polls.push(it);
                for (offset, value) in &it.records {
                    partition.know(*offset, *value);
                    partition.read_at.entry(*offset).or_default().insert(*value);
                }
            }
            Event::Driven(it) => driven.push(it),
            _ => {}
        }
    }
    for partition in partitions.values_mut() {
        partition.sends.sort_by_key(|it| (it.ended, it.producer, it.number));
        partition.polls.sort_by_key(|it| it.ended);
    }
    driven.sort_by_key(|it| it.at);
    for it in driven {
        let partition = partitions.entry(&it.partition).or_default();
        let polls = partition.polls.iter().filter(|poll| poll.consumer == it.consumer);
        let read = polls.flat_map(|poll| poll.records.iter().copied()).collect();
        partition.last_read = Some((read, it.end));
    }
    partitions
}

impl Partition<'_> {
    fn know(&mut self, offset: i64, value: Value) {
        self.at.entry(offset).or_default().insert(value);
        self.of.entry(value).or_default().insert(offset);
    }

    /// Every value that a poll returned.
    pub(crate) fn read(&self) -> HashSet<Value> {
        self.polls.iter().flat_map(|poll| poll.records.iter().map(|(_, value)| *value)).collect()
    }

    /// The greatest offset that a poll returned.
    pub(crate) fn highest_read(&self) -> Option<i64> {
        self.polls.iter().flat_map(|poll| poll.records.iter().map(|(offset, _)| *offset)).max()
    }
}
