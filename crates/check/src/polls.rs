//! Judges what consumers were given, and what they were told of the ends of partitions.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::anomaly::Kind;
use crate::event::{Assigned, EndOffset, Event, Isolation, Micros, Poll, Settled, Value};
use crate::history::History;
use crate::order::{Partition, Partitions};
use crate::verdict::Findings;

/// Transactions and their values.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Values of transactions that certainly have no effect.
    pub(crate) aborted: HashSet<Value>,
    /// Values of transactions of which nobody knows how they ended: whether readers of what is committed see them is open.
    undecided: HashSet<Value>,
    /// Values of other transactions, with the moment at which the commit was asked for.
    asked: HashMap<Value, Micros>,
}

impl Transactions {
    pub(crate) fn of(history: &History) -> Self {
        let mut settled: HashMap<u64, (Settled, Micros)> = HashMap::new();
        for event in &history.events {
            if let Event::Transaction(it) = event {
                settled.insert(it.transaction, (it.settled, it.began));
            }
        }
        let mut transactions = Self::default();
        for event in &history.events {
            let Event::Send(send) = event else { continue };
            match send.transaction.map(|it| settled.get(&it)) {
                None => {}
                Some(Some((Settled::Aborted, _))) => drop(transactions.aborted.insert(send.value)),
                Some(Some((settled, began))) => {
                    transactions.asked.insert(send.value, *began);
                    if *settled == Settled::Unknown {
                        transactions.undecided.insert(send.value);
                    }
                }
                // Its end was never asked for.
                Some(None) => {
                    transactions.asked.insert(send.value, Micros::MAX);
                    transactions.undecided.insert(send.value);
                }
            }
        }
        transactions
    }

    /// Whether a reader of what is committed may pass over a value by design.
    pub(crate) fn may_be_hidden(&self, value: &Value) -> bool {
        self.aborted.contains(value) || self.undecided.contains(value)
    }
}

/// Judges every consumer on every partition.
pub(crate) fn judge(
    history: &History,
    partitions: &Partitions<'_>,
    transactions: &Transactions,
    findings: &mut Findings,
) {
    let mut moved: HashMap<u32, Vec<&Assigned>> = HashMap::new();
    let mut ends: BTreeMap<(&str, bool), Vec<&EndOffset>> = BTreeMap::new();
    for event in &history.events {
        match event {
            Event::Assigned(it) => moved.entry(it.consumer).or_default().push(it),
            Event::EndOffset(it) => {
                ends.entry((&it.partition, it.isolation == Isolation::Committed)).or_default().push(it);
            }
            _ => {}
        }
    }
    moved.values_mut().for_each(|it| it.sort_by_key(|it| it.at));
    for (name, partition) in partitions {
        let mut consumers: BTreeMap<u32, Vec<&Poll>> = BTreeMap::new();
        for poll in &partition.polls {
            consumers.entry(poll.consumer).or_default().push(poll);
            isolation(name, poll, transactions, findings);
        }
        for (consumer, polls) in consumers {
            let moved = moved.get(&consumer).map_or(&[][..], Vec::as_slice);
            positions(name, partition, &polls, moved, transactions, findings);
        }
    }
    for ((name, _), ends) in ends {
        end_offsets(name, ends, findings);
    }
}

fn isolation(name: &str, poll: &Poll, transactions: &Transactions, findings: &mut Findings) {
    if poll.isolation != Isolation::Committed {
        return;
    }
    for (offset, value) in &poll.records {
        if transactions.aborted.contains(value) {
            findings.add(Kind::G1a, name, poll.ended, || {
                format!("value {value} at offset {offset} belongs to an aborted transaction")
            });
        } else if transactions.asked.get(value).is_some_and(|asked| poll.ended < *asked) {
            findings.add(Kind::PrecommittedRead, name, poll.ended, || {
                format!("value {value} at offset {offset} was read before its commit was asked for")
            });
        }
    }
}

/// A consumer's offsets ascend, and pass over nothing that others read there. A new assignment begins anew.
fn positions(
    name: &str,
    partition: &Partition<'_>,
    polls: &[&Poll],
    moved: &[&Assigned],
    transactions: &Transactions,
    findings: &mut Findings,
) {
    let mut moved = moved.iter().peekable();
    let mut last: Option<i64> = None;
    for poll in polls {
        while moved.next_if(|it| it.at <= poll.ended).is_some() {
            last = None;
        }
        for (offset, value) in &poll.records {
            if let Some(last) = last.filter(|last| offset <= last) {
                findings.add(Kind::NonmonotonicPoll, name, poll.ended, || {
                    format!(
                        "consumer {} was given offset {offset} (value {value}) after {last}",
                        poll.consumer
                    )
                });
            }
            if let Some(last) = last.filter(|last| *last < *offset) {
                let between = partition
                    .read_at
                    .range(last + 1..*offset)
                    .flat_map(|(at, values)| values.iter().map(|value| (*at, *value)).collect::<Vec<_>>());
                let hidden = |value: &Value| {
                    transactions.aborted.contains(value) || transactions.asked.contains_key(value)
                };
                let skipped: Vec<_> = between.filter(|(_, value)| !hidden(value)).take(3).collect();
                if !skipped.is_empty() {
                    findings.add(Kind::PollSkip, name, poll.ended, || {
                        format!(
                            "consumer {} went from offset {last} to {offset}, passing over {skipped:?}",
                            poll.consumer
                        )
                    });
                }
            }
            last = Some(*offset);
        }
    }
}

/// An end that was asked for after another was told is not before it.
fn end_offsets(name: &str, mut ends: Vec<&EndOffset>, findings: &mut Findings) {
    let mut by_end = ends.clone();
    by_end.sort_by_key(|it| it.ended);
    ends.sort_by_key(|it| it.began);
    let mut told = by_end.into_iter().peekable();
    let mut highest = i64::MIN;
    for end in ends {
        while let Some(before) = told.next_if(|it| it.ended < end.began) {
            highest = highest.max(before.offset);
        }
        if end.offset < highest {
            findings.add(Kind::EndOffsetWentBack, name, end.ended, || {
                format!("the end offset is {}, and was {highest} before", end.offset)
            });
        }
    }
}
