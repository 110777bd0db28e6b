//! States of a transaction and the generation of the protocol that ended it.

use crate::stored;

/// A topic for ever, also when another of the same name follows (KIP-516).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

/// What a transactional id is doing (TX-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No transaction since its producer was initialized.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// Decided to commit; markers are missing.
    PrepareCommit,
    /// Decided to abort; markers are missing.
    PrepareAbort,
    /// Committed, every marker written.
    CompleteCommit,
    /// Aborted, every marker written.
    CompleteAbort,
    /// Expired. Never stored: what has expired is gone.
    Dead,
    /// The epoch is being fenced. Never stored: fencing and the decision to abort are one entry.
    PrepareEpochFence,
}

impl State {
    /// All of them, as filters of ListTransactions may name them.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// The name on the wire and in `kafka-transactions`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Decided, and markers are missing.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// What was decided, where something was.
    pub fn decision(self) -> Option<bool> {
        match self {
            Self::PrepareCommit | Self::CompleteCommit => Some(true),
            Self::PrepareAbort | Self::CompleteAbort => Some(false),
            _ => None,
        }
    }

    pub(crate) fn prepared(commit: bool) -> Self {
        if commit { Self::PrepareCommit } else { Self::PrepareAbort }
    }

    /// Where a prepared transaction goes when its last marker is written.
    pub(crate) fn completed(self) -> Self {
        match self {
            Self::PrepareCommit => Self::CompleteCommit,
            Self::PrepareAbort => Self::CompleteAbort,
            other => other,
        }
    }

    pub(crate) fn to_stored(self) -> stored::State {
        match self {
            Self::Empty | Self::Dead | Self::PrepareEpochFence => stored::State::Empty,
            Self::Ongoing => stored::State::Ongoing,
            Self::PrepareCommit => stored::State::PrepareCommit,
            Self::PrepareAbort => stored::State::PrepareAbort,
            Self::CompleteCommit => stored::State::CompleteCommit,
            Self::CompleteAbort => stored::State::CompleteAbort,
        }
    }

    pub(crate) fn from_stored(state: stored::State) -> Self {
        match state {
            stored::State::Empty => Self::Empty,
            stored::State::Ongoing => Self::Ongoing,
            stored::State::PrepareCommit => Self::PrepareCommit,
            stored::State::PrepareAbort => Self::PrepareAbort,
            stored::State::CompleteCommit => Self::CompleteCommit,
            stored::State::CompleteAbort => Self::CompleteAbort,
        }
    }
}

/// How a transaction ends, as markers tell partitions (`TransactionVersion` of WriteTxnMarkers v2, KIP-1228).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionVersion {
    /// The epoch stays: the marker has that of the records.
    V0,
    /// The epoch was bumped first: the marker's is greater than that of the records (KIP-890).
    V2,
}

impl TransactionVersion {
    /// The number on the wire.
    pub fn level(self) -> i8 {
        match self {
            Self::V0 => 0,
            Self::V2 => 2,
        }
    }
}
