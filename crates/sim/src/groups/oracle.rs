//! What must hold whatever happens: rows G1 to G15 of the catalogue, as far as the group's state machine decides them.

use std::collections::{BTreeMap, BTreeSet};

use milena_group::{
    CommitOffsets, Coordinator, GroupState, Groups, Joined, Now, Refusal, Reply, RequestId, Settings, Sync,
};

use super::member::{TOPIC, partitions_of};
use super::{GROUP, PARTITIONS};

/// A commit that somebody has tried.
struct Attempt {
    generation: i32,
    member_id: String,
    /// Partition and offset.
    offsets: Vec<(i32, i64)>,
}

/// What members were told of a generation.
#[derive(Default)]
struct Told {
    /// How many members it has, as its leader heard.
    members: Option<usize>,
    /// Who has each partition: an instance where there is one, else a member.
    owners: BTreeMap<i32, String>,
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Oracle {
    attempts: BTreeMap<RequestId, Attempt>,
    by_offset: BTreeMap<i64, RequestId>,
    /// Generation and owner of whoever asked for an assignment.
    syncs: BTreeMap<RequestId, (i32, String)>,
    answered: BTreeSet<RequestId>,
    told: BTreeMap<i32, Told>,
    /// By partition the offsets that were in force at some time.
    in_force: BTreeMap<i32, BTreeSet<i64>>,
    /// Partitions whose offset the newest entry has changed.
    just_changed: BTreeSet<i32>,
    pub(super) committed: usize,
    pub(super) refused: usize,
    pub(super) read: usize,
}

impl Oracle {
    pub(super) fn generations(&self) -> usize {
        self.told.len()
    }

    /// Somebody sends a commit.
    pub(super) fn attempted(&mut self, request: RequestId, commit: &CommitOffsets) {
        let offsets: Vec<_> = commit.offsets.iter().map(|it| (it.partition, it.offset)).collect();
        self.by_offset.extend(offsets.iter().map(|(_, offset)| (*offset, request)));
        let (generation, member_id) = (commit.generation, commit.member_id.clone());
        self.attempts.insert(request, Attempt { generation, member_id, offsets });
    }

    /// Somebody asks for its assignment.
    pub(super) fn syncs(&mut self, request: RequestId, sync: &Sync) {
        let owner = sync.instance_id.clone().unwrap_or_else(|| sync.member_id.clone());
        self.syncs.insert(request, (sync.generation, owner));
    }

    /// An entry was applied.
    pub(super) fn applied(&mut self, before: &Groups, after: &Groups, now: Now, settings: &Settings) {
        self.just_changed.clear();
        for partition in 0..PARTITIONS {
            let offset = |groups: &Groups| groups.offset(GROUP, TOPIC, partition).map(|it| it.offset);
            let Some(value) = offset(after) else {
                if offset(before).is_some() {
                    may_expire(partition, before, now, settings);
                }
                continue;
            };
            if offset(before) != Some(value) {
                self.in_force.entry(partition).or_default().insert(value);
                self.just_changed.insert(partition);
                self.is_entitled(partition, value, after, now, settings);
            }
        }
    }

    /// A coordinator told an offset: what is in force (G2).
    pub(super) fn read(&mut self, partition: i32, found: Option<i64>, groups: &Groups) {
        let in_force = groups.offset(GROUP, TOPIC, partition).map(|it| it.offset);
        assert_eq!(found, in_force, "G2: an old offset of partition {partition} is told");
        self.read += 1;
    }

    /// Whether a commit that took effect was its member's to make (G4, G5, G13).
    fn is_entitled(&self, partition: i32, value: i64, after: &Groups, now: Now, settings: &Settings) {
        let attempt = &self.attempts[&self.by_offset[&value]];
        assert!(attempt.offsets.contains(&(partition, value)), "{value} was meant for another partition");
        let seen = Coordinator::new(0, now, after, settings.clone()).describe(after, GROUP);
        let seen = seen.expect("a group with offsets is known");
        if attempt.generation < 0 {
            assert_eq!(seen.state, GroupState::Empty, "G5: a commit of nobody while the group has members");
            return;
        }
        let newest = self.told.last_key_value().map_or(-1, |(generation, _)| *generation);
        assert!(
            attempt.generation >= newest,
            "G4: a commit of generation {} took effect after generation {newest} was told",
            attempt.generation
        );
        assert!(
            seen.members.iter().any(|it| it.member_id == attempt.member_id),
            "G4: a commit of {}, which is no member, took effect",
            attempt.member_id
        );
        assert_ne!(seen.state, GroupState::CompletingRebalance, "G4: nobody owns anything yet");
    }

    /// A coordinator answers, one that `leads` or one that was deposed.
    pub(super) fn answered(&mut self, request: RequestId, reply: &Reply, leads: bool) {
        assert!(self.answered.insert(request), "{request:?} is answered twice, now with {reply:?}");
        match reply {
            Reply::Join(Ok(joined)) => self.joined(joined, leads),
            Reply::Sync(Ok(synced)) => self.owns(request, &partitions_of(&synced.assignment)),
            Reply::CommitOffsets(Ok(verdicts)) => self.commit_answered(request, verdicts),
            Reply::CommitOffsets(Err(_)) => self.refused += 1,
            _ => {}
        }
    }

    /// Generations count up, and each is formed once, whoever coordinates. One that was deposed may still tell of the
    /// generation it knows, also if nobody had heard of that before: its members' commits are fenced when applied (G4).
    fn joined(&mut self, joined: &Joined, leads: bool) {
        let generation = joined.generation;
        if leads
            && !self.told.contains_key(&generation)
            && let Some((newest, _)) = self.told.last_key_value()
        {
            assert!(generation > *newest, "generation {generation} is told after {newest}");
        }
        let told = self.told.entry(generation).or_default();
        if joined.leader == joined.member_id && !joined.members.is_empty() {
            let members = joined.members.len();
            assert_eq!(
                *told.members.get_or_insert(members),
                members,
                "generation {generation} is formed twice"
            );
        }
    }

    /// A partition has one owner in a generation.
    fn owns(&mut self, request: RequestId, partitions: &[i32]) {
        let (generation, owner) = &self.syncs[&request];
        let told = self.told.entry(*generation).or_default();
        for partition in partitions {
            let first = told.owners.entry(*partition).or_insert_with(|| owner.clone());
            assert_eq!(first, owner, "two owners of partition {partition} in generation {generation}");
        }
    }

    /// An acknowledged commit is in force, or was until a later one took its place (G1, G15).
    fn commit_answered(&mut self, request: RequestId, verdicts: &[Result<(), Refusal>]) {
        let offsets = self.attempts[&request].offsets.clone();
        for ((partition, offset), verdict) in offsets.into_iter().zip(verdicts) {
            if verdict.is_err() {
                self.refused += 1;
                continue;
            }
            self.committed += 1;
            // Another of the same entry may have come right after it, also an older one that was held up on its way.
            let is_there = self.just_changed.contains(&partition)
                || self.in_force.get(&partition).is_some_and(|it| it.range(offset..).next().is_some());
            assert!(is_there, "G15: offset {offset} of partition {partition} is acknowledged, and nowhere");
        }
    }
}

/// Offsets stay (G7) unless nobody has needed them for long: the group has no members (G6).
fn may_expire(partition: i32, before: &Groups, now: Now, settings: &Settings) {
    let seen = Coordinator::new(0, now, before, settings.clone()).describe(before, GROUP);
    let state = seen.expect("a group with offsets is known").state;
    assert_eq!(
        state,
        GroupState::Empty,
        "G6: the offset of partition {partition} is gone, and its group is in use"
    );
}
