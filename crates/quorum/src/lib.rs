//! Raft groups on openraft: log store, state store, snapshots, reads.
