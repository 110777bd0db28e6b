//! Classic consumer groups and committed offsets. No I/O, no clock, no random source.
//!
//! Two halves, after Kafka's `GroupCoordinator`:
//!
//! - [`Groups`] is the replicated state, the same on every voter: generations, members, assignments and
//!   committed offsets. Only [`Groups::apply`] changes it, with [`Command`]s that came through the Raft log.
//! - [`Coordinator`] lives on the Raft leader alone, for one term: requests that wait, timers, members that
//!   are about to join. It turns [`Event`]s into [`Effect`]s. Heartbeats never enter the log.
//!
//! What a failover may forget is what Kafka forgets: a rebalance that had not formed its generation. Members,
//! generation and assignment of the last generation stay, so clients need not rejoin (GR-16).
//!
//! Invariants:
//!
//! - A generation is in the log before any member hears of it, so no generation number is used twice.
//! - A commit is fenced when it is *applied*: what was valid when proposed may not be when it lands.
//! - Every membership command names the revision it builds on; on another revision it changes nothing.
//! - At most one membership proposal of a group is in flight; what arrives meanwhile waits its turn.
//! - Each request is answered at most once, and within its time-outs always, unless its connection is gone.
#![warn(missing_docs)]

mod command;
mod consumer_protocol;
mod coordinator;
mod effect;
mod event;
mod fence;
mod groups;
mod in_transaction;
mod refusal;
mod settings;
mod stored;
#[cfg(test)]
mod tests;

pub use command::{Command, DecodeError};
pub use consumer_protocol::subscribed_topics;
pub use coordinator::{Coordinator, DescribedMember, Description, ListedGroup};
pub use effect::{Effect, JoinRefused, Joined, JoinedMember, LeftMember, Reply, Synced};
pub use event::{
    CommitOffsets, DeleteGroup, DeleteOffsets, Event, Failure, Heartbeat, Join, Leave, LeavingMember, Now,
    OffsetToCommit, ProposalId, Protocol, RequestId, Sync, TopicId,
};
pub use groups::{Answer, Changes, Committed, Groups, RestoreError};
pub use in_transaction::CommitInTransaction;
pub use refusal::Refusal;
pub use settings::Settings;

/// What a group is doing, under Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// No members; possibly offsets.
    Empty,
    /// Waiting for the members to join.
    PreparingRebalance,
    /// Generation formed; waiting for its leader's assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl GroupState {
    /// The name on the wire, as ListGroups and DescribeGroups give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Name of the group type on the wire (ListGroups v5).
pub const GROUP_TYPE: &str = "classic";

/// Protocol type of consumers; others (Connect, Schema Registry) have their own.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";
