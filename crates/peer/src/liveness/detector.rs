//! Who is dead: from what was heard, and when, to a verdict on each peer. No clock, no sockets.
//!
//! Death is concluded from evidence, which takes milliseconds, or from silence, which takes a session. A wrong
//! conclusion costs an election and never data, as epochs and ISRs carry the safety; so it pays to be quick,
//! and to stop trusting evidence that keeps being wrong.
//!
//! Silence is counted from when the peer was last known to have heard *us*: a peer whose answers tell of nothing
//! newer is as useless as one that is silent (a one-way partition, test id N2). It is counted in time in which
//! this process itself was awake: whoever was stopped, or starved of CPU, first listens to what has queued up.

use super::gaps::Gaps;
use milena_quorum::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// One process life of a peer, named at random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is expected of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectations {
    /// Between two beats. A longer gap in our own ticks is not held against the peers.
    pub beat: Duration,
    /// Silence that is death, before it is known how silent a peer usually is.
    pub first_session: Duration,
    /// The same once that is known: four times the silence that one in a thousand exceeds, but no less than this ..
    pub shortest_session: Duration,
    /// .. and no more than this.
    pub longest_session: Duration,
    /// Two witnesses must have seen a connection end within this time of each other.
    pub together: Duration,
    /// After so many wrong conclusions from evidence about a peer ..
    pub wrongs: usize,
    /// .. within this time, only silence counts.
    pub probation: Duration,
}

impl Default for Expectations {
    fn default() -> Self {
        Expectations {
            beat: Duration::from_millis(25),
            first_session: Duration::from_millis(300),
            shortest_session: Duration::from_millis(200),
            longest_session: Duration::from_secs(3),
            together: Duration::from_millis(50),
            wrongs: 3,
            probation: Duration::from_secs(60),
        }
    }
}

/// What a broker has seen of a peer's death itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Its connection ended or was reset. A network that is cut does neither.
    Closed,
    /// Nobody listens at its address: the process is gone.
    Refused,
}

/// Where a beat came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// On the connection that we made. A process that answers a new connection is alive.
    Dialled,
    /// On the one that the peer made. What is read there may have been written by a process that is dead by now.
    Accepted,
}

/// Why a peer is held for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Our connection was refused.
    Refused,
    /// So many brokers saw its connections end.
    Witnesses(usize),
    /// Our connection ended, and there is nobody else to ask.
    Closed,
    /// It was silent for a session.
    Silence,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused => f.write_str("nobody listens at its address"),
            Cause::Witnesses(count) => write!(f, "{count} brokers saw its connections end"),
            Cause::Closed => f.write_str("its connection ended"),
            Cause::Silence => f.write_str("it was silent for a session"),
        }
    }
}

/// What is thought of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Not heard of yet.
    #[default]
    Unknown,
    /// It was heard within its session.
    Alive,
    /// It is not.
    Dead(Cause),
}

impl Verdict {
    /// Whether it is dead by evidence, and not only silent.
    pub fn is_evident(self) -> bool {
        matches!(self, Verdict::Dead(cause) if cause != Cause::Silence)
    }

    /// Whether it is held for dead.
    pub fn is_dead(self) -> bool {
        matches!(self, Verdict::Dead(_))
    }
}

#[derive(Debug)]
struct Peer {
    incarnation: Option<Incarnation>,
    verdict: Verdict,
    /// Waking time at which it had last heard us, as far as we know.
    fresh: Duration,
    /// Waking time at which that was learnt.
    refreshed: Duration,
    /// When it was last heard, by our clock.
    heard_at: Option<Duration>,
    gaps: Gaps,
    /// Waking time before which we promised not to hold its silence against it.
    promised: Duration,
    /// Our own sign, and when.
    sign: Option<(Sign, Duration)>,
    /// When others saw one.
    witnesses: BTreeMap<NodeId, Duration>,
    /// When evidence turned out wrong.
    wrongs: Vec<Duration>,
}

/// The verdicts on all peers. Every `now` is of one clock that never goes back.
#[derive(Debug)]
pub struct Detector {
    expect: Expectations,
    peers: BTreeMap<NodeId, Peer>,
    now: Duration,
    /// Time in which this process was awake.
    awake: Duration,
}

