//! Consumer, share and streams groups, and committed offsets.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 4 GROUPS:
    /// Partitions of `__consumer_offsets`; a group's partition is told to tools, its data lies in the quorum.
    offsets_topic_num_partitions: "offsets.topic.num.partitions", Int = 50, AtLeast(1), ReadOnly, Now;
    /// Replicas of `__consumer_offsets`; the default shrinks to the number of brokers.
    offsets_topic_replication_factor: "offsets.topic.replication.factor", Short = 3, AtLeast(1), ReadOnly, Now;
    /// Segment size of `__consumer_offsets`.
    offsets_topic_segment_bytes: "offsets.topic.segment.bytes", Int = 104_857_600, AtLeast(1), ReadOnly, Now;
    /// Codec of `__consumer_offsets`, as a number.
    offsets_topic_compression_codec: "offsets.topic.compression.codec", Int = 0, Any, ReadOnly,
        Accepted("offsets lie in the quorum's state");
    /// How long offsets of a group without members are kept.
    offsets_retention_minutes: "offsets.retention.minutes", Int = 10_080, AtLeast(1), ReadOnly, Now;
    /// How often expired offsets are looked for.
    offsets_retention_check_interval_ms: "offsets.retention.check.interval.ms", Long = 600_000, AtLeast(1), ReadOnly, Now;
    /// Longest a commit waits for its replication.
    offsets_commit_timeout_ms: "offsets.commit.timeout.ms", Int = 5000, AtLeast(1), ReadOnly, Now;
    /// Read size when Kafka loads offsets.
    offsets_load_buffer_size: "offsets.load.buffer.size", Int = 5_242_880, AtLeast(1), ReadOnly,
        Accepted("a coordinator's state is always loaded");
    /// Longest text that may accompany a committed offset.
    offset_metadata_max_bytes: "offset.metadata.max.bytes", Int = 4096, AtLeast(0), ReadOnly, Now;
    /// Shortest session time-out a classic member may ask for.
    group_min_session_timeout_ms: "group.min.session.timeout.ms", Int = 6000, AtLeast(0), ReadOnly, Now;
    /// Longest session time-out a classic member may ask for.
    group_max_session_timeout_ms: "group.max.session.timeout.ms", Int = 1_800_000, AtLeast(0), ReadOnly, Now;
    /// How long the first rebalance of a group waits for more members.
    group_initial_rebalance_delay_ms: "group.initial.rebalance.delay.ms", Int = 3000, AtLeast(0), ReadOnly, Now;
    /// Members of one classic group.
    group_max_size: "group.max.size", Int = 2147483647, AtLeast(1), ReadOnly, Now;
    /// Threads of the group coordinator.
    group_coordinator_threads: "group.coordinator.threads", Int = 4, AtLeast(1), ReadOnly,
        Accepted("groups are one replicated state machine");
    /// How long the coordinator gathers writes; -1 decides by itself.
    group_coordinator_append_linger_ms: "group.coordinator.append.linger.ms", Int = "-1", AtLeast(-1), ReadOnly,
        Accepted("writes that arrive during a flush share the next one");
    /// Group protocols that are served.
    group_coordinator_rebalance_protocols: "group.coordinator.rebalance.protocols", List = "classic,consumer,streams",
        Members(&["classic", "consumer", "share", "streams"]), ReadOnly, Later;
    /// Session time-out of consumer groups (new protocol).
    group_consumer_session_timeout_ms: "group.consumer.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Smallest session time-out of a consumer group.
    group_consumer_min_session_timeout_ms: "group.consumer.min.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Largest session time-out of a consumer group.
    group_consumer_max_session_timeout_ms: "group.consumer.max.session.timeout.ms", Int = 60_000, AtLeast(1), ReadOnly, Later;
    /// Heartbeat interval of consumer groups (new protocol).
    group_consumer_heartbeat_interval_ms: "group.consumer.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Smallest heartbeat interval of a consumer group.
    group_consumer_min_heartbeat_interval_ms: "group.consumer.min.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Largest heartbeat interval of a consumer group.
    group_consumer_max_heartbeat_interval_ms: "group.consumer.max.heartbeat.interval.ms", Int = 15_000, AtLeast(1), ReadOnly, Later;
    /// Members of one consumer group (new protocol).
    group_consumer_max_size: "group.consumer.max.size", Int = 2147483647, AtLeast(1), ReadOnly, Later;
    /// Assignors offered to consumer groups (new protocol); the first is the default.
    group_consumer_assignors: "group.consumer.assignors", List = "uniform,range", Any, ReadOnly, Later;
    /// Which ways between classic and new protocol a living group may go.
    group_consumer_migration_policy: "group.consumer.migration.policy", Text = "bidirectional",
        OneOfAnyCase(&["disabled", "downgrade", "upgrade", "bidirectional"]), ReadOnly, Later;
    /// How often regular expressions of subscriptions are matched again.
    group_consumer_regex_refresh_interval_ms: "group.consumer.regex.refresh.interval.ms", Int = 600_000, AtLeast(10_000), ReadOnly, Later;
    /// Session time-out of share groups.
    group_share_session_timeout_ms: "group.share.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Heartbeat interval of share groups.
    group_share_heartbeat_interval_ms: "group.share.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Members of one share group.
    group_share_max_size: "group.share.max.size", Int = 200, Between(1, 1000), ReadOnly, Later;
    /// How often a record of a share group is delivered before it is given up.
    group_share_delivery_count_limit: "group.share.delivery.count.limit", Int = 5, Between(2, 10), ReadOnly, Later;
    /// How long a share consumer holds a record before it is offered again.
    group_share_record_lock_duration_ms: "group.share.record.lock.duration.ms", Int = 30_000, Between(1000, 60_000), ReadOnly, Later;
    /// Records of one partition that a share group may hold locked.
    group_share_partition_max_record_locks: "group.share.partition.max.record.locks", Int = 2000, Between(100, 10_000), ReadOnly, Later;
    /// Share sessions kept at the same time.
    group_share_max_share_sessions: "group.share.max.share.sessions", Int = 2000, AtLeast(1), ReadOnly, Later;
    /// Partitions of `__share_group_state`.
    share_coordinator_state_topic_num_partitions: "share.coordinator.state.topic.num.partitions", Int = 50, AtLeast(1), ReadOnly, Later;
    /// Replicas of `__share_group_state`.
    share_coordinator_state_topic_replication_factor: "share.coordinator.state.topic.replication.factor", Short = 3, AtLeast(1), ReadOnly, Later;
    /// `min.insync.replicas` of `__share_group_state`.
    share_coordinator_state_topic_min_isr: "share.coordinator.state.topic.min.isr", Short = 2, AtLeast(1), ReadOnly, Later;
    /// Segment size of `__share_group_state`.
    share_coordinator_state_topic_segment_bytes: "share.coordinator.state.topic.segment.bytes", Int = 104_857_600, AtLeast(1), ReadOnly, Later;
    /// Threads of the share coordinator.
    share_coordinator_threads: "share.coordinator.threads", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Updates after which the share coordinator writes a whole snapshot.
    share_coordinator_snapshot_update_records_per_snapshot: "share.coordinator.snapshot.update.records.per.snapshot", Int = 500, AtLeast(0), ReadOnly, Later;
    /// Longest a write of the share coordinator may take.
    share_coordinator_write_timeout_ms: "share.coordinator.write.timeout.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Session time-out of streams groups.
    group_streams_session_timeout_ms: "group.streams.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Heartbeat interval of streams groups.
    group_streams_heartbeat_interval_ms: "group.streams.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Standby replicas of each stateful task of a streams group.
    group_streams_num_standby_replicas: "group.streams.num.standby.replicas", Int = 0, AtLeast(0), ReadOnly, Later;
    /// How long the first rebalance of a streams group waits for more members.
    group_streams_initial_rebalance_delay_ms: "group.streams.initial.rebalance.delay.ms", Int = 3000, AtLeast(0), ReadOnly, Later;
    /// Shortest time between two assignments of a consumer group.
    group_consumer_assignment_interval_ms: "group.consumer.assignment.interval.ms", Int = 1000, AtLeast(0), ClusterWide, Later;
    /// Smallest assignment interval that a consumer group may be given.
    group_consumer_min_assignment_interval_ms: "group.consumer.min.assignment.interval.ms", Int = 0, AtLeast(0), ReadOnly, Later;
    /// Largest assignment interval that a consumer group may be given.
    group_consumer_max_assignment_interval_ms: "group.consumer.max.assignment.interval.ms", Int = 15_000, AtLeast(0), ReadOnly, Later;
    /// Shortest time between two assignments of a share group.
    group_share_assignment_interval_ms: "group.share.assignment.interval.ms", Int = 1000, AtLeast(0), ClusterWide, Later;
    /// Smallest assignment interval that a share group may be given.
    group_share_min_assignment_interval_ms: "group.share.min.assignment.interval.ms", Int = 0, AtLeast(0), ReadOnly, Later;
    /// Largest assignment interval that a share group may be given.
    group_share_max_assignment_interval_ms: "group.share.max.assignment.interval.ms", Int = 15_000, AtLeast(0), ReadOnly, Later;
    /// Shortest time between two assignments of a streams group.
    group_streams_assignment_interval_ms: "group.streams.assignment.interval.ms", Int = 1000, AtLeast(0), ClusterWide, Later;
    /// Smallest assignment interval that a streams group may be given.
    group_streams_min_assignment_interval_ms: "group.streams.min.assignment.interval.ms", Int = 0, AtLeast(0), ReadOnly, Later;
    /// Largest assignment interval that a streams group may be given.
    group_streams_max_assignment_interval_ms: "group.streams.max.assignment.interval.ms", Int = 15_000, AtLeast(0), ReadOnly, Later;
    /// Smallest session time-out of a share group.
    group_share_min_session_timeout_ms: "group.share.min.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Smallest heartbeat interval of a share group.
    group_share_min_heartbeat_interval_ms: "group.share.min.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Largest session time-out of a share group.
    group_share_max_session_timeout_ms: "group.share.max.session.timeout.ms", Int = 60_000, AtLeast(1), ReadOnly, Later;
    /// Largest heartbeat interval of a share group.
    group_share_max_heartbeat_interval_ms: "group.share.max.heartbeat.interval.ms", Int = 15_000, AtLeast(1), ReadOnly, Later;
    /// Smallest session time-out of a streams group.
    group_streams_min_session_timeout_ms: "group.streams.min.session.timeout.ms", Int = 45_000, AtLeast(1), ReadOnly, Later;
    /// Smallest heartbeat interval of a streams group.
    group_streams_min_heartbeat_interval_ms: "group.streams.min.heartbeat.interval.ms", Int = 5000, AtLeast(1), ReadOnly, Later;
    /// Largest session time-out of a streams group.
    group_streams_max_session_timeout_ms: "group.streams.max.session.timeout.ms", Int = 60_000, AtLeast(1), ReadOnly, Later;
    /// Largest heartbeat interval of a streams group.
    group_streams_max_heartbeat_interval_ms: "group.streams.max.heartbeat.interval.ms", Int = 15_000, AtLeast(1), ReadOnly, Later;
    /// Smallest number of deliveries that a share group may be given.
    group_share_min_delivery_count_limit: "group.share.min.delivery.count.limit", Int = 2, AtLeast(2), ReadOnly, Later;
    /// Smallest lock duration that a share group may be given.
    group_share_min_record_lock_duration_ms: "group.share.min.record.lock.duration.ms", Int = 15_000, AtLeast(1000), ReadOnly, Later;
    /// Smallest number of locked records of a partition that a share group may be given.
    group_share_min_partition_max_record_locks: "group.share.min.partition.max.record.locks", Int = 100, AtLeast(100), ReadOnly, Later;
    /// Largest number of deliveries that a share group may be given.
    group_share_max_delivery_count_limit: "group.share.max.delivery.count.limit", Int = 10, AtLeast(2), ReadOnly, Later;
    /// Largest lock duration that a share group may be given.
    group_share_max_record_lock_duration_ms: "group.share.max.record.lock.duration.ms", Int = 60_000, AtLeast(1000), ReadOnly, Later;
    /// Largest number of locked records of a partition that a share group may be given.
    group_share_max_partition_max_record_locks: "group.share.max.partition.max.record.locks", Int = 4000, AtLeast(100), ReadOnly, Later;
    /// Assignors of share groups.
    group_share_assignors: "group.share.assignors", List = "simple", Any, ReadOnly, Later;
    /// Members of one streams group.
    group_streams_max_size: "group.streams.max.size", Int = 2147483647, AtLeast(1), ReadOnly, Later;
    /// Largest number of standby replicas that a streams group may be given.
    group_streams_max_standby_replicas: "group.streams.max.standby.replicas", Int = 2, AtLeast(0), ReadOnly, Later;
    /// Threads that compute assignments beside the group coordinator.
    group_coordinator_background_threads: "group.coordinator.background.threads", Int = 2, AtLeast(1), ReadOnly, Accepted("groups are one replicated state machine");
    /// Largest write buffer that Kafka's group coordinator keeps for reuse.
    group_coordinator_cached_buffer_max_bytes: "group.coordinator.cached.buffer.max.bytes", Int = 1_048_588, AtLeast(524_288), ClusterWide, Accepted("groups are one replicated state machine");
    /// Largest write buffer that the share coordinator keeps for reuse.
    share_coordinator_cached_buffer_max_bytes: "share.coordinator.cached.buffer.max.bytes", Int = 1_048_588, AtLeast(524_288), ClusterWide, Later;
    /// How long the share coordinator gathers writes; -1 decides by itself.
    share_coordinator_append_linger_ms: "share.coordinator.append.linger.ms", Int = "-1", AtLeast(-1), ReadOnly, Later;
    /// Read size when Kafka loads the state of share groups.
    share_coordinator_load_buffer_size: "share.coordinator.load.buffer.size", Int = 5_242_880, AtLeast(1), ReadOnly, Accepted("a coordinator's state is always loaded");
    /// Codec of `__share_group_state`, as a number.
    share_coordinator_state_topic_compression_codec: "share.coordinator.state.topic.compression.codec", Int = 0, Any, ReadOnly, Later;
    /// How often Kafka clears its list of waiting share fetches.
    share_fetch_purgatory_purge_interval_requests: "share.fetch.purgatory.purge.interval.requests", Int = 1000, Any, ReadOnly, Accepted("waiting requests leave their lists at once");
}
