//! The volatile half: on the Raft leader, for one term. Takes events, returns effects, and waits for nothing.

mod admin;
mod commits;
mod describe;
mod desk;
mod join;
mod live;
mod members;
mod rebalance;
mod sync;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use describe::{DescribedMember, Description, ListedGroup};

use crate::GroupState;
use crate::effect::{Effect, JoinRefused, Reply};
use crate::event::{
    CommitOffsets, DeleteOffsets, Event, Failure, Heartbeat, Join, Now, ProposalId, RequestId,
};
use crate::groups::{Answer, Groups};
use crate::refusal::Refusal;
use crate::settings::Settings;
use admin::Expiry;
use commits::CommitQueue;
use desk::{Desk, Target, Turn, Waiter};
use live::{Deferred, InFlight, LiveGroup, Purpose};
use timers::{Timer, Timers};

/// Coordinator of every group, on the Raft leader, for one term.
///
/// Call [`Coordinator::step`] with each event as it comes, and with [`Event::Tick`] when
/// [`Coordinator::next_deadline`] has come; perform the effects in order. Idle groups cost nothing: only those with
/// members, or about to have some, are kept here.
#[derive(Debug)]
pub struct Coordinator {
    desk: Desk,
    live: LiveGroups,
    commits: CommitQueue,
    expiry: Expiry,
}

/// Groups with members, or with requests on the way. All others are as their record says: empty.
#[derive(Debug, Default)]
struct LiveGroups(BTreeMap<Arc<str>, LiveGroup>);

impl LiveGroups {
    fn get(&self, id: &str) -> Option<&LiveGroup> {
        self.0.get(id)
    }

    fn iter(&self) -> impl Iterator<Item = &LiveGroup> {
        self.0.values()
    }

    /// Takes the group out to work on it; [`LiveGroups::close`] puts it back.
    fn open(&mut self, groups: &Groups, id: &str) -> LiveGroup {
        self.0.remove(id).unwrap_or_else(|| match groups.record(id) {
            Some(record) => LiveGroup::from_record(id, record),
            None => LiveGroup::vacant(id),
        })
    }

    fn close(&mut self, group: LiveGroup, timers: &mut Timers) {
        if group.is_idle() {
            timers.forget(group.alarm, Timer::Group(group.id));
        } else {
            self.0.insert(Arc::clone(&group.id), group);
        }
    }
}

impl Coordinator {
    /// The coordinator of a term that has just begun; `groups` must have every entry of former terms applied. All
    /// members get a full session (G12), and groups stay in the generation that the log has (GR-16).
    pub fn new(term: u64, now: Now, groups: &Groups, settings: Settings) -> Self {
        let mut desk = Desk::new(term, settings);
        let mut live = LiveGroups::default();
        let mut expiry = Expiry::default();
        expiry.schedule(now.monotonic_ms, &mut desk);
        let mut turn = Turn { now, groups, desk: &mut desk, effects: &mut Vec::new() };
        for (id, record) in groups.records() {
            if !record.members.is_empty() {
                let mut group = LiveGroup::from_record(id, record);
                turn.grant_sessions(&mut group);
                live.close(group, &mut turn.desk.timers);
            }
        }
        Self { desk, live, commits: CommitQueue::default(), expiry }
    }

