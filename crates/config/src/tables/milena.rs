//! Settings that Kafka does not have.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 9 MILENA:
    /// Bytes of requests of all connections that may be in memory at once. Connections beyond it are not read from
    /// until others have been answered.
    request_memory_bytes: "milena.request.memory.bytes", Long = 268_435_456, AtLeast(1_048_576), ReadOnly, Now;
    /// Bytes of requests of one connection that may be in memory at once; a single larger request is still served.
    connection_memory_bytes: "milena.connection.memory.bytes", Long = 33_554_432, AtLeast(65_536), ReadOnly, Now;
    /// Bytes of the newest batches that are kept in memory, over all partitions, so that consumers at the tail read no
    /// file.
    tail_cache_bytes: "milena.tail.cache.bytes", Long = 33_554_432, AtLeast(0), ReadOnly, Later;
    /// Files kept open over all partitions; the least recently used are closed and opened again on demand.
    open_files: "milena.open.files", Int = 1024, AtLeast(16), ReadOnly, Now;
    /// Address for other brokers, as host:port, where `listeners` names none for controllers. A node to which no other
    /// is configured opens none unless this is set.
    peer_listener: "milena.peer.listener", Text = "0.0.0.0:9093", Any, ReadOnly, Now;
    /// Address for `/livez`, `/readyz` and `/metrics`, as host:port; empty for none. Unset, a broker that finds the
    /// address taken goes on without.
    http_listener: "milena.http.listener", Text = "127.0.0.1:9644", Any, ReadOnly, Now;
}
