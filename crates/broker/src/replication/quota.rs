//! `leader.replication.throttled.rate` and `follower.replication.throttled.rate` (KIP-73): what replicas that a
//! reassignment moves may copy in a second, so that clients keep their share of network and disk.
//!
//! All bytes of a throttled replica count; only replicas outside of the ISR are held back, since a member of it that
//! waits would keep producers waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use milena_config::{BrokerConfig, TopicConfig};

use crate::settings::Settings;

/// Longest wait before the rate is looked at again: it may have been raised, or the throttle been taken off.
const LONGEST: Duration = Duration::from_millis(250);
/// Parts of a second's bytes that are sent at once, so that a low rate is a trickle and not a burst and a silence.
const PIECES: u64 = 8;
/// Timers wake late: so much of a second that went unused may be made up for.
const SLACK: f64 = 0.1;

/// Which end of a copy is throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What this broker sends to followers.
    Leader,
    /// What it fetches from leaders.
    Follower,
}

/// The bytes of one side, of all throttled partitions together.
pub(crate) struct ReplicationQuota {
    settings: Arc<Settings>,
    side: Side,
    debt: Mutex<Debt>,
}

/// Bytes that were copied ahead of the rate, as of a moment.
#[derive(Default)]
struct Debt {
    bytes: f64,
    at: Option<Instant>,
}

impl ReplicationQuota {
    /// Obeys what the settings say at each moment.
    pub(crate) fn new(settings: Arc<Settings>, side: Side) -> Arc<Self> {
        Arc::new(Self { settings, side, debt: Mutex::default() })
    }

    /// Counts bytes of a throttled replica.
    pub(crate) fn spend(&self, bytes: usize, now: Instant) {
        if let Some(rate) = self.rate() {
            let mut debt = self.debt.lock().unwrap();
            debt.pay(rate, now);
            debt.bytes += bytes as f64;
        }
    }

    /// How long a throttled replica outside of the ISR has to wait; asked again then, as the rate may be another.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let Some(rate) = self.rate() else { return Duration::ZERO };
        let mut debt = self.debt.lock().unwrap();
        debt.pay(rate, now);
        if debt.bytes <= 0.0 {
            return Duration::ZERO;
        }
        // A rate of zero is Kafka's way to stop copying altogether.
        Duration::try_from_secs_f64(debt.bytes / rate).unwrap_or(LONGEST).min(LONGEST)
    }

    /// The bytes to read at once for a throttled replica outside of the ISR, of at most `most`.
    pub(crate) fn piece(&self, most: usize) -> usize {
        match self.rate() {
            None => most,
            Some(rate) => most.min((rate as u64 / PIECES).max(1) as usize),
        }
    }

    /// Bytes a second; none if there is no limit.
    fn rate(&self) -> Option<f64> {
        let rate = of_side(&self.settings.broker(), self.side);
        (rate != i64::MAX).then_some(rate.max(0) as f64)
    }
}

fn of_side(config: &BrokerConfig, side: Side) -> i64 {
    match side {
        Side::Leader => config.leader_replication_throttled_rate(),
        Side::Follower => config.follower_replication_throttled_rate(),
    }
}

impl Debt {
    /// Takes off what the time since the last look has paid for.
    fn pay(&mut self, rate: f64, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.bytes = (self.bytes - rate * passed.as_secs_f64()).max(-rate * SLACK);
        self.at = Some(now);
    }
}

/// Whether a partition's replica on this broker is throttled: `leader.replication.throttled.replicas` and
/// `follower.replication.throttled.replicas` of its topic.
#[derive(Default)]
pub(crate) struct Throttled {
    leader: AtomicBool,
    follower: AtomicBool,
}

impl Throttled {
    /// As the topic's settings say of partition `index` on `broker`.
    pub(crate) fn new(config: &TopicConfig, index: i32, broker: i32) -> Self {
        let throttled = Self::default();
        throttled.configure(config, index, broker);
        throttled
    }

