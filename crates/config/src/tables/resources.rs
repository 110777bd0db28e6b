//! Settings of the resource types GROUP (32) and CLIENT_METRICS (16).

/// Settings of one group.
pub mod group {
    use crate::setting::{settings, words::*};

    settings! { GroupConfig part 0 GROUP:
        /// Silence after which a member of a consumer group (new protocol) is removed.
        consumer_session_timeout_ms: "consumer.session.timeout.ms", Int = 45_000, AtLeast(1),
            Resource(&[same("group.consumer.session.timeout.ms")]), Later;
        /// Heartbeat interval told to members of a consumer group (new protocol).
        consumer_heartbeat_interval_ms: "consumer.heartbeat.interval.ms", Int = 5_000, AtLeast(1),
            Resource(&[same("group.consumer.heartbeat.interval.ms")]), Later;
        /// Silence after which a member of a share group is removed.
        share_session_timeout_ms: "share.session.timeout.ms", Int = 45_000, AtLeast(1),
            Resource(&[same("group.share.session.timeout.ms")]), Later;
        /// Heartbeat interval told to members of a share group.
        share_heartbeat_interval_ms: "share.heartbeat.interval.ms", Int = 5_000, AtLeast(1),
            Resource(&[same("group.share.heartbeat.interval.ms")]), Later;
        /// How long a share consumer holds a record before it is offered again.
        share_record_lock_duration_ms: "share.record.lock.duration.ms", Int = 30_000, AtLeast(1000),
            Resource(&[same("group.share.record.lock.duration.ms")]), Later;
        /// How often a record of a share group is delivered before it is given up.
        share_delivery_count_limit: "share.delivery.count.limit", Int = 5, AtLeast(2),
            Resource(&[same("group.share.delivery.count.limit")]), Later;
        /// Records of one partition that a share group may hold locked.
        share_partition_max_record_locks: "share.partition.max.record.locks", Int = 2000, AtLeast(100),
            Resource(&[same("group.share.partition.max.record.locks")]), Later;
        /// Whether share consumers may renew a lock.
        share_renew_acknowledge_enable: "share.renew.acknowledge.enable", Boolean = true, Any, Resource(&[]), Later;
        /// Where a new share group starts: `latest`, `earliest`, or `by_duration:` with an ISO duration.
        share_auto_offset_reset: "share.auto.offset.reset", Text = "latest", Any, Resource(&[]), Later;
        /// Whether a share group reads records of open and aborted transactions.
        share_isolation_level: "share.isolation.level", Text = "read_uncommitted",
            OneOf(&["read_uncommitted", "read_committed"]), Resource(&[]), Later;
        /// Silence after which a member of a streams group is removed.
        streams_session_timeout_ms: "streams.session.timeout.ms", Int = 45_000, AtLeast(1),
            Resource(&[same("group.streams.session.timeout.ms")]), Later;
        /// Heartbeat interval told to members of a streams group.
        streams_heartbeat_interval_ms: "streams.heartbeat.interval.ms", Int = 5_000, AtLeast(1),
            Resource(&[same("group.streams.heartbeat.interval.ms")]), Later;
        /// Standby replicas of each stateful task of a streams group.
        streams_num_standby_replicas: "streams.num.standby.replicas", Int = 0, AtLeast(0),
            Resource(&[same("group.streams.num.standby.replicas")]), Later;
        /// How long the first rebalance of a streams group waits for more members.
        streams_initial_rebalance_delay_ms: "streams.initial.rebalance.delay.ms", Int = 3_000, AtLeast(0),
            Resource(&[same("group.streams.initial.rebalance.delay.ms")]), Later;
    }
}

/// Settings of one subscription to clients' metrics.
pub mod client_metrics {
    use crate::setting::{settings, words::*};

    settings! { ClientMetricsConfig part 0 CLIENT_METRICS:
        /// Prefixes of the metrics that clients are asked to push.
        metrics: "metrics", List = "", Any, Resource(&[]), Later;
        /// How often clients push.
        interval_ms: "interval.ms", Int = 300_000, Between(100, 3_600_000), Resource(&[]), Later;
        /// Which clients are asked: `attribute=regular expression` pairs.
        matching: "match", List = "", Any, Resource(&[]), Later;
    }
}
