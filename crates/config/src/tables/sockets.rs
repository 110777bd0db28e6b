//! Where a broker listens, what it tells clients to connect to, and what a connection may cost.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 1 SOCKETS:
    /// Addresses to listen on, as name://host:port. An empty host or 0.0.0.0 means every interface, port 0 any free one.
    listener_list: "listeners", List = "PLAINTEXT://:9092", Any, ReadOnly, Now;
    /// Addresses told to clients, where they differ from `listeners`.
    advertised_listener_list: "advertised.listeners", MaybeList = null, Any, ReadOnly, Now;
    /// Security protocol of each listener name.
    listener_security_protocol_map: "listener.security.protocol.map", Text =
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, ReadOnly, Now;
    /// Name of the listener that Kafka's brokers use among themselves. Ours use `milena.peer.listener`.
    inter_broker_listener_name: "inter.broker.listener.name", MaybeText = null, Any, ReadOnly, Now;
    /// Protocol that Kafka's brokers use among themselves.
    security_inter_broker_protocol: "security.inter.broker.protocol", Text = "PLAINTEXT",
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), ReadOnly,
        Accepted("brokers talk over milena.peer.listener");
    /// Listeners opened before the authorizer is ready.
    early_start_listeners: "early.start.listeners", MaybeList = null, Any, ReadOnly,
        Accepted("all listeners open together when the broker is ready");
    /// Threads that read and write sockets.
    num_network_threads: "num.network.threads", Int = 3, AtLeast(1), ClusterWide,
        Accepted("the runtime uses one thread per core");
    /// Threads that handle requests.
    num_io_threads: "num.io.threads", Int = 8, AtLeast(1), ClusterWide,
        Accepted("the runtime uses one thread per core");
    /// Requests waiting for a handler.
    queued_max_requests: "queued.max.requests", Int = 500, AtLeast(1), ReadOnly,
        Accepted("requests in memory are bounded by milena.request.memory.bytes");
    /// Bytes of requests waiting for a handler; -1 means no limit.
    queued_max_request_bytes: "queued.max.request.bytes", Long = "-1", Any, ReadOnly,
        Accepted("requests in memory are bounded by milena.request.memory.bytes");
    /// Send buffer of a client's socket; -1 leaves it to the operating system.
    socket_send_buffer_bytes: "socket.send.buffer.bytes", Int = 102_400, Any, ReadOnly, Later;
    /// Receive buffer of a client's socket; -1 leaves it to the operating system.
    socket_receive_buffer_bytes: "socket.receive.buffer.bytes", Int = 102_400, Any, ReadOnly, Later;
    /// Largest request accepted; a larger one closes the connection.
    socket_request_max_bytes: "socket.request.max.bytes", Int = 104_857_600, AtLeast(1), ReadOnly, Now;
    /// Connections that may wait to be accepted.
    socket_listen_backlog_size: "socket.listen.backlog.size", Int = 50, AtLeast(1), ReadOnly, Accepted("up to 1,024 connections may wait, as far as the system allows");
    /// Connections at the same time.
    max_connections: "max.connections", Int = 2147483647, AtLeast(0), ClusterWide, Later;
    /// Connections at the same time from one address.
    max_connections_per_ip: "max.connections.per.ip", Int = 2147483647, AtLeast(0), ClusterWide, Later;
    /// Exceptions to `max.connections.per.ip`, as host:number pairs.
    max_connections_per_ip_overrides: "max.connections.per.ip.overrides", Text = "", Any, ClusterWide, Later;
    /// New connections a second.
    max_connection_creation_rate: "max.connection.creation.rate", Int = 2147483647, AtLeast(0), ClusterWide, Later;
    /// Connections without traffic for this long are closed.
    connections_max_idle_ms: "connections.max.idle.ms", Long = 600_000, Any, ReadOnly, Now;
    /// Delay before a connection that failed to authenticate is closed.
    connection_failed_authentication_delay_ms: "connection.failed.authentication.delay.ms", Int = 100, AtLeast(0), ReadOnly, Later;
    /// Time-out of requests the broker sends itself.
    request_timeout_ms: "request.timeout.ms", Int = 30_000, AtLeast(1), ReadOnly, Accepted("brokers talk over milena.peer.listener");
    /// Longest wait for a new connection of the broker's own.
    socket_connection_setup_timeout_ms: "socket.connection.setup.timeout.ms", Long = 10_000, Any, ReadOnly,
        Accepted("brokers talk over milena.peer.listener");
    /// Upper end of the growing wait for a new connection of the broker's own.
    socket_connection_setup_timeout_max_ms: "socket.connection.setup.timeout.max.ms", Long = 30_000, Any, ReadOnly,
        Accepted("brokers talk over milena.peer.listener");
}