    /// Takes changed settings of the topic.
    pub(crate) fn configure(&self, config: &TopicConfig, index: i32, broker: i32) {
        let names = |list: &[String]| list.iter().any(|entry| entry == "*" || is_pair(entry, index, broker));
        self.leader.store(names(config.leader_replication_throttled_replicas()), Ordering::Relaxed);
        self.follower.store(names(config.follower_replication_throttled_replicas()), Ordering::Relaxed);
    }

    /// Whether copies made on this `side` are throttled.
    pub(crate) fn on(&self, side: Side) -> bool {
        match side {
            Side::Leader => self.leader.load(Ordering::Relaxed),
            Side::Follower => self.follower.load(Ordering::Relaxed),
        }
    }
}

/// Whether `entry` is `partition:broker`.
fn is_pair(entry: &str, index: i32, broker: i32) -> bool {
    entry.split_once(':').is_some_and(|(partition, id)| {
        partition.trim().parse() == Ok(index) && id.trim().parse() == Ok(broker)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(rate: &str, side: Side) -> Arc<ReplicationQuota> {
        let name = match side {
            Side::Leader => "leader.replication.throttled.rate",
            Side::Follower => "follower.replication.throttled.rate",
        };
        let config = BrokerConfig::new(Default::default()).unwrap();
        let config = config.with_dynamic(&[(name.to_owned(), rate.to_owned())].into(), &Default::default());
        ReplicationQuota::new(Arc::new(Settings::new(config)), side)
    }

    #[test]
    fn bytes_take_the_time_that_the_rate_gives_them() {
        for side in [Side::Leader, Side::Follower] {
            let quota = quota("10000", side);
            let start = Instant::now();
            assert_eq!(quota.wait(start), Duration::ZERO, "the first bytes need not wait");
            quota.spend(2000, start);
            assert_eq!(quota.wait(start), Duration::from_millis(200));
            let later = start + Duration::from_millis(150);
            assert_eq!(quota.wait(later).as_millis(), 50);
            quota.spend(1000, later);
            assert_eq!(quota.wait(later).as_millis(), 150, "of two partitions");
            quota.spend(1 << 30, later);
            assert_eq!(quota.wait(later), LONGEST, "the rate may change meanwhile");
        }
    }

    #[test]
    fn time_that_was_not_used_is_gone_but_for_a_tenth_of_a_second() {
        let quota = quota("10000", Side::Leader);
        let start = Instant::now();
        quota.spend(0, start);
        let later = start + Duration::from_secs(60);
        quota.spend(1500, later);
        assert_eq!(quota.wait(later).as_millis(), 50);
    }

    #[test]
    fn without_a_rate_nothing_waits_and_with_zero_everything() {
        let free = quota("9223372036854775807", Side::Leader);
        let now = Instant::now();
        free.spend(usize::MAX, now);
        assert_eq!((free.wait(now), free.piece(77)), (Duration::ZERO, 77));
        let stopped = quota("0", Side::Follower);
        stopped.spend(1, now);
        assert_eq!(stopped.wait(now + Duration::from_secs(3600)), LONGEST);
        assert_eq!(quota("80000", Side::Leader).piece(1 << 20), 10_000);
    }

    #[test]
    fn lists_name_partitions_and_the_brokers_they_are_on() {
        let broker = BrokerConfig::new(Default::default()).unwrap();
        for (list, want) in
            [("", false), ("*", true), ("3:1", true), ("0:1,3:1", true), ("3:2,1:1,31:1", false)]
        {
            let overrides = [("leader.replication.throttled.replicas".to_owned(), list.to_owned())].into();
            let throttled = Throttled::new(&TopicConfig::resolve(&overrides, &broker), 3, 1);
            assert_eq!(throttled.on(Side::Leader), want, "{list:?}");
            assert!(!throttled.on(Side::Follower), "{list:?}");
        }
    }
}
