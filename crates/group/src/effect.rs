//! What a coordinator wants done, and the answers it gives. Reply fields are those of Kafka's responses.

use bytes::Bytes;

use crate::command::Command;
use crate::event::{ProposalId, RequestId};
use crate::refusal::Refusal;

/// To be performed in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Propose to Raft, in this order; the outcome comes back as
    /// [`Event::Committed`](crate::Event::Committed) or
    /// [`Event::ProposalFailed`](crate::Event::ProposalFailed).
    Propose(ProposalId, Command),
    /// Answer this request.
    Reply(RequestId, Reply),
}

impl Effect {
    pub(crate) fn is_proposal(&self) -> bool {
        matches!(self, Self::Propose(..))
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// JoinGroup.
    Join(Result<Joined, JoinRefused>),
    /// SyncGroup.
    Sync(Result<Synced, Refusal>),
    /// Heartbeat.
    Heartbeat(Result<(), Refusal>),
    /// LeaveGroup; members in the request's order.
    Leave(Result<Vec<LeftMember>, Refusal>),
    /// OffsetCommit: for the whole request, or per offset in the request's order.
    CommitOffsets(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// OffsetDelete: for the whole request, or per partition in the request's order.
    DeleteOffsets(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// DeleteGroups, one group.
    DeleteGroup(Result<(), Refusal>),
}

/// A successful JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Generation id.
    pub generation: i32,
    /// Null before v7.
    pub protocol_type: Option<String>,
    /// The protocol that the group uses.
    pub protocol_name: Option<String>,
    /// Member id of the leader.
    pub leader: String,
    /// The leader shall not compute an assignment (KIP-814).
    pub skip_assignment: bool,
    /// Id of the answered member.
    pub member_id: String,
    /// All members, to the leader only.
    pub members: Vec<JoinedMember>,
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// For the chosen protocol.
    pub metadata: Bytes,
}

/// A refused JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub refusal: Refusal,
    /// The member id to answer with: the assigned one for MEMBER_ID_REQUIRED, else the request's or empty.
    pub member_id: String,
}

/// A successful SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<String>,
    /// The generation's protocol.
    pub protocol_name: Option<String>,
    /// Empty if the leader did not name the member.
    pub assignment: Bytes,
}

/// One member of a LeaveGroup answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: String,
    /// As in the request.
    pub instance_id: Option<String>,
    /// Whether it left.
    pub outcome: Result<(), Refusal>,
}
