//! DeleteGroups, OffsetDelete, and the coordinator's own housekeeping: expired offsets, deleted topics.

use bytes::Bytes;
use milena_bugs::{Bug, is_on};

use super::desk::{Target, Turn, Waiter};
use super::live::{LiveGroup, Purpose};
use super::timers::{Alarm, Timer};
use super::{LiveGroups, desk::Desk};
use crate::event::{DeleteOffsets, RequestId, TopicId};
use crate::groups::Subscription;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};
use crate::{CONSUMER_PROTOCOL_TYPE, GroupState};

/// Groups looked at in one step; the next slice follows in a later one, so that clients are served in
/// between.
const GROUPS_PER_SLICE: usize = 1_000;
/// Offsets looked at in one step, at least those of one group.
const OFFSETS_PER_SLICE: usize = 20_000;

impl Turn<'_> {
    /// Deletes a group without members, with its offsets (GR-19).
    pub fn delete_group(&mut self, group: &mut LiveGroup, request: RequestId) {
        let is_known = self.groups.contains(&group.id);
        if !is_known && group.pending_joins.is_empty() && group.state == GroupState::Empty {
            return self.refuse(request, Refusal::GroupIdNotFound);
        }
        if group.state != GroupState::Empty {
            return self.refuse(request, Refusal::NonEmptyGroup);
        }
        let delete = stored::DeleteGroup { group: group.id.to_string() };
        self.propose_for(group, Purpose::Deletion(request), Kind::DeleteGroup(delete));
    }

    /// The log has decided on the deletion.
    pub fn group_deleted(&mut self, group: &mut LiveGroup, request: RequestId, verdict: Result<(), Refusal>) {
        let pending: Vec<_> = group.pending_joins.keys().cloned().collect();
        let verdict = match verdict {
            // The log never heard of it: ids were given out, no more.
            Err(Refusal::GroupIdNotFound) if !pending.is_empty() => Ok(()),
            other => other,
        };
        if verdict.is_ok() {
            for member_id in pending {
                self.remove_pending(group, &member_id);
            }
            group.revision = 0;
            group.generation = 0;
            group.becomes_empty();
        }
        self.reply(request, crate::Reply::DeleteGroup(verdict));
    }

    /// OffsetDelete: spares what the members consume.
    pub fn delete_offsets(&mut self, group: Option<&LiveGroup>, request: RequestId, delete: DeleteOffsets) {
        if !self.admit(request, Waiter::DeleteOffsets) {
            return;
        }
        let subscription = match self.spared(group, &delete.group) {
            Ok(subscription) => subscription,
            Err(refusal) => return self.refuse(request, refusal),
        };
        let mut verdicts = Vec::with_capacity(delete.partitions.len());
        let mut partitions = Vec::new();
        for (topic_id, topic, partition) in delete.partitions {
            if subscription.includes(&topic) {
                verdicts.push(Some(Err(Refusal::GroupSubscribedToTopic)));
            } else if self.groups.offset(&delete.group, topic_id, partition).is_none() {
                verdicts.push(Some(Ok(())));
            } else {
                verdicts.push(None);
                partitions.push(stored::TopicPartition { topic_id: topic_id.to_stored(), partition });
            }
        }
        if partitions.is_empty() {
            let verdicts = verdicts.into_iter().flatten().collect();
            return self.reply(request, crate::Reply::DeleteOffsets(Ok(verdicts)));
        }
        let command = stored::DeleteOffsets { group: delete.group, partitions };
        self.propose(Target::DeleteOffsets(request, verdicts), Kind::DeleteOffsets(command));
    }

    fn spared(&self, group: Option<&LiveGroup>, id: &str) -> Result<Subscription, Refusal> {
        if let Some(group) = group
            && group.state != GroupState::Empty
        {
            if group.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
                return Err(Refusal::NonEmptyGroup);
            }
            if group.revision == 0 {
                // Its first generation is still to come.
                return Ok(Subscription::Unknown);
            }
        }
        match self.groups.record(id) {
            Some(record) => Subscription::for_deletion(record),
            None if group.is_some() => Subscription::for_deletion(&stored::Group::default()),
            None => Err(Refusal::GroupIdNotFound),
        }
    }

    /// The log has decided on the partitions that were left to it.
    pub fn offsets_deleted(
        &mut self,
        request: RequestId,
        before: Vec<Option<Result<(), Refusal>>>,
        decided: Result<Vec<Result<(), Refusal>>, Refusal>,
    ) {
        let reply = decided.map(|decided| {
            let mut decided = decided.into_iter();
            before.into_iter().filter_map(|it| it.or_else(|| decided.next())).collect()
        });
        self.reply(request, crate::Reply::DeleteOffsets(reply));
    }

    /// Offsets of a topic that no longer exists would otherwise stay until they expire.
    pub fn delete_topics(&mut self, topics: &[TopicId]) {
        if topics.is_empty() {
            return;
        }
        let topic_ids: Vec<Bytes> = topics.iter().map(|it| it.to_stored()).collect();
        self.propose(Target::Housekeeping, Kind::DeleteTopics(stored::DeleteTopics { topic_ids }));
    }
}

/// The periodic look for offsets that nobody needs any more (OF-4).
#[derive(Debug, Default)]
pub(super) struct Expiry {
    alarm: Alarm,
    /// Last group id of the slice before; `None` at the start of a round.
    after: Option<String>,
}

impl Expiry {
    /// Sets the next round.
    pub fn schedule(&mut self, now: u64, desk: &mut Desk) {
        let at = now.saturating_add(desk.settings.offsets_retention_check_interval_ms.max(1));
        desk.timers.set(&mut self.alarm, at, || Timer::Expiry);
    }

    /// The timer came up: looks at one slice of the groups.
    pub fn ring(&mut self, turn: &mut Turn<'_>, live: &mut LiveGroups) {
        let now = turn.now.monotonic_ms;
        if !turn.desk.timers.rings(&mut self.alarm, now, || Timer::Expiry) {
            return;
        }
        let (now_ms, retention_ms) = (turn.now.unix_ms, turn.desk.settings.offsets_retention_ms);
        let state = turn.groups;
        let (mut seen, mut offsets, mut last, mut more) = (0, 0, None, false);
        let mut groups = Vec::new();
        for id in state.ids_after(self.after.as_deref()) {
            if seen == GROUPS_PER_SLICE || offsets >= OFFSETS_PER_SLICE {
                more = true;
                break;
            }
            seen += 1;
            offsets += state.offset_count(id);
            last = Some(id);
            let is_at_rest = live.find(turn, id).is_none_or(|it| is_at_rest(it)) || is_on(Bug::G6);
            if is_at_rest && state.has_expired(id, now_ms, retention_ms) {
                let revision = state.record(id).map_or(0, |it| it.revision);
                groups.push(stored::GroupAtRevision { group: id.to_owned(), revision });
            }
        }
        if more {
            self.after = last.map(str::to_owned);
            turn.desk.timers.set(&mut self.alarm, now.saturating_add(1), || Timer::Expiry);
        } else {
            self.after = None;
            self.schedule(now, turn.desk);
        }
        if !groups.is_empty() {
            let expire = stored::ExpireOffsets { now_ms, retention_ms, groups };
            turn.propose(Target::Housekeeping, Kind::ExpireOffsets(expire));
        }
    }
}

/// In no rebalance, and nobody about to join.
fn is_at_rest(group: &LiveGroup) -> bool {
    group.state == GroupState::Stable && group.in_flight.is_none()
}
