//! Whom the probes are about: a broker, or a node that is a controller alone.

use milena_quorum::GroupHandle;

use super::exposition::Page;
use super::metrics;
use super::readiness::{Readiness, of_quorum};
use crate::cluster::Committed;
use crate::services::Services;

/// What probes and scrapers ask of a node.
pub(crate) trait Probed: Send + Sync + 'static {
    /// Whether it is ready, and may stop.
    fn readiness(&self) -> Readiness;
    /// The page of metrics.
    fn metrics(&self) -> String;
}

impl Probed for Services {
    fn readiness(&self) -> Readiness {
        Readiness::of(self)
    }

    fn metrics(&self) -> String {
        metrics::render(self)
    }
}

/// A controller as its probes see it.
pub(crate) struct ControllerProbe {
    /// `cluster` and `coordination`.
    pub(crate) groups: [GroupHandle; 2],
    pub(crate) committed: Committed,
}

impl Probed for ControllerProbe {
    fn readiness(&self) -> Readiness {
        let [cluster, coordination] = &self.groups;
        Readiness { reasons: of_quorum([cluster, coordination]), at_risk: Vec::new() }
    }

    fn metrics(&self) -> String {
        let mut page = Page::default();
        metrics::controller(&mut page, self.groups[0].leader().borrow().is_self, &self.committed.image());
        page.into_text()
    }
}
