//! Between the messages of `proto/liveness.proto` and what this module works with.

use super::detector::{Incarnation, Sign};
use crate::generated::liveness as proto;
use milena_quorum::{GroupHandle, GroupId, NodeId};
use std::time::Duration;

/// What a broker wants of the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wants {
    /// To be left out for now: it is not ready.
    #[default]
    Fenced,
    /// To take part.
    Unfenced,
    /// To be relieved of its partitions, as it is stopping.
    Shutdown,
}

/// Where a node's log of a Raft group ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The group.
    pub group: GroupId,
    /// Term of the last entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// Where this node stands in its Raft groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// If it is the controller: the term in which it leads, and how long ago a quorum is known to have followed it.
    pub controller: Option<(u64, Duration)>,
    /// Where its logs end.
    pub ends: Vec<LogEnd>,
}

impl Standing {
    /// The standing in `groups`; whoever leads [`GroupId::CLUSTER`] is the controller.
    pub fn of(groups: &[GroupHandle]) -> Standing {
        let mut standing = Standing::default();
        for group in groups {
            let vitals = group.vitals();
            if let Some((term, index)) = vitals.last_log {
                standing.ends.push(LogEnd { group: group.id(), term, index });
            }
            if group.id() == GroupId::CLUSTER && vitals.leader.is_self {
                standing.controller = vitals.quorum_acked_ago.map(|ago| (vitals.leader.term, ago));
            }
        }
        standing
    }
}

/// A peer's death as another broker saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The process that is thought dead, if it was ever heard.
    pub incarnation: Option<Incarnation>,
    /// What was seen; `None` if it was silent, or the broker was told by others.
    pub sign: Option<Sign>,
    /// Where the broker's Raft logs ended at that moment.
    pub ends: Vec<LogEnd>,
}

/// Most groups and brokers that a beat may tell of.
const MOST: usize = 64;

pub(super) fn incarnation_from(bytes: &[u8]) -> Option<Incarnation> {
    bytes.try_into().ok().map(Incarnation)
}

pub(super) fn incarnation_to<B: From<Vec<u8>>>(incarnation: Option<Incarnation>) -> B {
    incarnation.map(|incarnation| incarnation.0.to_vec()).unwrap_or_default().into()
}

pub(super) fn wants_from(code: i32) -> Wants {
    match proto::Wants::try_from(code) {
        Ok(proto::Wants::Unfenced) => Wants::Unfenced,
        Ok(proto::Wants::Shutdown) => Wants::Shutdown,
        Ok(proto::Wants::Fenced) | Err(_) => Wants::Fenced,
    }
}

pub(super) fn wants_to(wants: Wants) -> i32 {
    let wants = match wants {
        Wants::Fenced => proto::Wants::Fenced,
        Wants::Unfenced => proto::Wants::Unfenced,
        Wants::Shutdown => proto::Wants::Shutdown,
    };
    wants.into()
}

pub(super) fn ends_from(ends: Vec<proto::End>) -> Vec<LogEnd> {
    let known = |end: proto::End| {
        let group = GroupId(u8::try_from(end.group).ok()?);
        Some(LogEnd { group, term: end.term, index: end.index })
    };
    ends.into_iter().take(MOST).filter_map(known).collect()
}

pub(super) fn ends_to(ends: &[LogEnd]) -> Vec<proto::End> {
    let end = |end: &LogEnd| proto::End { group: end.group.0.into(), term: end.term, index: end.index };
    ends.iter().map(end).collect()
}

/// The sightings of a beat: of whom, how long ago, and what.
pub(super) fn sightings_from(
    sightings: Vec<proto::Sighting>,
) -> impl Iterator<Item = (NodeId, Duration, Sighting)> {
    sightings.into_iter().take(MOST).map(|it| {
        let sign = match it.kind() {
            proto::sighting::Kind::None => None,
            proto::sighting::Kind::Closed => Some(Sign::Closed),
            proto::sighting::Kind::Refused => Some(Sign::Refused),
        };
        let incarnation = incarnation_from(&it.incarnation);
        let sighting = Sighting { incarnation, sign, ends: ends_from(it.ends) };
        (NodeId(it.node), Duration::from_micros(it.age_us), sighting)
    })
}

pub(super) fn sighting_to(node: NodeId, age: Duration, sighting: &Sighting) -> proto::Sighting {
    let kind = match sighting.sign {
        None => proto::sighting::Kind::None,
        Some(Sign::Closed) => proto::sighting::Kind::Closed,
        Some(Sign::Refused) => proto::sighting::Kind::Refused,
    };
    proto::Sighting {
        node: node.0,
        incarnation: incarnation_to(sighting.incarnation),
        kind: kind.into(),
        age_us: micros(age),
        ends: ends_to(&sighting.ends),
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
