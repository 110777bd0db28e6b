//! The volatile half.
use crate::{Effect, Event, GroupState, Groups, Now, Settings};
use bytes::Bytes;

/// Coordinator of every group, on the Raft leader, for one term.
#[derive(Debug)]
pub struct Coordinator {
    term: u64,
    settings: Settings,
}

/// One group for DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What it is doing.
    pub state: GroupState,
    /// Empty if the group never had members.
    pub protocol_type: String,
    /// Chosen protocol; empty unless Stable.
    pub protocol_name: String,
    /// In the order of member ids.
    pub members: Vec<DescribedMember>,
}

/// One member for DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// For the chosen protocol; empty unless Stable.
    pub metadata: Bytes,
    /// Empty unless assigned.
    pub assignment: Bytes,
}

/// One group for ListGroups; its type is [`GROUP_TYPE`](crate::GROUP_TYPE).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Group id.
    pub group: String,
    /// Empty for simple consumers.
    pub protocol_type: String,
    /// What it is doing.
    pub state: GroupState,
}

impl Coordinator {
    /// The coordinator of a term that has just begun; `groups` has every entry of former terms applied. All members
    /// get a full session (G12).
    pub fn new(term: u64, now: Now, groups: &Groups, settings: Settings) -> Self {
        let _ = (now, groups);
        Self { term, settings }
    }

    /// Handles one event; pushes what must be done, in order, onto `effects`. Also does what is due at `now`.
    pub fn step(&mut self, now: Now, event: Event, groups: &Groups, effects: &mut Vec<Effect>) {
        let _ = (now, event, groups, effects, self.term, &self.settings);
    }

    /// When to call `step` with [`Event::Tick`] at the latest, on the monotonic clock. At least one deadline always
    /// exists: the next check for expired offsets.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// The term is over: answers every waiting request with NOT_COORDINATOR.
    pub fn resign(self, effects: &mut Vec<Effect>) {
        let _ = effects;
    }

    /// DescribeGroups; `None` is an unknown group (state `Dead`, or GROUP_ID_NOT_FOUND from v6).
    pub fn describe(&self, groups: &Groups, group: &str) -> Option<Description> {
        let _ = (groups, group);
        None
    }

    /// ListGroups, in the order of group ids. Filters ignore case; empty ones take everything.
    pub fn list(&self, groups: &Groups, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
        let _ = (groups, states, types);
        Vec::new()
    }
}
