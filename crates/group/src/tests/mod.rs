//! Tests of the whole crate: scripts that read like a conversation, and properties over random ones.

mod acts;
mod lab;
mod pending;
mod properties;
mod script;
mod scripts;
mod stored;
