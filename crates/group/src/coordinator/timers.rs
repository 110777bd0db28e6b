//! Deadlines of members and groups, in one ordered list.
//!
//! A heartbeat only moves its member's deadline; the list is touched when the listed moment comes, which is once
//! per session time-out and not once per heartbeat.

use std::collections::BTreeSet;
use std::sync::Arc;

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
    pub fn rings(&mut self, alarm: &mut Alarm, now: u64, timer: impl FnOnce() -> Timer) -> bool {
        alarm.listed = None;
        match alarm.deadline {
            None => false,
            Some(at) if at <= now => true,
            Some(at) => {
                self.set(alarm, at, timer);
                false
            }
        }
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
