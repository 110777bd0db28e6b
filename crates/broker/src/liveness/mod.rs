//! Who lives, for the rest of the broker: verdicts on the others, the lease to act by, and how far everybody
//! has applied the metadata.
//!
//! The signs of life themselves are `milena_peer::liveness`; here they are joined with the metadata and with
//! Raft: whoever is in the image or votes is watched, what is applied here is said, and a Raft leader that is
//! dead by evidence is replaced without waiting for its silence.

mod members;
mod successor;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use milena_metadata::{BrokerEpoch, BrokerId};
use milena_peer::liveness::{Expectations, Health, Incarnation, Lease, Saying, Standing, Wants};
use milena_quorum::NodeId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::{AppliedEverywhere, Committed};
use crate::forming::Peering;
use crate::quorum::Quorum;
use crate::view::View;

/// How long a death is news.
const NEWS: Duration = Duration::from_secs(1);

/// Signs of life. Clones mean the same.
#[derive(Clone)]
pub(crate) struct Liveness {
    peers: milena_peer::liveness::Liveness,
    me: BrokerId,
    incarnation: Incarnation,
    committed: Committed,
}

impl Liveness {
    /// Starts to beat and to listen, on `control` and a thread of its own, until `shutdown`. The broker wants to be
    /// fenced until [`Self::take_part`].
    pub(crate) fn join(
        peering: &Peering,
        quorum: &Quorum,
        view: &Arc<View>,
        shutdown: &CancellationToken,
        control: &Handle,
    ) -> std::io::Result<Self> {
        let identity = peering.identity().ok_or_else(|| std::io::Error::other("no cluster is known"))?;
        let (me, incarnation) = (peering.desk.node, Incarnation(peering.desk.incarnation.0));
        let groups = [quorum.cluster.clone(), quorum.coordination.clone()];
        let asked = groups.clone();
        let peers = milena_peer::liveness::Liveness::start(
            identity,
            incarnation,
            peering.desk.addresses.clone(),
            Lease::none(),
            Expectations::default(),
            Box::new(move || Standing::of(&asked)),
        )?;
        peering.routes.add(peers.service(peering.closing.clone()));
        let liveness = Self { peers, me: broker(me), incarnation, committed: quorum.committed.clone() };
        control.spawn(members::follow(liveness.clone(), quorum.cluster.clone(), shutdown.clone()));
        control.spawn(members::say_applied(liveness.clone(), Arc::clone(view), shutdown.clone()));
        for group in groups {
            control.spawn(successor::replace_dead_leaders(liveness.peers.clone(), group, shutdown.clone()));
        }
        Ok(liveness)
    }

    /// The broker is registered at `epoch` and ready: should it ever be fenced, it wants to come back. What the others
    /// have applied goes to `everywhere`.
    pub(crate) fn take_part(
        &self,
        epoch: BrokerEpoch,
        everywhere: Arc<AppliedEverywhere>,
        shutdown: &CancellationToken,
        control: &Handle,
    ) {
        self.peers.say(|saying| {
            saying.broker_epoch = epoch.0;
            saying.wants = Wants::Unfenced;
        });
        control.spawn(members::report_applied(self.clone(), everywhere, shutdown.clone()));
    }

    /// The other brokers, now and whenever a verdict on one, or what it says, changes. The id is the broker's.
    pub(crate) fn peers(&self) -> watch::Receiver<Health> {
        self.peers.health()
    }

    /// Brokers that were found dead a moment ago, so that the controller is about to fence them, and those whose
    /// connections have ended, about whom that is found out. One whose death the controller does not see as we do
    /// is left out after [`NEWS`].
    pub(crate) fn dying(&self) -> Vec<BrokerId> {
        let health = self.peers.health();
        let health = health.borrow();
        let suspects = health.iter().filter(|(_, peer)| peer.verdict.is_dead() || peer.doubted);
        let is_news = |id: &NodeId| {
            let (silence, session) = self.peers.silence(*id);
            silence < session + NEWS
        };
        suspects.map(|(id, _)| *id).filter(is_news).map(broker).collect()
    }

    /// Looks whether brokers are there, side by side.
    pub(crate) async fn look(&self, brokers: impl IntoIterator<Item = BrokerId>) {
        let others = brokers.into_iter().filter(|id| *id != self.me);
        join_all(others.map(|id| self.peers.look(node(id)))).await;
    }

    /// By which this broker acknowledges: look at it before every append and before every acknowledgement.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        self.peers.lease()
    }

    /// For how long the disk has stood still, in milliseconds.
    pub(crate) fn stands_still(&self, ms: u32) {
        self.peers.say(|saying| saying.disk_still_ms = ms);
    }

    /// Whether the disk has no room for more records.
    pub(crate) fn is_full(&self, full: bool) {
        self.peers.say(|saying| saying.disk_full = full);
    }

    /// The broker is leaving: should it be fenced, it is not to come back.
    pub(crate) fn leave(&self) {
        self.peers.say(|saying| saying.wants = Wants::Shutdown);
    }

    /// The peers' beats, for the controller's tasks.
    pub(crate) fn beats(&self) -> &milena_peer::liveness::Liveness {
        &self.peers
    }

    /// This broker and its process.
    pub(crate) fn me(&self) -> (BrokerId, Incarnation) {
        (self.me, self.incarnation)
    }

    /// What this broker says of itself.
    pub(crate) fn saying(&self) -> Saying {
        self.peers.saying()
    }
}

/// A broker as Raft and its peers name it.
pub(crate) fn node(id: BrokerId) -> NodeId {
    NodeId(u64::try_from(id.0).unwrap_or(u64::MAX))
}

/// A node as Kafka names it.
pub(crate) fn broker(node: NodeId) -> BrokerId {
    BrokerId(i32::try_from(node.0).unwrap_or(-1))
}
