//! Judges assignments: within one generation of a group, a partition has one owner.

use std::collections::BTreeMap;

use crate::anomaly::Kind;
use crate::event::Event;
use crate::history::History;
use crate::verdict::Findings;

pub(crate) fn judge(history: &History, findings: &mut Findings) {
    let mut owners: BTreeMap<(&str, i32, &str), &str> = BTreeMap::new();
    for event in &history.events {
        let Event::Assigned(it) = event else { continue };
        let Some((group, generation, member)) = &it.membership else { continue };
        for partition in &it.partitions {
            let owner = owners.entry((group, *generation, partition)).or_insert(member);
            if *owner != member {
                findings.add(Kind::TwoOwners, &format!("{group}/{partition}"), it.at, || {
                    format!("{owner} and {member} both own it in generation {generation}")
                });
            }
        }
    }
}
