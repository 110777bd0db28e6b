//! Consumer groups: list, describe, delete.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_client::{Client, Error, Target};
use milena_wire::consumer_group_describe::{self, ConsumerGroupDescribeRequest};
use milena_wire::delete_groups::DeleteGroupsRequest;
use milena_wire::describe_groups::{self, DescribeGroupsRequest};
use milena_wire::list_groups::{ListGroupsRequest, ListedGroup};
use milena_wire::{ApiKey, DecodeError, ErrorCode, Reader};

use super::{TopicPartition, check};

/// A group as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Group id.
    pub id: String,
    /// `consumer`, `connect`, or empty.
    pub protocol: String,
    /// Kafka's name of the state, such as `Stable`; empty from old brokers.
    pub state: String,
    /// The type, such as `classic`; empty from old brokers.
    pub kind: String,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Group id.
    pub id: String,
    /// Kafka's name of the state.
    pub state: String,
    /// How partitions are assigned; empty if nothing is.
    pub assignor: String,
    /// Broker that coordinates the group.
    pub coordinator: i32,
    /// Epochs, for groups of the consumer protocol (KIP-848): the group's and its target assignment's.
    pub epochs: Option<(i32, i32)>,
    /// Members, in the coordinator's order.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Member id.
    pub id: String,
    /// Group instance id of a static member.
    pub instance: Option<String>,
    /// Client id.
    pub client: String,
    /// Host it connects from, as the broker prints it.
    pub host: String,
    /// Partitions it has, ascending.
    pub assignment: Vec<TopicPartition>,
    /// Partitions it is to have (KIP-848).
    pub target: Vec<TopicPartition>,
    /// Its epoch (KIP-848).
    pub epoch: Option<i32>,
    /// Whether it speaks the consumer protocol, in a group of that protocol whose broker tells.
    pub upgraded: Option<bool>,
}

/// Groups on all brokers, filtered by state and type where those are not empty.
pub async fn list(client: &Client, states: &[String], kinds: &[String]) -> Result<Vec<Listing>, Error> {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(Into::into).collect(),
        types_filter: kinds.iter().map(Into::into).collect(),
    };
    let mut groups = Vec::new();
    for broker in super::live_brokers(client) {
        let code_of = |it: &milena_wire::list_groups::ListGroupsResponse| it.error_code;
        let answer = client.send_retrying(Target::Broker(broker), request.clone(), i16::MAX, code_of).await?;
        check(|| format!("list the groups of broker {broker}"), answer.error_code, None)?;
        groups.extend(answer.groups.into_iter().map(listing));
    }
    groups.sort_by(|one, other| one.id.cmp(&other.id));
    groups.dedup_by(|one, other| one.id == other.id);
    Ok(groups)
}

fn listing(it: ListedGroup) -> Listing {
    Listing {
        id: it.group_id.to_string(),
        protocol: it.protocol_type.to_string(),
        state: it.group_state.to_string(),
        kind: it.group_type.to_string(),
    }
}

impl Listing {
    /// Whether consumers commit offsets in it: consumers, and groups that only hold offsets.
    pub fn is_of_consumers(&self) -> bool {
        matches!(self.protocol.as_str(), "consumer" | "")
            && !["share", "streams"].iter().any(|kind| self.kind.eq_ignore_ascii_case(kind))
    }
}

/// One group, whichever protocol it speaks.
pub async fn describe(client: &Client, group: &str) -> Result<GroupDescription, Error> {
    let versions = client.versions(Target::Any).await?;
    if versions.highest(ApiKey::ConsumerGroupDescribe, i16::MAX).is_some()
        && let Some(described) = describe_new(client, group).await?
    {
        return Ok(described);
    }
    describe_classic(client, group).await
}

