//! Properties over random conversations of several clients with a coordinator that loses proposals and
//! leadership.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::acts::{Act, act};
use super::lab::{Lab, Trace};
use crate::stored::command::Kind;
use crate::{
    Answer, Command, CommitOffsets, DeleteGroup, Event, Failure, Groups, Heartbeat, Join, Leave,
    LeavingMember, OffsetToCommit, Protocol, Refusal, Reply, RequestId, Settings, Sync, TopicId,
};

/// A member as its client knows it.
#[derive(Debug, Clone)]
struct Known {
    group: String,
    member_id: String,
    generation: i32,
    instance_id: Option<String>,
}

#[derive(Debug)]
enum Asked {
    Join { group: String, member_id: String, instance_id: Option<String> },
    Sync { group: String, generation: i32, member_id: String },
    Commit { group: String, partition: i32, offset: i64 },
    Other,
}

struct World {
    lab: Lab,
    asked: BTreeMap<RequestId, Asked>,
    /// Requests whose connection was closed: they get no answer.
    gone: Vec<RequestId>,
    known: Vec<Known>,
    /// Per group and partition the newest offset whose commit was acknowledged.
    acked: BTreeMap<(String, i32), i64>,
    next_offset: i64,
}

fn group_name(group: u8) -> String {
    format!("g{group}")
}

impl World {
    fn new() -> Self {
        let settings =
            Settings { initial_rebalance_delay_ms: 500, max_batch_commits: 2, ..Settings::default() };
        Self {
            lab: Lab::new(settings),
            asked: BTreeMap::new(),
            gone: Vec::new(),
            known: Vec::new(),
            acked: BTreeMap::new(),
            next_offset: 0,
        }
    }

    fn ask(&mut self, asked: Asked) -> RequestId {
        let request = RequestId(self.asked.len() as u64);
        self.asked.insert(request, asked);
        request
    }

