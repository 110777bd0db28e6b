//! The lease by which a broker may acknowledge: what a woken zombie no longer holds (test id M19).
//!
//! A controller that is backed by a quorum promises a broker not to fence it for its silence before some
//! moment. The broker looks at its clock before each acknowledgement; no timer is involved, as those of a
//! stopped process sleep with it.

use super::clock::boottime;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long this broker may act as the leader of its partitions.
#[derive(Debug)]
pub struct Lease {
    /// Nanoseconds of [`boottime`].
    ends: AtomicU64,
}

impl Lease {
    /// Holds for ever: there is nobody who could take over.
    pub fn always() -> Lease {
        Lease { ends: AtomicU64::new(u64::MAX) }
    }

    /// Does not hold before it is first extended.
    pub fn none() -> Lease {
        Lease { ends: AtomicU64::new(0) }
    }

    /// Whether it holds now. One atomic load and one reading of the clock, without a system call.
    pub fn holds(&self) -> bool {
        let ends = self.ends.load(Ordering::Acquire);
        ends == u64::MAX || nanos(boottime()) < ends
    }

    /// How long it still holds; zero if it does not, `None` if for ever.
    pub fn remaining(&self) -> Option<Duration> {
        let ends = self.ends.load(Ordering::Acquire);
        (ends != u64::MAX).then(|| Duration::from_nanos(ends.saturating_sub(nanos(boottime()))))
    }

    /// Makes it hold until `ends` of [`boottime`] at least.
    pub fn extend(&self, ends: Duration) {
        self.ends.fetch_max(nanos(ends), Ordering::AcqRel);
    }

    /// Ends it now, unless it holds for ever: this broker learnt that it is fenced.
    pub fn end(&self) {
        let ended = |ends: u64| (ends != u64::MAX).then_some(0);
        // An error means that it holds for ever.
        let _ = self.ends.fetch_update(Ordering::AcqRel, Ordering::Acquire, ended);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_until_its_end_and_not_after() {
        let lease = Lease::none();
        assert!(!lease.holds());
        lease.extend(boottime() + Duration::from_secs(60));
        assert!(lease.holds());
        assert!(lease.remaining().unwrap() > Duration::from_secs(59));
        // An older promise does not shorten a newer one.
        lease.extend(boottime());
        assert!(lease.holds());
        lease.end();
        assert!(!lease.holds());
        lease.extend(boottime().saturating_sub(Duration::from_nanos(1)));
        assert!(!lease.holds());
    }

    #[test]
    fn lease_of_a_broker_alone_never_ends() {
        let lease = Lease::always();
        lease.end();
        assert!(lease.holds());
        assert_eq!(lease.remaining(), None);
    }
}