impl Detector {
    /// Knows nobody.
    pub fn new(expect: Expectations, now: Duration) -> Detector {
        // Waking time begins high enough that what is subtracted from it never reaches zero.
        Detector { expect, peers: BTreeMap::new(), now, awake: Duration::from_secs(1 << 32) }
    }

    /// Sets who is to be watched. Whoever is new has a session to be heard.
    pub fn watch(&mut self, peers: &BTreeSet<NodeId>, now: Duration) {
        self.advance(now);
        self.peers.retain(|node, _| peers.contains(node));
        for node in peers {
            self.peers.entry(*node).or_insert_with(|| Peer::new(self.awake));
        }
    }

    /// Who is watched.
    pub fn watched(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }

    /// Time has passed; to be called at least once a beat.
    pub fn tick(&mut self, now: Duration) {
        self.advance(now);
        for peer in self.peers.values_mut() {
            let silence = self.awake.saturating_sub(peer.fresh);
            if !peer.verdict.is_dead() && silence > peer.session(&self.expect) && self.awake > peer.promised {
                peer.verdict = Verdict::Dead(Cause::Silence);
            }
            // What others saw long ago is no news.
            let expect = &self.expect;
            peer.witnesses.retain(|_, at| now.saturating_sub(*at) < expect.first_session);
            peer.wrongs.retain(|at| now.saturating_sub(*at) < expect.probation);
        }
    }

    /// A beat came in. `echoed` is when we sent the newest beat that the peer had heard by then.
    ///
    /// `false` if it is of no account: from nobody we watch, or left behind by a process that is gone.
    pub fn heard(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        path: Path,
        echoed: Option<Duration>,
        now: Duration,
    ) -> bool {
        self.advance(now);
        let awake = self.awake;
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        let is_same = peer.incarnation == Some(incarnation);
        let is_other = peer.incarnation.is_some() && !is_same;
        if path == Path::Accepted && (is_other || peer.sign.is_some()) {
            return false;
        }
        if is_other {
            *peer = Peer { gaps: peer.gaps.clone(), ..Peer::new(awake) };
        }
        peer.incarnation = Some(incarnation);
        peer.heard_at = Some(now);
        peer.sign = None;
        peer.witnesses.clear();
        if is_same && peer.verdict.is_evident() {
            peer.wrongs.push(now);
        }
        let fresh = echoed.map_or(Duration::ZERO, |sent| awake.saturating_sub(now.saturating_sub(sent)));
        if fresh > peer.fresh {
            let silence = awake.saturating_sub(peer.fresh);
            // Silences of a session are stops and partitions, which say nothing about its habits: learning from them,
            // a broker that is paused often would be allowed ever longer pauses. Nor does what had queued up meanwhile
            // and comes in all at once. On a machine that is just slow shorter ones abound.
            let is_queued = awake.saturating_sub(peer.refreshed) < self.expect.beat / 4;
            let session = peer.session(&self.expect);
            if peer.verdict == Verdict::Alive && !is_queued && silence <= session {
                peer.gaps.add(silence);
            }
            (peer.fresh, peer.refreshed) = (fresh, awake);
        }
        // After a silence, or evidence, the answer must show that it hears us again.
        if awake.saturating_sub(peer.fresh) <= peer.session(&self.expect) {
            peer.verdict = Verdict::Alive;
        }
        true
    }

    /// We saw a sign of death ourselves.
    pub fn saw(&mut self, node: NodeId, sign: Sign, now: Duration) {
        self.advance(now);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.sign = match peer.sign {
            // The first end of a connection is the one that others saw, too.
            Some((Sign::Closed, at)) if sign == Sign::Closed => Some((sign, at)),
            _ => Some((sign, now)),
        };
        self.conclude(node, now);
    }

    /// `witness` saw a sign of the death of this incarnation of `node` at the time `at` of our clock.
    pub fn told(
        &mut self,
        witness: NodeId,
        node: NodeId,
        incarnation: Option<Incarnation>,
        at: Duration,
        now: Duration,
    ) {
        self.advance(now);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let is_older = peer.heard_at.is_some_and(|heard| at + self.expect.beat < heard);
        if witness == node || peer.incarnation != incarnation || is_older {
            return;
        }
        peer.witnesses.insert(witness, at);
        self.conclude(node, now);
    }

