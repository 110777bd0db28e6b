//! What became of a proposal: it took effect, built on a state that is gone, or nobody knows.

use std::sync::Arc;

use super::LiveGroups;
use super::commits::CommitQueue;
use super::desk::{Target, Turn};
use super::live::{InFlight, LiveGroup, Purpose};
use crate::GroupState;
use crate::event::{Failure, ProposalId};
use crate::groups::Answer;
use crate::refusal::Refusal;

impl Turn<'_> {
    /// The entry of this proposal, of this term, and no other, was applied (G1).
    pub fn on_committed(
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
                let mut group = live.open(self, &id);
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

    pub fn on_failed(
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
                let mut group = live.open(self, &id);
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

    /// What became of the proposal is not known, or not what was expected: the group starts again from the
    /// log, and whoever waited asks again.
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
    pub fn grant_sessions(&mut self, group: &mut LiveGroup) {
        for member in group.members.values_mut() {
            self.extend_session(&group.id, member);
        }
        if group.state == GroupState::CompletingRebalance {
            let timeout_ms = group.rebalance_timeout_ms();
            self.set_group_alarm(group, timeout_ms);
        }
    }
}
