//! Judges what producers were promised.

use std::collections::{HashMap, HashSet};

use crate::anomaly::Kind;
use crate::event::{Micros, Outcome, Send, Value};
use crate::order::Partition;
use crate::polls::Transactions;
use crate::verdict::Findings;

/// Judges one partition.
///
/// Consumers pass over values of `transactions` that ended without effect by design.
pub(crate) fn judge(
    name: &str,
    partition: &Partition<'_>,
    transactions: &Transactions,
    findings: &mut Findings,
) {
    offsets(name, partition, findings);
    losses(name, partition, transactions, findings);
    orders(name, partition, findings);
    zombies(name, partition, findings);
}

/// One value per offset, one offset per value, and only values that were sent.
fn offsets(name: &str, partition: &Partition<'_>, findings: &mut Findings) {
    let mut reads: HashMap<Value, (Micros, HashSet<i64>)> = HashMap::new();
    for poll in &partition.polls {
        for (offset, value) in &poll.records {
            reads.entry(*value).or_insert((poll.ended, HashSet::new())).1.insert(*offset);
        }
    }
    let ended = |value: &Value| reads.get(value).map_or(0, |(ended, _)| *ended);
    for (offset, values) in partition.at.iter().filter(|(_, values)| values.len() > 1) {
        let mut values: Vec<_> = values.iter().copied().collect();
        values.sort_unstable();
        let at = values.iter().map(ended).max().unwrap_or(0);
        findings.add(Kind::InconsistentOffsets, name, at, || format!("offset {offset} holds {values:?}"));
    }
    let mut several: Vec<_> = partition.of.iter().filter(|(_, offsets)| offsets.len() > 1).collect();
    several.sort_unstable_by_key(|(value, _)| **value);
    for (value, offsets) in several {
        let mut offsets: Vec<_> = offsets.iter().copied().collect();
        offsets.sort_unstable();
        let (kind, words) = match reads.get(value).map_or(0, |(_, offsets)| offsets.len()) {
            0 | 1 => (Kind::InconsistentOffsets, "was acknowledged and read at"),
            _ => (Kind::Duplicate, "was read at"),
        };
        findings.add(kind, name, ended(value), || format!("value {value} {words} offsets {offsets:?}"));
    }
    let outcomes: HashMap<Value, &Outcome> =
        partition.sends.iter().map(|it| (it.value, &it.outcome)).collect();
    let mut judged = HashSet::new();
    for poll in &partition.polls {
        for (offset, value) in poll.records.iter().filter(|(_, value)| judged.insert(*value)) {
            match outcomes.get(value) {
                Some(Outcome::Refused { code }) => {
                    findings.add(Kind::RefusedWriteSeen, name, poll.ended, || {
                        format!("value {value} is at offset {offset}, though it was refused with {code}")
                    })
                }
                Some(_) => {}
                None => findings.add(Kind::Phantom, name, poll.ended, || {
                    format!("value {value} at offset {offset} was never sent")
                }),
            }
        }
    }
}

/// Whatever was acknowledged or read is there at the end.
fn losses(name: &str, partition: &Partition<'_>, transactions: &Transactions, findings: &mut Findings) {
    let read = partition.read();
    let highest_read = partition.highest_read();
    for send in &partition.sends {
        let Outcome::Acked { offset, .. } = send.outcome else {
            findings.unknown_writes += u64::from(matches!(send.outcome, Outcome::Unknown { .. }));
            continue;
        };
        findings.acked += 1;
        if read.contains(&send.value) || transactions.may_be_hidden(&send.value) {
            continue;
        }
        let words = || match offset {
            Some(offset) => {
                format!("value {} was acknowledged at offset {offset}, and nobody read it", send.value)
            }
            None => format!("value {} was acknowledged, and nobody read it", send.value),
        };
        match (offset, highest_read, &partition.last_read) {
            (Some(offset), Some(highest), _) if offset < highest => {
                findings.add(Kind::LostWrite, name, send.ended, words);
            }
            (None, _, Some(_)) => findings.add(Kind::LostWrite, name, send.ended, words),
            (_, _, Some(_)) => findings.add(Kind::Unseen, name, send.ended, words),
            _ => findings.unread += 1,
        }
    }
    let Some((last, end)) = &partition.last_read else { return };
    let mut judged = HashSet::new();
    for poll in &partition.polls {
        for (offset, value) in &poll.records {
            if last.get(offset) != Some(value) && !transactions.may_be_hidden(value) && judged.insert(*value)
            {
                findings.add(Kind::DirtyRead, name, poll.ended, || match last.get(offset) {
                    Some(other) => format!("value {value} was read at offset {offset}, where now {other} is"),
                    None => {
                        format!("value {value} was read at offset {offset} and is gone; the end is {end}")
                    }
                });
            }
        }
    }
}

/// The sends of one producer keep their order.
fn orders(name: &str, partition: &Partition<'_>, findings: &mut Findings) {
    let mut by_producer: HashMap<u32, Vec<(&Send, i64)>> = HashMap::new();
    for send in &partition.sends {
        if let Outcome::Acked { offset: Some(offset), .. } = send.outcome {
            by_producer.entry(send.producer).or_default().push((send, offset));
        }
    }
    let mut producers: Vec<_> = by_producer.into_iter().collect();
    producers.sort_unstable_by_key(|(producer, _)| *producer);
    for (producer, mut sends) in producers {
        sends.sort_unstable_by_key(|(send, _)| send.number);
        for pair in sends.windows(2) {
            let ((before, first), (after, second)) = (pair[0], pair[1]);
            if second < first {
                findings.add(Kind::NonmonotonicSend, name, after.ended, || {
                    format!(
                        "producer {producer} sent {} before {}, and they are at offsets {first} and {second}",
                        before.value, after.value
                    )
                });
            }
        }
    }
}

/// A record that was sent after another was acknowledged is behind it. One that is not, was appended by a broker
/// that did not know of the other: a deposed leader, if the brokers are known to differ.
fn zombies(name: &str, partition: &Partition<'_>, findings: &mut Findings) {
    let acked = |send: &&Send| match send.outcome {
        Outcome::Acked { offset: Some(offset), broker } => Some((offset, broker)),
        _ => None,
    };
    let by_end: Vec<_> = partition.sends.iter().filter_map(|it| Some((*it, acked(it)?))).collect();
    let mut by_begin = by_end.clone();
    by_begin.sort_by_key(|(send, _)| send.began);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(&Send, (i64, Option<i32>))> = None;
    for (send, (offset, broker)) in by_begin {
        while let Some(before) = ended.next_if(|(it, _)| it.ended < send.began) {
            if highest.is_none_or(|(_, (highest, _))| highest < before.1.0) {
                highest = Some(before);
            }
        }
        let Some((before, (above, by))) = highest.filter(|(_, (highest, _))| offset < *highest) else {
            continue;
        };
        match (by, broker) {
            (Some(by), Some(broker)) if by != broker => {
                findings.add(Kind::ZombieReply, name, send.ended, || {
                    let (value, before) = (send.value, before.value);
                    format!(
                        "broker {broker} acknowledged {value} at offset {offset}, though broker {by} had \
                         acknowledged {before} at {above} before it was sent"
                    )
                });
            }
            // Told of already, by the numbers of the sends.
            _ if before.producer == send.producer => {}
            _ => findings.add(Kind::NonmonotonicSend, name, send.ended, || {
                let (value, before) = (send.value, before.value);
                format!(
                    "{value} was sent after {before} was acknowledged, and is at {offset}, before {above}"
                )
            }),
        }
    }
}