    /// Handles one event, then what is due at `now`; pushes what must be done, in order, onto `effects`.
    ///
    /// `now` never goes back, and `groups` is at least as new as the latest [`Event::Committed`].
    pub fn step(&mut self, now: Now, event: Event, groups: &Groups, effects: &mut Vec<Effect>) {
        let Self { desk, live, commits, expiry } = self;
        let mut turn = Turn { now, groups, desk, effects };
        match event {
            Event::Join(request, join) => turn.on_join(live, request, join),
            Event::Heartbeat(request, heartbeat) => turn.on_heartbeat(live, request, &heartbeat),
            Event::Sync(request, sync) => {
                let waiter = Waiter::Sync { group: Arc::from(sync.group.as_str()) };
                let id = sync.group.clone();
                turn.on_change(live, request, waiter, &id, Deferred::Sync(request, sync));
            }
            Event::Leave(request, leave) => {
                let id = leave.group.clone();
                turn.on_change(live, request, Waiter::Leave, &id, Deferred::Leave(request, leave));
            }
            Event::DeleteGroup(request, delete) => {
                if turn.admit(request, Waiter::DeleteGroup) {
                    turn.enqueue(live, &delete.group, Deferred::Delete(request));
                }
            }
            Event::CommitOffsets(request, commit) => {
                let CommitOffsets { group, .. } = &commit;
                let group = live.0.get_mut(group.as_str());
                commits.commit(&mut turn, group, request, commit);
            }
            Event::DeleteOffsets(request, delete) => turn.on_delete_offsets(live, request, delete),
            Event::TopicsDeleted(topics) => turn.delete_topics(&topics),
            Event::Committed { proposal, answer } => turn.on_committed(live, commits, proposal, answer),
            Event::ProposalFailed { proposal, failure } => {
                turn.on_failed(live, commits, proposal, failure);
            }
            Event::Disconnected(requests) => turn.on_disconnected(live, requests),
            Event::Tick => {}
        }
        while let Some(timer) = turn.desk.timers.pop(now.monotonic_ms) {
            turn.on_timer(live, expiry, timer);
        }
        commits.pump(&mut turn);
    }

    /// When to call `step` with [`Event::Tick`] at the latest, on the monotonic clock. Nothing needs to be done
    /// before.
    pub fn next_deadline(&self) -> Option<u64> {
        self.desk.timers.next()
    }

    /// The term is over: answers every waiting request with NOT_COORDINATOR (GR-15).
    pub fn resign(self, effects: &mut Vec<Effect>) {
        for (request, waiter) in self.desk.waiting {
            effects.push(Effect::Reply(request, waiter.refused(Refusal::NotCoordinator)));
        }
    }
}

