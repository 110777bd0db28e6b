//! Quotas, tiered storage, metrics.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 8 CLIENTS:
    /// Samples kept to measure clients' rates.
    quota_window_num: "quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of clients' rates.
    quota_window_size_seconds: "quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Samples kept to measure changes of metadata.
    controller_quota_window_num: "controller.quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of changes of metadata.
    controller_quota_window_size_seconds: "controller.quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Samples kept to measure replication.
    replication_quota_window_num: "replication.quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of replication.
    replication_quota_window_size_seconds: "replication.quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Samples kept to measure moves between data directories.
    alter_log_dirs_replication_quota_window_num: "alter.log.dirs.replication.quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of moves between data directories.
    alter_log_dirs_replication_quota_window_size_seconds: "alter.log.dirs.replication.quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Class that decides quotas.
    client_quota_callback_class: "client.quota.callback.class", Class = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Allow topics with tiered storage.
    remote_log_storage_system_enable: "remote.log.storage.system.enable", Boolean = false, Any, ReadOnly, Later;
    /// Class of the remote store.
    remote_log_storage_manager_class_name: "remote.log.storage.manager.class.name", MaybeText = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Path of the remote store's class.
    remote_log_storage_manager_class_path: "remote.log.storage.manager.class.path", MaybeText = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// How often segments are looked through for copying and deleting.
    remote_log_manager_task_interval_ms: "remote.log.manager.task.interval.ms", Long = 30_000, AtLeast(1), ReadOnly, Later;
    /// Threads that copy segments.
    remote_log_manager_copier_thread_pool_size: "remote.log.manager.copier.thread.pool.size", Int = 10, AtLeast(1), ClusterWide, Later;
    /// Threads that delete expired segments.
    remote_log_manager_expiration_thread_pool_size: "remote.log.manager.expiration.thread.pool.size", Int = 10, AtLeast(1), ClusterWide, Later;
    /// Threads that follow tiered partitions.
    remote_log_manager_follower_thread_pool_size: "remote.log.manager.follower.thread.pool.size", Int = 2, AtLeast(1), ClusterWide, Later;
    /// Threads that read remote segments.
    remote_log_reader_threads: "remote.log.reader.threads", Int = 10, AtLeast(1), ClusterWide, Later;
    /// Replicas of the topic that lists remote segments.
    remote_log_metadata_topic_replication_factor: "rlmm.config.remote.log.metadata.topic.replication.factor", Short = 3, AtLeast(1), ReadOnly, Later;
    /// Bytes kept locally with tiered storage; -2 means `log.retention.bytes`.
    log_local_retention_bytes: "log.local.retention.bytes", Long = "-2", AtLeast(-2), ClusterWide, Later;
    /// Time kept locally with tiered storage; -2 means the retention time.
    log_local_retention_ms: "log.local.retention.ms", Long = "-2", AtLeast(-2), ClusterWide, Later;
    /// Longest a fetch waits for remote data.
    remote_fetch_max_wait_ms: "remote.fetch.max.wait.ms", Int = 500, AtLeast(1), ClusterWide, Later;
    /// Classes that report metrics.
    metric_reporters: "metric.reporters", List = "org.apache.kafka.common.metrics.JmxReporter", Any, ClusterWide,
        Accepted("metrics are served at milena.http.listener");
    /// Samples kept of every metric.
    metrics_num_samples: "metrics.num.samples", Int = 2, AtLeast(1), ReadOnly,
        Accepted("metrics are served at milena.http.listener");
    /// Length of a sample of a metric.
    metrics_sample_window_ms: "metrics.sample.window.ms", Long = 30_000, AtLeast(1), ReadOnly,
        Accepted("metrics are served at milena.http.listener");
    /// How detailed metrics are.
    metrics_recording_level: "metrics.recording.level", Text = "INFO", OneOf(&["INFO", "DEBUG", "TRACE"]), ReadOnly,
        Accepted("metrics are served at milena.http.listener");
    /// Largest push of metrics accepted from a client.
    telemetry_max_bytes: "telemetry.max.bytes", Int = 1_048_576, AtLeast(1), ReadOnly, Later;
    /// Class that reads and writes the list of remote segments.
    remote_log_metadata_manager_class_name: "remote.log.metadata.manager.class.name", Text =
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Path of the class that keeps the list of remote segments.
    remote_log_metadata_manager_class_path: "remote.log.metadata.manager.class.path", MaybeText = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Prefix of the settings handed to the class that keeps the list of remote segments.
    remote_log_metadata_manager_impl_prefix: "remote.log.metadata.manager.impl.prefix", Text = "rlmm.config.", NotEmpty, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Listener over which Kafka's list of remote segments is kept.
    remote_log_metadata_manager_listener_name: "remote.log.metadata.manager.listener.name", MaybeText = null, Any, ReadOnly,
        Accepted("brokers talk over milena.peer.listener");
    /// Largest text that a remote store may add to a segment's entry.
    remote_log_metadata_custom_metadata_max_bytes: "remote.log.metadata.custom.metadata.max.bytes", Int = 128, AtLeast(0), ReadOnly, Later;
    /// Prefix of the settings handed to the class of the remote store.
    remote_log_storage_manager_impl_prefix: "remote.log.storage.manager.impl.prefix", Text = "rsm.config.", NotEmpty, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Threads of tiered storage that its other settings do not count.
    remote_log_manager_thread_pool_size: "remote.log.manager.thread.pool.size", Int = 2, AtLeast(1), ReadOnly, Later;
    /// Bytes a second copied to the remote store.
    remote_log_manager_copy_max_bytes_per_second: "remote.log.manager.copy.max.bytes.per.second", Long = 9223372036854775807, AtLeast(1), ClusterWide, Later;
    /// Samples kept to measure copying to the remote store.
    remote_log_manager_copy_quota_window_num: "remote.log.manager.copy.quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of copying to the remote store.
    remote_log_manager_copy_quota_window_size_seconds: "remote.log.manager.copy.quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Bytes a second read from the remote store.
    remote_log_manager_fetch_max_bytes_per_second: "remote.log.manager.fetch.max.bytes.per.second", Long = 9223372036854775807, AtLeast(1), ClusterWide, Later;
    /// Samples kept to measure reading from the remote store.
    remote_log_manager_fetch_quota_window_num: "remote.log.manager.fetch.quota.window.num", Int = 11, AtLeast(1), ReadOnly, Later;
    /// Length of a sample of reading from the remote store.
    remote_log_manager_fetch_quota_window_size_seconds: "remote.log.manager.fetch.quota.window.size.seconds", Int = 1, AtLeast(1), ReadOnly, Later;
    /// Bytes of remote segments' indexes that are kept on local disk.
    remote_log_index_file_cache_total_size_bytes: "remote.log.index.file.cache.total.size.bytes", Long = 1_073_741_824, AtLeast(1), ClusterWide, Later;
    /// Remote reads that may wait for a thread.
    remote_log_reader_max_pending_tasks: "remote.log.reader.max.pending.tasks", Int = 100, AtLeast(1), ReadOnly, Later;
    /// Longest a search of offsets waits for remote data.
    remote_list_offsets_request_timeout_ms: "remote.list.offsets.request.timeout.ms", Long = 30_000, AtLeast(1), ClusterWide, Later;
    /// Let an empty follower of a tiered partition start where the remote store ends.
    follower_fetch_last_tiered_offset_enable: "follower.fetch.last.tiered.offset.enable", Boolean = false, Any, ClusterWide, Later;
    /// Classes of the older kind that report metrics.
    kafka_metrics_reporters: "kafka.metrics.reporters", List = "", Any, ReadOnly,
        Accepted("metrics are served at milena.http.listener");
    /// How often metrics reporters of the older kind are called.
    kafka_metrics_polling_interval_secs: "kafka.metrics.polling.interval.secs", Int = 10, AtLeast(1), ReadOnly,
        Accepted("metrics are served at milena.http.listener");
}