    /// What is thought of a peer.
    pub fn verdict(&self, node: NodeId) -> Verdict {
        self.peers.get(&node).map_or(Verdict::Unknown, |peer| peer.verdict)
    }

    /// Whether we saw a sign of a peer's death and have not heard it since.
    pub fn is_doubted(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|peer| peer.sign.is_some())
    }

    /// The process of a peer that was heard last.
    pub fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        self.peers.get(&node)?.incarnation
    }

    /// For how long nothing has shown that a peer hears us, in waking time.
    pub fn silence(&self, node: NodeId) -> Duration {
        self.peers.get(&node).map_or(Duration::ZERO, |peer| self.awake.saturating_sub(peer.fresh))
    }

    /// The silence that is death for a peer.
    pub fn session(&self, node: NodeId) -> Duration {
        self.peers.get(&node).map_or(self.expect.first_session, |peer| peer.session(&self.expect))
    }

    /// Our own signs of death that still stand.
    pub fn signs(&self) -> impl Iterator<Item = (NodeId, Option<Incarnation>, Sign, Duration)> {
        self.peers.iter().filter_map(|(node, peer)| {
            let (sign, at) = peer.sign?;
            Some((*node, peer.incarnation, sign, at))
        })
    }

    /// Promises a peer not to hold its silence against it for the time returned, which is what is left of its
    /// session; `used` of it has passed for another reason. `None` if nothing is left, or if it is held for dead.
    pub fn promise(&mut self, node: NodeId, used: Duration, now: Duration) -> Option<Duration> {
        self.advance(now);
        let awake = self.awake;
        let peer = self.peers.get_mut(&node).filter(|peer| peer.verdict == Verdict::Alive)?;
        let used = awake.saturating_sub(peer.fresh).max(used);
        let left = peer.session(&self.expect).checked_sub(used).filter(|left| !left.is_zero())?;
        peer.promised = peer.promised.max(awake + left);
        Some(left)
    }

    fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        // Two beats: a process that sleeps longer was not let run.
        self.awake += passed.min(self.expect.beat * 2);
        self.now = self.now.max(now);
    }

    fn conclude(&mut self, node: NodeId, now: Duration) {
        let others =
            self.peers.iter().filter(|(other, peer)| **other != node && !peer.verdict.is_dead()).count();
        let expect = self.expect;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.wrongs.retain(|at| now.saturating_sub(*at) < expect.probation);
        let on_probation = peer.wrongs.len() >= expect.wrongs;
        if !on_probation
            && !peer.verdict.is_evident()
            && let Some(cause) = peer.evidence(others, &expect)
        {
            peer.verdict = Verdict::Dead(cause);
        }
    }
}

impl Peer {
    fn new(awake: Duration) -> Peer {
        Peer {
            incarnation: None,
            verdict: Verdict::Unknown,
            fresh: awake,
            refreshed: awake,
            heard_at: None,
            gaps: Gaps::new(),
            promised: Duration::ZERO,
            sign: None,
            witnesses: BTreeMap::new(),
            wrongs: Vec::new(),
        }
    }

    fn session(&self, expect: &Expectations) -> Duration {
        let shortest = if self.gaps.are_enough() { expect.shortest_session } else { expect.first_session };
        (self.gaps.p999() * 4).clamp(shortest, expect.longest_session)
    }

    /// What the signs amount to, with so many other brokers alive.
    fn evidence(&self, others: usize, expect: &Expectations) -> Option<Cause> {
        if let Some((Sign::Refused, _)) = self.sign {
            return Some(Cause::Refused);
        }
        let mut seen: Vec<Duration> = self.witnesses.values().copied().collect();
        seen.extend(self.sign.map(|(_, at)| at));
        seen.sort_unstable();
        let together = |first: &Duration| {
            seen.iter().filter(|at| *at >= first && at.saturating_sub(*first) <= expect.together).count()
        };
        match seen.iter().map(together).max() {
            Some(count) if count >= 2 => Some(Cause::Witnesses(count)),
            Some(1) if others == 0 && self.sign.is_some() => Some(Cause::Closed),
            _ => None,
        }
    }
}
