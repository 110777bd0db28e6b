//! Tests of the crate, a file per noun.

mod checks;
mod describing;
mod listening;
mod loading;
mod quorum;
mod resolving;
mod rows;

use crate::{BrokerConfig, Overrides};

/// Overrides from pairs.
fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A broker started with these settings.
fn broker(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::new(overrides(pairs)).expect("settings are acceptable")
}
