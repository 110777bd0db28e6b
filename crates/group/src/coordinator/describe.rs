//! DescribeGroups and ListGroups: what the coordinator sees, for people and tools.

use bytes::Bytes;

use super::Coordinator;
use super::live::{LiveGroup, Member};
use crate::groups::Groups;
use crate::{GROUP_TYPE, GroupState};

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

/// One group for ListGroups; its type is [`GROUP_TYPE`].
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
    /// DescribeGroups; `None` is an unknown group (state `Dead`, or GROUP_ID_NOT_FOUND from v6: GR-17).
    pub fn describe(&self, groups: &Groups, group: &str) -> Option<Description> {
        if let Some(live) = self.live.get(group) {
            return Some(describe(live));
        }
        groups.record(group).map(|record| describe(&LiveGroup::from_record(group, record)))
    }

    /// ListGroups, in the order of group ids (GR-18). Filters ignore case; empty ones take everything.
    pub fn list(&self, groups: &Groups, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
        if !types.is_empty() && !types.iter().any(|it| it.trim().eq_ignore_ascii_case(GROUP_TYPE)) {
            return Vec::new();
        }
        let wanted = |state: GroupState| {
            states.is_empty() || states.iter().any(|it| it.trim().eq_ignore_ascii_case(state.name()))
        };
        let at_rest = groups.records().filter(|(id, _)| self.live.get(id).is_none()).map(|(id, record)| {
            let protocol_type = record.protocol_type.clone().unwrap_or_default();
            ListedGroup { group: id.to_owned(), protocol_type, state: record.state() }
        });
        let live = self.live.iter().map(|it| ListedGroup {
            group: it.id.to_string(),
            protocol_type: it.protocol_type.clone().unwrap_or_default(),
            state: it.state,
        });
        let mut listed: Vec<_> = at_rest.chain(live).filter(|it| wanted(it.state)).collect();
        listed.sort_by(|a, b| a.group.cmp(&b.group));
        listed
    }
}

fn describe(group: &LiveGroup) -> Description {
    let protocol_name = match group.state {
        GroupState::Stable => group.protocol_name.clone().unwrap_or_default(),
        _ => String::new(),
    };
    let member = |it: &Member| DescribedMember {
        member_id: it.id.to_string(),
        instance_id: it.instance_id.clone(),
        client_id: it.client_id.clone(),
        client_host: it.client_host.clone(),
        metadata: it.metadata(&protocol_name),
        assignment: it.assignment.clone(),
    };
    let members = group.members.values().map(member).collect();
    let protocol_type = group.protocol_type.clone().unwrap_or_default();
    Description { state: group.state, protocol_type, protocol_name, members }
}
