//! Answers that would name a broker that is just being replaced wait until that is done.
//!
//! A client that has lost its connection asks the others at once, often before they know. Told of the dead broker, most
//! clients back off for 100 ms; librdkafka is content with any answer that names a leader and asks again a second later.
//! Taking over takes tens of milliseconds.

use std::collections::BTreeSet;
use std::time::Duration;

use milena_metadata::BrokerId;
use tokio::time::timeout;

use crate::services::Services;

/// Longest that an answer waits: more than an election takes on a busy disk, and not so long that a client with a
/// short time-out asks somebody else.
const HOLD: Duration = Duration::from_millis(300);

/// Whom an answer would name; `None` while there is nobody to name.
pub(crate) type Named = Option<BTreeSet<BrokerId>>;

/// Whether the answer can be given at once: there are no others whose death it could be about.
pub(crate) fn is_idle_question(services: &Services, named: impl Fn() -> Named) -> bool {
    services.liveness.is_none()
        || named().is_some_and(|named| named.iter().all(|id| *id == services.broker_id))
}

/// Looks whether those who would be `named` are there, and waits while one of them is dying.
pub(crate) async fn over(services: &Services, named: impl Fn() -> Named) {
    let Some(liveness) = &services.liveness else { return };
    let mut peers = liveness.peers();
    let mut applied = services.view.indexes();
    let mut coordinator = services.coordination_raft.leader();
    liveness.look(named().into_iter().flatten()).await;
    let settled = async {
        while named().is_none_or(|named| liveness.dying().iter().any(|id| named.contains(id))) {
            let changed = tokio::select! {
                changed = peers.changed() => changed,
                changed = applied.changed() => changed,
                changed = coordinator.changed() => changed,
            };
            // The broker is stopping.
            if changed.is_err() {
                return;
            }
        }
    };
    let _ = timeout(HOLD, settled).await;
}