/// `None` if the group does not exist as one of the consumer protocol.
async fn describe_new(client: &Client, group: &str) -> Result<Option<GroupDescription>, Error> {
    let request =
        ConsumerGroupDescribeRequest { group_ids: vec![group.into()], include_authorized_operations: false };
    let code_of = |it: &consumer_group_describe::ConsumerGroupDescribeResponse| {
        it.groups.first().map_or(0, |it| it.error_code)
    };
    let answer = client.send_retrying(Target::Group(group), request, i16::MAX, code_of).await?;
    let Some(it) = answer.groups.into_iter().next() else { return Ok(None) };
    match ErrorCode::from_code(it.error_code) {
        Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion) => return Ok(None),
        _ => check(|| format!("describe group {group}"), it.error_code, it.error_message.as_deref())?,
    }
    let coordinator = client.coordinator(Target::Group(group)).await?;
    Ok(Some(GroupDescription {
        id: group.to_owned(),
        state: it.group_state.to_string(),
        assignor: it.assignor_name.to_string(),
        coordinator,
        epochs: Some((it.group_epoch, it.assignment_epoch)),
        members: it.members.into_iter().map(new_member).collect(),
    }))
}

fn new_member(it: consumer_group_describe::Member) -> Member {
    Member {
        id: it.member_id.to_string(),
        instance: it.instance_id.map(|it| it.to_string()),
        client: it.client_id.to_string(),
        host: it.client_host.to_string(),
        assignment: partitions_of(it.assignment),
        target: partitions_of(it.target_assignment),
        epoch: Some(it.member_epoch),
        upgraded: match it.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

fn partitions_of(assignment: consumer_group_describe::Assignment) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.into_iter();
    let mut partitions: Vec<_> = topics
        .flat_map(|it| {
            let topic = it.topic_name;
            it.partitions.into_iter().map(move |partition| TopicPartition::new(topic.as_str(), partition))
        })
        .collect();
    partitions.sort();
    partitions
}

async fn describe_classic(client: &Client, group: &str) -> Result<GroupDescription, Error> {
    let request = DescribeGroupsRequest { groups: vec![group.into()], include_authorized_operations: false };
    let code_of =
        |it: &describe_groups::DescribeGroupsResponse| it.groups.first().map_or(0, |it| it.error_code);
    let answer = client.send_retrying(Target::Group(group), request, i16::MAX, code_of).await?;
    let what = || format!("describe group {group}");
    let it = answer.groups.into_iter().next();
    let it = it.ok_or_else(|| Error::refused(what(), ErrorCode::GroupIdNotFound.code(), None))?;
    check(what, it.error_code, it.error_message.as_deref())?;
    let coordinator = client.coordinator(Target::Group(group)).await?;
    Ok(GroupDescription {
        id: group.to_owned(),
        state: it.group_state.to_string(),
        assignor: it.protocol_data.to_string(),
        coordinator,
        epochs: None,
        members: it.members.into_iter().map(classic_member).collect(),
    })
}

fn classic_member(it: describe_groups::DescribedGroupMember) -> Member {
    Member {
        id: it.member_id.to_string(),
        instance: it.group_instance_id.map(|it| it.to_string()),
        client: it.client_id.to_string(),
        host: it.client_host.to_string(),
        // Other kinds of clients (Connect) assign something else: it shows as nothing.
        assignment: classic_assignment(&it.member_assignment).unwrap_or_default(),
        target: Vec::new(),
        epoch: None,
        upgraded: None,
    }
}

/// Reads the assignment that a consumer's leader wrote for a member: version, topics with their partitions.
fn classic_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes.clone());
    reader.i16()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.i32()? {
        let topic = reader.text(false)?;
        for _ in 0..reader.i32()? {
            partitions.push(TopicPartition::new(topic.as_str(), reader.i32()?));
        }
    }
    partitions.sort();
    Ok(partitions)
}

/// Deletes groups; one result for each, in order.
pub async fn delete(client: &Client, groups: &[String]) -> BTreeMap<String, Result<(), Error>> {
    let mut results = BTreeMap::new();
    for group in groups {
        results.insert(group.clone(), delete_one(client, group).await);
    }
    results
}

async fn delete_one(client: &Client, group: &str) -> Result<(), Error> {
    let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
    let code_of = |it: &milena_wire::delete_groups::DeleteGroupsResponse| {
        it.results.first().map_or(0, |it| it.error_code)
    };
    let answer = client.send_retrying(Target::Group(group), request, i16::MAX, code_of).await?;
    answer.results.iter().try_for_each(|it| check(|| format!("delete group {group}"), it.error_code, None))
}
