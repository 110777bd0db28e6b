//! Applied state: the pairs of a group's state machine, on disk.
//!
//! [`Applier`] applies committed entries to the state machine in memory and answers proposers.
//! What changed goes to the group's own thread ([`keeper`]), which stores it in sled together
//! with the applied position, one atomic batch at a time, and builds snapshots. So a slow disk
//! never delays an answer: the log has made the command durable already, and a restart applies
//! again what sled had not yet stored.

mod applier;
mod keeper;
mod kept;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use applier::{Applier, restore};
pub(crate) use keeper::{Amount, Keeper, KeeperSetup};
pub(crate) use kept::KeptTree;
pub(crate) use snapshot::{IncomingSnapshot, SnapshotFile};
pub(crate) use store::{GroupTree, StateStore};