    fn pick(&self, who: usize) -> Option<Known> {
        let len = self.known.len();
        (len > 0).then(|| self.known[who % len].clone())
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::JoinNew { group, instance, knows, skips } => {
                let known = Known {
                    group: group_name(group),
                    member_id: String::new(),
                    generation: -1,
                    instance_id: instance.map(|it| format!("i{it}")),
                };
                self.join(known, knows, skips, false);
            }
            Act::Rejoin { who, sticky } => {
                if let Some(known) = self.pick(who) {
                    self.join(known, true, true, sticky);
                }
            }
            Act::Sync { who } => self.sync(who),
            Act::Heartbeat { who } => {
                let Some(Known { group, member_id, generation, instance_id }) = self.pick(who) else {
                    return;
                };
                let request = self.ask(Asked::Other);
                let heartbeat = Heartbeat { group, member_id, instance_id, generation };
                self.lab.step(Event::Heartbeat(request, heartbeat));
            }
            Act::Leave { who } => {
                let Some(Known { group, member_id, instance_id, .. }) = self.pick(who) else { return };
                let request = self.ask(Asked::Other);
                let members = vec![LeavingMember { member_id, instance_id }];
                self.lab.step(Event::Leave(request, Leave { group, members }));
            }
            Act::Commit { who, partition } => {
                if let Some(known) = self.pick(who) {
                    self.commit(known, partition);
                }
            }
            Act::CommitSimple { group, partition } => {
                let (group, member_id) = (group_name(group), String::new());
                self.commit(Known { group, member_id, generation: -1, instance_id: None }, partition);
            }
            Act::Delete { group } => {
                let group = group_name(group);
                let request = self.ask(Asked::Other);
                self.lab.step(Event::DeleteGroup(request, DeleteGroup { group }));
            }
            Act::Disconnect { request } => {
                let request = RequestId(request);
                if self.asked.contains_key(&request) {
                    self.gone.push(request);
                    self.lab.step(Event::Disconnected(vec![request]));
                }
            }
            Act::Wait { ms } => self.lab.advance(ms, |_| {}),
            Act::Hold => self.lab.holds = true,
            Act::Release => self.lab.release(),
            Act::Fail { applies } => self.lab.fail(Failure::Indeterminate, applies),
            Act::FailOver { survive } => self.lab.fail_over(survive),
            Act::Rally { group } => self.rally(&group_name(group)),
        }
        self.observe();
        let next = self.lab.coordinator.next_deadline().expect("expiry is always due some time");
        assert!(next > self.lab.now.monotonic_ms, "deadline {next} has passed");
    }

    fn rally(&mut self, group: &str) {
        for known in self.known.clone().into_iter().filter(|it| it.group == group) {
            self.join(known, true, true, false);
        }
        self.lab.advance(1_000, |_| {});
        self.observe();
        for who in 0..self.known.len() {
            if self.known[who].group == group {
                self.sync(who);
            }
        }
    }

    /// A client remembers what it was told last, and forgets an id that is no longer good.
    fn learn(&mut self, known: Known, is_good: bool) {
        self.known.retain(|it| (&it.group, &it.member_id) != (&known.group, &known.member_id));
        if is_good {
            self.known.push(known);
        }
    }

    fn join(&mut self, known: Known, knows: bool, skips: bool, sticky: bool) {
        let Known { group, member_id, instance_id, .. } = known;
        let request = self.ask(Asked::Join {
            group: group.clone(),
            member_id: member_id.clone(),
            instance_id: instance_id.clone(),
        });
        let mut protocols = vec![Protocol { name: "range".to_owned(), metadata: Bytes::from_static(b"r") }];
        if sticky {
            protocols.push(Protocol { name: "sticky".to_owned(), metadata: Bytes::new() });
        }
        let join = Join {
            group,
            member_id,
            instance_id,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: Some(15_000),
            protocol_type: "consumer".to_owned(),
            protocols,
            requires_known_member_id: knows,
            supports_skip_assignment: skips,
            fresh_uuid: request.0.to_string(),
        };
        self.lab.step(Event::Join(request, join));
    }

    fn sync(&mut self, who: usize) {
        let Some(Known { group, member_id, generation, instance_id }) = self.pick(who) else { return };
        let asked = Asked::Sync { group: group.clone(), generation, member_id: member_id.clone() };
        let request = self.ask(asked);
        // Each attempt assigns something else, so that two assignments of one generation would show.
        let peers = self.known.iter().filter(|it| it.group == group);
        let assignments = peers
            .map(|it| (it.member_id.clone(), Bytes::from(format!("{} by {}", it.member_id, request.0))))
            .collect();
        let (protocol_type, protocol_name) = (None, None);
        let sync =
            Sync { group, member_id, instance_id, generation, protocol_type, protocol_name, assignments };
        self.lab.step(Event::Sync(request, sync));
    }

    fn commit(&mut self, known: Known, partition: i32) {
        let Known { group, member_id, generation, instance_id } = known;
        self.next_offset += 1;
        let offset = self.next_offset;
        let request = self.ask(Asked::Commit { group: group.clone(), partition, offset });
        let commit = CommitOffsets {
            group,
            member_id,
            instance_id,
            generation,
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets: vec![OffsetToCommit {
                topic_id: TopicId([1; 16]),
                topic: "t".to_owned(),
                partition,
                offset,
                leader_epoch: 0,
                metadata: String::new(),
            }],
        };
        self.lab.step(Event::CommitOffsets(request, commit));
    }

    /// Learns from answers, as clients do, and checks them.
    fn observe(&mut self) {
        for trace in std::mem::take(&mut self.lab.trace) {
            let (request, reply) = match trace {
                Trace::Replied(request, reply) => (request, reply),
                Trace::Logged(command) => {
                    // What was acknowledged before a deletion may go with it.
                    if let Some(group) = command.strip_prefix("delete ") {
                        self.acked.retain(|(of, _), _| of != group);
                    }
                    continue;
                }
            };
            match (reply, &self.asked[&request]) {
                (Reply::Join(Ok(it)), Asked::Join { group, instance_id, .. }) => {
                    let (group, instance_id) = (group.clone(), instance_id.clone());
                    let (member_id, generation) = (it.member_id, it.generation);
                    self.learn(Known { group, member_id, generation, instance_id }, true);
                }
                (Reply::Join(Err(it)), Asked::Join { group, member_id, .. }) => {
                    let is_good = it.refusal == Refusal::MemberIdRequired;
                    let is_lost = matches!(it.refusal, Refusal::UnknownMemberId | Refusal::FencedInstanceId);
                    let member_id = if is_good { it.member_id } else { member_id.clone() };
                    if is_good || is_lost {
                        let group = group.clone();
                        let known = Known { group, member_id, generation: -1, instance_id: None };
                        self.learn(known, is_good);
                    }
                }
                (Reply::Sync(Ok(it)), Asked::Sync { group, generation, member_id }) => {
                    self.check_assignment(group, *generation, member_id, &it.assignment);
                }
                (Reply::CommitOffsets(Ok(_)), Asked::Commit { group, partition, offset }) => {
                    let acked = self.acked.entry((group.clone(), *partition)).or_default();
                    *acked = (*acked).max(*offset);
                }
                _ => {}
            }
        }
    }

    /// The log has this assignment for the member, or for the one whose place it took, in that generation;
    /// a deleted group may have it twice.
    fn check_assignment(&self, group: &str, generation: i32, member_id: &str, assignment: &Bytes) {
        let mut rounds: Vec<(i32, Option<BTreeMap<String, Bytes>>)> = Vec::new();
        let mut former = BTreeMap::new();
        for (command, _) in self.effective() {
            match command {
                Kind::FormGeneration(it) if it.group == group => rounds.push((it.generation, None)),
                Kind::StoreAssignment(it) if it.group == group => {
                    let all = it.assignments.into_iter().map(|it| (it.member_id, it.assignment)).collect();
                    let round = rounds.last_mut().expect("a generation before its assignment");
                    assert!(round.1.replace(all).is_none(), "second assignment of generation {}", round.0);
                }
                Kind::ReplaceMember(it) if it.group == group => {
                    former.insert(it.member.expect("has a member").member_id, it.old_member_id);
                }
                _ => {}
            }
        }
        let agrees = |assigned: &BTreeMap<String, Bytes>| {
            let mut id = member_id;
            while let (None, Some(before)) = (assigned.get(id), former.get(id)) {
                id = before;
            }
            assigned.get(id).cloned().unwrap_or_default() == *assignment
        };
        let found = rounds.iter().any(|(it, all)| *it == generation && all.as_ref().is_some_and(agrees));
        assert!(
            found,
            "{member_id} was told {assignment:?} in generation {generation} of {group}: {rounds:?}"
        );
    }

    /// The commands of the log that were not stale, with their answers.
    fn effective(&self) -> Vec<(Kind, Answer)> {
        let mut groups = Groups::default();
        let decoded = self.lab.log.iter().map(|(index, bytes)| {
            let command = Command::decode(bytes.as_slice()).expect("own bytes decode");
            let answer = groups.apply(*index, &command, &mut Vec::new());
            (command.0, answer)
        });
        decoded.filter(|(_, answer)| *answer != Answer::Stale).collect()
    }

    /// Generations of a group only grow, until it is deleted.
    fn check_generations(&self) {
        let mut last: BTreeMap<String, i32> = BTreeMap::new();
        for (command, answer) in self.effective() {
            match (command, answer) {
                (Kind::FormGeneration(it), _) => {
                    let before = last.insert(it.group.clone(), it.generation).unwrap_or(0);
                    assert!(it.generation > before, "generation {} after {before}", it.generation);
                }
                (Kind::DeleteGroup(it), Answer::GroupDeleted(Ok(()))) => {
                    last.remove(&it.group);
                }
                _ => {}
            }
        }
    }

    fn check_offsets(&self) {
        for ((group, partition), acked) in &self.acked {
            let found = self.lab.groups.offset(group, TopicId([1; 16]), *partition).map(|it| it.offset);
            assert!(found >= Some(*acked), "{group}-{partition}: {acked} acknowledged, {found:?} found");
        }
    }

    /// Everybody stops talking; all that waits must get its answer.
    fn settle(&mut self) {
        self.lab.release();
        self.lab.advance(400_000, |_| {});
        self.observe();
        for (request, asked) in &self.asked {
            let is_answered = self.lab.answered.contains(request) || self.gone.contains(request);
            assert!(is_answered, "{request:?} {asked:?} never answered");
        }
    }
}

proptest! {
    #[test]
    fn random_conversations_keep_the_promises(acts in vec(act(), 1..80)) {
        let mut world = World::new();
        for act in acts {
            world.perform(act);
            world.check_offsets();
        }
        world.settle();
        world.check_offsets();
        world.check_generations();
        world.lab.check_state();
    }

    #[test]
    fn arbitrary_bytes_neither_decode_to_panics_nor_restore(
        bytes in vec(any::<u8>(), 0..200),
        key in vec(any::<u8>(), 0..40),
    ) {
        let _ = Command::decode(bytes.as_slice()).map(|it| {
            Groups::default().apply(1, &it, &mut Vec::new())
        });
        let _ = crate::subscribed_topics(&bytes);
        let _ = Groups::restore([(key, bytes)]);
    }
}
