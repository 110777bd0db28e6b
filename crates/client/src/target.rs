//! Whom a request is for.

/// The broker that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Whichever can be reached: metadata, API versions.
    Any,
    /// The controller: topics, configs, ACLs.
    Controller,
    /// The broker with this id.
    Broker(i32),
    /// The coordinator of a consumer group.
    Group(&'a str),
    /// The coordinator of a transactional id.
    Transaction(&'a str),
}
