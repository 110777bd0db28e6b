//! SyncGroup: the leader's assignment goes into the log, then to the members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::desk::Turn;
use super::live::{LiveGroup, Purpose};
use crate::GroupState;
use crate::effect::{Reply, Synced};
use crate::event::{RequestId, Sync};
use crate::fence::check_member;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};

impl Turn<'_> {
    pub fn sync(&mut self, group: &mut LiveGroup, request: RequestId, sync: Sync) {
        if let Err(refusal) = check_sync(group, &sync) {
            return self.refuse(request, refusal);
        }
        match group.state {
            GroupState::Empty => self.refuse(request, Refusal::UnknownMemberId),
            GroupState::PreparingRebalance => self.refuse(request, Refusal::RebalanceInProgress),
            GroupState::CompletingRebalance if self.is_too_large(&sync) => {
                self.refuse(request, Refusal::TooLarge);
            }
            GroupState::CompletingRebalance => {
                self.park_sync(group, request, &sync.member_id);
                if group.is_leader(&sync.member_id) {
                    self.store_assignment(group, sync.assignments);
                }
            }
            GroupState::Stable => {
                self.has_synced(group, &sync.member_id);
                let Some(member) = group.members.get_mut(sync.member_id.as_str()) else { return };
                self.extend_session(&group.id, member);
                let synced = synced(group, &sync.member_id);
                self.reply(request, Reply::Sync(Ok(synced)));
            }
        }
    }

    /// All assignments go into one entry of the log.
    fn is_too_large(&self, sync: &Sync) -> bool {
        let bytes: usize = sync.assignments.iter().map(|(member_id, it)| member_id.len() + it.len()).sum();
        bytes > self.desk.settings.max_group_bytes
    }

    fn park_sync(&mut self, group: &mut LiveGroup, request: RequestId, member_id: &str) {
        self.has_synced(group, member_id);
        let Some(member) = group.members.get_mut(member_id) else { return };
        self.extend_session(&group.id, member);
        if let Some(earlier) = member.awaiting_sync.replace(request) {
            self.refuse(earlier, Refusal::RebalanceInProgress);
        }
    }

    fn has_synced(&mut self, group: &mut LiveGroup, member_id: &str) {
        group.pending_syncs.remove(member_id);
        if group.pending_syncs.is_empty() {
            group.alarm.stop();
        }
    }

    fn store_assignment(&mut self, group: &mut LiveGroup, assignments: Vec<(String, Bytes)>) {
        // Those not named get an empty assignment, those not in the group none at all.
        let assignments: BTreeMap<Arc<str>, Bytes> = assignments
            .into_iter()
            .filter_map(|(member_id, bytes)| {
                let (id, _) = group.members.get_key_value(member_id.as_str())?;
                Some((Arc::clone(id), bytes))
            })
            .collect();
        let store = stored::StoreAssignment {
            group: group.id.to_string(),
            revision: group.revision,
            time_ms: self.now.unix_ms,
            assignments: assignments
                .iter()
                .map(|(member_id, assignment)| stored::MemberAssignment {
                    member_id: member_id.to_string(),
                    assignment: assignment.clone(),
                })
                .collect(),
        };
        self.propose_for(group, Purpose::Assignment(assignments), Kind::StoreAssignment(store));
    }

    /// The assignment is in the log: its members may act on it.
    pub fn assignment_stored(&mut self, group: &mut LiveGroup, mut assignments: BTreeMap<Arc<str>, Bytes>) {
        group.state = GroupState::Stable;
        for member in group.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            let Some(request) = member.awaiting_sync.take() else { continue };
            // Its session did not run while it waited.
            self.extend_session(&group.id, member);
            let synced = Synced {
                protocol_type: group.protocol_type.clone(),
                protocol_name: group.protocol_name.clone(),
                assignment: member.assignment.clone(),
            };
            self.reply(request, Reply::Sync(Ok(synced)));
        }
    }
}

fn check_sync(group: &LiveGroup, sync: &Sync) -> Result<(), Refusal> {
    check_member(group, &sync.member_id, sync.instance_id.as_deref())?;
    if sync.generation != group.generation {
        return Err(Refusal::IllegalGeneration);
    }
    let differs = |theirs: &Option<String>, ours: &Option<String>| match (theirs, ours) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    };
    if differs(&sync.protocol_type, &group.protocol_type)
        || differs(&sync.protocol_name, &group.protocol_name)
    {
        return Err(Refusal::InconsistentGroupProtocol);
    }
    Ok(())
}

fn synced(group: &LiveGroup, member_id: &str) -> Synced {
    Synced {
        protocol_type: group.protocol_type.clone(),
        protocol_name: group.protocol_name.clone(),
        assignment: group.members.get(member_id).map(|it| it.assignment.clone()).unwrap_or_default(),
    }
}
