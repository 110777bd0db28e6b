//! Controlled shutdown (KIP-631): a broker gives away what it leads before it goes, so that nobody notices.

use std::time::Duration;

use milena_config::BrokerConfig;
use milena_metadata::decide::brokers;
use milena_metadata::{BrokerEpoch, BrokerId};
use milena_quorum::{GroupHandle, NodeId};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::cluster::{AppliedEverywhere, ChangeError, Committed, Controller};

/// Longest that others may take to lead what this broker led, and to know.
const HANDOVER: Duration = Duration::from_secs(5);
/// Longest for another voter to lead a Raft group.
const TRANSFER: Duration = Duration::from_millis(500);

/// How long clients are still served that are connected to a broker that leads nothing any more: they are told who does,
/// and go there. Cut off at once they would look for another broker first, and librdkafka waits longer before each
/// attempt: in a quick rolling restart it can be left without any.
pub(crate) const FAREWELL: Duration = Duration::from_millis(500);

/// A broker that is about to stop.
pub(crate) struct Departure<'a> {
    pub(crate) broker: BrokerId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) config: &'a BrokerConfig,
    pub(crate) controller: &'a Controller,
    pub(crate) committed: &'a Committed,
    pub(crate) everywhere: &'a AppliedEverywhere,
    pub(crate) groups: [&'a GroupHandle; 2],
}

impl Departure<'_> {
    /// Gives away partitions first, then the Raft groups. Bounded: what cannot be given away fails over. Returns whether
    /// there is anybody to give it to.
    pub(crate) async fn prepare(&self) -> bool {
        let image = self.committed.image();
        if image.live_brokers().all(|broker| broker.id == self.broker) {
            return false;
        }
        if timeout(HANDOVER, self.hand_over()).await.is_err() {
            warn!("not everything could be handed over in time; stopping all the same");
        }
        for group in self.groups {
            if group.leader().borrow().leader == Some(group.node_id()) {
                // Controllers do not coordinate groups; where all others are, one leads until a broker is back.
                let is_broker = |id: NodeId| image.broker(crate::liveness::broker(id)).is_some();
                let has_broker =
                    group.status().voters.iter().any(|id| *id != group.node_id() && is_broker(*id));
                transfer(group, |id| is_broker(id) || !has_broker).await;
            }
        }
        true
    }

    async fn hand_over(&self) {
        let (config, id, epoch) = (self.config, self.broker, self.epoch);
        let begun = self.controller.change(|image| brokers::begin_shutdown(image, config, id, epoch)).await;
        let begun = match begun {
            Ok(changed) => changed.index,
            // Another process has the id by now, or the broker was unregistered.
            Err(ChangeError::Refused(refusal)) => return info!(%refusal, "nothing to hand over"),
            Err(error) => return warn!(%error, "partitions not handed over"),
        };
        let mut changes = self.committed.changes();
        while !brokers::leads_nothing(&self.committed.image(), id) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        let image = || self.committed.image();
        self.everywhere.wait(id, begun, image, self.committed.changes()).await;
        // Clients need not be told of it any more.
        if let Err(error) = self.controller.change(|image| brokers::fence(image, config, id)).await {
            warn!(%error, "left without being fenced");
        }
        info!("all partitions handed over");
    }
}

/// Has the voter lead that is nearest to the leader's log, among those that are fit to.
pub(crate) async fn transfer(group: &GroupHandle, is_fit: impl Fn(NodeId) -> bool) {
    let (status, me) = (group.status(), group.node_id());
    let others = status.voters.iter().filter(|id| **id != me && is_fit(**id));
    let heir = others.max_by_key(|id| status.replicas.get(id).and_then(|replica| replica.matched_index));
    let Some(heir) = heir.copied() else { return };
    if let Err(error) = group.transfer_leadership(heir).await {
        return warn!(group = %group.id(), %error, "leadership not transferred");
    }
    let mut leader = group.leader();
    let led_by_another = leader.wait_for(|now| now.leader.is_some_and(|id: NodeId| id != me));
    if timeout(TRANSFER, led_by_another).await.is_err() {
        warn!(group = %group.id(), to = %heir, "leadership not taken over in time");
    }
}
