//! Who is to be fenced and who is to take part again, from the metadata and the signs of life. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_disk::STUCK;
use milena_metadata::{Broker, BrokerEpoch, BrokerId, Image};
use milena_peer::liveness::{Cause, Incarnation, PeerHealth, Verdict, Wants};

/// How long a registered process may go unheard while another one is heard, or nobody, under its number. A process
/// answers its peers before it registers, so this is only the time to be dialled.
const UNHEARD: Duration = Duration::from_secs(1);

/// What the controller does about a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is gone.
    Fence(BrokerId, Why),
    /// It is back.
    Unfence(BrokerId, BrokerEpoch),
}

/// Why a broker is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is dead.
    Dead(Cause),
    /// The process that registered is not the one that answers.
    Replaced,
    /// Its disk has stood still for so many milliseconds.
    Stuck(u32),
    /// Its disk is full.
    Full,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dead(cause) => cause.fmt(f),
            Self::Replaced => f.write_str("the process that registered is not heard"),
            Self::Full => f.write_str("its disk is full"),
            Self::Stuck(ms) => write!(f, "its disk has not moved for {ms} ms"),
        }
    }
}

/// What a controller has seen in its term.
#[derive(Debug, Default)]
pub(crate) struct Fencing {
    /// Since when a broker's registration is known.
    registered: BTreeMap<BrokerId, (BrokerEpoch, Duration)>,
    /// The image in which a broker was first seen fenced: it must know of that before it takes part again, or it
    /// would go on where it was (test ids M3, M19).
    fenced_at: BTreeMap<BrokerId, u64>,
}

impl Fencing {
    /// What is to be done now, at the time `now` of a clock that never goes back. `health` has every broker but those
    /// that were never listened to; this one is in it, too.
    pub(crate) fn actions(
        &mut self,
        image: &Image,
        health: &BTreeMap<BrokerId, PeerHealth>,
        now: Duration,
    ) -> Vec<Action> {
        self.registered.retain(|id, _| image.broker(*id).is_some());
        self.fenced_at.retain(|id, _| image.broker(*id).is_some_and(|broker| broker.fenced));
        let mut actions = Vec::new();
        let relieve_stuck = others_can_take_over(image, health);
        for broker in image.brokers() {
            let known = self.registered.entry(broker.id).or_insert((broker.epoch, now));
            if known.0 != broker.epoch {
                *known = (broker.epoch, now);
                self.fenced_at.remove(&broker.id);
            }
            let age = now.saturating_sub(known.1);
            if broker.fenced {
                self.fenced_at.entry(broker.id).or_insert(image.index());
            }
            let Some(peer) = health.get(&broker.id) else { continue };
            if !broker.fenced {
                let stuck = || stuck(broker, peer).filter(|_| relieve_stuck);
                let why = why_fence(broker, peer, age).or_else(stuck);
                actions.extend(why.map(|why| Action::Fence(broker.id, why)));
            } else if self.is_back(broker, peer) {
                actions.push(Action::Unfence(broker.id, broker.epoch));
            }
        }
        actions
    }

    /// When to look again although nothing has changed.
    pub(crate) fn recheck() -> Duration {
        UNHEARD
    }

    fn is_back(&self, broker: &Broker, peer: &PeerHealth) -> bool {
        peer.verdict == Verdict::Alive
            && is_registered(broker, peer)
            && !broker.in_controlled_shutdown
            && peer.saying.broker_epoch == broker.epoch.0
            && peer.saying.wants == Wants::Unfenced
            && peer.saying.disk_still_ms == 0
            && !peer.saying.disk_full
            && self.fenced_at.get(&broker.id).is_some_and(|index| peer.saying.applied >= *index)
    }
}

fn is_registered(broker: &Broker, peer: &PeerHealth) -> bool {
    peer.incarnation == Some(Incarnation(broker.incarnation.0))
}

fn why_fence(broker: &Broker, peer: &PeerHealth, age: Duration) -> Option<Why> {
    match peer.verdict {
        // A process that was never heard has no name, but nobody else lives at its address either.
        Verdict::Dead(cause) if is_registered(broker, peer) => Some(Why::Dead(cause)),
        Verdict::Dead(cause) if age > UNHEARD => Some(Why::Dead(cause)),
        Verdict::Alive if !is_registered(broker, peer) && age > UNHEARD => Some(Why::Replaced),
        Verdict::Dead(_) | Verdict::Alive | Verdict::Unknown => None,
    }
}

