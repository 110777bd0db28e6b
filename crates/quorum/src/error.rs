//! What can go wrong, per operation.

use crate::id::NodeId;
use crate::wal::Damage;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a command was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// This node does not lead; nothing was written. `leader` is the last one heard of.
    #[error("this node is not the leader of the group (leader: {leader:?})")]
    NotLeader {
        /// The node to ask instead, if known.
        leader: Option<NodeId>,
    },
    /// Leadership was lost with the command in the log: it may or may not take effect, now or
    /// later. Only a repeatable command may be sent again.
    #[error("leadership was lost before the command was committed; it may still take effect")]
    Indeterminate,
    /// The group has stopped on this node; the command may or may not take effect.
    #[error("the group has stopped: {reason}")]
    Stopped {
        /// The fault, or `shutdown`.
        reason: String,
    },
    /// The command is longer than [`crate::MAX_COMMAND`]; nothing was written.
    #[error("command of {size} bytes is longer than {max}")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
        /// [`crate::MAX_COMMAND`].
        max: usize,
    },
}

/// Why a linearizable read could not be served here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// This node does not lead. `leader` is the last one heard of.
    #[error("this node is not the leader of the group (leader: {leader:?})")]
    NotLeader {
        /// The node to ask instead, if known.
        leader: Option<NodeId>,
    },
    /// A quorum did not confirm the leadership in time.
    #[error("no quorum confirmed the leadership in time")]
    NoQuorum,
    /// The group has stopped on this node.
    #[error("the group has stopped: {reason}")]
    Stopped {
        /// The fault, or `shutdown`.
        reason: String,
    },
}

/// Why the membership was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// This node does not lead. `leader` is the last one heard of.
    #[error("this node is not the leader of the group (leader: {leader:?})")]
    NotLeader {
        /// The node to ask instead, if known.
        leader: Option<NodeId>,
    },
    /// Another change is not finished, or the change itself is impossible.
    #[error("membership change refused: {0}")]
    Refused(String),
    /// Leadership was lost on the way; read the membership before trying again.
    #[error("leadership was lost during the membership change; it may still take effect")]
    Indeterminate,
    /// The group has stopped on this node.
    #[error("the group has stopped: {reason}")]
    Stopped {
        /// The fault, or `shutdown`.
        reason: String,
    },
}

/// Why a node or a group did not start. None of these is repaired by trying again.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file operation failed.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was attempted, such as `create`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The Raft log is damaged where it had been durable. The node must not start with it: what
    /// was acknowledged could be gone.
    #[error("{0}; restore the directory from this node's own copy, or replace the node by one with a new id")]
    Damaged(#[from] Damage),
    /// The log was purged on the strength of a snapshot that is gone, and the applied state
    /// does not reach as far.
    #[error(
        "group {group}: the log starts after index {purged}, but applied state and snapshot reach only index {have}"
    )]
    StateMissing {
        /// The group's name.
        group: String,
        /// Last index that is no longer in the log.
        purged: u64,
        /// Last index that the state covers.
        have: u64,
    },
    /// The group was started twice.
    #[error("group {0} is already running")]
    AlreadyRunning(String),
    /// The configuration contradicts itself.
    #[error("invalid quorum configuration: {0}")]
    Config(String),
    /// Consensus did not start or stopped at once.
    #[error("group {group} did not start: {reason}")]
    Group {
        /// The group's name.
        group: String,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.into();
        move |source| OpenError::Io { doing, path, source }
    }
}
