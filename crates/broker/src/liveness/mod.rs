//! Who lives, for the rest of the broker: verdicts on the others, the lease to act by, and how far everybody
//! has applied the metadata.
//!
//! The signs of life themselves are `milena_peer::liveness`; here they are joined with the metadata and with
//! Raft: whoever is in the image or votes is watched, what is applied here is said, and a Raft leader that is
//! dead by evidence is replaced without waiting for its silence.

mod members;
mod successor;

use std::sync::Arc;

use milena_metadata::{BrokerEpoch, BrokerId, Image};
use milena_peer::liveness::{Expectations, Health, Incarnation, Lease, Saying, Standing, Verdict, Wants};
use milena_peer::{Addresses, Identity};
use milena_quorum::{GroupHandle, NodeId};
use milena_wire::Uuid;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Committed;
use crate::view::View;

/// What [`Liveness::start`] needs.
pub(crate) struct Setup {
    /// This node, for its peers.
    pub(crate) identity: Identity,
    /// The random id of this process, as in its registration.
    pub(crate) incarnation: Uuid,
    /// Where the others are.
    pub(crate) addresses: Addresses,
    /// The Raft groups, `cluster` first.
    pub(crate) groups: Vec<GroupHandle>,
    /// The metadata that is agreed on.
    pub(crate) committed: Committed,
    /// The metadata that is applied here.
    pub(crate) view: Arc<View>,
    /// Ends the tasks.
    pub(crate) shutdown: CancellationToken,
}

/// Signs of life. Clones mean the same.
#[derive(Clone)]
pub(crate) struct Liveness {
    peers: milena_peer::liveness::Liveness,
    me: BrokerId,
    committed: Committed,
}

impl Liveness {
    /// Starts to listen, on `control`. Add [`Self::service`] to the peer listener's routes. This broker wants to be
    /// fenced until it says otherwise.
    pub(crate) fn start(setup: Setup, control: &Handle) -> std::io::Result<Self> {
        let Setup { identity, incarnation, addresses, groups, committed, view, shutdown } = setup;
        let me = identity.node();
        let asked = groups.clone();
        let peers = milena_peer::liveness::Liveness::start(
            identity,
            Incarnation(incarnation.0),
            addresses,
            Lease::none(),
            Expectations::default(),
            Box::new(move || Standing::of(&asked)),
        )?;
        let liveness = Self { peers, me: broker(me), committed };
        control.spawn(members::follow(liveness.clone(), groups[0].clone(), shutdown.clone()));
        control.spawn(members::say_applied(liveness.clone(), view, shutdown.clone()));
        for group in groups {
            control.spawn(successor::replace_dead_leaders(liveness.peers.clone(), group, shutdown.clone()));
        }
        Ok(liveness)
    }

    /// The peers' side of it. Its streams end at `closing`.
    pub(crate) fn service(
        &self,
        closing: CancellationToken,
    ) -> milena_peer::liveness::LivenessServer<impl milena_peer::liveness::Service> {
        self.peers.service(closing)
    }

    /// The other brokers, now and whenever a verdict on one, or what it says, changes. The id is the broker's.
    pub(crate) fn peers(&self) -> watch::Receiver<Health> {
        self.peers.health()
    }

    /// What is thought of a broker. This one is alive.
    pub(crate) fn verdict(&self, id: BrokerId) -> Verdict {
        if id == self.me {
            return Verdict::Alive;
        }
        self.peers.health().borrow().get(&node(id)).map(|peer| peer.verdict).unwrap_or_default()
    }

    /// By which this broker acknowledges: look at it before every append and before every acknowledgement.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        self.peers.lease()
    }

    /// Says what this broker wants of the controller, at once.
    pub(crate) fn say(&self, wants: Wants) {
        self.peers.say(|saying| saying.wants = wants);
    }

    /// Says which registration of this process counts.
    pub(crate) fn registered(&self, epoch: BrokerEpoch) {
        self.peers.say(|saying| saying.broker_epoch = epoch.0);
    }

    /// Waits until every other broker that is not fenced has applied the metadata of `index` (D12). `false` if
    /// `deadline` came first. Brokers held for dead are not waited for.
    pub(crate) async fn applied_everywhere(&self, index: u64, deadline: Instant) -> bool {
        let mut peers = self.peers.health();
        let mut images = self.committed.changes();
        loop {
            let image = self.committed.image();
            if self.have_applied(&image, &peers.borrow_and_update(), index) {
                return true;
            }
            images.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return false,
                changed = peers.changed() => if changed.is_err() { return false },
                changed = images.changed() => if changed.is_err() { return false },
            }
        }
    }

    fn have_applied(&self, image: &Image, peers: &Health, index: u64) -> bool {
        image.live_brokers().filter(|broker| broker.id != self.me).all(|broker| {
            let peer = peers.get(&node(broker.id));
            peer.is_none_or(|peer| peer.verdict.is_dead() || peer.saying.applied >= index)
        })
    }

    /// The peers' beats, for the controller's tasks.
    pub(crate) fn beats(&self) -> &milena_peer::liveness::Liveness {
        &self.peers
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
