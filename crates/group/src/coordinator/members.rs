//! Signs of life, and their end: Heartbeat, LeaveGroup, sessions that run out.

use std::sync::Arc;

use super::desk::Turn;
use super::live::LiveGroup;
use crate::GroupState;
use crate::effect::{LeftMember, Reply};
use crate::event::{Heartbeat, Leave, LeavingMember, RequestId};
use crate::fence::check_member;
use crate::refusal::Refusal;

impl Turn<'_> {
    /// Changes nothing but the session, so it is answered at once, also while a proposal is in flight
    /// (GR-12).
    pub fn heartbeat(&mut self, group: &mut LiveGroup, heartbeat: &Heartbeat) -> Result<(), Refusal> {
        check_member(group, &heartbeat.member_id, heartbeat.instance_id.as_deref())?;
        if heartbeat.generation != group.generation {
            return Err(Refusal::IllegalGeneration);
        }
        let state = group.state;
        if let Some(member) = group.members.get_mut(heartbeat.member_id.as_str()) {
            self.extend_session(&group.id, member);
        }
        match state {
            GroupState::Empty => Err(Refusal::UnknownMemberId),
            GroupState::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    pub fn leave(&mut self, group: &mut LiveGroup, request: RequestId, leave: Leave) {
        let mut any_left = false;
        let mut left = Vec::with_capacity(leave.members.len());
        for LeavingMember { member_id, instance_id } in leave.members {
            let outcome = self.leave_one(group, &member_id, instance_id.as_deref());
            any_left |= outcome.is_ok();
            left.push(LeftMember { member_id, instance_id, outcome });
        }
        if any_left {
            match group.state {
                GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(group),
                GroupState::PreparingRebalance => self.maybe_complete_join(group),
                GroupState::Empty => {}
            }
        }
        // Who hears that the last member has left finds the group empty.
        self.reply_when_stored(group, request, Reply::Leave(Ok(left)));
    }

    fn leave_one(
        &mut self,
        group: &mut LiveGroup,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), Refusal> {
        if member_id.is_empty() {
            // An administrator names a static member by its instance alone.
            let holder = instance_id.and_then(|it| group.statics.get(it)).cloned();
            let holder = holder.ok_or(Refusal::UnknownMemberId)?;
            self.expel(group, &holder);
            return Ok(());
        }
        if self.remove_pending(group, member_id) {
            return Ok(());
        }
        check_member(group, member_id, instance_id)?;
        self.expel(group, member_id);
        Ok(())
    }

    /// Removes a member; if it waits for an answer it may join anew.
    fn expel(&mut self, group: &mut LiveGroup, member_id: &str) {
        let Some(member) = self.remove_member(group, member_id) else { return };
        if let Some(request) = member.awaiting_join {
            self.refuse_join(request, Refusal::UnknownMemberId, "");
        }
        if let Some(request) = member.awaiting_sync {
            self.refuse(request, Refusal::UnknownMemberId);
        }
    }

    /// A session has run out, or a member id was not used in time.
    pub fn session_over(&mut self, group: &mut LiveGroup, member_id: &str) {
        if self.remove_pending(group, member_id) {
            return self.complete_if_all_joined(group);
        }
        let Some(member) = group.members.get(member_id) else { return };
        if member.is_excused() {
            return;
        }
        self.expel(group, member_id);
        match group.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(group),
            GroupState::PreparingRebalance | GroupState::Empty => self.complete_if_all_joined(group),
        }
    }

    /// With the one gone that was waited for, also the first rebalance of a group need not wait longer.
    fn complete_if_all_joined(&mut self, group: &mut LiveGroup) {
        if group.state == GroupState::PreparingRebalance && group.has_all_joined() {
            self.complete_join(group);
        }
    }

    /// The connection of a parked join is closed. The member stays, as it may come back under its id; one
    /// that cannot know its id cannot.
    pub fn join_abandoned(&mut self, group: &mut LiveGroup, request: RequestId) {
        let abandoned = |it: &&super::live::Member| it.awaiting_join == Some(request) && !it.knows_its_id;
        let Some(member) = group.members.values().find(abandoned) else { return };
        if member.instance_id.is_some() {
            return;
        }
        let member_id = Arc::clone(&member.id);
        self.expel(group, &member_id);
        self.maybe_complete_join(group);
    }

    /// The connection of a parked sync is closed: its member's session runs again.
    pub fn sync_abandoned(&mut self, group: &mut LiveGroup, request: RequestId) {
        let Some(member) = group.members.values_mut().find(|it| it.awaiting_sync == Some(request)) else {
            return;
        };
        member.awaiting_sync = None;
        self.extend_session(&group.id, member);
    }
}
