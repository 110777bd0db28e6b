//! How a consumer reads; defaults are those of Kafka 4's Java client unless a reason is given.

use std::time::Duration;

/// A place in a partition to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// The end of what consumers may read.
    Latest,
    /// The first record whose time is this or later, in milliseconds since 1970; the end if there is none.
    Timestamp(i64),
    /// The record with the greatest timestamp.
    MaxTimestamp,
    /// This offset.
    At(i64),
}

/// What to do where there is no position, or where it is out of range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// Go on at the start of the log.
    Earliest,
    /// Go on at its end.
    #[default]
    Latest,
    /// Fail.
    None,
}

/// How a [`Consumer`](crate::Consumer) behaves.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Bytes for which the broker waits before it answers.
    pub min_bytes: usize,
    /// Longest that it waits for them.
    pub max_wait: Duration,
    /// Most bytes in one answer, but for a first batch that is larger.
    pub max_bytes: usize,
    /// Most bytes of one partition in one answer, but for a first batch that is larger.
    pub partition_max_bytes: usize,
    /// Leaves out records of aborted transactions and does not read past open ones.
    pub read_committed: bool,
    /// What to do without a position.
    pub reset: OffsetReset,
    /// Verifies the checksum of each batch.
    pub check_crcs: bool,
    /// Most bytes that one batch may inflate to.
    pub inflated_limit: usize,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            read_committed: false,
            reset: OffsetReset::Latest,
            check_crcs: true,
            inflated_limit: 256 << 20,
        }
    }
}

/// How a consumer belongs to a group (the classic protocol, range assignor).
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Name of the group.
    pub group_id: String,
    /// Name of a static member, which keeps its partitions over a restart (KIP-345).
    pub instance_id: Option<String>,
    /// Time without a heartbeat after which the group goes on without this member.
    pub session_timeout: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Longest that a rebalance waits for this member (`max.poll.interval.ms`).
    pub rebalance_timeout: Duration,
    /// Commits what was returned by earlier polls this often; `None` leaves it to [`commit`](crate::Consumer::commit).
    pub auto_commit: Option<Duration>,
}

impl GroupOptions {
    /// Kafka's defaults for a group of this name.
    pub fn new(group_id: impl Into<String>) -> Self {
        Self {
            group_id: group_id.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(300),
            auto_commit: Some(Duration::from_secs(5)),
        }
    }
}
