//! What this node knows of the others and says to them: beats in, beats out, verdicts.
//!
//! Shared by the thread that dials and the service that is dialled. Everything is decided under one lock, held
//! for microseconds.

use super::clock::boottime;
use super::detector::{Detector, Expectations, Incarnation, Path, Sign, Verdict};
use super::lease::Lease;
use super::message::{
    self, LogEnd, Sighting, Standing, Wants, incarnation_from, incarnation_to, micros, wants_from,
};
use crate::generated::liveness as proto;
use milena_quorum::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// A lease ends this much earlier than the promise that it rests on: what is decided under it takes effect a
/// moment later.
const MARGIN: Duration = Duration::from_millis(20);

/// What this node says of itself in every beat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saying {
    /// Its registration, 0 before it has one.
    pub broker_epoch: i64,
    /// Index of the newest cluster metadata that it has applied.
    pub applied: u64,
    /// What it wants of the controller.
    pub wants: Wants,
    /// For how long its disk has stood still, in milliseconds; zero while it moves.
    pub disk_still_ms: u32,
    /// It has no room for more records.
    pub disk_full: bool,
}

/// A peer as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerHealth {
    /// The process that was heard last.
    pub incarnation: Option<Incarnation>,
    /// What it said of itself.
    pub saying: Saying,
    /// What is thought of it.
    pub verdict: Verdict,
    /// We saw a sign of its death and have not heard it since; alone that may be too little for a verdict.
    pub doubted: bool,
    /// Whose deaths it saw.
    pub sightings: BTreeMap<NodeId, Sighting>,
}

/// All peers.
pub type Health = Arc<BTreeMap<NodeId, PeerHealth>>;

/// Asks this node's Raft groups where it stands; called for every beat.
pub type Ask = Box<dyn Fn() -> Standing + Send + Sync>;

pub(super) struct Board {
    pub(super) me: NodeId,
    incarnation: Incarnation,
    pub(super) expect: Expectations,
    ask: Ask,
    pub(super) lease: Arc<Lease>,
    pub(super) health: watch::Sender<Health>,
    /// Number of the newest news in `health`.
    told: AtomicU64,
    /// Changes when a beat should not wait for its time.
    pub(super) news: watch::Sender<u64>,
    pub(super) watched: watch::Sender<BTreeSet<NodeId>>,
    state: Mutex<State>,
}

struct State {
    detector: Detector,
    saying: Saying,
    heard: BTreeMap<NodeId, Heard>,
    /// Deaths that this node knows of, with where its logs ended when it learnt of them.
    sightings: BTreeMap<NodeId, (Duration, Sighting)>,
    /// Who may be granted a lease, should this node be the controller.
    leaseholders: BTreeMap<NodeId, Incarnation>,
    /// What is told of the peers, and how often that has changed.
    health: Health,
    changes: u64,
}

/// The newest beat of a peer.
struct Heard {
    incarnation: Incarnation,
    saying: Saying,
    sent_us: u64,
    arrived: Duration,
    ends: Vec<LogEnd>,
    sightings: BTreeMap<NodeId, Sighting>,
}

impl Board {
    pub(super) fn new(
        me: NodeId,
        incarnation: Incarnation,
        lease: Lease,
        expect: Expectations,
        ask: Ask,
    ) -> Board {
        let state = State {
            detector: Detector::new(expect, boottime()),
            saying: Saying::default(),
            heard: BTreeMap::new(),
            sightings: BTreeMap::new(),
            leaseholders: BTreeMap::new(),
            health: Health::default(),
            changes: 0,
        };
        Board {
            me,
            incarnation,
            expect,
            ask,
            lease: Arc::new(lease),
            health: watch::Sender::default(),
            told: AtomicU64::new(0),
            news: watch::Sender::default(),
            watched: watch::Sender::default(),
            state: Mutex::new(state),
        }
    }

    /// Sets who is listened to.
    pub(super) fn watch(&self, mut peers: BTreeSet<NodeId>) {
        peers.remove(&self.me);
        let mut state = self.state();
        state.detector.watch(&peers, boottime());
        state.heard.retain(|node, _| peers.contains(node));
        self.watched.send_if_modified(|watched| std::mem::replace(watched, peers.clone()) != peers);
        self.publish(state);
    }

    /// Sets what is said, and says it at once.
    pub(super) fn say(&self, change: impl FnOnce(&mut Saying)) {
        let mut state = self.state();
        let before = state.saying;
        change(&mut state.saying);
        if state.saying != before {
            self.hurry();
        }
    }

