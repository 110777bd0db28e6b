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
    /// Bytes that are kept free on the data volume, a sixteenth of it at most: producers are refused with
    /// KAFKA_STORAGE_ERROR when less is left, slowed at twice that, and the log warns at four times. 0 lets them write
    /// until the disk is full.
    disk_reserve_bytes: "milena.disk.reserve.bytes", Long = 134_217_728, AtLeast(0), ReadOnly, Now;
    /// Size of a file in the data directory that is deleted when the disk is full, so that metadata, retention and
    /// DeleteRecords have room; a sixteenth of the volume at most. It is made again when there is room. 0 for none.
    disk_ballast_bytes: "milena.disk.ballast.bytes", Long = 67_108_864, AtLeast(0), ReadOnly, Now;
    /// What is done at the start about a log with bytes that no unfinished write explains: `refetch` sets it aside and
    /// copies it from its leader, if another broker leads it and this one is not among those whose copies count, and
    /// leaves the partition offline here otherwise; `refuse` always does the latter; `cut` loses everything from the
    /// damage on.
    log_damage: "milena.log.damage", Text = "refetch", OneOf(&["refetch", "refuse", "cut"]), ReadOnly, Now;
    /// Address for other brokers, as host:port, where `listeners` names none for controllers. A node to which no other
    /// is configured opens none unless this is set.
    peer_listener: "milena.peer.listener", Text = "0.0.0.0:9093", Any, ReadOnly, Now;
    /// Address for `/livez`, `/readyz` and `/metrics`, as host:port; empty for none. Unset, a broker that finds the
    /// address taken goes on without.
    http_listener: "milena.http.listener", Text = "127.0.0.1:9644", Any, ReadOnly, Now;
}