/// A disk that stands still, or is full: who lives on it acknowledges nothing, and beats all the same (test id D8).
fn stuck(broker: &Broker, peer: &PeerHealth) -> Option<Why> {
    let ms = peer.saying.disk_still_ms;
    let why = match peer.saying.disk_full {
        true => Why::Full,
        false if u128::from(ms) >= STUCK.as_millis() => Why::Stuck(ms),
        false => return None,
    };
    (peer.verdict == Verdict::Alive && is_registered(broker, peer)).then_some(why)
}

/// Whether a broker whose disk stands still or is full is replaced by better ones: at least as many disks take writes
/// as do not. Where
/// all share one disk, or one hypervisor, relieving them in turn would only make it worse.
fn others_can_take_over(image: &Image, health: &BTreeMap<BrokerId, PeerHealth>) -> bool {
    let (mut moving, mut still) = (0, 0);
    for broker in image.live_brokers() {
        let Some(peer) = health.get(&broker.id).filter(|peer| peer.verdict == Verdict::Alive) else {
            continue;
        };
        match (peer.saying.disk_still_ms, peer.saying.disk_full) {
            (0, false) => moving += 1,
            _ => still += 1,
        }
    }
    moving >= still
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_metadata::Record;
    use milena_peer::liveness::Saying;
    use milena_wire::Uuid;

    const ME: BrokerId = BrokerId(1);
    const OTHER: BrokerId = BrokerId(2);
    /// Index of the registration, and so the broker epoch.
    const EPOCH: BrokerEpoch = BrokerEpoch(7);

    fn image(fenced: bool, in_controlled_shutdown: bool) -> Image {
        let mut image = Image::default();
        let broker = Broker {
            id: OTHER,
            epoch: EPOCH,
            incarnation: Uuid([2; 16]),
            endpoints: Vec::new(),
            rack: None,
            fenced,
            in_controlled_shutdown,
            log_dirs: Vec::new(),
            peer_address: String::new(),
            broker_only: false,
        };
        image.apply(7, &Record::BrokerRegistered(broker));
        image
    }

    fn peer(incarnation: u8, verdict: Verdict, wants: Wants, applied: u64) -> BTreeMap<BrokerId, PeerHealth> {
        let saying = Saying { broker_epoch: EPOCH.0, applied, wants, ..Saying::default() };
        let incarnation = (incarnation > 0).then_some(Incarnation([incarnation; 16]));
        BTreeMap::from([(OTHER, PeerHealth { incarnation, saying, verdict, ..PeerHealth::default() })])
    }

    const REFUSED: Verdict = Verdict::Dead(Cause::Refused);
    const FENCE: Action = Action::Fence(OTHER, Why::Dead(Cause::Refused));

    #[test]
    fn dead_process_is_fenced_at_once_and_another_one_after_a_second() {
        let second = Duration::from_millis(1001);
        for (incarnation, verdict, at_once, later) in [
            (2, REFUSED, vec![FENCE], vec![FENCE]),
            // Of an earlier process: the one that registered may not have been dialled yet.
            (1, REFUSED, vec![], vec![FENCE]),
            (0, REFUSED, vec![], vec![FENCE]),
            (2, Verdict::Alive, vec![], vec![]),
            (1, Verdict::Alive, vec![], vec![Action::Fence(OTHER, Why::Replaced)]),
            (0, Verdict::Unknown, vec![], vec![]),
        ] {
            let mut fencing = Fencing::default();
            let health = peer(incarnation, verdict, Wants::Unfenced, 0);
            let image = image(false, false);
            assert_eq!(fencing.actions(&image, &health, Duration::ZERO), at_once, "{health:?}");
            assert_eq!(fencing.actions(&image, &health, second), later, "{health:?}");
        }
        assert_eq!(Fencing::default().actions(&image(false, false), &BTreeMap::new(), second), vec![]);
        assert_ne!(ME, OTHER);
    }

    #[test]
    fn fenced_broker_takes_part_again_when_it_knows_that_it_was_fenced() {
        let back = vec![Action::Unfence(OTHER, EPOCH)];
        for (health, leaving, want) in [
            (peer(2, Verdict::Alive, Wants::Unfenced, 7), false, back.clone()),
            // It has not heard of it.
            (peer(2, Verdict::Alive, Wants::Unfenced, 6), false, vec![]),
            (peer(2, Verdict::Alive, Wants::Fenced, 7), false, vec![]),
            (peer(2, Verdict::Alive, Wants::Shutdown, 7), false, vec![]),
            (peer(2, Verdict::Alive, Wants::Unfenced, 7), true, vec![]),
            (peer(1, Verdict::Alive, Wants::Unfenced, 7), false, vec![]),
            (peer(2, REFUSED, Wants::Unfenced, 7), false, vec![]),
        ] {
            // The image's own index is that of the last command that changed it.
            let image = image(true, leaving);
            let mut fencing = Fencing::default();
            fencing.fenced_at.insert(OTHER, 7);
            fencing.registered.insert(OTHER, (EPOCH, Duration::ZERO));
            assert_eq!(fencing.actions(&image, &health, Duration::ZERO), want, "{health:?}");
        }
    }

    /// What is done when brokers 1, 2, .. say that their disks have stood still for so long.
    fn fenced_for(still: &[u32]) -> Vec<Action> {
        let (mut all, mut health) = (Image::default(), BTreeMap::new());
        for (at, disk_still_ms) in still.iter().enumerate() {
            let id = BrokerId(at as i32 + 1);
            let mut one = image(false, false).broker(OTHER).map(|one| Broker::clone(one)).unwrap();
            (one.id, one.epoch) = (id, BrokerEpoch(7 + at as i64));
            all.apply(7 + at as u64, &Record::BrokerRegistered(one));
            let mut peer = peer(2, Verdict::Alive, Wants::Unfenced, 7).remove(&OTHER).unwrap();
            peer.saying.disk_still_ms = *disk_still_ms;
            health.insert(id, peer);
        }
        Fencing::default().actions(&all, &health, Duration::ZERO)
    }

    #[test]
    fn broker_whose_disk_is_stuck_is_fenced_if_others_are_not() {
        let fence = |id, ms| Action::Fence(BrokerId(id), Why::Stuck(ms));
        for (still, want) in [
            (vec![0, 300, 0], vec![fence(2, 300)]),
            (vec![0, 200, 0], vec![]),
            (vec![0, 900], vec![fence(2, 900)]),
            // It would be no better elsewhere.
            (vec![100, 300, 0], vec![]),
            (vec![300, 300, 300], vec![]),
            (vec![0, 300, 0, 400, 0], vec![fence(2, 300), fence(4, 400)]),
            (vec![900], vec![]),
        ] {
            assert_eq!(fenced_for(&still), want, "{still:?}");
        }
    }

    #[test]
    fn broker_whose_disk_is_full_is_fenced_until_it_has_room() {
        let mut health = peer(2, Verdict::Alive, Wants::Unfenced, 7);
        health.insert(ME, health[&OTHER].clone());
        health.get_mut(&OTHER).unwrap().saying.disk_full = true;
        let mut both = image(false, false);
        let mut me = both.broker(OTHER).map(|one| Broker::clone(one)).unwrap();
        me.id = ME;
        both.apply(8, &Record::BrokerRegistered(me));
        let mut fencing = Fencing::default();
        let fence = vec![Action::Fence(OTHER, Why::Full)];
        assert_eq!(fencing.actions(&both, &health, Duration::ZERO), fence);
        fencing.fenced_at.insert(OTHER, 7);
        assert_eq!(fencing.actions(&image(true, false), &health, Duration::ZERO), vec![]);
        health.get_mut(&OTHER).unwrap().saying.disk_full = false;
        let back = vec![Action::Unfence(OTHER, EPOCH)];
        assert_eq!(fencing.actions(&image(true, false), &health, Duration::ZERO), back);
    }

    #[test]
    fn broker_stays_fenced_until_its_disk_has_moved_for_a_while() {
        let mut health = peer(2, Verdict::Alive, Wants::Unfenced, 7);
        for (disk_still_ms, want) in [(300, vec![]), (0, vec![Action::Unfence(OTHER, EPOCH)])] {
            health.get_mut(&OTHER).unwrap().saying.disk_still_ms = disk_still_ms;
            let mut fencing = Fencing::default();
            fencing.fenced_at.insert(OTHER, 7);
            fencing.registered.insert(OTHER, (EPOCH, Duration::ZERO));
            assert_eq!(fencing.actions(&image(true, false), &health, Duration::ZERO), want);
        }
    }

    #[test]
    fn new_registration_is_not_held_to_what_the_last_one_missed() {
        let mut fencing = Fencing::default();
        fencing.fenced_at.insert(OTHER, 1_000);
        fencing.registered.insert(OTHER, (BrokerEpoch(3), Duration::ZERO));
        let health = peer(2, Verdict::Alive, Wants::Unfenced, 7);
        assert_eq!(
            fencing.actions(&image(true, false), &health, Duration::ZERO),
            vec![Action::Unfence(OTHER, EPOCH)]
        );
    }
}