    pub(super) fn saying(&self) -> Saying {
        self.state().saying
    }

    /// Sets who may be granted a lease while this node is the controller.
    pub(super) fn grant_to(&self, leaseholders: BTreeMap<NodeId, Incarnation>) {
        let mut state = self.state();
        if state.leaseholders != leaseholders {
            state.leaseholders = leaseholders;
            self.hurry();
        }
        drop(state);
        self.renew_own_lease();
    }

    /// A beat of `from`.
    pub(super) fn received(&self, from: NodeId, path: Path, beat: proto::Beat) {
        let now = boottime();
        let Some(incarnation) = incarnation_from(&beat.incarnation) else { return };
        let mut state = self.state();
        // An echo of an earlier process of this node says nothing about this one.
        let echo = beat.echo.filter(|echo| incarnation_from(&echo.incarnation) == Some(self.incarnation));
        let echoed =
            echo.as_ref().map(|echo| Duration::from_micros(echo.sent_us)).filter(|sent| *sent <= now);
        if !state.detector.heard(from, incarnation, path, echoed, now) {
            return;
        }
        if let (Some(sent), Some(grant)) = (echoed, &beat.grant) {
            let held = Duration::from_micros(echo.map_or(0, |echo| echo.held_us));
            // The promise was made after our beat had arrived there, so it runs from that beat's sending at least.
            let from = (sent + held).min(now);
            let remaining = Duration::from_micros(grant.remaining_us).min(self.expect.longest_session);
            self.lease.extend(from + remaining.saturating_sub(MARGIN));
        }
        let mut sightings = BTreeMap::new();
        for (node, age, sighting) in message::sightings_from(beat.sightings) {
            if sighting.sign.is_some() {
                state.detector.told(from, node, sighting.incarnation, now.saturating_sub(age), now);
            }
            sightings.insert(node, sighting);
        }
        let saying = Saying {
            broker_epoch: beat.broker_epoch,
            applied: beat.applied,
            wants: wants_from(beat.wants),
            disk_still_ms: beat.disk_still_ms,
            disk_full: beat.disk_full,
        };
        let heard = Heard {
            incarnation,
            saying,
            sent_us: beat.sent_us,
            arrived: now,
            ends: message::ends_from(beat.ends),
            sightings,
        };
        // Two connections: the older beat may be read last.
        let is_newest = |last: &Heard| last.incarnation != incarnation || last.sent_us <= beat.sent_us;
        if state.heard.get(&from).is_none_or(is_newest) {
            state.heard.insert(from, heard);
        }
        self.publish(state);
    }

    /// The next beat for `to`.
    pub(super) fn compose(&self, to: NodeId) -> proto::Beat {
        // Read before the groups are asked, so that a pause in between only makes the promise older.
        let now = boottime();
        let standing = (self.ask)();
        let mut state = self.state();
        let state = &mut *state;
        let heard = state.heard.get(&to);
        let grant = standing.controller.and_then(|(term, quorum_acked_ago)| {
            let holder = state.leaseholders.get(&to)?;
            heard.filter(|heard| heard.incarnation == *holder)?;
            let remaining = state.detector.promise(to, quorum_acked_ago, now)?;
            Some(proto::Grant { term, remaining_us: micros(remaining) })
        });
        let sightings = state.sightings.iter();
        proto::Beat {
            incarnation: incarnation_to(Some(self.incarnation)),
            broker_epoch: state.saying.broker_epoch,
            applied: state.saying.applied,
            wants: message::wants_to(state.saying.wants),
            disk_still_ms: state.saying.disk_still_ms,
            disk_full: state.saying.disk_full,
            sent_us: micros(now),
            echo: heard.map(|heard| proto::Echo {
                incarnation: incarnation_to(Some(heard.incarnation)),
                sent_us: heard.sent_us,
                held_us: micros(now.saturating_sub(heard.arrived)),
            }),
            grant,
            ends: message::ends_to(&standing.ends),
            sightings: sightings
                .map(|(node, (at, sighting))| message::sighting_to(*node, now.saturating_sub(*at), sighting))
                .collect(),
        }
    }

    /// Our connection to a peer ended, or was refused.
    pub(super) fn saw(&self, node: NodeId, sign: Sign) {
        let mut state = self.state();
        state.detector.saw(node, sign, boottime());
        self.publish(state);
    }

    /// Time passes.
    pub(super) fn tick(&self) {
        let mut state = self.state();
        state.detector.tick(boottime());
        self.publish(state);
        self.renew_own_lease();
    }

