//! From one generation to the next.

use std::sync::Arc;

use super::desk::Turn;
use super::live::{InitialDelay, LiveGroup, Purpose};
use crate::GroupState;
use crate::effect::Reply;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};

/// Clients may name a rebalance time-out of 0; a wait that starts over must not spin.
const SHORTEST_WAIT_MS: u64 = 1_000;

impl Turn<'_> {
    /// After a change of members: starts a rebalance, or completes the one under way if it waits for nobody
    /// else.
    pub fn rebalance_or_complete_join(&mut self, group: &mut LiveGroup) {
        match group.state {
            GroupState::PreparingRebalance => self.maybe_complete_join(group),
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(group);
            }
        }
    }

    /// Completes the join phase if all have joined; the first one of a group waits its time (GR-5).
    pub fn maybe_complete_join(&mut self, group: &mut LiveGroup) {
        let waits_for_none = group.state == GroupState::PreparingRebalance && group.has_all_joined();
        if waits_for_none && group.initial.is_none() {
            self.complete_join(group);
        }
    }

    pub fn prepare_rebalance(&mut self, group: &mut LiveGroup) {
        if group.state == GroupState::CompletingRebalance {
            self.abandon_syncs(group);
        }
        group.pending_syncs.clear();
        group.alarm.stop();
        if group.state == GroupState::Empty {
            let delay_ms = self.initial_delay_ms();
            let remaining_ms = group.rebalance_timeout_ms().saturating_sub(delay_ms);
            group.initial = Some(InitialDelay { delay_ms, remaining_ms, extended: false });
            group.state = GroupState::PreparingRebalance;
            self.set_group_alarm(group, delay_ms);
            return;
        }
        group.state = GroupState::PreparingRebalance;
        if group.has_all_joined() {
            self.complete_join(group);
        } else {
            let timeout_ms = group.rebalance_timeout_ms();
            self.set_group_alarm(group, timeout_ms);
        }
    }

    fn initial_delay_ms(&self) -> u64 {
        u64::try_from(self.desk.settings.initial_rebalance_delay_ms).unwrap_or(0)
    }

    /// Those that wait for an assignment of a generation that will not get one must rejoin.
    fn abandon_syncs(&mut self, group: &mut LiveGroup) {
        for member in group.members.values_mut() {
            member.assignment.clear();
            if let Some(request) = member.awaiting_sync.take() {
                self.refuse(request, Refusal::RebalanceInProgress);
                self.extend_session(&group.id, member);
            }
        }
    }

    /// The join phase has run out, or the wait for company before it.
    pub fn join_phase_over(&mut self, group: &mut LiveGroup) {
        let longest_ms = self.initial_delay_ms();
        if let Some(initial) = group.initial
            && initial.extended
            && initial.remaining_ms.min(longest_ms) > 0
        {
            let delay_ms = initial.remaining_ms.min(longest_ms);
            let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms);
            group.initial = Some(InitialDelay { delay_ms, remaining_ms, extended: false });
            return self.set_group_alarm(group, delay_ms);
        }
        self.complete_join(group);
    }

    /// Forms the next generation of those that have joined (GR-6). Static members stay until their session
    /// ends.
    pub fn complete_join(&mut self, group: &mut LiveGroup) {
        group.alarm.stop();
        let gone: Vec<Arc<str>> = group
            .members
            .values()
            .filter(|it| it.awaiting_join.is_none() && it.instance_id.is_none())
            .map(|it| Arc::clone(&it.id))
            .collect();
        for member_id in gone {
            self.remove_member(group, &member_id);
        }
        if group.members.is_empty() {
            self.empty(group);
        } else if group.elect_joined_leader() {
            self.form_generation(group);
        } else {
            // Only static members are left and none is back; their sessions decide.
            let timeout_ms = group.rebalance_timeout_ms().max(SHORTEST_WAIT_MS);
            self.set_group_alarm(group, timeout_ms);
        }
    }

    fn empty(&mut self, group: &mut LiveGroup) {
        let empty = stored::EmptyGroup {
            group: group.id.to_string(),
            revision: group.revision,
            time_ms: self.now.unix_ms,
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
        };
        self.propose_for(group, Purpose::Emptying, Kind::EmptyGroup(empty));
    }

    fn form_generation(&mut self, group: &mut LiveGroup) {
        let generation = group.generation.saturating_add(1);
        // All members have a protocol in common: none joined that had not.
        let protocol_name = group.select_protocol().unwrap_or_default();
        // Assignments of the generation before stay to be seen until the next one is stored, as in Kafka; nobody is
        // given them.
        let form = stored::FormGeneration {
            group: group.id.to_string(),
            revision: group.revision,
            time_ms: self.now.unix_ms,
            generation,
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol_name: protocol_name.clone(),
            leader: group.leader.as_deref().unwrap_or_default().to_owned(),
            members: group.members.values().map(|it| it.to_stored()).collect(),
        };
        let purpose = Purpose::Generation { generation, protocol_name };
        self.propose_for(group, purpose, Kind::FormGeneration(form));
    }

    /// The generation is in the log: its members may hear of it.
    pub fn generation_formed(&mut self, group: &mut LiveGroup, generation: i32, protocol_name: String) {
        group.generation = generation;
        group.protocol_name = Some(protocol_name);
        group.state = GroupState::CompletingRebalance;
        group.initial = None;
        group.pending_syncs = group.members.keys().cloned().collect();
        let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
        for member_id in members {
            let joined = group.formed(&member_id);
            let Some(member) = group.members.get_mut(&member_id) else { continue };
            member.is_new = false;
            member.knows_its_id = true;
            let request = member.awaiting_join.take();
            self.extend_session(&group.id, member);
            if let Some(request) = request {
                self.reply(request, Reply::Join(Ok(joined)));
            }
        }
        let timeout_ms = group.rebalance_timeout_ms();
        self.set_group_alarm(group, timeout_ms);
    }

    /// Members that took no assignment in time are removed (GR-11).
    pub fn sync_phase_over(&mut self, group: &mut LiveGroup) {
        let missing = std::mem::take(&mut group.pending_syncs);
        if missing.is_empty() {
            return;
        }
        for member_id in missing {
            self.remove_member(group, &member_id);
        }
        self.prepare_rebalance(group);
    }
}

impl LiveGroup {
    /// No member is left; ids that were given out stay good.
    pub fn becomes_empty(&mut self) {
        self.state = GroupState::Empty;
        self.initial = None;
        self.protocol_name = None;
        self.leader = None;
        if self.revision == 0 {
            self.protocol_type = None;
        }
    }
}
