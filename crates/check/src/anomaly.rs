//! What can be wrong with a history.

use serde::Serialize;

use crate::event::Micros;

/// The kinds of anomaly, by Jepsen's names where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An acknowledged value is nowhere, though later offsets were read.
    LostWrite,
    /// An acknowledged value beyond the last record, though a consumer was driven to the end.
    Unseen,
    /// A value was read once, and is gone (R4: it was beyond the high watermark).
    DirtyRead,
    /// Two values at one offset, or one value at an offset other than acknowledged.
    InconsistentOffsets,
    /// One send, several offsets.
    Duplicate,
    /// A value that nobody sent.
    Phantom,
    /// A value of which the producer was told that it was not written.
    RefusedWriteSeen,
    /// A later send of a producer has a smaller offset.
    NonmonotonicSend,
    /// A broker acknowledged below what its successor had acknowledged before the record was sent.
    ZombieReply,
    /// A consumer passed over records.
    PollSkip,
    /// A consumer was given records again.
    NonmonotonicPoll,
    /// A reader of committed records was given a value of an aborted transaction.
    G1a,
    /// A reader of committed records was given a value before its transaction was asked to commit.
    PrecommittedRead,
    /// The end of a partition was further before.
    EndOffsetWentBack,
    /// A fetched offset is older than one whose commit was acknowledged.
    CommittedOffsetWentBack,
    /// No offset is known, though a commit was acknowledged.
    CommittedOffsetLost,
    /// A fetched offset that nobody committed.
    CommittedOffsetPhantom,
    /// Two members own a partition in one generation.
    TwoOwners,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 18] = [
        Self::LostWrite,
        Self::Unseen,
        Self::DirtyRead,
        Self::InconsistentOffsets,
        Self::Duplicate,
        Self::Phantom,
        Self::RefusedWriteSeen,
        Self::NonmonotonicSend,
        Self::ZombieReply,
        Self::PollSkip,
        Self::NonmonotonicPoll,
        Self::G1a,
        Self::PrecommittedRead,
        Self::EndOffsetWentBack,
        Self::CommittedOffsetWentBack,
        Self::CommittedOffsetLost,
        Self::CommittedOffsetPhantom,
        Self::TwoOwners,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost-write",
            Self::Unseen => "unseen",
            Self::DirtyRead => "dirty-read",
            Self::InconsistentOffsets => "inconsistent-offsets",
            Self::Duplicate => "duplicate",
            Self::Phantom => "phantom",
            Self::RefusedWriteSeen => "refused-write-seen",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::ZombieReply => "zombie-reply",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::G1a => "g1a",
            Self::PrecommittedRead => "precommitted-read",
            Self::EndOffsetWentBack => "end-offset-went-back",
            Self::CommittedOffsetWentBack => "committed-offset-went-back",
            Self::CommittedOffsetLost => "committed-offset-lost",
            Self::CommittedOffsetPhantom => "committed-offset-phantom",
            Self::TwoOwners => "two-owners",
        }
    }
}

/// A contradiction in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// What it is.
    pub kind: Kind,
    /// Topic and partition, and the group if there is one: `orders-0`, `billing/orders-0`.
    pub subject: String,
    /// When the answer came that contradicts.
    pub at: Micros,
    /// The values involved, for people.
    pub what: String,
}
