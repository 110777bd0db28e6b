//! What of the broker's configuration the coordinator goes by.

/// Bounds and delays; the defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for company.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: most members of one group.
    pub max_group_size: usize,
    /// `offset.metadata.max.bytes`: in UTF-16 units, as Kafka counts.
    pub max_offset_metadata: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// How long a join of a member that the group has not seen before may wait. Kafka has it fixed at five
    /// minutes.
    pub new_member_join_timeout_ms: u64,
    /// Most requests waiting for an answer, over all groups; ours.
    pub max_waiting_requests: usize,
    /// Most member ids given out and not yet used, over all groups; ours.
    pub max_pending_members: usize,
    /// Most bytes of all members' protocols, and of all assignments, in one group; ours, below the largest
    /// entry of the Raft log.
    pub max_group_bytes: usize,
    /// Most bytes of offset commits that wait for the log; ours.
    pub max_queued_commit_bytes: usize,
    /// Most OffsetCommit requests in one entry of the log.
    pub max_batch_commits: usize,
    /// Most batches of commits without an outcome. Beyond it they wait, and grow. A change of membership that
    /// must not overtake them sends them on all the same.
    pub max_batches_in_flight: usize,
    /// A batch of commits is closed when it has at least this many bytes.
    pub max_batch_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_group_size: i32::MAX as usize,
            max_offset_metadata: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            new_member_join_timeout_ms: 300_000,
            max_waiting_requests: 100_000,
            max_pending_members: 50_000,
            max_group_bytes: 32 * 1024 * 1024,
            max_queued_commit_bytes: 64 * 1024 * 1024,
            max_batch_commits: 4_096,
            max_batches_in_flight: 8,
            max_batch_bytes: 512 * 1024,
        }
    }
}
