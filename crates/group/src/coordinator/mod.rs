//! The volatile half: on the Raft leader, for one term. Takes events, returns effects, and waits for nothing.

mod admin;
mod commits;
mod describe;
mod desk;
mod join;
mod live;
mod members;
mod outcomes;
mod rebalance;
mod sync;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use commits::is_longer;
pub use describe::{DescribedMember, Description, ListedGroup};

use crate::GroupState;
use crate::effect::{Effect, JoinRefused, Reply};
use crate::event::{DeleteOffsets, Event, Heartbeat, Join, Now, RequestId};
use crate::groups::Groups;
use crate::refusal::Refusal;
use crate::settings::Settings;
use admin::Expiry;
use commits::CommitQueue;
use desk::{Desk, Turn, Waiter};
use live::{Deferred, LiveGroup};
use timers::{Timer, Timers};

/// Coordinator of every group, on the Raft leader, for one term.
///
/// Call [`Coordinator::step`] with each event as it comes, and with [`Event::Tick`] when
/// [`Coordinator::next_deadline`] has come; perform the effects in order. Idle groups cost nothing: only
/// those with members, or about to have some, are kept here.
#[derive(Debug)]
pub struct Coordinator {
    desk: Desk,
    live: LiveGroups,
    commits: CommitQueue,
    expiry: Expiry,
}

/// Groups with members, or with requests on the way. All others are as their record says.
///
/// That is, empty; unless a command that was given up took effect later. Such a group is attended to when
/// someone asks for it, or when expiry comes by.
#[derive(Debug, Default)]
struct LiveGroups(BTreeMap<Arc<str>, LiveGroup>);

impl LiveGroups {
    fn get(&self, id: &str) -> Option<&LiveGroup> {
        self.0.get(id)
    }

    fn iter(&self) -> impl Iterator<Item = &LiveGroup> {
        self.0.values()
    }

    /// The group, if it has members or requests on the way.
    fn find(&mut self, turn: &mut Turn<'_>, id: &str) -> Option<&mut LiveGroup> {
        if !self.0.contains_key(id) && turn.groups.record(id).is_some_and(|it| !it.members.is_empty()) {
            let group = self.open(turn, id);
            self.close(group, &mut turn.desk.timers);
        }
        self.0.get_mut(id)
    }

    /// Takes the group out to work on it; [`LiveGroups::close`] puts it back.
    fn open(&mut self, turn: &mut Turn<'_>, id: &str) -> LiveGroup {
        self.0.remove(id).unwrap_or_else(|| match turn.groups.record(id) {
            Some(record) => {
                let mut group = LiveGroup::from_record(id, record);
                turn.grant_sessions(&mut group);
                group
            }
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
    /// The coordinator of a term that has just begun; `groups` must have every entry of former terms
    /// applied. All members get a full session (G12), and groups stay in the generation that the log has
    /// (GR-16).
    pub fn new(term: u64, now: Now, groups: &Groups, settings: Settings) -> Self {
        let mut desk = Desk::new(term, settings);
        let mut live = LiveGroups::default();
        let mut expiry = Expiry::default();
        expiry.schedule(now.monotonic_ms, &mut desk);
        let mut turn = Turn { now, groups, desk: &mut desk, effects: &mut Vec::new() };
        for (id, _) in groups.records() {
            live.find(&mut turn, id);
        }
        Self { desk, live, commits: CommitQueue::default(), expiry }
    }

    /// Handles one event, then what is due at `now`; pushes what must be done, in order, onto `effects`.
    ///
    /// `now` never goes back, and `groups` is at least as new as the latest [`Event::Committed`].
    pub fn step(&mut self, now: Now, event: Event, groups: &Groups, effects: &mut Vec<Effect>) {
        let Self { desk, live, commits, expiry } = self;
        let before = effects.len();
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
                let group = live.find(&mut turn, &commit.group);
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
        // What this step proposes comes after the commits that were there before: a member that commits and then
        // leaves must not find itself fenced.
        if !commits.is_empty() && turn.effects[before..].iter().any(Effect::is_proposal) {
            let later = turn.effects.split_off(before);
            commits.flush(&mut turn);
            turn.effects.extend(later);
        }
        commits.pump(&mut turn);
    }

    /// When to call `step` with [`Event::Tick`] at the latest, on the monotonic clock. Nothing needs to be
    /// done before.
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
        let outcome = match live.find(self, &heartbeat.group) {
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

    fn on_delete_offsets(&mut self, live: &mut LiveGroups, request: RequestId, delete: DeleteOffsets) {
        if delete.group.is_empty() {
            let reply = Waiter::DeleteOffsets.refused(Refusal::InvalidGroupId);
            return self.effects.push(Effect::Reply(request, reply));
        }
        let group = live.find(self, &delete.group);
        self.delete_offsets(group.as_deref(), request, delete);
    }

    fn on_disconnected(&mut self, live: &mut LiveGroups, requests: Vec<RequestId>) {
        for request in requests {
            // What was proposed or deferred goes on, as it would in Kafka; only nobody is told.
            match self.desk.waiting.remove(&request) {
                Some(Waiter::Join { group, .. }) if live.0.contains_key(&group) => {
                    let mut group = live.open(self, &group);
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
        let mut group = live.open(self, id);
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
