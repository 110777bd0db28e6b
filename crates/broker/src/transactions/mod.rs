//! Transactions as the broker runs them: requests to the coordinator, the markers that end transactions, and what
//! partition leaders ask the coordinator.
//!
//! Decisions are made in the state that the `coordination` Raft group replicates (`milena-txn`), so there is nothing to
//! load when the coordinator changes. Here is what needs a clock, a channel or a connection:
//!
//! - [`TransactionCoordinator`] answers requests, on the leader of that group; [`proposals`] carries their commands to
//!   Raft in batches;
//! - [`Terms`] is what the leader does by itself: markers to partition leaders, time-outs, expiry;
//! - [`Desk`] serves other brokers: it writes markers here, and answers partition leaders;
//! - [`Enlister`] is how a partition leader asks the coordinator, wherever that is.

mod completions;
mod coordinator;
mod desk;
mod enlister;
mod lanes;
mod markers;
mod proposals;
mod term;

pub(crate) use completions::{Completions, Due};
pub(crate) use coordinator::TransactionCoordinator;
pub(crate) use desk::Desk;
pub(crate) use enlister::{Enlister, Enlistment, Reattempts, Support, Target};
pub(crate) use proposals::{Queue, proposals, run};
pub(crate) use term::Terms;
