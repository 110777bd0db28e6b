//! What all groups share: requests that wait, proposals on the way, timers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::commits::Batch;
use super::live::{InFlight, LiveGroup, Member, Purpose};
use super::timers::{Timer, Timers};
use crate::command::Command;
use crate::effect::{Effect, JoinRefused, Reply};
use crate::event::{Now, ProposalId, RequestId};
use crate::groups::Groups;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::stored::command::Kind;

#[derive(Debug)]
pub(super) struct Desk {
    pub term: u64,
    pub settings: Settings,
    pub timers: Timers,
    /// Member ids given out and not yet used, over all groups.
    pub pending_members: usize,
    pub proposals: BTreeMap<u64, Target>,
    /// Requests without an answer; one that is not here gets none.
    pub waiting: BTreeMap<RequestId, Waiter>,
    next_number: u64,
}

/// Who waits for a proposal.
#[derive(Debug)]
pub(super) enum Target {
    Group(Arc<str>),
    Commits(Batch),
    /// Verdicts reached already, and `None` where the log decides.
    DeleteOffsets(RequestId, Vec<Option<Result<(), Refusal>>>),
    Housekeeping,
}

/// How a waiting request is refused, and where it may be found.
#[derive(Debug)]
pub(super) enum Waiter {
    Join { group: Arc<str>, member_id: String },
    Sync { group: Arc<str> },
    Leave,
    CommitOffsets,
    DeleteOffsets,
    DeleteGroup,
}

impl Waiter {
    pub fn refused(&self, refusal: Refusal) -> Reply {
        match self {
            Self::Join { member_id, .. } => {
                Reply::Join(Err(JoinRefused { refusal, member_id: member_id.clone() }))
            }
            Self::Sync { .. } => Reply::Sync(Err(refusal)),
            Self::Leave => Reply::Leave(Err(refusal)),
            Self::CommitOffsets => Reply::CommitOffsets(Err(refusal)),
            Self::DeleteOffsets => Reply::DeleteOffsets(Err(refusal)),
            Self::DeleteGroup => Reply::DeleteGroup(Err(refusal)),
        }
    }
}

impl Desk {
    pub fn new(term: u64, settings: Settings) -> Self {
        Self {
            term,
            settings,
            timers: Timers::default(),
            pending_members: 0,
            proposals: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
        }
    }
}

/// One call of `step`: the moment, what may be read, and where effects go.
pub(super) struct Turn<'a> {
    pub now: Now,
    pub groups: &'a Groups,
    pub desk: &'a mut Desk,
    pub effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    /// Takes a request in, or answers that too many are waiting.
    pub fn admit(&mut self, request: RequestId, waiter: Waiter) -> bool {
        if self.desk.waiting.len() >= self.desk.settings.max_waiting_requests {
            self.effects.push(Effect::Reply(request, waiter.refused(Refusal::Busy)));
            return false;
        }
        let before = self.desk.waiting.insert(request, waiter);
        assert!(before.is_none(), "request id {request:?} is used twice");
        true
    }

    /// Answers a request, unless nobody listens any more.
    pub fn reply(&mut self, request: RequestId, reply: Reply) {
        if self.desk.waiting.remove(&request).is_some() {
            self.effects.push(Effect::Reply(request, reply));
        }
    }

    pub fn refuse(&mut self, request: RequestId, refusal: Refusal) {
        if let Some(waiter) = self.desk.waiting.remove(&request) {
            self.effects.push(Effect::Reply(request, waiter.refused(refusal)));
        }
    }

    /// Refuses a join with another member id in the answer than the request's.
    pub fn refuse_join(&mut self, request: RequestId, refusal: Refusal, member_id: &str) {
        self.reply(request, Reply::Join(Err(JoinRefused { refusal, member_id: member_id.to_owned() })));
    }

    pub fn propose(&mut self, target: Target, kind: Kind) {
        let number = self.desk.next_number;
        self.desk.next_number += 1;
        self.desk.proposals.insert(number, target);
        let proposal = ProposalId { term: self.desk.term, number };
        self.effects.push(Effect::Propose(proposal, Command(kind)));
    }

    /// Proposes a change of the group; until its outcome is known the group's other changes wait.
    pub fn propose_for(&mut self, group: &mut LiveGroup, purpose: Purpose, kind: Kind) {
        assert!(group.in_flight.is_none(), "group {} has a proposal in flight", group.id);
        self.propose(Target::Group(Arc::clone(&group.id)), kind);
        group.in_flight = Some(InFlight { purpose, replies: Vec::new() });
    }

    /// Answers when the group's proposal is committed, or now if there is none.
    pub fn reply_when_stored(&mut self, group: &mut LiveGroup, request: RequestId, reply: Reply) {
        match &mut group.in_flight {
            Some(in_flight) => in_flight.replies.push((request, reply)),
            None => self.reply(request, reply),
        }
    }

    /// The member has shown life: its session ends this much later.
    pub fn extend_session(&mut self, group: &Arc<str>, member: &mut Member) {
        let timeout_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
        self.set_session(group, member, timeout_ms);
    }

    pub fn set_session(&mut self, group: &Arc<str>, member: &mut Member, timeout_ms: u64) {
        let at = self.now.monotonic_ms.saturating_add(timeout_ms);
        let id = &member.id;
        self.desk.timers.set(&mut member.alarm, at, || Timer::Member(Arc::clone(group), Arc::clone(id)));
    }

    pub fn set_group_alarm(&mut self, group: &mut LiveGroup, after_ms: u64) {
        let at = self.now.monotonic_ms.saturating_add(after_ms);
        let id = &group.id;
        self.desk.timers.set(&mut group.alarm, at, || Timer::Group(Arc::clone(id)));
    }

    /// Takes a member out of the group, with its timer; another becomes leader if it was (first by id).
    pub fn remove_member(&mut self, group: &mut LiveGroup, member_id: &str) -> Option<Member> {
        group.pending_syncs.remove(member_id);
        let member = group.members.remove(member_id)?;
        if let Some(instance) = &member.instance_id {
            group.statics.remove(instance);
        }
        if group.is_leader(member_id) {
            group.leader = group.members.keys().next().cloned();
        }
        let timer = Timer::Member(Arc::clone(&group.id), Arc::clone(&member.id));
        self.desk.timers.forget(member.alarm, timer);
        Some(member)
    }

    /// Takes back a member id that was given out; whether it was.
    pub fn remove_pending(&mut self, group: &mut LiveGroup, member_id: &str) -> bool {
        let Some((id, alarm)) = group.pending_joins.remove_entry(member_id) else { return false };
        self.desk.timers.forget(alarm, Timer::Member(Arc::clone(&group.id), id));
        self.desk.pending_members -= 1;
        true
    }
}
