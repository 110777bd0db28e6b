//! Generations and assignments, as the log tells them.

use super::pairs::{group_key, offset_key, put_group};
use super::{Answer, Changes, Groups};
use crate::GroupState;
use crate::fence::Roster;
use crate::refusal::Refusal;
use crate::stored::{self, Phase};

impl Groups {
    pub(super) fn form_generation(
        &mut self,
        index: u64,
        command: &stored::FormGeneration,
        changes: &mut dyn Changes,
    ) -> Answer {
        let (revision, generation) = self.revision_and_generation(&command.group);
        if revision != command.revision || command.generation <= generation {
            return Answer::Stale;
        }
        let mut members = command.members.clone();
        members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        let entry = self.entries.entry(command.group.clone()).or_default();
        entry.record = stored::Group {
            phase: Phase::Completing.into(),
            phase_time_ms: command.time_ms,
            generation: command.generation,
            protocol_type: Some(command.protocol_type.clone()),
            protocol_name: Some(command.protocol_name.clone()),
            leader: Some(command.leader.clone()),
            members,
            revision: index,
        };
        put_group(&command.group, &entry.record, changes);
        Answer::Membership { revision: index }
    }

    pub(super) fn store_assignment(
        &mut self,
        index: u64,
        command: &stored::StoreAssignment,
        changes: &mut dyn Changes,
    ) -> Answer {
        let Some(record) = self.at_revision(&command.group, command.revision) else { return Answer::Stale };
        for member in &mut record.members {
            member.assignment.clear();
        }
        for it in &command.assignments {
            if let Ok(at) = record.position(&it.member_id) {
                record.members[at].assignment = it.assignment.clone();
            }
        }
        record.set_phase(Phase::Stable);
        record.phase_time_ms = command.time_ms;
        record.revision = index;
        put_group(&command.group, record, changes);
        Answer::Membership { revision: index }
    }

    pub(super) fn replace_member(
        &mut self,
        index: u64,
        command: &stored::ReplaceMember,
        changes: &mut dyn Changes,
    ) -> Answer {
        let Some(record) = self.at_revision(&command.group, command.revision) else { return Answer::Stale };
        let (Ok(at), Some(member)) = (record.position(&command.old_member_id), &command.member) else {
            return Answer::Stale;
        };
        record.members.remove(at);
        let at = record.position(&member.member_id).unwrap_or_else(|free| free);
        record.members.insert(at, member.clone());
        if record.leader.as_deref() == Some(command.old_member_id.as_str()) {
            record.leader = Some(member.member_id.clone());
        }
        record.revision = index;
        put_group(&command.group, record, changes);
        Answer::Membership { revision: index }
    }

    pub(super) fn empty_group(
        &mut self,
        index: u64,
        command: &stored::EmptyGroup,
        changes: &mut dyn Changes,
    ) -> Answer {
        let (revision, _) = self.revision_and_generation(&command.group);
        if revision != command.revision {
            return Answer::Stale;
        }
        let record = &mut self.entries.entry(command.group.clone()).or_default().record;
        record.set_phase(Phase::Empty);
        record.phase_time_ms = command.time_ms;
        record.generation = record.generation.saturating_add(1);
        record.protocol_type = Some(command.protocol_type.clone());
        record.protocol_name = None;
        record.leader = None;
        record.members.clear();
        record.revision = index;
        put_group(&command.group, record, changes);
        Answer::Membership { revision: index }
    }

    pub(super) fn delete_group(
        &mut self,
        command: &stored::DeleteGroup,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let entry = self.entries.get(&command.group).ok_or(Refusal::GroupIdNotFound)?;
        if entry.record.phase() != Phase::Empty {
            return Err(Refusal::NonEmptyGroup);
        }
        self.remove_entry(&command.group, changes);
        Ok(())
    }

    /// Removes the group with all that is left of its offsets; how many those were.
    pub(super) fn remove_entry(&mut self, group: &str, changes: &mut dyn Changes) -> u64 {
        let Some(mut entry) = self.entries.remove(group) else { return 0 };
        entry.drop_all_pending(group, changes);
        let mut removed = 0;
        for (topic_id, topic) in entry.offsets {
            for partition in topic.partitions.into_keys() {
                changes.delete(offset_key(group, topic_id, partition));
                removed += 1;
            }
        }
        changes.delete(group_key(group));
        removed
    }

    fn revision_and_generation(&self, group: &str) -> (u64, i32) {
        self.record(group).map_or((0, 0), |record| (record.revision, record.generation))
    }

    fn at_revision(&mut self, group: &str, revision: u64) -> Option<&mut stored::Group> {
        let record = &mut self.entries.get_mut(group)?.record;
        (record.revision == revision).then_some(record)
    }
}

impl stored::Group {
    /// Where the member is, or where it would go.
    pub(crate) fn position(&self, member_id: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|member| member.member_id.as_str().cmp(member_id))
    }

    /// The applied state; PreparingRebalance is never applied.
    pub(crate) fn state(&self) -> GroupState {
        match self.phase() {
            Phase::Empty => GroupState::Empty,
            Phase::Completing => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }
}

impl Roster for stored::Group {
    fn has_member(&self, member_id: &str) -> bool {
        self.position(member_id).is_ok()
    }

    fn static_member(&self, instance_id: &str) -> Option<&str> {
        let mut members = self.members.iter();
        members.find(|it| it.instance_id.as_deref() == Some(instance_id)).map(|it| it.member_id.as_str())
    }

    fn holds(&self, member_id: &str, instance_id: &str) -> bool {
        // By the sorted ids: commits of a large static group would otherwise walk it each time.
        let Ok(at) = self.position(member_id) else { return false };
        self.members[at].instance_id.as_deref() == Some(instance_id)
    }
}
