//! JoinGroup: who may join, under which id, and whether that disturbs the group.

use std::sync::Arc;

use super::desk::Turn;
use super::live::{LiveGroup, Member, Purpose, protocol_bytes};
use super::timers::{Alarm, Timer};
use crate::GroupState;
use crate::effect::{Joined, Reply};
use crate::event::{Join, RequestId};
use crate::fence::check_member;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};

/// What can be said of a join without knowing its group (GR-1).
pub(super) fn check_join(join: &Join, settings: &crate::Settings) -> Result<(), Refusal> {
    if join.group.is_empty() {
        return Err(Refusal::InvalidGroupId);
    }
    let bounds = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
    if !bounds.contains(&join.session_timeout_ms) {
        return Err(Refusal::InvalidSessionTimeout);
    }
    Ok(())
}

impl Turn<'_> {
    pub fn join(&mut self, group: &mut LiveGroup, request: RequestId, join: Join) {
        if !self.accepts(group, &join.member_id) {
            self.remove_pending(group, &join.member_id);
            self.remove_member(group, &join.member_id);
            self.refuse_join(request, Refusal::GroupMaxSizeReached, "");
            // Whoever waited for this member alone need not wait longer.
            self.maybe_complete_join(group);
        } else if self.outgrows(group, &join) {
            self.refuse(request, Refusal::TooLarge);
        } else if !group.supports(&join.protocol_type, &join.protocols) {
            self.refuse(request, Refusal::InconsistentGroupProtocol);
        } else if join.member_id.is_empty() {
            self.join_unknown(group, request, join);
        } else if group.pending_joins.contains_key(join.member_id.as_str()) {
            self.join_pending(group, request, join);
        } else {
            self.rejoin(group, request, join);
        }
    }

    /// Whether `group.max.size` leaves room.
    fn accepts(&self, group: &LiveGroup, member_id: &str) -> bool {
        let most = self.desk.settings.max_group_size;
        if group.members.len() < most {
            return true;
        }
        let is_awaiting = |it: &Member| it.awaiting_join.is_some();
        match group.state {
            GroupState::Empty => true,
            // Those that wait count, not those that are known: if the bound was lowered, the last to rejoin
            // go.
            GroupState::PreparingRebalance => {
                group.members.get(member_id).is_some_and(is_awaiting)
                    || group.members.values().filter(|it| is_awaiting(it)).count() < most
            }
            GroupState::CompletingRebalance | GroupState::Stable => group.members.contains_key(member_id),
        }
    }

    /// All members go into one entry of the log.
    fn outgrows(&self, group: &LiveGroup, join: &Join) -> bool {
        let before = group.members.get(join.member_id.as_str()).map_or(0, |it| protocol_bytes(&it.protocols));
        let after = group.protocol_bytes() - before + protocol_bytes(&join.protocols);
        after > self.desk.settings.max_group_bytes
    }

    fn join_unknown(&mut self, group: &mut LiveGroup, request: RequestId, join: Join) {
        let prefix = join.instance_id.as_deref().unwrap_or(&join.client_id);
        let member_id: Arc<str> = format!("{prefix}-{}", join.fresh_uuid).into();
        let holder = join.instance_id.as_ref().and_then(|it| group.statics.get(it)).cloned();
        if let Some(holder) = holder {
            self.join_in_place_of(group, &holder, member_id, request, join);
        } else if join.instance_id.is_none() && join.requires_known_member_id {
            self.give_member_id(group, member_id, request, &join);
        } else {
            self.add_member(group, member_id, request, join, false);
        }
    }

    /// MEMBER_ID_REQUIRED: a client that gives up before the rebalance ends leaves no member behind
    /// (KIP-394).
    fn give_member_id(
        &mut self,
        group: &mut LiveGroup,
        member_id: Arc<str>,
        request: RequestId,
        join: &Join,
    ) {
        if self.desk.pending_members >= self.desk.settings.max_pending_members {
            return self.refuse(request, Refusal::Busy);
        }
        let timeout_ms = u64::try_from(join.session_timeout_ms).unwrap_or(0);
        let at = self.now.monotonic_ms.saturating_add(timeout_ms);
        let mut alarm = Alarm::default();
        let timer = || Timer::Member(Arc::clone(&group.id), Arc::clone(&member_id));
        self.desk.timers.set(&mut alarm, at, timer);
        self.desk.pending_members += 1;
        self.refuse_join(request, Refusal::MemberIdRequired, &member_id);
        group.pending_joins.insert(member_id, alarm);
    }

    fn join_pending(&mut self, group: &mut LiveGroup, request: RequestId, join: Join) {
        if join.instance_id.is_some() {
            // Ids are given out to dynamic members only.
            return self.refuse(request, Refusal::UnknownMemberId);
        }
        self.remove_pending(group, &join.member_id);
        let member_id = Arc::from(join.member_id.as_str());
        self.add_member(group, member_id, request, join, true);
    }

    fn add_member(
        &mut self,
        group: &mut LiveGroup,
        member_id: Arc<str>,
        request: RequestId,
        join: Join,
        knows_its_id: bool,
    ) {
        if let Some(initial) = &mut group.initial {
            initial.extended = true;
        }
        if group.members.is_empty() {
            group.protocol_type = Some(join.protocol_type.clone());
        }
        group.leader.get_or_insert_with(|| Arc::clone(&member_id));
        if let Some(instance) = &join.instance_id {
            group.statics.insert(instance.clone(), Arc::clone(&member_id));
        }
        let mut member = Member {
            id: Arc::clone(&member_id),
            rebalance_timeout_ms: join.rebalance_timeout_ms.unwrap_or(join.session_timeout_ms),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: bytes::Bytes::new(),
            awaiting_join: Some(request),
            awaiting_sync: None,
            is_new: true,
            knows_its_id,
            alarm: Alarm::default(),
        };
        // Not its session time-out: it waits for us and sends no heartbeats. But a client that has given up
        // and tried again under another id must not stay for ever.
        self.set_session(&group.id, &mut member, self.desk.settings.new_member_join_timeout_ms);
        group.members.insert(member_id, member);
        self.rebalance_or_complete_join(group);
    }

    fn rejoin(&mut self, group: &mut LiveGroup, request: RequestId, join: Join) {
        if let Err(refusal) = check_member(group, &join.member_id, join.instance_id.as_deref()) {
            return self.refuse(request, refusal);
        }
        let Some(member) = group.members.get(join.member_id.as_str()) else { return };
        let is_unchanged = member.protocols == join.protocols;
        let disturbs = match group.state {
            GroupState::PreparingRebalance => true,
            // It may have missed the answer to its join.
            GroupState::CompletingRebalance => !is_unchanged,
            // A leader that joins asks for a new assignment, for reasons that its metadata need not show.
            GroupState::Stable => group.is_leader(&join.member_id) || !is_unchanged,
            GroupState::Empty => return self.refuse(request, Refusal::UnknownMemberId),
        };
        if disturbs {
            self.update_member(group, request, join);
            self.rebalance_or_complete_join(group);
        } else {
            let with_members =
                group.state == GroupState::CompletingRebalance && group.is_leader(&join.member_id);
            let joined = current_generation(group, &join.member_id, with_members);
            if let Some(member) = group.members.get_mut(join.member_id.as_str()) {
                self.extend_session(&group.id, member);
            }
            self.reply(request, Reply::Join(Ok(joined)));
        }
    }

    /// Takes over what the member says now, and parks its request.
    fn update_member(&mut self, group: &mut LiveGroup, request: RequestId, join: Join) {
        let Some(member) = group.members.get_mut(join.member_id.as_str()) else { return };
        member.rebalance_timeout_ms = join.rebalance_timeout_ms.unwrap_or(join.session_timeout_ms);
        member.session_timeout_ms = join.session_timeout_ms;
        member.protocols = join.protocols;
        if let Some(earlier) = member.awaiting_join.replace(request) {
            self.refuse(earlier, Refusal::RebalanceInProgress);
        }
    }

    /// A static member without its id: a restarted process takes the place of the former one (KIP-345).
    fn join_in_place_of(
        &mut self,
        group: &mut LiveGroup,
        holder: &Arc<str>,
        member_id: Arc<str>,
        request: RequestId,
        mut join: Join,
    ) {
        let was_leader = group.leader.clone();
        let Some(former) = group.members.remove(holder) else { return };
        let timer = Timer::Member(Arc::clone(&group.id), Arc::clone(holder));
        self.desk.timers.forget(former.alarm, timer);
        // Two processes with one instance id: the newest wins, wherever the former waits.
        if let Some(earlier) = former.awaiting_join {
            self.refuse_join(earlier, Refusal::FencedInstanceId, holder);
        }
        if let Some(earlier) = former.awaiting_sync {
            self.refuse(earlier, Refusal::FencedInstanceId);
        }
        group.pending_syncs.remove(holder);
        if let Some(instance) = &former.instance_id {
            group.statics.insert(instance.clone(), Arc::clone(&member_id));
        }
        if group.is_leader(holder) {
            group.leader = Some(Arc::clone(&member_id));
        }
        let mut member = Member {
            id: Arc::clone(&member_id),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            knows_its_id: true,
            alarm: Alarm::default(),
            rebalance_timeout_ms: join.rebalance_timeout_ms.unwrap_or(join.session_timeout_ms),
            session_timeout_ms: join.session_timeout_ms,
            protocols: std::mem::take(&mut join.protocols),
            ..former
        };
        self.extend_session(&group.id, &mut member);
        let stored = member.to_stored();
        group.members.insert(Arc::clone(&member_id), member);

        if group.state == GroupState::Stable && group.select_protocol() == group.protocol_name {
            // The assignment still fits: nobody else needs to notice.
            let replace = stored::ReplaceMember {
                group: group.id.to_string(),
                revision: group.revision,
                old_member_id: holder.to_string(),
                member: Some(stored),
            };
            self.propose_for(group, Purpose::Replacement, Kind::ReplaceMember(replace));
            let joined = replaced(group, &member_id, was_leader, join.supports_skip_assignment);
            return self.reply_when_stored(group, request, Reply::Join(Ok(joined)));
        }
        if let Some(member) = group.members.get_mut(&member_id) {
            member.awaiting_join = Some(request);
        }
        // While completing, the leader may already assign to the former id: only a new round helps.
        self.rebalance_or_complete_join(group);
    }
}

fn current_generation(group: &LiveGroup, member_id: &str, with_members: bool) -> Joined {
    Joined {
        generation: group.generation,
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        leader: group.leader.as_deref().unwrap_or_default().to_owned(),
        skip_assignment: false,
        member_id: member_id.to_owned(),
        members: if with_members { group.joined_members() } else { Vec::new() },
    }
}

/// The answer to a static member that is back. A client that cannot be told to skip the assignment is told
/// that another member leads, its own former id, so that it does not compute one.
fn replaced(group: &LiveGroup, member_id: &str, was_leader: Option<Arc<str>>, can_skip: bool) -> Joined {
    let is_leader = group.is_leader(member_id);
    let joined = current_generation(group, member_id, can_skip && is_leader);
    if can_skip {
        return Joined { skip_assignment: is_leader, ..joined };
    }
    Joined { leader: was_leader.as_deref().unwrap_or_default().to_owned(), ..joined }
}

impl LiveGroup {
    /// The answer to a member's join once its generation is formed.
    pub fn formed(&self, member_id: &str) -> Joined {
        current_generation(self, member_id, self.is_leader(member_id))
    }
}
