//! Who lives: a stream between each pair of brokers that carries nothing but signs of life.
//!
//! [`Detector`] judges, [`Lease`] is what a broker may act by, and [`Liveness`] runs both: it dials every peer
//! from a thread of its own, so that neither clients nor Raft can delay a beat, and reads all the time, so that
//! the end of a process shows as the end of its connection.

mod board;
mod clock;
mod detector;
#[cfg(test)]
mod detector_tests;
mod dial;
mod gaps;
mod glance;
mod lease;
mod message;
mod service;
mod socket;

pub use crate::generated::liveness::liveness_server::{Liveness as Service, LivenessServer};
pub use board::{Ask, Health, PeerHealth, Saying};
pub use clock::boottime;
pub use detector::{Cause, Detector, Expectations, Incarnation, Path, Sign, Verdict};
pub use lease::Lease;
pub use message::{LogEnd, Sighting, Standing, Wants};

use crate::addresses::Addresses;
use crate::identity::Identity;
use board::Board;
use glance::Glances;
use milena_quorum::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Niceness of urgent threads: half of what there is.
const URGENT: i32 = -10;

/// The signs of life of this node and of all others. Clones mean the same; the last one to go stops it.
#[derive(Clone)]
pub struct Liveness {
    board: Arc<Board>,
    identity: Identity,
    addresses: Addresses,
    glances: Arc<Glances>,
    _running: Arc<DropGuard>,
}

impl Liveness {
    /// Starts the thread; it dials nobody before [`Liveness::watch`]. `lease` is [`Lease::none`], or
    /// [`Lease::always`] where this node is alone for good. `ask` is called for every beat.
    pub fn start(
        identity: Identity,
        incarnation: Incarnation,
        addresses: Addresses,
        lease: Lease,
        expect: Expectations,
        ask: Ask,
    ) -> io::Result<Liveness> {
        let board = Arc::new(Board::new(identity.node(), incarnation, lease, expect, ask));
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let running = run(board.clone(), identity.clone(), addresses.clone(), stop.clone());
        std::thread::Builder::new().name("liveness".to_owned()).spawn(move || {
            urgent();
            runtime.block_on(running);
            // Looking up a name may hang; nobody waits for it.
            runtime.shutdown_background();
        })?;
        let glances = Arc::default();
        Ok(Liveness { board, identity, addresses, glances, _running: Arc::new(stop.drop_guard()) })
    }

    /// Answers the peers, for [`crate::Routes::add`]. Streams end at `closing`.
    pub fn service(&self, closing: CancellationToken) -> LivenessServer<impl Service> {
        service::service(self.board.clone(), self.identity.clone(), closing)
    }

    /// Sets whom to dial and to judge; this node is left out.
    pub fn watch(&self, peers: BTreeSet<NodeId>) {
        self.board.watch(peers);
    }

    /// Changes what this node says of itself, and says it at once.
    pub fn say(&self, change: impl FnOnce(&mut Saying)) {
        self.board.say(change);
    }

    /// What this node says of itself.
    pub fn saying(&self) -> Saying {
        self.board.saying()
    }

    /// While this node is the controller: to which processes it promises not to fence them, this one included.
    /// Those are the brokers that are not fenced.
    pub fn grant_to(&self, leaseholders: BTreeMap<NodeId, Incarnation>) {
        self.board.grant_to(leaseholders);
    }

    /// The peers, now and whenever a verdict or what one says changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.board.health.subscribe()
    }

    /// Looks whether the process of a peer is there, for 20 ms at most: a client that asks for the way has often lost its
    /// connection a moment ago, and an address that refuses one is evidence.
    pub async fn look(&self, node: NodeId) {
        self.glances.look(&self.board, &self.addresses, node).await;
    }

    /// For how long a peer has shown no sign of hearing this node, and the silence that is death for it.
    pub fn silence(&self, node: NodeId) -> (Duration, Duration) {
        self.board.silence(node)
    }

    /// Where the logs of a peer ended when it last said so.
    pub fn ends(&self, node: NodeId) -> Vec<LogEnd> {
        self.board.ends(node)
    }

    /// What this node has seen or been told of a death, while that stands.
    pub fn sighting(&self, node: NodeId) -> Option<Sighting> {
        self.board.sighting(node)
    }

    /// By which this broker acknowledges.
    pub fn lease(&self) -> Arc<Lease> {
        self.board.lease.clone()
    }
}

/// Has the calling thread run before others of this machine, where that is allowed (root, CAP_SYS_NICE): for the
/// threads that say that this process lives, and that do microseconds of work.
pub fn urgent() {
    // On Linux "this process" is the calling thread. Without the right the thread runs like any other.
    let _ = rustix::process::setpriority_process(None, URGENT);
}

async fn run(board: Arc<Board>, identity: Identity, addresses: Addresses, stop: CancellationToken) {
    let mut watched = board.watched.subscribe();
    watched.mark_changed();
    let mut dialling: BTreeMap<NodeId, JoinHandle<()>> = BTreeMap::new();
    // Twice a beat, so that a session ends on time.
    let mut ticks = interval(board.expect.beat / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => board.tick(),
            Ok(()) = watched.changed() => {
                let peers = watched.borrow_and_update().clone();
                dialling.retain(|node, task| peers.contains(node) || { task.abort(); false });
                for node in peers {
                    let attend = || dial::attend(board.clone(), identity.clone(), addresses.clone(), node);
                    dialling.entry(node).or_insert_with(|| tokio::spawn(attend()));
                }
            }
        }
    }
}
