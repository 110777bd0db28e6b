//! Tests of the whole crate: scripts that read like a conversation, and a world of clients, partitions and
//! coordinators in which every message may come late, twice, or not at all.

mod hunt;
mod script;
mod scripts;
mod stored;
mod world;
