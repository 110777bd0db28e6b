//! What happens to a coordinator: requests, outcomes of its proposals, time.
//!
//! Requests carry named facts instead of API versions; the broker decodes them once.

use bytes::Bytes;

use crate::groups::Answer;

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic, milliseconds from any fixed start: time-outs go by it, so that a set wall clock expires
    /// nobody.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970: what is written as commit time.
    pub unix_ms: i64,
}

/// Chosen by the caller, unique among the requests not yet answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A command on its way through Raft. Carries the term, so that no outcome of another term can complete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId {
    /// Raft term of the coordinator that proposed.
    pub term: u64,
    /// Counts up within the term.
    pub number: u64,
}

/// A topic for ever, also when another of the same name follows (KIP-516). Offsets belong to it, not to the
/// name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

/// One event. Those with a [`RequestId`] are answered with one [`Reply`](crate::Reply).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// JoinGroup.
    Join(RequestId, Join),
    /// SyncGroup.
    Sync(RequestId, Sync),
    /// Heartbeat.
    Heartbeat(RequestId, Heartbeat),
    /// LeaveGroup.
    Leave(RequestId, Leave),
    /// OffsetCommit, of the partitions that exist.
    CommitOffsets(RequestId, CommitOffsets),
    /// OffsetDelete.
    DeleteOffsets(RequestId, DeleteOffsets),
    /// DeleteGroups, one group of it.
    DeleteGroup(RequestId, DeleteGroup),
    /// These topics are gone from the cluster's metadata; their offsets go too. At most a few thousand at
    /// once.
    TopicsDeleted(Vec<TopicId>),
    /// The proposal was committed and applied. The `groups` given with it have it applied.
    Committed {
        /// As in [`Effect::Propose`](crate::Effect::Propose).
        proposal: ProposalId,
        /// What `apply` returned.
        answer: Answer,
    },
    /// The proposal was not committed, or nobody knows.
    ProposalFailed {
        /// As in [`Effect::Propose`](crate::Effect::Propose).
        proposal: ProposalId,
        /// Which error the waiting clients get.
        failure: Failure,
    },
    /// The connection of these requests is closed: no reply is wanted. A join that could only have told a
    /// new member its id takes the member along. Commits stay in their queue, as in Kafka: it keeps their
    /// order, so none can overtake the client's next attempt.
    Disconnected(Vec<RequestId>),
    /// A deadline has passed.
    Tick,
}

/// Why a proposal came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// This broker leads no longer.
    LeadershipLost,
    /// It took too long, or the log refused it; it may still be applied.
    Indeterminate,
}

/// One protocol that a joining member offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Name of the assignor, for consumers.
    pub name: String,
    /// Opaque; for consumers a subscription.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Group id.
    pub group: String,
    /// Empty when the member has none yet.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// From the request's header; empty if null.
    pub client_id: String,
    /// The peer's address with a leading slash (GR-17).
    pub client_host: String,
    /// Milliseconds without a sign of life before the member is removed.
    pub session_timeout_ms: i32,
    /// Milliseconds that the member needs at most to rejoin; `None` in v0, which uses the session timeout.
    pub rebalance_timeout_ms: Option<i32>,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// v4 and up: a dynamic member without an id is told one first (KIP-394).
    pub requires_known_member_id: bool,
    /// v9 and up: a returning static leader may be told to keep the assignment (KIP-814).
    pub supports_skip_assignment: bool,
    /// A fresh random uuid as text; a member id made from it is `<client or instance id>-<uuid>` (GR-3).
    pub fresh_uuid: String,
}

/// SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Group id.
    pub group: String,
    /// As JoinGroup told it.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// As JoinGroup told it.
    pub generation: i32,
    /// v5 and up: must be the group's.
    pub protocol_type: Option<String>,
    /// v5 and up: must be the generation's.
    pub protocol_name: Option<String>,
    /// Member id and its assignment; from the leader only.
    pub assignments: Vec<(String, Bytes)>,
}

/// Heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Group id.
    pub group: String,
    /// As JoinGroup told it.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// As JoinGroup told it.
    pub generation: i32,
}

/// LeaveGroup; before v3 with one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// Group id.
    pub group: String,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One member that leaves, or is removed by an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty with an instance id: administrative removal.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
}

/// OffsetCommit of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// Group id; may be empty (FC-5).
    pub group: String,
    /// Empty for a simple consumer.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// -1 for a simple consumer.
    pub generation: i32,
    /// v2 to v4 may name their own retention; `None` for -1.
    pub retention_ms: Option<i64>,
    /// v9 and up; older clients get ILLEGAL_GENERATION for an unknown group (OC-2).
    pub knows_group_id_not_found: bool,
    /// Of partitions that exist; the reply answers in this order.
    pub offsets: Vec<OffsetToCommit>,
}

/// One partition's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetToCommit {
    /// Id of the topic.
    pub topic_id: TopicId,
    /// Its name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Next offset to read.
    pub offset: i64,
    /// Leader epoch of the record before it; -1 if not told.
    pub leader_epoch: i32,
    /// Comes back unchanged (OC-3); empty for null.
    pub metadata: String,
}

/// OffsetDelete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// Group id.
    pub group: String,
    /// Topic id, topic name and partition; the reply answers in this order.
    pub partitions: Vec<(TopicId, String, i32)>,
}

/// One group of a DeleteGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroup {
    /// Group id; may be empty (FC-5).
    pub group: String,
}
