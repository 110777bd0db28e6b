//! A client process that is, or wants to be, a member of the group.

use bytes::Bytes;
use milena_group::{
    CommitOffsets, Event, Heartbeat, Join, JoinedMember, Leave, LeavingMember, OffsetToCommit, Protocol,
    Refusal, Reply, RequestId, Sync, TopicId,
};

use super::{GROUP, PARTITIONS, REBALANCE_MS, SESSION_MS};

/// The topic that all of them read.
pub(super) const TOPIC: TopicId = TopicId([3; 16]);

/// A process. It asks one thing at a time, and does not remember what it asked before.
pub(super) struct Member {
    pub(super) number: usize,
    /// `group.instance.id`.
    pub(super) instance: Option<String>,
    pub(super) is_dead: bool,
    member_id: String,
    pub(super) generation: i32,
    /// Whether it must join before anything else.
    is_out: bool,
    /// The members, if it leads this generation.
    leads: Option<Vec<JoinedMember>>,
    /// Partitions that it was given in this generation.
    pub(super) owned: Option<Vec<i32>>,
    pending: Option<RequestId>,
}

impl Member {
    pub(super) fn new(number: usize, instance: Option<String>) -> Self {
        Self {
            number,
            instance,
            is_dead: false,
            member_id: String::new(),
            generation: -1,
            is_out: true,
            leads: None,
            owned: None,
            pending: None,
        }
    }

    pub(super) fn waits(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn asks(&mut self, request: RequestId) {
        self.pending = Some(request);
    }

    /// The answer is waited for no longer.
    pub(super) fn lose_patience(&mut self) {
        self.pending = None;
    }

    /// Joins, asks for its assignment, or shows that it lives.
    pub(super) fn next(&self, request: RequestId, fresh_uuid: String) -> Event {
        let (group, member_id, instance_id) =
            (GROUP.to_owned(), self.member_id.clone(), self.instance.clone());
        if self.is_out {
            return Event::Join(
                request,
                Join {
                    group,
                    member_id,
                    instance_id,
                    client_id: "c".to_owned(),
                    client_host: "/h".to_owned(),
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: Some(REBALANCE_MS),
                    protocol_type: "consumer".to_owned(),
                    protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
                    requires_known_member_id: self.number.is_multiple_of(2),
                    supports_skip_assignment: self.number.is_multiple_of(3),
                    fresh_uuid,
                },
            );
        }
        if self.owned.is_some() {
            let generation = self.generation;
            return Event::Heartbeat(request, Heartbeat { group, member_id, instance_id, generation });
        }
        let assignments = self.leads.as_ref().map_or_else(Vec::new, |members| {
            let of = |member: &JoinedMember| assigned(members, &member.member_id);
            members.iter().map(|member| (member.member_id.clone(), encode(&of(member)))).collect()
        });
        Event::Sync(
            request,
            Sync {
                group,
                member_id,
                instance_id,
                generation: self.generation,
                protocol_type: Some("consumer".to_owned()),
                protocol_name: None,
                assignments,
            },
        )
    }

    /// Commits the next offset of each partition that it owns; the offsets of a run are all different.
    pub(super) fn commit(&self, next_offset: &mut i64) -> Option<CommitOffsets> {
        let owned = self.owned.as_ref().filter(|owned| !owned.is_empty())?;
        let member_id = self.member_id.clone();
        Some(commit(member_id, self.instance.clone(), self.generation, owned, next_offset))
    }

    /// A commit in nobody's name.
    pub(super) fn commit_of_nobody(&self, next_offset: &mut i64) -> CommitOffsets {
        commit(String::new(), None, -1, &[0], next_offset)
    }

    pub(super) fn leave(&self, request: RequestId) -> Option<Event> {
        if self.member_id.is_empty() {
            return None;
        }
        let members =
            vec![LeavingMember { member_id: self.member_id.clone(), instance_id: self.instance.clone() }];
        Some(Event::Leave(request, Leave { group: GROUP.to_owned(), members }))
    }

    /// Takes an answer, if it is the one that is waited for.
    pub(super) fn hear(&mut self, request: RequestId, reply: Reply) {
        if self.pending != Some(request) || self.is_dead {
            return;
        }
        self.pending = None;
        match reply {
            Reply::Join(Ok(joined)) => {
                self.member_id = joined.member_id;
                self.generation = joined.generation;
                self.is_out = false;
                self.owned = None;
                let leads = joined.leader == self.member_id && !joined.skip_assignment;
                self.leads = leads.then_some(joined.members);
            }
            Reply::Join(Err(refused)) => match refused.refusal {
                Refusal::MemberIdRequired => self.member_id = refused.member_id,
                other => self.refused(other),
            },
            Reply::Sync(Ok(synced)) => self.owned = Some(decode(&synced.assignment)),
            Reply::Sync(Err(refusal))
            | Reply::Heartbeat(Err(refusal))
            | Reply::CommitOffsets(Err(refusal)) => {
                self.refused(refusal);
            }
            Reply::CommitOffsets(Ok(verdicts)) => {
                if let Some(Err(refusal)) = verdicts.first() {
                    self.refused(*refusal);
                }
            }
            Reply::Heartbeat(Ok(())) | Reply::Leave(_) | Reply::DeleteOffsets(_) | Reply::DeleteGroup(_) => {}
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        match refusal {
            // As consumers do: the id is of no use any more.
            Refusal::UnknownMemberId | Refusal::FencedInstanceId => {
                self.member_id.clear();
                (self.is_out, self.owned) = (true, None);
            }
            Refusal::IllegalGeneration | Refusal::RebalanceInProgress | Refusal::GroupIdNotFound => {
                (self.is_out, self.owned) = (true, None);
            }
            _ => {}
        }
    }
}

fn commit(
    member_id: String,
    instance_id: Option<String>,
    generation: i32,
    partitions: &[i32],
    next_offset: &mut i64,
) -> CommitOffsets {
    let offsets = partitions.iter().map(|partition| {
        *next_offset += 1;
        OffsetToCommit {
            topic_id: TOPIC,
            topic: "t".to_owned(),
            partition: *partition,
            offset: *next_offset,
            leader_epoch: 0,
            metadata: String::new(),
        }
    });
    CommitOffsets {
        group: GROUP.to_owned(),
        member_id,
        instance_id,
        generation,
        retention_ms: None,
        knows_group_id_not_found: true,
        offsets: offsets.collect(),
    }
}

/// What the leader gives to a member: partitions in turn, in the order of names that last.
pub(super) fn assigned(members: &[JoinedMember], member_id: &str) -> Vec<i32> {
    let name = |member: &JoinedMember| {
        (
            member.instance_id.clone().unwrap_or_default(),
            member.instance_id.is_none(),
            member.member_id.clone(),
        )
    };
    let mut names: Vec<_> = members.iter().map(name).collect();
    names.sort_unstable();
    let Some(at) = names.iter().position(|(_, _, id)| id == member_id) else { return Vec::new() };
    (0..PARTITIONS).filter(|partition| *partition as usize % names.len() == at).collect()
}

fn encode(partitions: &[i32]) -> Bytes {
    partitions.iter().map(|partition| *partition as u8).collect()
}

fn decode(assignment: &[u8]) -> Vec<i32> {
    assignment.iter().map(|partition| i32::from(*partition)).collect()
}

/// As the oracle reads an assignment.
pub(super) fn partitions_of(assignment: &[u8]) -> Vec<i32> {
    decode(assignment)
}
