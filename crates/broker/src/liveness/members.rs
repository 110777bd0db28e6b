//! Keeps the signs of life in step with the metadata.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_metadata::BrokerEpoch;
use milena_quorum::GroupHandle;
use tokio_util::sync::CancellationToken;

use super::{Liveness, broker, node};
use crate::cluster::AppliedEverywhere;
use crate::view::View;

/// Watches every registered broker and every voter, until `shutdown`; and ends the lease when this broker is
/// fenced.
pub(super) async fn follow(liveness: Liveness, cluster: GroupHandle, shutdown: CancellationToken) {
    let mut images = liveness.committed.changes();
    let mut leader = cluster.leader();
    loop {
        images.borrow_and_update();
        leader.borrow_and_update();
        let image = liveness.committed.image();
        let status = cluster.status();
        let mut peers: BTreeSet<_> = image.brokers().map(|broker| node(broker.id)).collect();
        peers.extend(status.voters);
        peers.extend(status.learners);
        liveness.peers.watch(peers);
        if image
            .broker(liveness.me)
            .is_some_and(|me| me.fenced && me.epoch.0 == liveness.saying().broker_epoch)
        {
            liveness.lease().end();
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = images.changed() => if changed.is_err() { return },
            changed = leader.changed() => if changed.is_err() { return },
        }
    }
}

/// Says what is applied here, as soon as it is.
pub(super) async fn say_applied(liveness: Liveness, view: Arc<View>, shutdown: CancellationToken) {
    let mut indexes = view.indexes();
    loop {
        let index = *indexes.borrow_and_update();
        liveness.peers.say(|saying| saying.applied = index);
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = indexes.changed() => if changed.is_err() { return },
        }
    }
}

/// Passes on how far the others have applied the metadata.
pub(super) async fn report_applied(
    liveness: Liveness,
    everywhere: Arc<AppliedEverywhere>,
    shutdown: CancellationToken,
) {
    let mut health = liveness.peers();
    loop {
        for (id, peer) in health.borrow_and_update().iter() {
            everywhere.report(broker(*id), BrokerEpoch(peer.saying.broker_epoch), peer.saying.applied);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}