    /// For how long a peer has shown no sign of hearing us, and the silence that is death for it.
    pub(super) fn silence(&self, node: NodeId) -> (Duration, Duration) {
        let state = self.state();
        (state.detector.silence(node), state.detector.session(node))
    }

    /// Where a peer's logs ended when it last said so.
    pub(super) fn ends(&self, node: NodeId) -> Vec<LogEnd> {
        self.state().heard.get(&node).map(|heard| heard.ends.clone()).unwrap_or_default()
    }

    /// What this node itself has to say about a death.
    pub(super) fn sighting(&self, node: NodeId) -> Option<Sighting> {
        self.state().sightings.get(&node).map(|(_, sighting)| sighting.clone())
    }

    /// The controller is fenced by nobody while a quorum follows it: another would need some of its votes.
    fn renew_own_lease(&self) {
        let now = boottime();
        let Some((_, quorum_acked_ago)) = (self.ask)().controller else { return };
        if self.state().leaseholders.get(&self.me) == Some(&self.incarnation) {
            // Some of its followers may have heard it a beat or two before they followed it.
            let elapsed = quorum_acked_ago + self.expect.beat * 2 + MARGIN;
            let remaining = self.expect.shortest_session.saturating_sub(elapsed);
            self.lease.extend(now + remaining);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    fn hurry(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    /// Tells of what has changed since the last call. Not under the lock: whoever looks at what was told may ask for
    /// more, and would wait for the one who waits for the look to end.
    fn publish(&self, mut state: MutexGuard<'_, State>) {
        let mut health = BTreeMap::new();
        for node in state.detector.watched() {
            let heard = state.heard.get(&node);
            let verdict = state.detector.verdict(node);
            health.insert(
                node,
                PeerHealth {
                    incarnation: state.detector.incarnation(node),
                    saying: heard.map(|heard| heard.saying).unwrap_or_default(),
                    verdict,
                    doubted: state.detector.is_doubted(node),
                    sightings: heard.map(|heard| heard.sightings.clone()).unwrap_or_default(),
                },
            );
        }
        self.remember_deaths(&mut state);
        if *state.health == health {
            return;
        }
        for (node, now) in &health {
            let was = state.health.get(node).map(|peer| peer.verdict).unwrap_or_default();
            self.log(&state, *node, was, now.verdict);
        }
        state.health = Arc::new(health);
        state.changes += 1;
        let (health, change) = (Arc::clone(&state.health), state.changes);
        drop(state);
        self.health.send_if_modified(|told| {
            // Somebody else may have told of a later change meanwhile.
            let is_newest = self.told.fetch_max(change, Ordering::AcqRel) < change;
            if is_newest {
                *told = health;
            }
            is_newest
        });
    }

    /// Freezes where our logs end when a death is first noticed: all survivors choose by the same figures.
    fn remember_deaths(&self, state: &mut State) {
        let now = boottime();
        let mut deaths: BTreeMap<NodeId, (Option<Incarnation>, Option<Sign>, Duration)> = BTreeMap::new();
        for (node, incarnation, sign, at) in state.detector.signs() {
            deaths.insert(node, (incarnation, Some(sign), at));
        }
        for node in state.detector.watched().filter(|node| state.detector.verdict(*node).is_dead()) {
            deaths.entry(node).or_insert((state.detector.incarnation(node), None, now));
        }
        let mut is_news = false;
        state.sightings.retain(|node, _| deaths.contains_key(node));
        for (node, (incarnation, sign, at)) in deaths {
            match state.sightings.get_mut(&node) {
                Some((when, known)) if known.incarnation == incarnation => {
                    is_news |= known.sign != sign && sign.is_some();
                    (known.sign, *when) = (sign.or(known.sign), at.min(now));
                }
                _ => {
                    let ends = (self.ask)().ends;
                    state.sightings.insert(node, (at, Sighting { incarnation, sign, ends }));
                    is_news = true;
                }
            }
        }
        if is_news {
            self.hurry();
        }
    }

    fn log(&self, state: &State, node: NodeId, was: Verdict, now: Verdict) {
        let silent_ms = state.detector.silence(node).as_millis() as u64;
        let session_ms = state.detector.session(node).as_millis() as u64;
        match now {
            Verdict::Dead(cause) if now != was => {
                tracing::warn!(%node, %cause, silent_ms, session_ms, "broker is held for dead");
            }
            Verdict::Alive if now != was => tracing::info!(%node, session_ms, "broker is heard"),
            _ => {}
        }
    }
}
