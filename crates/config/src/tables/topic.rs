//! Settings of a topic (notes: Kafka 4.3's full set). Each falls back to the broker setting behind it.

use crate::setting::{settings, words::*};

settings! { TopicConfig part 0 TOPIC:
    /// What happens to old data: `delete` drops whole segments by age and size, `compact` keeps the newest record of
    /// each key, both do both, and an empty list keeps everything. Keys are mandatory with
    /// `compact`.
    cleanup_policy: "cleanup.policy", List = "delete", Members(&["compact", "delete"]),
        Resource(&[same("log.cleanup.policy")]), Now;
    /// Codec of batches at rest. `producer` keeps what the client sent; any other value makes the broker recompress.
    compression_type_name: "compression.type", Text = "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Resource(&[same("compression.type")]), Now;
    /// Level when the broker recompresses with gzip; -1 is the codec's own default.
    compression_gzip_level: "compression.gzip.level", Int = "-1", GzipLevel,
        Resource(&[same("compression.gzip.level")]), Now;
    /// Level when the broker recompresses with lz4.
    compression_lz4_level: "compression.lz4.level", Int = 9, Between(1, 17),
        Resource(&[same("compression.lz4.level")]), Accepted("our lz4 encoder has one level");
    /// Level when the broker recompresses with zstd.
    compression_zstd_level: "compression.zstd.level", Int = 3, Between(-131_072, 22),
        Resource(&[same("compression.zstd.level")]), Now;
    /// How long a tombstone stays readable after compaction first saw it, so that a reader from the start learns of
    /// the deletion.
    delete_retention_ms: "delete.retention.ms", Long = 86_400_000, AtLeast(0),
        Resource(&[same("log.cleaner.delete.retention.ms")]), Now;
    /// How long a deleted file stays on disk under its `.deleted` name.
    file_delete_delay_ms: "file.delete.delay.ms", Long = 60_000, AtLeast(0),
        Resource(&[same("log.segment.delete.delay.ms")]), Now;
    /// Force data to disk after this many records. The default leaves flushing to the operating system and safety to
    /// replication; 1 flushes before every acknowledgement.
    flush_messages: "flush.messages", Long = 9223372036854775807, AtLeast(1),
        Resource(&[same("log.flush.interval.messages")]), Now;
    /// Force data to disk when it has been unflushed for this long.
    flush_ms: "flush.ms", Long = 9223372036854775807, AtLeast(0),
        Resource(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]), Now;
    /// Replicas whose fetching as follower is throttled, as partition:broker pairs, or `*` for all.
    follower_replication_throttled_replicas: "follower.replication.throttled.replicas", List = "", ThrottledReplicas,
        Resource(&[]), Now;
    /// Replicas whose serving of followers is throttled, as partition:broker pairs, or `*` for all.
    leader_replication_throttled_replicas: "leader.replication.throttled.replicas", List = "", ThrottledReplicas,
        Resource(&[]), Now;
    /// Bytes of data between two entries of the offset index.
    index_interval_bytes: "index.interval.bytes", Int = 4096, AtLeast(0),
        Resource(&[same("log.index.interval.bytes")]), Now;
    /// With tiered storage: bytes kept on local disk per partition; -2 means `retention.bytes`.
    local_retention_bytes: "local.retention.bytes", Long = "-2", AtLeast(-2),
        Resource(&[same("log.local.retention.bytes")]), Later;
    /// With tiered storage: time kept on local disk; -2 means `retention.ms`.
    local_retention_ms: "local.retention.ms", Long = "-2", AtLeast(-2),
        Resource(&[same("log.local.retention.ms")]), Later;
    /// Longest a record may stay uncompacted.
    max_compaction_lag_ms: "max.compaction.lag.ms", Long = 9223372036854775807, AtLeast(1),
        Resource(&[same("log.cleaner.max.compaction.lag.ms")]), Now;
    /// Largest batch accepted, as sent (compressed), counting the 12 bytes before its length.
    max_message_bytes: "max.message.bytes", Int = 1_048_588, AtLeast(0), Resource(&[same("message.max.bytes")]), Now;
    /// How far ahead of the broker's clock a record's timestamp may lie.
    message_timestamp_after_max_ms: "message.timestamp.after.max.ms", Long = 3_600_000, AtLeast(0),
        Resource(&[same("log.message.timestamp.after.max.ms")]), Now;
    /// How far behind the broker's clock a record's timestamp may lie.
    message_timestamp_before_max_ms: "message.timestamp.before.max.ms", Long = 9223372036854775807, AtLeast(0),
        Resource(&[same("log.message.timestamp.before.max.ms")]), Now;
    /// Whether a record keeps the time the client gave it (`CreateTime`) or gets the broker's (`LogAppendTime`).
    message_timestamp_type_name: "message.timestamp.type", Text = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]),
        Resource(&[same("log.message.timestamp.type")]), Now;
    /// Share of a log that must be uncompacted before the cleaner takes it up.
    min_cleanable_dirty_ratio: "min.cleanable.dirty.ratio", Double = 0.5, Ratio(0.0, 1.0),
        Resource(&[same("log.cleaner.min.cleanable.ratio")]), Now;
    /// Shortest time a record stays uncompacted.
    min_compaction_lag_ms: "min.compaction.lag.ms", Long = 0, AtLeast(0),
        Resource(&[same("log.cleaner.min.compaction.lag.ms")]), Now;
    /// Fewest in-sync replicas that must hold a batch before `acks=all` succeeds. More than the replication factor
    /// counts as the replication factor.
    min_insync_replicas: "min.insync.replicas", Int = 1, AtLeast(1), Resource(&[same("min.insync.replicas")]), Now;
    /// Reserve a segment's whole size on disk when it is created.
    preallocate: "preallocate", Boolean = false, Any, Resource(&[same("log.preallocate")]), Now;
    /// Keep older segments in tiered storage.
    remote_storage_enable: "remote.storage.enable", Boolean = false, Any, Resource(&[]), Later;
    /// With tiered storage: copy no further segments.
    remote_log_copy_disable: "remote.log.copy.disable", Boolean = false, Any, Resource(&[]), Later;
    /// With tiered storage: delete the remote copies when it is switched off.
    remote_log_delete_on_disable: "remote.log.delete.on.disable", Boolean = false, Any, Resource(&[]), Later;
    /// Bytes kept per partition before old segments are deleted; negative means no limit.
    retention_bytes: "retention.bytes", Long = "-1", Any, Resource(&[same("log.retention.bytes")]), Now;
    /// Time after which segments are deleted; -1 means never.
    retention_ms: "retention.ms", Long = 604_800_000, AtLeast(-1),
        Resource(&[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")]), Now;
    /// Size at which a segment file is closed and a new one begun. Retention and compaction work on closed segments.
    segment_bytes: "segment.bytes", Int = 1_073_741_824, AtLeast(1_048_576), Resource(&[same("log.segment.bytes")]), Now;
    /// Largest size of a segment's offset index.
    segment_index_bytes: "segment.index.bytes", Int = 10_485_760, AtLeast(4),
        Resource(&[same("log.index.size.max.bytes")]), Now;
    /// Longest random delay taken off `segment.ms`, so that segments do not all roll at once.
    segment_jitter_ms: "segment.jitter.ms", Long = 0, AtLeast(0),
        Resource(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]), Now;
    /// Age at which a segment is closed even if it is not full.
    segment_ms: "segment.ms", Long = 604_800_000, AtLeast(1),
        Resource(&[same("log.roll.ms"), hours("log.roll.hours")]), Now;
    /// When no in-sync replica is left, elect one that may lack records: availability bought with loss.
    unclean_leader_election_enable: "unclean.leader.election.enable", Boolean = false, Any,
        Resource(&[same("unclean.leader.election.enable")]), Now;
}