/// Each event finds its group, and waits there if the group's proposal is on its way.
impl Turn<'_> {
    fn on_join(&mut self, live: &mut LiveGroups, request: RequestId, join: Join) {
        if let Err(refusal) = join::check_join(&join, &self.desk.settings) {
            let reply = Reply::Join(Err(JoinRefused { refusal, member_id: join.member_id }));
            return self.effects.push(Effect::Reply(request, reply));
        }
        let id = join.group.clone();
        let waiter = Waiter::Join { group: Arc::from(id.as_str()), member_id: join.member_id.clone() };
        if self.admit(request, waiter) {
            self.enqueue(live, &id, Deferred::Join(request, join));
        }
    }

    fn on_heartbeat(&mut self, live: &mut LiveGroups, request: RequestId, heartbeat: &Heartbeat) {
        let outcome = match live.0.get_mut(heartbeat.group.as_str()) {
            Some(group) => self.heartbeat(group, heartbeat),
            None if heartbeat.group.is_empty() => Err(Refusal::InvalidGroupId),
            None => Err(Refusal::UnknownMemberId),
        };
        self.effects.push(Effect::Reply(request, Reply::Heartbeat(outcome)));
    }

    /// Requests that may change the group, and do not go with an empty group id (FC-5).
    fn on_change(
        &mut self,
        live: &mut LiveGroups,
        request: RequestId,
        waiter: Waiter,
        id: &str,
        change: Deferred,
    ) {
        if id.is_empty() {
            let reply = waiter.refused(Refusal::InvalidGroupId);
            self.effects.push(Effect::Reply(request, reply));
        } else if self.admit(request, waiter) {
            self.enqueue(live, id, change);
        }
    }

    fn on_delete_offsets(&mut self, live: &LiveGroups, request: RequestId, delete: DeleteOffsets) {
        if delete.group.is_empty() {
            let reply = Waiter::DeleteOffsets.refused(Refusal::InvalidGroupId);
            return self.effects.push(Effect::Reply(request, reply));
        }
        let group = live.get(&delete.group);
        self.delete_offsets(group, request, delete);
    }

    fn on_disconnected(&mut self, live: &mut LiveGroups, requests: Vec<RequestId>) {
        for request in requests {
            // What was proposed or deferred goes on, as it would in Kafka; only nobody is told.
            match self.desk.waiting.remove(&request) {
                Some(Waiter::Join { group, .. }) if live.0.contains_key(&group) => {
                    let mut group = live.open(self.groups, &group);
                    group.deferred.retain(|it| !matches!(it, Deferred::Join(id, _) if *id == request));
                    if group.in_flight.is_none() {
                        self.join_abandoned(&mut group, request);
                    }
                    self.settle(live, group);
                }
                Some(Waiter::Sync { group }) => {
                    if let Some(group) = live.0.get_mut(&group) {
                        self.sync_abandoned(group, request);
                    }
                }
                _ => {}
            }
        }
    }

    fn on_timer(&mut self, live: &mut LiveGroups, expiry: &mut Expiry, timer: Timer) {
        let now = self.now.monotonic_ms;
        match timer {
            Timer::Expiry => expiry.ring(self, live),
            Timer::Group(id) => {
                let Some(group) = live.0.get_mut(&id) else { return };
                let timer = || Timer::Group(Arc::clone(&id));
                if self.desk.timers.rings(&mut group.alarm, now, timer) {
                    self.enqueue(live, &id, Deferred::GroupTimer);
                }
            }
            Timer::Member(id, member_id) => {
                let Some(group) = live.0.get_mut(&id) else { return };
                let alarm = match group.members.get_mut(&member_id) {
                    Some(member) => Some(&mut member.alarm),
                    None => group.pending_joins.get_mut(&member_id),
                };
                let Some(alarm) = alarm else { return };
                let timer = || Timer::Member(Arc::clone(&id), Arc::clone(&member_id));
                if self.desk.timers.rings(alarm, now, timer) {
                    self.enqueue(live, &id, Deferred::MemberTimer(member_id));
                }
            }
        }
    }

    /// Does the change now, or when the group's proposal on its way is decided.
    fn enqueue(&mut self, live: &mut LiveGroups, id: &str, change: Deferred) {
        let mut group = live.open(self.groups, id);
        group.deferred.push_back(change);
        self.settle(live, group);
    }

    /// Does what waits, as far as no proposal is on its way, and puts the group back.
    fn settle(&mut self, live: &mut LiveGroups, mut group: LiveGroup) {
        while group.in_flight.is_none()
            && let Some(change) = group.deferred.pop_front()
        {
            self.perform(&mut group, change);
        }
        live.close(group, &mut self.desk.timers);
    }

    fn perform(&mut self, group: &mut LiveGroup, change: Deferred) {
        let now = self.now.monotonic_ms;
        match change {
            Deferred::Join(request, join) => self.join(group, request, join),
            Deferred::Sync(request, sync) => self.sync(group, request, sync),
            Deferred::Leave(request, leave) => self.leave(group, request, leave),
            Deferred::Delete(request) => self.delete_group(group, request),
            Deferred::GroupTimer if !group.alarm.is_due(now) => {}
            Deferred::GroupTimer => match group.state {
                GroupState::Empty => {}
                GroupState::PreparingRebalance => self.join_phase_over(group),
                GroupState::CompletingRebalance | GroupState::Stable => self.sync_phase_over(group),
            },
            Deferred::MemberTimer(member_id) => {
                let alarm = match group.members.get(&member_id) {
                    Some(member) => Some(&member.alarm),
                    None => group.pending_joins.get(&member_id),
                };
                if alarm.is_some_and(|it| it.is_due(now)) {
                    self.session_over(group, &member_id);
                }
            }
        }
    }
}

