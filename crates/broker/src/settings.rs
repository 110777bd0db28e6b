//! The broker's settings in force: those of the start with what was altered at run time on top.

use arc_swap::{ArcSwap, Guard};
use milena_config::BrokerConfig;
use milena_metadata::{BrokerId, Image, Resource};
use std::sync::Arc;

/// Settings that may change while the broker runs.
pub(crate) struct Settings {
    broker: ArcSwap<BrokerConfig>,
}

impl Settings {
    /// Begins with the settings of the start.
    pub(crate) fn new(start: BrokerConfig) -> Self {
        Self { broker: ArcSwap::from_pointee(start) }
    }

    /// The settings now.
    pub(crate) fn broker(&self) -> Guard<Arc<BrokerConfig>> {
        self.broker.load()
    }

    /// Takes what the image says of all brokers and of this one.
    pub(crate) fn apply(&self, image: &Image, broker: BrokerId) {
        let all = image.overrides(&Resource::ALL_BROKERS);
        let own = image.overrides(&Resource::Broker(broker.0.to_string()));
        self.broker.store(Arc::new(self.broker.load().with_dynamic(&all, &own)));
    }
}
