//! Tests of the whole crate: scripts that read like a conversation, and the stored form. What messages that come late,
//! twice or not at all may do is tried in `milena-sim`, with clients and partitions around it.

mod script;
mod scripts;
mod stored;
