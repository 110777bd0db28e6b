//! Who a broker is, and how the brokers agree on metadata.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 0 IDENTITY:
    /// Number of this node, unique in the cluster; 1 when neither this nor `broker.id` is given.
    configured_node_id: "node.id", MaybeInt = null, AtLeast(0), ReadOnly, Now;
    /// Older name of `node.id`; read when that is not given, and shown with its value when it is.
    broker_id: "broker.id", Int = "-1", AtLeast(-1), ReadOnly, Now;
    /// Roles of this node. With `controller` alone it votes on metadata and keeps no partitions, with `broker` alone it
    /// never votes on metadata; such brokers keep groups and offsets among themselves.
    process_roles: "process.roles", List = "broker,controller", Members(&["broker", "controller"]), ReadOnly, Now;
    /// Names of the listeners that Kafka's controllers talk on. They are left out of what clients are told.
    controller_listener_names: "controller.listener.names", List = "", Any, ReadOnly, Now;
    /// The first voters, as id@host:port; the same list on each of them. They form the cluster; later changes are made
    /// with `milena cluster add-voter` and `remove-voter`.
    controller_quorum_voters: "controller.quorum.voters", List = "", Any, ReadOnly, Now;
    /// Addresses at which a new node finds the others. Without `controller.quorum.voters` the nodes at these addresses
    /// form the cluster.
    controller_quorum_bootstrap_servers: "controller.quorum.bootstrap.servers", List = "", Any, ReadOnly, Now;
    /// Longest silence of the quorum's leader before a new one is elected. Unset, our quorum takes 150 to 300 ms, and brokers that watch each other are usually quicker.
    controller_quorum_election_timeout_ms: "controller.quorum.election.timeout.ms", Int = 1000, AtLeast(1), ReadOnly, Now;
    /// Time without a fetch after which a voter looks for another leader.
    controller_quorum_fetch_timeout_ms: "controller.quorum.fetch.timeout.ms", Int = 2000, AtLeast(1), ReadOnly,
        Accepted("our quorum is pushed to, it does not fetch");
    /// Longest pause between two candidacies.
    controller_quorum_election_backoff_max_ms: "controller.quorum.election.backoff.max.ms", Int = 1000, AtLeast(0), ReadOnly,
        Accepted("elections are timed by our quorum");
    /// How long the quorum's leader gathers writes before it flushes.
    controller_quorum_append_linger_ms: "controller.quorum.append.linger.ms", Int = 25, AtLeast(0), ReadOnly,
        Accepted("writes that arrive during a flush share the next one");
    /// Time-out of requests within the quorum.
    controller_quorum_request_timeout_ms: "controller.quorum.request.timeout.ms", Int = 2000, AtLeast(0), ReadOnly,
        Accepted("elections are timed by our quorum");
    /// Pause before a request within the quorum is sent again.
    controller_quorum_retry_backoff_ms: "controller.quorum.retry.backoff.ms", Int = 20, AtLeast(0), ReadOnly,
        Accepted("elections are timed by our quorum");
    /// Let a new controller join the voters by itself.
    controller_quorum_auto_join_enable: "controller.quorum.auto.join.enable", Boolean = false, Any, ReadOnly, Later;
    /// How often a broker tells the controller that it lives.
    broker_heartbeat_interval_ms: "broker.heartbeat.interval.ms", Int = 2000, AtLeast(1), ReadOnly, Later;
    /// Silence after which a broker is fenced.
    broker_session_timeout_ms: "broker.session.timeout.ms", Int = 9000, AtLeast(1), ReadOnly, Later;
    /// How long a starting broker tries to register.
    initial_broker_registration_timeout_ms: "initial.broker.registration.timeout.ms", Int = 60_000, AtLeast(1), ReadOnly, Now;
    /// Rack or zone of this broker; replicas are spread over racks.
    broker_rack: "broker.rack", MaybeText = null, Any, ReadOnly, Now;
    /// Directory of the metadata log.
    metadata_log_dir: "metadata.log.dir", MaybeText = null, Any, ReadOnly,
        Accepted("the quorum's log lies in the first data directory");
    /// Segment size of Kafka's metadata log.
    metadata_log_segment_bytes: "metadata.log.segment.bytes", Int = 1_073_741_824, AtLeast(8_388_608), ReadOnly,
        Accepted("our quorum's log has its own layout");
    /// Age at which Kafka closes a segment of its metadata log.
    metadata_log_segment_ms: "metadata.log.segment.ms", Long = 604_800_000, AtLeast(1), ReadOnly,
        Accepted("our quorum's log has its own layout");
    /// Bytes of metadata records after which Kafka takes a snapshot.
    metadata_log_max_record_bytes_between_snapshots: "metadata.log.max.record.bytes.between.snapshots", Long = 20_971_520,
        AtLeast(1), ReadOnly, Accepted("our quorum decides by itself when to take a snapshot");
    /// Time after which Kafka takes a snapshot.
    metadata_log_max_snapshot_interval_ms: "metadata.log.max.snapshot.interval.ms", Long = 3_600_000, AtLeast(0), ReadOnly,
        Accepted("our quorum decides by itself when to take a snapshot");
    /// Bytes of metadata log and snapshots that Kafka keeps.
    metadata_max_retention_bytes: "metadata.max.retention.bytes", Long = 104_857_600, AtLeast(-1), ReadOnly,
        Accepted("our quorum purges its log below a flushed snapshot");
    /// Age of metadata log and snapshots that Kafka keeps.
    metadata_max_retention_ms: "metadata.max.retention.ms", Long = 604_800_000, AtLeast(-1), ReadOnly,
        Accepted("our quorum purges its log below a flushed snapshot");
    /// How often Kafka's idle controller writes a record.
    metadata_max_idle_interval_ms: "metadata.max.idle.interval.ms", Int = 500, AtLeast(0), ReadOnly,
        Accepted("an idle quorum writes nothing");
    /// Longest a start may take.
    server_max_startup_time_ms: "server.max.startup.time.ms", Long = 9223372036854775807, AtLeast(0), ReadOnly,
        Accepted("a start takes milliseconds");
    /// Threads for background work such as deleting files.
    background_threads: "background.threads", Int = 10, AtLeast(1), ClusterWide,
        Accepted("disk work has its own small pool");
    /// Whether topics may be deleted.
    delete_topic_enable: "delete.topic.enable", Boolean = true, Any, ReadOnly, Now;
    /// Whether a topic that a client asks for is created (the client must allow it too).
    auto_create_topics_enable: "auto.create.topics.enable", Boolean = true, Any, ReadOnly, Now;
    /// Class that may refuse new topics.
    create_topic_policy_class_name: "create.topic.policy.class.name", Class = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Class that may refuse changes of settings.
    alter_config_policy_class_name: "alter.config.policy.class.name", Class = null, Any, ReadOnly,
        Accepted("no Java classes are loaded");
    /// Partitions in one answer of DescribeTopicPartitions.
    max_request_partition_size_limit: "max.request.partition.size.limit", Int = 2000, AtLeast(1), ReadOnly, Now;
    /// Move leadership to other brokers before stopping.
    controlled_shutdown_enable: "controlled.shutdown.enable", Boolean = true, Any, ReadOnly, Later;
    /// Offer API versions that may still change.
    unstable_api_versions_enable: "unstable.api.versions.enable", Boolean = false, Any, ReadOnly,
        Accepted("no unstable version is served");
    /// Offer feature levels that may still change.
    unstable_feature_versions_enable: "unstable.feature.versions.enable", Boolean = false, Any, ReadOnly,
        Accepted("no unstable feature is served");
    /// Bytes that a member of Kafka's quorum fetches at once.
    controller_quorum_fetch_max_bytes: "controller.quorum.fetch.max.bytes", Int = 1_048_576, AtLeast(0), ReadOnly,
        Accepted("our quorum is pushed to, it does not fetch");
    /// Bytes of a snapshot that a member of Kafka's quorum fetches at once.
    controller_quorum_fetch_snapshot_max_bytes: "controller.quorum.fetch.snapshot.max.bytes", Int = 1_048_576, AtLeast(0), ReadOnly,
        Accepted("our quorum is pushed to, it does not fetch");
    /// Time-out of a broker's requests to the controller.
    controller_socket_timeout_ms: "controller.socket.timeout.ms", Int = 30_000, Any, ReadOnly,
        Accepted("brokers talk over milena.peer.listener");
    /// Names of the classes that put values in place of `${...}` in settings.
    config_providers: "config.providers", List = "", Any, ClusterWide, Accepted("no Java classes are loaded");
}
