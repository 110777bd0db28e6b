//! Transactions as the broker runs them: requests to the coordinator, the markers that end transactions, and what
//! partition leaders ask the coordinator.
//!
//! Decisions are made in the state that the `coordination` Raft group replicates, so there is nothing to load when
//! the coordinator changes. Here is what needs a clock, a channel or a connection.

#[allow(dead_code, unused_imports, reason = "produce begins to ask next")]
mod enlister;

#[allow(unused_imports, reason = "produce begins to ask next")]
pub(crate) use enlister::{Enlister, Enlistment, Support, Target};
