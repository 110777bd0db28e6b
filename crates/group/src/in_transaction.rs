//! TxnOffsetCommit: offsets that count only if a transaction commits.
//!
//! It does not pass the [`Coordinator`](crate::Coordinator): nothing about it waits, and a member's session is not
//! extended by it. Its command is proposed together with the transaction's half, as one entry, and fenced when that
//! is applied.

use crate::command::Command;
use crate::coordinator::is_longer;
use crate::event::OffsetToCommit;
use crate::refusal::Refusal;
use crate::stored::{self, command::Kind};

/// One TxnOffsetCommit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInTransaction {
    /// Group id; may be empty (FC-5).
    pub group: String,
    /// Empty before v3 and where the client is no member: then nobody is fenced.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// -1 as for `member_id`.
    pub generation: i32,
    /// Producer of the transaction.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Of partitions that exist; the verdicts are in this order.
    pub offsets: Vec<OffsetToCommit>,
}

impl Command {
    /// The command, and a verdict per offset on what can be told before: one whose metadata has more than
    /// `max_offset_metadata` UTF-16 units is left out (OC-3). The others fare as the command does.
    pub fn commit_in_transaction(
        commit: CommitInTransaction,
        leader_time_ms: i64,
        max_offset_metadata: usize,
    ) -> (Self, Vec<Result<(), Refusal>>) {
        let mut verdicts = Vec::with_capacity(commit.offsets.len());
        let mut offsets = Vec::with_capacity(commit.offsets.len());
        for it in commit.offsets {
            if is_longer(&it.metadata, max_offset_metadata) {
                verdicts.push(Err(Refusal::OffsetMetadataTooLarge));
            } else {
                verdicts.push(Ok(()));
                offsets.push(it.into());
            }
        }
        let command = stored::TxnCommitOffsets {
            leader_time_ms,
            producer_id: commit.producer_id,
            producer_epoch: commit.producer_epoch.into(),
            group: commit.group,
            member_id: commit.member_id,
            instance_id: commit.instance_id,
            generation: commit.generation,
            offsets,
        };
        (Self(Kind::TxnCommitOffsets(command)), verdicts)
    }
}

impl From<OffsetToCommit> for stored::OffsetToCommit {
    fn from(it: OffsetToCommit) -> Self {
        Self {
            topic_id: it.topic_id.to_stored(),
            topic: it.topic,
            partition: it.partition,
            offset: it.offset,
            leader_epoch: it.leader_epoch,
            metadata: it.metadata,
        }
    }
}
