//! Judges committed offsets: each (group, partition) is a register, read by OffsetFetch.
//!
//! An answer may be any commit that was under way or over when it came, unless a later commit was acknowledged
//! before the question was asked. Commits are later than one another if one ended before the other began, or if
//! one committer sent one after the other: a retry that lands after its successor is an anomaly (row G10).

use std::collections::{BTreeMap, HashMap};

use crate::anomaly::Kind;
use crate::event::{Commit, Event, FetchedCommit, Outcome};
use crate::history::History;
use crate::verdict::Findings;

#[derive(Default)]
struct Register<'a> {
    commits: Vec<&'a Commit>,
    fetched: Vec<&'a FetchedCommit>,
}

pub(crate) fn judge(history: &History, findings: &mut Findings) {
    let mut registers: BTreeMap<(&str, &str), Register<'_>> = BTreeMap::new();
    for event in &history.events {
        match event {
            Event::Commit(it) => registers.entry((&it.group, &it.partition)).or_default().commits.push(it),
            Event::FetchedCommit(it) => {
                registers.entry((&it.group, &it.partition)).or_default().fetched.push(it);
            }
            _ => {}
        }
    }
    for ((group, partition), mut register) in registers {
        register.commits.sort_by_key(|it| it.began);
        findings.commits_acked += register.commits.iter().filter(|it| is_acked(it)).count() as u64;
        let name = format!("{group}/{partition}");
        let mut of_offset: HashMap<i64, Vec<&Commit>> = HashMap::new();
        for commit in &register.commits {
            of_offset.entry(commit.offset).or_default().push(commit);
        }
        for fetched in &register.fetched {
            judge_answer(&name, &register.commits, &of_offset, fetched, findings);
        }
    }
}

fn is_acked(commit: &Commit) -> bool {
    matches!(commit.outcome, Outcome::Acked { .. })
}

/// Looks at few of the `commits`, which are in the order in which they began: an hour has a million of them, and answers.
fn judge_answer(
    name: &str,
    commits: &[&Commit],
    of_offset: &HashMap<i64, Vec<&Commit>>,
    fetched: &FetchedCommit,
    findings: &mut Findings,
) {
    // The acknowledged commit that began last, of those that were over before the question.
    let before = &commits[..commits.partition_point(|it| it.began < fetched.began)];
    let settled = before.iter().rev().find(|it| is_acked(it) && it.ended < fetched.began);
    let Some(offset) = fetched.offset else {
        if let Some(settled) = settled {
            findings.add(Kind::CommittedOffsetLost, name, fetched.ended, || {
                format!("no offset is committed, and {} was acknowledged", settled.offset)
            });
        }
        return;
    };
    let mut candidates = of_offset
        .get(&offset)
        .into_iter()
        .flatten()
        .filter(|it| it.began <= fetched.ended)
        .filter(|it| !matches!(it.outcome, Outcome::Refused { .. }))
        .peekable();
    if candidates.peek().is_none() {
        findings.add(Kind::CommittedOffsetPhantom, name, fetched.ended, || {
            format!("offset {offset} was answered, and nobody has committed it")
        });
        return;
    }
    let Some(settled) = settled else { return };
    let overwritten = |it: &Commit| {
        let after = is_acked(it) && it.ended < settled.began;
        after || (it.committer == settled.committer && it.began < settled.began)
    };
    if candidates.all(|it| overwritten(it)) {
        findings.add(Kind::CommittedOffsetWentBack, name, fetched.ended, || {
            format!("offset {offset} was answered, after a commit of {} was acknowledged", settled.offset)
        });
    }
}
