//! One group as its coordinator sees it: the applied facts, and all that is not in the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::timers::Alarm;
use crate::GroupState;
use crate::effect::{JoinedMember, Reply};
use crate::event::{Join, Leave, Protocol, RequestId, Sync};
use crate::fence::Roster;
use crate::stored;

/// A group with members, or with requests on the way.
#[derive(Debug)]
pub(super) struct LiveGroup {
    pub id: Arc<str>,
    /// Revision of the applied record; 0 if it has none.
    pub revision: u64,
    pub state: GroupState,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Group instance id to member id.
    pub statics: BTreeMap<String, Arc<str>>,
    /// Member ids given out with MEMBER_ID_REQUIRED and not yet used.
    pub pending_joins: BTreeMap<Arc<str>, Alarm>,
    /// Members of the generation that have not yet asked for their assignment.
    pub pending_syncs: BTreeSet<Arc<str>>,
    /// Set while the first rebalance of an empty group waits for company.
    pub initial: Option<InitialDelay>,
    /// End of the join phase, or of the wait for syncs; the two exclude each other.
    pub alarm: Alarm,
    pub in_flight: Option<InFlight>,
    /// What waits for `in_flight`, in order of arrival.
    pub deferred: VecDeque<Deferred>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    pub awaiting_join: Option<RequestId>,
    pub awaiting_sync: Option<RequestId>,
    /// In no generation yet.
    pub is_new: bool,
    /// Was told its id before it joined; otherwise only the answer to its join tells it.
    pub knows_its_id: bool,
    pub alarm: Alarm,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct InitialDelay {
    /// Length of the present wait.
    pub delay_ms: u64,
    /// How much longer it may become.
    pub remaining_ms: u64,
    /// Someone has joined since the present wait began.
    pub extended: bool,
}

/// The group's proposal on its way through Raft.
#[derive(Debug)]
pub(super) struct InFlight {
    pub purpose: Purpose,
    /// Sent once it is committed.
    pub replies: Vec<(RequestId, Reply)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Generation { generation: i32, protocol_name: String },
    Assignment(BTreeMap<Arc<str>, Bytes>),
    Replacement,
    Emptying,
    Deletion(RequestId),
}

#[derive(Debug)]
pub(super) enum Deferred {
    Join(RequestId, Join),
    Sync(RequestId, Sync),
    Leave(RequestId, Leave),
    Delete(RequestId),
    MemberTimer(Arc<str>),
    GroupTimer,
}

impl LiveGroup {
    /// A group that the log does not know.
    pub fn vacant(id: &str) -> Self {
        Self::from_record(id, &stored::Group::default())
    }

    /// The group as it was last applied. Alarms are for the caller to set.
    pub fn from_record(id: &str, record: &stored::Group) -> Self {
        let members: BTreeMap<_, _> = record
            .members
            .iter()
            .map(|stored| (Arc::from(stored.member_id.as_str()), Member::from_stored(stored)))
            .collect();
        let statics = members
            .iter()
            .filter_map(|(id, member)| Some((member.instance_id.clone()?, Arc::clone(id))))
            .collect();
        let state = record.state();
        let pending_syncs = match state {
            GroupState::CompletingRebalance => members.keys().cloned().collect(),
            _ => BTreeSet::new(),
        };
        Self {
            id: Arc::from(id),
            revision: record.revision,
            state,
            generation: record.generation,
            protocol_type: record.protocol_type.clone(),
            protocol_name: record.protocol_name.clone(),
            leader: record.leader.as_deref().map(Arc::from),
            members,
            statics,
            pending_joins: BTreeMap::new(),
            pending_syncs,
            initial: None,
            alarm: Alarm::default(),
            in_flight: None,
            deferred: VecDeque::new(),
        }
    }

    /// Nothing that the applied record does not say better.
    pub fn is_idle(&self) -> bool {
        self.state == GroupState::Empty
            && self.members.is_empty()
            && self.pending_joins.is_empty()
            && self.in_flight.is_none()
            && self.deferred.is_empty()
    }

    /// Bytes that the members' protocols take.
    pub fn protocol_bytes(&self) -> usize {
        self.members.values().map(|it| protocol_bytes(&it.protocols)).sum()
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub fn has_all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|it| it.awaiting_join.is_some())
    }

    /// Longest that any member needs to rejoin.
    pub fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|it| it.rebalance_timeout_ms).max();
        longest.map_or(0, |it| u64::try_from(it).unwrap_or(0))
    }

    /// Whether a member that offers this fits (GR-1).
    pub fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|it| self.is_common(&it.name))
    }

    fn is_common(&self, protocol: &str) -> bool {
        self.members.values().all(|it| it.supports(protocol))
    }

    /// The protocol with most votes; each member votes for the first of its own that all have (GR-7). Of
    /// several with as many votes, the first by name.
    pub fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let common: BTreeSet<&str> = match self.members.values().next() {
            Some(first) => {
                first.protocols.iter().map(|it| it.name.as_str()).filter(|it| self.is_common(it)).collect()
            }
            None => return None,
        };
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|it| common.contains(it.name.as_str()))?;
            *votes.entry(&vote.name).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// The members as the leader gets them, with their metadata for the chosen protocol.
    pub fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        self.members
            .values()
            .map(|it| JoinedMember {
                member_id: it.id.to_string(),
                instance_id: it.instance_id.clone(),
                metadata: it.metadata(protocol),
            })
            .collect()
    }

    /// A leader that has joined, be it another one; `false` if nobody has.
    pub fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |it: &Member| it.awaiting_join.is_some();
        match self.leader.as_ref().and_then(|leader| self.members.get(leader)) {
            Some(leader) if has_joined(leader) => true,
            Some(_) => match self.members.values().find(|it| has_joined(it)) {
                Some(member) => {
                    self.leader = Some(Arc::clone(&member.id));
                    true
                }
                None => false,
            },
            None => false,
        }
    }
}

pub(super) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|it| it.name.len() + it.metadata.len()).sum()
}

impl Roster for LiveGroup {
    fn has_member(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    fn static_member(&self, instance_id: &str) -> Option<&str> {
        self.statics.get(instance_id).map(|it| &**it)
    }
}

impl Member {
    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|it| it.name == protocol)
    }

    /// Empty if the member does not have the protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|it| it.name == protocol);
        offered.map_or_else(Bytes::new, |it| it.metadata.clone())
    }

    /// A member that waits for us does not heartbeat; but one that is new may have given up long ago.
    pub fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    fn from_stored(stored: &stored::Member) -> Self {
        Self {
            id: Arc::from(stored.member_id.as_str()),
            instance_id: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: stored
                .protocols
                .iter()
                .map(|it| Protocol { name: it.name.clone(), metadata: it.metadata.clone() })
                .collect(),
            assignment: stored.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            knows_its_id: true,
            alarm: Alarm::default(),
        }
    }

    pub fn to_stored(&self) -> stored::Member {
        stored::Member {
            member_id: self.id.to_string(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: self
                .protocols
                .iter()
                .map(|it| stored::Protocol { name: it.name.clone(), metadata: it.metadata.clone() })
                .collect(),
            assignment: self.assignment.clone(),
        }
    }
}