/// Outcomes of proposals.
impl Turn<'_> {
    /// The entry of this proposal, of this term, and no other, was applied (G1).
    fn on_committed(
        &mut self,
        live: &mut LiveGroups,
        commits: &mut CommitQueue,
        proposal: ProposalId,
        answer: Answer,
    ) {
        match (self.target_of(proposal), answer) {
            (Some(Target::Commits(batch)), Answer::Commits(verdicts)) => {
                commits.applied(self, batch, verdicts);
            }
            (Some(Target::DeleteOffsets(request, before)), Answer::OffsetsDeleted(decided)) => {
                self.offsets_deleted(request, before, decided);
            }
            (Some(Target::Group(id)), answer) => {
                let mut group = live.open(self.groups, &id);
                match (group.in_flight.take(), answer) {
                    (Some(in_flight), Answer::Membership { revision }) => {
                        self.stored(&mut group, in_flight, revision);
                    }
                    (
                        Some(InFlight { purpose: Purpose::Deletion(request), .. }),
                        Answer::GroupDeleted(it),
                    ) => {
                        self.group_deleted(&mut group, request, it);
                    }
                    (in_flight, Answer::Stale) => {
                        self.reload(&mut group, in_flight, Refusal::CoordinatorNotAvailable);
                    }
                    (_, answer) => unreachable!("answer {answer:?} to a change of group {id}"),
                }
                self.settle(live, group);
            }
            (None | Some(Target::Housekeeping), _) => {}
            (Some(target), answer) => unreachable!("answer {answer:?} to {target:?}"),
        }
    }

    fn on_failed(
        &mut self,
        live: &mut LiveGroups,
        commits: &mut CommitQueue,
        proposal: ProposalId,
        failure: Failure,
    ) {
        let refusal = match failure {
            Failure::LeadershipLost => Refusal::NotCoordinator,
            Failure::Indeterminate => Refusal::CoordinatorNotAvailable,
        };
        match self.target_of(proposal) {
            Some(Target::Commits(batch)) => commits.failed(self, batch, refusal),
            Some(Target::DeleteOffsets(request, _)) => self.refuse(request, refusal),
            Some(Target::Group(id)) => {
                let mut group = live.open(self.groups, &id);
                let in_flight = group.in_flight.take();
                self.reload(&mut group, in_flight, refusal);
                self.settle(live, group);
            }
            Some(Target::Housekeeping) | None => {}
        }
    }

    fn target_of(&mut self, proposal: ProposalId) -> Option<Target> {
        if proposal.term != self.desk.term {
            return None;
        }
        self.desk.proposals.remove(&proposal.number)
    }

    fn stored(&mut self, group: &mut LiveGroup, in_flight: InFlight, revision: u64) {
        group.revision = revision;
        match in_flight.purpose {
            Purpose::Generation { generation, protocol_name } => {
                self.generation_formed(group, generation, protocol_name);
            }
            Purpose::Assignment(assignments) => self.assignment_stored(group, assignments),
            Purpose::Emptying => {
                group.generation = group.generation.saturating_add(1);
                group.becomes_empty();
            }
            Purpose::Replacement | Purpose::Deletion(_) => {}
        }
        for (request, reply) in in_flight.replies {
            self.reply(request, reply);
        }
    }

    /// What became of the proposal is not known, or not what was expected: the group starts again from the log, and
    /// whoever waited asks again.
    fn reload(&mut self, group: &mut LiveGroup, in_flight: Option<InFlight>, refusal: Refusal) {
        if let Some(InFlight { purpose, replies, .. }) = in_flight {
            for (request, _) in replies {
                self.refuse(request, refusal);
            }
            if let Purpose::Deletion(request) = purpose {
                self.refuse(request, refusal);
            }
        }
        let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
        for member_id in members {
            let Some(member) = self.remove_member(group, &member_id) else { continue };
            for request in member.awaiting_join.into_iter().chain(member.awaiting_sync) {
                self.refuse(request, refusal);
            }
        }
        let record = self.groups.record(&group.id).cloned().unwrap_or_default();
        let mut fresh = LiveGroup::from_record(&group.id, &record);
        fresh.deferred = std::mem::take(&mut group.deferred);
        fresh.pending_joins = std::mem::take(&mut group.pending_joins);
        fresh.alarm = group.alarm;
        fresh.alarm.stop();
        self.grant_sessions(&mut fresh);
        *group = fresh;
    }

    /// A full session for every member: nobody knows when they were last heard (G12).
    fn grant_sessions(&mut self, group: &mut LiveGroup) {
        for member in group.members.values_mut() {
            self.extend_session(&group.id, member);
        }
        if group.state == GroupState::CompletingRebalance {
            let timeout_ms = group.rebalance_timeout_ms();
            self.set_group_alarm(group, timeout_ms);
        }
    }
}
