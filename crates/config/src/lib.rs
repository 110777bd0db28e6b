//! The one table of settings, and everything that follows from it.
//!
//! Each setting is declared once (see [`tables`]) with its name, type, default, bounds, scope and documentation.
//! From the row derive: parsing and validation with the sentences Kafka's tools print ([`Setting::parse`]), the typed
//! views [`TopicConfig`], [`BrokerConfig`] and [`GroupConfig`], the entries of DescribeConfigs ([`describe`]), and
//! `docs/configuration.md` ([`docs::render`]).
//!
//! Settings reach a broker in the form Kafka's users know: a `server.properties` file ([`properties`]), container
//! environment variables ([`environment`]), `--set key=value`, and at run time through AlterConfigs ([`load`],
//! [`BrokerConfig::with_dynamic`]).
//!
//! Absent on purpose: files, sockets, the process environment. Their contents arrive as arguments.

mod broker_config;
mod check;
pub mod container;
pub mod describe;
pub mod docs;
pub mod environment;
mod error;
pub mod kind;
pub mod listeners;
pub mod load;
pub mod properties;
pub mod quorum;
mod resource_config;
mod roles;
mod setting;
pub mod tables;
mod topic_config;
pub mod topic_list;

#[cfg(test)]
mod tests;

pub use broker_config::{BrokerConfig, Layer};
pub use check::Check;
pub use error::{Invalid, StartError};
pub use kind::{ConfigType, Value};
pub use resource_config::{ClientMetricsConfig, GroupConfig};
pub use roles::Roles;
pub use setting::{Effect, Scope, Setting, Synonym, Unit};
pub use topic_config::{CompressionType, TimestampType, TopicConfig};

/// Overrides of one resource by name, in a stable order. Values are the texts the client sent.
pub type Overrides = std::collections::BTreeMap<String, String>;
