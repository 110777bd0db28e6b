//! Deadlines of members and groups, in one ordered list.
//!
//! A heartbeat only moves its member's deadline; the list is touched when the listed moment comes, which is
//! once per session time-out and not once per heartbeat.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Timers come later than this only when the broker stood still.
const LATE_MS: u64 = 1_000;
/// Most time given again; clients retry well within it.
const LONGEST_GRACE_MS: u64 = 30_000;

/// Whose deadline it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Session of a member, or of a member id that was given out and not yet used: group, member id.
    Member(Arc<str>, Arc<str>),
    /// Join or sync phase of a group.
    Group(Arc<str>),
    /// Next look at expired offsets.
    Expiry,
}

/// One owner's deadline on the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Alarm {
    deadline: Option<u64>,
    /// Where the list has it; never after the deadline.
    listed: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    list: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Moves the alarm to `at`, earlier or later.
    pub fn set(&mut self, alarm: &mut Alarm, at: u64, timer: impl FnOnce() -> Timer) {
        alarm.deadline = Some(at);
        match alarm.listed {
            Some(listed) if listed <= at => {}
            listed => {
                let timer = timer();
                if let Some(listed) = listed {
                    self.list.remove(&(listed, timer.clone()));
                }
                self.list.insert((at, timer));
                alarm.listed = Some(at);
            }
        }
    }

    /// The owner goes away: nothing of it stays in the list.
    pub fn forget(&mut self, alarm: Alarm, timer: Timer) {
        if let Some(listed) = alarm.listed {
            self.list.remove(&(listed, timer));
        }
    }

    /// Takes the earliest timer listed at or before `now`. Its owner passes its alarm to [`Timers::rings`].
    pub fn pop(&mut self, now: u64) -> Option<Timer> {
        if self.list.first()?.0 > now {
            return None;
        }
        self.list.pop_first().map(|(_, timer)| timer)
    }

    /// After [`Timers::pop`]: whether the deadline has really come. If it was moved, the list learns it now.
    ///
    /// A deadline that is noticed late means that this broker stood still (a stopped process, a starved
    /// machine): signs of life may wait to be read. The owner gets the time that was missed once more.
    pub fn rings(&mut self, alarm: &mut Alarm, now: u64, timer: impl FnOnce() -> Timer) -> bool {
        alarm.listed = None;
        let Some(at) = alarm.deadline else { return false };
        let late_ms = now.saturating_sub(at);
        if at <= now && late_ms <= LATE_MS {
            return true;
        }
        let at = if at > now { at } else { now.saturating_add(late_ms.min(LONGEST_GRACE_MS)) };
        self.set(alarm, at, timer);
        false
    }

    /// Earliest moment at which something may be due.
    pub fn next(&self) -> Option<u64> {
        self.list.first().map(|(at, _)| *at)
    }
}

impl Alarm {
    /// No deadline until the next [`Timers::set`].
    pub fn stop(&mut self) {
        self.deadline = None;
    }

    /// Whether the deadline has come.
    pub fn is_due(&self, now: u64) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(name: &str) -> Timer {
        Timer::Group(Arc::from(name))
    }

    #[test]
    fn a_later_deadline_waits_for_the_listed_moment_and_an_earlier_one_does_not() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        timers.set(&mut alarm, 100, || timer("g"));
        timers.set(&mut alarm, 200, || unreachable!("a heartbeat leaves the list alone"));
        assert_eq!(timers.next(), Some(100));
        assert_eq!(timers.pop(99), None);
        assert_eq!(timers.pop(100), Some(timer("g")));
        assert!(!timers.rings(&mut alarm, 100, || timer("g")));
        assert_eq!(timers.next(), Some(200));
        timers.set(&mut alarm, 150, || timer("g"));
        assert_eq!(timers.next(), Some(150));
        assert_eq!(timers.pop(150), Some(timer("g")));
        assert!(timers.rings(&mut alarm, 150, || timer("g")));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_stopped_or_forgotten_alarm_does_not_ring() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        timers.set(&mut alarm, 100, || timer("g"));
        alarm.stop();
        assert_eq!(timers.pop(100), Some(timer("g")));
        assert!(!timers.rings(&mut alarm, 100, || timer("g")));
        timers.set(&mut alarm, 300, || timer("g"));
        timers.forget(alarm, timer("g"));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_deadline_noticed_late_is_given_again_once() {
        for (now, again) in [(1_100, None), (1_101, Some(2_102)), (40_000, Some(70_000))] {
            let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
            timers.set(&mut alarm, 100, || timer("g"));
            timers.pop(now);
            assert_eq!(timers.rings(&mut alarm, now, || timer("g")), again.is_none(), "now={now}");
            assert_eq!(timers.next(), again, "now={now}");
        }
    }
}
