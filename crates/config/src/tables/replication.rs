//! Followers, in-sync replicas, elections, and reading.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 3 REPLICATION:
    /// Longest a follower may trail the leader's log end offset and stay in the ISR.
    replica_lag_time_max_ms: "replica.lag.time.max.ms", Long = 30_000, AtLeast(1), ReadOnly, Later;
    /// Fetchers per source broker.
    num_replica_fetchers: "num.replica.fetchers", Int = 1, AtLeast(1), ClusterWide,
        Accepted("one stream per pair of brokers carries all partitions");
    /// Fewest bytes a follower asks for.
    replica_fetch_min_bytes: "replica.fetch.min.bytes", Int = 1, AtLeast(0), ReadOnly,
        Accepted("leaders stream batches as they arrive");
    /// Bytes a follower asks for per partition.
    replica_fetch_max_bytes: "replica.fetch.max.bytes", Int = 1_048_576, AtLeast(0), ReadOnly, Later;
    /// Longest a follower's fetch waits for data.
    replica_fetch_wait_max_ms: "replica.fetch.wait.max.ms", Int = 500, AtLeast(1), ReadOnly,
        Accepted("leaders stream batches as they arrive");
    /// Bytes a follower asks for in one answer.
    replica_fetch_response_max_bytes: "replica.fetch.response.max.bytes", Int = 10_485_760, AtLeast(0), ReadOnly, Later;
    /// Pause of a follower after an error.
    replica_fetch_backoff_ms: "replica.fetch.backoff.ms", Int = 1000, AtLeast(0), ReadOnly, Later;
    /// Time-out of a follower's requests.
    replica_socket_timeout_ms: "replica.socket.timeout.ms", Int = 30_000, AtLeast(1), ReadOnly, Later;
    /// Receive buffer of a follower's socket.
    replica_socket_receive_buffer_bytes: "replica.socket.receive.buffer.bytes", Int = 65_536, Any, ReadOnly, Later;
    /// How often high watermarks are written down.
    replica_high_watermark_checkpoint_interval_ms: "replica.high.watermark.checkpoint.interval.ms", Long = 5000, AtLeast(1), ReadOnly, Now;
    /// Class that chooses the replica a consumer reads from.
    replica_selector_class: "replica.selector.class", MaybeText = null, Any, ReadOnly, Later;
    /// When no in-sync replica is left, elect one that may lack records: availability bought with loss.
    unclean_leader_election_enable: "unclean.leader.election.enable", Boolean = false, Any, ClusterWide, Now;
    /// How often partitions without leader are looked through for an unclean election.
    unclean_leader_election_interval_ms: "unclean.leader.election.interval.ms", Long = 300_000, AtLeast(1), ReadOnly, Later;
    /// Give leadership back to preferred replicas.
    auto_leader_rebalance_enable: "auto.leader.rebalance.enable", Boolean = true, Any, ReadOnly, Later;
    /// How often leadership is looked through for imbalance.
    leader_imbalance_check_interval_seconds: "leader.imbalance.check.interval.seconds", Long = 300, AtLeast(1), ReadOnly, Later;
    /// Share of leaderships away from the preferred replica that Kafka tolerates per broker.
    leader_imbalance_per_broker_percentage: "leader.imbalance.per.broker.percentage", Int = 10, Any, ReadOnly, Later;
    /// Largest answer to a Fetch request.
    fetch_max_bytes: "fetch.max.bytes", Int = 57_671_680, AtLeast(1024), ReadOnly, Now;
    /// Fetch sessions kept at the same time; further fetches do without.
    max_incremental_fetch_session_cache_slots: "max.incremental.fetch.session.cache.slots", Int = 1000, AtLeast(0), ReadOnly, Later;
    /// How often Kafka clears its list of waiting fetches.
    fetch_purgatory_purge_interval_requests: "fetch.purgatory.purge.interval.requests", Int = 1000, Any, ReadOnly,
        Accepted("waiting requests leave their lists at once");
    /// How often Kafka clears its list of waiting produces.
    producer_purgatory_purge_interval_requests: "producer.purgatory.purge.interval.requests", Int = 1000, Any, ReadOnly,
        Accepted("waiting requests leave their lists at once");
    /// How often Kafka clears its list of waiting DeleteRecords requests.
    delete_records_purgatory_purge_interval_requests: "delete.records.purgatory.purge.interval.requests", Int = 1, Any, ReadOnly,
        Accepted("waiting requests leave their lists at once");
    /// Bytes a second that throttled leaders send to followers.
    leader_replication_throttled_rate: "leader.replication.throttled.rate", Long = 9223372036854775807, AtLeast(0), ClusterWide, Now;
    /// Bytes a second that throttled followers fetch.
    follower_replication_throttled_rate: "follower.replication.throttled.rate", Long = 9223372036854775807, AtLeast(0), ClusterWide, Now;
    /// Bytes a second that moves between data directories use.
    replica_alter_log_dirs_io_max_bytes_per_second: "replica.alter.log.dirs.io.max.bytes.per.second", Long = 9223372036854775807, AtLeast(0), ClusterWide, Later;
    /// Threads that move replicas between data directories.
    num_replica_alter_log_dirs_threads: "num.replica.alter.log.dirs.threads", MaybeInt = null, Any, ReadOnly,
        Accepted("disk work has its own small pool");
}
