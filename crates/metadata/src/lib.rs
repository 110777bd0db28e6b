//! The cluster's metadata as a replicated state machine: brokers, topics, partitions, settings, features.
//!
//! A request is decided on an [`Image`] ([`decide`]), which yields [`Record`]s and an answer and changes nothing. The
//! records travel through the quorum as one [`Command`], and [`State::apply`] puts them into the next image, the same on
//! every broker. [`Delta`] tells a broker what is new. A command that was decided on another state does nothing, so a
//! decision never rests on what is no longer true.
//!
//! Absent on purpose: I/O, clocks, randomness of its own, knowledge of who is the controller.

mod broker;
mod controller;
pub mod decide;
mod delta;
pub mod election;
mod ids;
mod image;
pub mod names;
mod partition;
mod record;
mod refusal;
mod resource;
mod state;
mod stored;

#[cfg(test)]
mod tests;

pub use broker::{Broker, Endpoint};
pub use controller::DedicatedController;
pub use delta::{Delta, PartitionChanged};
pub use ids::{BrokerEpoch, BrokerId, PartitionEpoch};
pub use image::{Image, Topic};
pub use partition::Partition;
pub use record::Record;
pub use refusal::Refusal;
pub use resource::Resource;
pub use state::{Change, Outcome, State};
pub use stored::{Command, DecodeError};
