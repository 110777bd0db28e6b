//! Partitions' logs: what new topics get, retention, flushing, compaction.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 2 LOGS:
    /// Data directory, when `log.dirs` is not given.
    log_dir: "log.dir", List = "./milena-data", NotEmpty, ReadOnly, Now;
    /// Data directories, comma-separated.
    log_dirs: "log.dirs", MaybeList = null, Any, ReadOnly, Now;
    /// Data directories that take no new partitions.
    cordoned_log_dirs: "cordoned.log.dirs", List = "", Any, ClusterWide, Later;
    /// Partitions of a topic created without a number.
    num_partitions: "num.partitions", Int = 1, AtLeast(1), ReadOnly, Now;
    /// Replicas of a topic created without a number.
    default_replication_factor: "default.replication.factor", Int = 1, AtLeast(1), ReadOnly, Now;
    /// Fewest in-sync replicas that must hold a batch before `acks=all` succeeds.
    min_insync_replicas: "min.insync.replicas", Int = 1, AtLeast(1), ClusterWide, Now;
    /// Largest batch accepted, as sent, counting the 12 bytes before its length.
    message_max_bytes: "message.max.bytes", Int = 1_048_588, AtLeast(0), ClusterWide, Now;
    /// Codec of batches at rest; `producer` keeps what the client sent.
    compression_type: "compression.type", Text = "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), ClusterWide, Now;
    /// Level when the broker recompresses with gzip; -1 is the codec's own default.
    compression_gzip_level: "compression.gzip.level", Int = "-1", GzipLevel, ClusterWide, Now;
    /// Level when the broker recompresses with lz4.
    compression_lz4_level: "compression.lz4.level", Int = 9, Between(1, 17), ClusterWide,
        Accepted("our lz4 encoder has one level");
    /// Level when the broker recompresses with zstd.
    compression_zstd_level: "compression.zstd.level", Int = 3, Between(-131_072, 22), ClusterWide, Now;
    /// Size at which a segment is closed.
    log_segment_bytes: "log.segment.bytes", Int = 1_073_741_824, AtLeast(1_048_576), ClusterWide, Now;
    /// Age at which a segment is closed; wins over the hours.
    log_roll_ms: "log.roll.ms", MaybeLong = null, AtLeast(1), ClusterWide, Now;
    /// Age in hours at which a segment is closed.
    log_roll_hours: "log.roll.hours", Int = 168, AtLeast(1), ReadOnly, Now;
    /// Longest random delay taken off the age at which a segment is closed; wins over the hours.
    log_roll_jitter_ms: "log.roll.jitter.ms", MaybeLong = null, AtLeast(0), ClusterWide, Now;
    /// Longest random delay, in hours, taken off the age at which a segment is closed.
    log_roll_jitter_hours: "log.roll.jitter.hours", Int = 0, AtLeast(0), ReadOnly, Now;
    /// Time after which segments are deleted, -1 for never; wins over minutes and hours.
    log_retention_ms: "log.retention.ms", MaybeLong = null, AtLeast(-1), ClusterWide, Now;
    /// Time in minutes after which segments are deleted, -1 for never; wins over the hours.
    log_retention_minutes: "log.retention.minutes", MaybeInt = null, AtLeast(-1), ReadOnly, Now;
    /// Time in hours after which segments are deleted, -1 for never.
    log_retention_hours: "log.retention.hours", Int = 168, AtLeast(-1), ReadOnly, Now;
    /// Bytes kept per partition; negative means no limit.
    log_retention_bytes: "log.retention.bytes", Long = "-1", Any, ClusterWide, Now;
    /// How often retention is applied.
    log_retention_check_interval_ms: "log.retention.check.interval.ms", Long = 300_000, AtLeast(1), ReadOnly, Now;
    /// What happens to old data, for topics that do not say: `delete`, `compact`, both, or nothing.
    log_cleanup_policy: "log.cleanup.policy", List = "delete", Members(&["compact", "delete"]), ClusterWide, Now;
    /// Largest size of a segment's offset index.
    log_index_size_max_bytes: "log.index.size.max.bytes", Int = 10_485_760, AtLeast(4), ClusterWide, Now;
    /// Bytes of data between two entries of the offset index.
    log_index_interval_bytes: "log.index.interval.bytes", Int = 4096, AtLeast(0), ClusterWide, Now;
    /// Force data to disk after this many records.
    log_flush_interval_messages: "log.flush.interval.messages", Long = 9223372036854775807, AtLeast(1), ClusterWide, Now;
    /// Force data to disk when it has been unflushed for this long.
    log_flush_interval_ms: "log.flush.interval.ms", MaybeLong = null, AtLeast(0), ClusterWide, Now;
    /// How often Kafka looks for logs to flush; stands in for `log.flush.interval.ms`.
    log_flush_scheduler_interval_ms: "log.flush.scheduler.interval.ms", Long = 9223372036854775807, AtLeast(0), ReadOnly, Now;
    /// How often recovery points are written down.
    log_flush_offset_checkpoint_interval_ms: "log.flush.offset.checkpoint.interval.ms", Int = 60_000, AtLeast(0), ReadOnly, Accepted("written together with high watermarks: replica.high.watermark.checkpoint.interval.ms");
    /// How often log start offsets are written down.
    log_flush_start_offset_checkpoint_interval_ms: "log.flush.start.offset.checkpoint.interval.ms", Int = 60_000, AtLeast(0), ReadOnly, Accepted("written together with high watermarks: replica.high.watermark.checkpoint.interval.ms");
    /// How long a deleted file stays on disk under its `.deleted` name.
    log_segment_delete_delay_ms: "log.segment.delete.delay.ms", Long = 60_000, AtLeast(0), ClusterWide, Now;
    /// Reserve a segment's whole size on disk when it is created.
    log_preallocate: "log.preallocate", Boolean = false, Any, ClusterWide, Now;
    /// Who stamps a record's time, for topics that do not say.
    log_message_timestamp_type: "log.message.timestamp.type", Text = "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]), ClusterWide, Now;
    /// How far behind the broker's clock a record's timestamp may lie.
    log_message_timestamp_before_max_ms: "log.message.timestamp.before.max.ms", Long = 9223372036854775807, AtLeast(0), ClusterWide, Now;
    /// How far ahead of the broker's clock a record's timestamp may lie.
    log_message_timestamp_after_max_ms: "log.message.timestamp.after.max.ms", Long = 3_600_000, AtLeast(0), ClusterWide, Now;
    /// How long background work waits after the start.
    log_initial_task_delay_ms: "log.initial.task.delay.ms", Long = 30_000, AtLeast(0), ReadOnly, Now;
    /// How long a broker may keep the failure of a directory to itself before it stops.
    log_dir_failure_timeout_ms: "log.dir.failure.timeout.ms", Long = 30_000, AtLeast(1), ReadOnly, Later;
    /// Threads per data directory that load logs at start.
    num_recovery_threads_per_data_dir: "num.recovery.threads.per.data.dir", Int = 2, AtLeast(1), ClusterWide, Later;
    /// Run the log cleaner, without which compacted topics grow for ever.
    log_cleaner_enable: "log.cleaner.enable", Boolean = true, Any, ReadOnly, Now;
    /// Threads of the log cleaner.
    log_cleaner_threads: "log.cleaner.threads", Int = 1, AtLeast(0), ClusterWide,
        Now;
    /// Memory for the cleaner's table of keys.
    log_cleaner_dedupe_buffer_size: "log.cleaner.dedupe.buffer.size", Long = 134_217_728, AtLeast(1_048_576), ClusterWide, Now;
    /// Memory for the cleaner's reads and writes.
    log_cleaner_io_buffer_size: "log.cleaner.io.buffer.size", Int = 524_288, AtLeast(0), ClusterWide,
        Now;
    /// How full the cleaner's table of keys may get.
    log_cleaner_io_buffer_load_factor: "log.cleaner.io.buffer.load.factor", Double = 0.9, Ratio(0.0, 1.0), ClusterWide,
        Now;
    /// Bytes a second that the cleaner may read and write.
    log_cleaner_io_max_bytes_per_second: "log.cleaner.io.max.bytes.per.second", Double = 1.7976931348623157E308, Any, ClusterWide, Now;
    /// How long the cleaner sleeps when nothing is to be cleaned.
    log_cleaner_backoff_ms: "log.cleaner.backoff.ms", Long = 15_000, AtLeast(0), ClusterWide, Now;
    /// How long a tombstone stays readable after compaction first saw it.
    log_cleaner_delete_retention_ms: "log.cleaner.delete.retention.ms", Long = 86_400_000, AtLeast(0), ClusterWide, Now;
    /// Shortest time a record stays uncompacted.
    log_cleaner_min_compaction_lag_ms: "log.cleaner.min.compaction.lag.ms", Long = 0, AtLeast(0), ClusterWide, Now;
    /// Longest time a record stays uncompacted.
    log_cleaner_max_compaction_lag_ms: "log.cleaner.max.compaction.lag.ms", Long = 9223372036854775807, AtLeast(1), ClusterWide, Now;
    /// Share of a log that must be uncompacted before the cleaner takes it up.
    log_cleaner_min_cleanable_ratio: "log.cleaner.min.cleanable.ratio", Double = 0.5, Ratio(0.0, 1.0), ClusterWide, Now;
}
