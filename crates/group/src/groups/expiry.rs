//! Which offsets nobody needs any more (OF-4), by the time in the log entry and the applied state alone.

use std::collections::BTreeSet;

use milena_bugs::{Bug, is_on};

use super::offsets::Committed;
use super::{Answer, Changes, Entry, Groups};
use crate::consumer_protocol::subscribed_topics;
use crate::event::TopicId;
use crate::refusal::Refusal;
use crate::stored::{self, Phase};
use crate::{CONSUMER_PROTOCOL_TYPE, GroupState};

/// The topics that a group's members consume, as far as the broker can tell.
#[derive(Debug, PartialEq)]
pub(crate) enum Subscription {
    /// These, in any number.
    Topics(BTreeSet<String>),
    /// Consumers whose subscription does not parse: any topic may be among them.
    Unknown,
}

impl Subscription {
    /// Of the members of a consumer group's generation.
    fn of(record: &stored::Group) -> Self {
        let protocol = record.protocol_name.as_deref().unwrap_or_default();
        let mut topics = BTreeSet::new();
        for member in &record.members {
            let offered = member.protocols.iter().find(|it| it.name == protocol);
            let Some(parsed) = offered.and_then(|it| subscribed_topics(&it.metadata)) else {
                return Self::Unknown;
            };
            topics.extend(parsed.into_iter().map(str::to_owned));
        }
        Self::Topics(topics)
    }

    /// What OffsetDelete must spare; a group of members that are no consumers is refused as a whole (GR-19).
    pub(crate) fn for_deletion(record: &stored::Group) -> Result<Self, Refusal> {
        if record.phase() == Phase::Empty {
            return Ok(Self::Topics(BTreeSet::new()));
        }
        if record.protocol_type.as_deref() != Some(CONSUMER_PROTOCOL_TYPE) {
            return Err(Refusal::NonEmptyGroup);
        }
        Ok(Self::of(record))
    }

    pub(crate) fn includes(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(topic),
            Self::Unknown => true,
        }
    }
}

impl Groups {
    /// Whether expiry would take anything from the group now. Cheaper than proposing to find out.
    pub(crate) fn has_expired(&self, group: &str, now_ms: i64, retention_ms: i64) -> bool {
        let Some(entry) = self.entries.get(group) else { return false };
        entry.is_nothing() || !entry.expired(now_ms, retention_ms).is_empty()
    }

    /// Group ids after `after`, ascending.
    pub(crate) fn ids_after<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = &'a str> + use<'a> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<str, _>((from, Bound::Unbounded)).map(|(group, _)| group.as_str())
    }

    pub(super) fn expire_offsets(
        &mut self,
        command: &stored::ExpireOffsets,
        changes: &mut dyn Changes,
    ) -> Answer {
        let (mut offsets, mut groups) = (0, 0);
        for it in &command.groups {
            let Some(entry) = self.entries.get_mut(&it.group) else { continue };
            if entry.record.revision != it.revision && !is_on(Bug::G6) {
                continue;
            }
            for (topic_id, partition) in entry.expired(command.now_ms, command.retention_ms) {
                entry.remove_offset(&it.group, topic_id, partition, changes);
                offsets += 1;
            }
            if entry.is_nothing() {
                self.remove_entry(&it.group, changes);
                groups += 1;
            }
        }
        Answer::Removed { offsets, groups }
    }
}

impl Entry {
    /// A group without members and offsets, also such that a transaction may bring.
    fn is_nothing(&self) -> bool {
        self.record.phase() == Phase::Empty && self.offsets.is_empty() && self.pending.is_empty()
    }

    /// Partitions whose offset has expired at `now_ms`.
    fn expired(&self, now_ms: i64, retention_ms: i64) -> Vec<(TopicId, i32)> {
        let Some((since, subscription)) = self.expiry_rule() else { return Vec::new() };
        let is_expired = |it: &Committed| match it.expire_time_ms {
            Some(expire_time_ms) => now_ms >= expire_time_ms,
            None => now_ms.saturating_sub(since.max(it.commit_time_ms)) >= retention_ms,
        };
        let topics = self.offsets.iter().filter(|(_, topic)| !subscription.includes(&topic.name));
        topics
            .flat_map(|(id, topic)| topic.partitions.iter().map(|(partition, it)| (*id, *partition, it)))
            .filter(|(id, partition, it)| is_expired(it) && !self.has_pending(*id, *partition))
            .map(|(id, partition, _)| (id, partition))
            .collect()
    }

    /// From when retention counts, but never from before the commit, and which topics are spared; `None` if
    /// nothing expires. (Kafka takes an empty group's offsets with the group however new they are, so that
    /// a reset of a group that has rested for a week is forgotten within minutes.)
    fn expiry_rule(&self) -> Option<(i64, Subscription)> {
        let record = &self.record;
        let nothing_spared = Subscription::Topics(BTreeSet::new());
        match (&record.protocol_type, record.state()) {
            _ if is_on(Bug::G6) => Some((i64::MIN, nothing_spared)),
            // A simple consumer: nobody can tell whether it still runs.
            (None, _) => Some((i64::MIN, nothing_spared)),
            (Some(_), GroupState::Empty) => Some((record.phase_time_ms, nothing_spared)),
            (Some(it), GroupState::Stable) if it == CONSUMER_PROTOCOL_TYPE => {
                match Subscription::of(record) {
                    Subscription::Unknown => None,
                    subscription => Some((i64::MIN, subscription)),
                }
            }
            // Connect and the like keep offsets while they have members, and so does any group in a
            // rebalance.
            _ => None,
        }
    }
}
