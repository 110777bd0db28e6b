//! Typed views of groups and of clients' metrics subscriptions.

use std::sync::Arc;

use crate::tables::resources::{client_metrics::CLIENT_METRICS, group::GROUP};
use crate::topic_config::resolve;
use crate::{BrokerConfig, Invalid, Overrides, Setting, Value};

/// Settings in force for one group.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    values: Arc<[Value]>,
}

impl GroupConfig {
    /// The group's overrides on top of the broker's settings. A stored override that no longer parses is passed over.
    pub fn resolve(overrides: &Overrides, broker: &BrokerConfig) -> Self {
        Self { values: resolve(GROUP, overrides, broker) }
    }

    /// Checks a group's overrides as a whole, as they would be stored.
    pub fn validate(overrides: &Overrides) -> Result<(), Invalid> {
        validate_rows(GROUP, overrides, Invalid::UnknownGroupConfig)
    }

    pub(crate) fn value(&self, _part: usize, index: usize) -> &Value {
        &self.values[index]
    }
}

/// Settings in force for one client-metrics subscription.
#[derive(Debug, Clone)]
pub struct ClientMetricsConfig {
    values: Arc<[Value]>,
}

impl ClientMetricsConfig {
    /// The subscription's settings over their defaults. A stored override that no longer parses is passed over.
    pub fn resolve(overrides: &Overrides, broker: &BrokerConfig) -> Self {
        Self { values: resolve(CLIENT_METRICS, overrides, broker) }
    }

    /// Checks a subscription's overrides as a whole, as they would be stored.
    pub fn validate(overrides: &Overrides) -> Result<(), Invalid> {
        validate_rows(CLIENT_METRICS, overrides, Invalid::UnknownClientMetricsConfig)
    }

    pub(crate) fn value(&self, _part: usize, index: usize) -> &Value {
        &self.values[index]
    }
}

/// Every name known and every value acceptable; names first, as Kafka answers.
pub(crate) fn validate_rows(
    rows: &[Setting],
    overrides: &Overrides,
    unknown: fn(String) -> Invalid,
) -> Result<(), Invalid> {
    for (name, text) in overrides {
        let row = rows.iter().find(|row| row.name == name).ok_or_else(|| unknown(name.clone()))?;
        row.parse(text)?;
    }
    Ok(())
}
