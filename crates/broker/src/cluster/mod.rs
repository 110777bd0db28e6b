//! Cluster metadata as the broker runs it: the state machine behind Raft, changes to it, and applying what
//! was committed to the partitions of this broker.
//!
//! Decisions are made in `milena-metadata`.

mod applied_everywhere;
mod applier;
mod balance;
mod controller;
mod controller_tasks;
pub(crate) mod coordinators;
mod fencing;
mod machine;
pub(crate) mod members;
pub(crate) mod status;
mod turns;
pub(crate) mod whereabouts;

pub(crate) use applied_everywhere::AppliedEverywhere;
pub(crate) use applier::Applier;
pub(crate) use controller::{ChangeError, Controller};
pub(crate) use controller_tasks::ControllerTasks;
pub(crate) use machine::{ClusterMachine, Committed};
pub(crate) use members::Members;
pub use members::MembersError;
