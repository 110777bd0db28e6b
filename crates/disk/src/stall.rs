//! When a disk is stuck: from what was unfinished at each look to how long nothing has moved. No clock, no files.
//!
//! An operation that takes long is no proof. On a busy disk a sync waits behind gigabytes, on a busy machine a
//! thread that was answered long ago waits for a core. Time counts as a standstill only while the same operation is
//! the oldest, no other of its kind has ended, the device has completed no write of anybody's, and the thread waits
//! for the disk and not for a core. It is counted in looks: a process that was stopped blames nobody. And what is
//! stuck elsewhere may be usual here: standstills that ended by themselves teach how long to wait for the next.

use std::time::Duration;

use crate::health::{KINDS, Kind};

/// A standstill that is worth telling others: whoever decides about stuck disks should know that this one may be
/// next.
pub const NOTICEABLE: Duration = Duration::from_millis(100);
/// What is reported at least of a disk that is stuck, and the shortest standstill that makes it so.
pub const STUCK: Duration = Duration::from_millis(300);
/// What is reported at most of one that is not.
const NOT_STUCK: Duration = Duration::from_millis(299);
/// The longest standstill that is waited for because it may be usual.
const HANG: Duration = Duration::from_secs(2);
/// What is usual is forgotten by halves.
const HALF_LIFE: Duration = Duration::from_secs(300);
/// A single operation that takes so long counts even on a disk that moves: clients have given up by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much longer syncs may stand still than changes, which only go to the page cache ..
const SYNC_PATIENCE: Duration = Duration::from_millis(700);
/// .. and on a file system that shows no device, of which nobody can tell whether it is only busy.
const BLIND_PATIENCE: Duration = Duration::from_secs(2);
/// How long all must be well before a disk that was stuck is trusted again; doubled each time that it gets stuck
/// within [`RELAPSE`], so that a disk that comes and goes does not take leaderships back and forth.
const SHORTEST_CALM: Duration = Duration::from_secs(1);
const LONGEST_CALM: Duration = Duration::from_secs(10);
const RELAPSE: Duration = Duration::from_secs(60);

/// What is seen at one look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observation {
    /// Of each [`Kind`], the number of the oldest unfinished operation.
    pub oldest: [Option<u64>; KINDS],
    /// Of each kind, whether that operation's thread waits for a core and not for the disk.
    pub runnable: [bool; KINDS],
    /// Of each kind, the operations that have ended.
    pub finished: [u64; KINDS],
    /// Writes that the device has completed; `None` if that is not known.
    pub device_writes: Option<u64>,
}

/// Judges one disk, look by look.
#[derive(Debug, Default)]
pub struct StallDetector {
    last: Option<Observation>,
    /// For how long nothing has moved, by kind.
    still: [Duration; KINDS],
    /// For how long the oldest operation has been that, by kind.
    unfinished: [Duration; KINDS],
    /// What is usual, by kind.
    usual: [Usual; KINDS],
    /// Since it got stuck, as long as it is not trusted again.
    stuck: Option<Stuck>,
    /// The calm that was asked for last, and the time since it was had.
    last_calm: Option<(Duration, Duration)>,
}

/// What standstills of one kind have taught.
#[derive(Debug, Default)]
struct Usual {
    /// The longest that the present one was.
    peak: Duration,
    /// The longest that ended by itself lately.
    longest: Duration,
    /// How long ago that was.
    age: Duration,
}

impl Usual {
    /// Takes the standstill at this look; returns what is to be reported of it.
    fn judge(&mut self, now: Duration, elapsed: Duration) -> Duration {
        self.age += elapsed;
        if self.age >= HALF_LIFE {
            (self.longest, self.age) = (self.longest / 2, Duration::ZERO);
        }
        if now.is_zero() {
            let ended = std::mem::take(&mut self.peak);
            if ended > self.longest && ended < HANG {
                (self.longest, self.age) = (ended, Duration::ZERO);
            }
        }
        self.peak = self.peak.max(now);
        if now >= (self.longest * 2).clamp(STUCK, HANG) { now } else { now.min(NOT_STUCK) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Stuck {
    /// The standstill that is reported.
    reported: Duration,
    /// For how long all has been well.
    calm: Duration,
    /// How long it must be.
    needed: Duration,
}

impl StallDetector {
    /// Takes a look, `elapsed` after the one before. Returns the standstill to report: zero while all is well; at
    /// least [`STUCK`] from when the disk is stuck until it is trusted again.
    pub fn look(&mut self, seen: Observation, elapsed: Duration) -> Duration {
        let before = self.last.replace(seen);
        let mut now = Duration::ZERO;
        for kind in [Kind::Change, Kind::Sync] {
            let still = self.standstill(kind, before.as_ref(), &seen, elapsed);
            now = now.max(self.usual[kind as usize].judge(still, elapsed));
        }
        self.report(now, elapsed)
    }

    /// For how long the oldest operation has been under way, as of the last look and as far as looks told it.
    pub fn oldest_unfinished(&self) -> Duration {
        self.unfinished.into_iter().max().unwrap_or_default()
    }

    fn standstill(
        &mut self,
        kind: Kind,
        before: Option<&Observation>,
        seen: &Observation,
        elapsed: Duration,
    ) -> Duration {
        let at = kind as usize;
        let same =
            before.filter(|before| before.oldest[at].is_some() && before.oldest[at] == seen.oldest[at]);
        let Some(before) = same else {
            (self.still[at], self.unfinished[at]) = (Duration::ZERO, Duration::ZERO);
            return Duration::ZERO;
        };
        self.unfinished[at] += elapsed;
        let moved = before.finished[at] != seen.finished[at]
            || before.device_writes != seen.device_writes
            || seen.runnable[at];
        self.still[at] = if moved { Duration::ZERO } else { self.still[at] + elapsed };
        let patience = match (kind, seen.device_writes) {
            (Kind::Change, _) => Duration::ZERO,
            (Kind::Sync, Some(_)) => SYNC_PATIENCE,
            (Kind::Sync, None) => BLIND_PATIENCE,
        };
        let still = self.still[at].saturating_sub(patience);
        if self.unfinished[at] >= PATIENCE { self.unfinished[at] } else { still }
    }

    fn report(&mut self, now: Duration, elapsed: Duration) -> Duration {
        if let Some((_, since)) = &mut self.last_calm {
            *since += elapsed;
        }
        match &mut self.stuck {
            None if now >= STUCK => {
                let relapse = self.last_calm.filter(|(_, since)| *since < RELAPSE);
                let needed = relapse.map_or(SHORTEST_CALM, |(calm, _)| (calm * 2).min(LONGEST_CALM));
                self.stuck = Some(Stuck { reported: now, calm: Duration::ZERO, needed });
                now
            }
            None => {
                if now >= NOTICEABLE {
                    now
                } else {
                    Duration::ZERO
                }
            }
            Some(stuck) => {
                stuck.reported = stuck.reported.max(now);
                stuck.calm = if now >= NOTICEABLE { Duration::ZERO } else { stuck.calm + elapsed };
                let Stuck { reported, calm, needed } = *stuck;
                if calm < needed {
                    return reported;
                }
                self.last_calm = Some((needed, Duration::ZERO));
                self.stuck = None;
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(20);

    fn writing(number: u64) -> Observation {
        Observation { oldest: [Some(number), None], device_writes: Some(0), ..Observation::default() }
    }

    fn syncing(number: u64, device_writes: Option<u64>) -> Observation {
        Observation { oldest: [None, Some(number)], device_writes, ..Observation::default() }
    }

    /// What is reported after `looks` looks; `see` is asked what each of them sees.
    fn after(detector: &mut StallDetector, looks: u64, see: impl Fn(u64) -> Observation) -> Duration {
        (0..looks).map(|at| detector.look(see(at), LOOK)).last().unwrap_or_default()
    }

    #[test]
    fn one_operation_that_does_not_move_is_a_stuck_disk() {
        for (kind, patience) in [(writing(7), 0), (syncing(7, Some(3)), 35)] {
            let mut detector = StallDetector::default();
            assert_eq!(after(&mut detector, patience, |_| kind), Duration::ZERO);
            assert_eq!(after(&mut detector, 5, |_| kind), Duration::ZERO);
            assert_eq!(after(&mut detector, 1, |_| kind), NOTICEABLE);
            assert_eq!(after(&mut detector, 9, |_| kind), Duration::from_millis(280));
            assert_eq!(after(&mut detector, 1, |_| kind), STUCK);
        }
    }

    #[test]
    fn disk_that_is_only_busy_is_not_stuck() {
        type See = fn(u64) -> Observation;
        let busy: [(&str, See); 5] = [
            ("each look finds another operation", writing),
            ("others of its kind end", |at| Observation { finished: [at, 0], ..writing(1) }),
            ("the device completes writes", |at| syncing(1, Some(at))),
            ("the thread waits for a core", |_| Observation { runnable: [true, false], ..writing(1) }),
            ("nothing is under way", |_| Observation::default()),
        ];
        for (what, see) in busy {
            let mut detector = StallDetector::default();
            for at in 0..400 {
                assert_eq!(detector.look(see(at), LOOK), Duration::ZERO, "{what}");
            }
        }
    }

    #[test]
    fn sync_without_a_device_to_watch_is_given_more_time() {
        let mut detector = StallDetector::default();
        assert_eq!(after(&mut detector, 105, |_| syncing(1, None)), Duration::ZERO);
        assert_eq!(after(&mut detector, 11, |_| syncing(1, None)), STUCK);
    }

    #[test]
    fn standstills_that_end_by_themselves_teach_patience() {
        let mut detector = StallDetector::default();
        assert_eq!(after(&mut detector, 26, |_| writing(1)), Duration::from_millis(500), "stuck");
        assert_eq!(after(&mut detector, 100, |_| Observation::default()), Duration::ZERO);
        assert_eq!(after(&mut detector, 50, |_| writing(2)), NOT_STUCK, "twice as long may be usual");
        assert_eq!(after(&mut detector, 1, |_| writing(2)), Duration::from_secs(1), "no longer");
        // A hang of seconds teaches nothing.
        after(&mut detector, 500, |_| writing(2));
        after(&mut detector, 100, |_| Observation::default());
        assert_eq!(after(&mut detector, 51, |_| writing(3)), Duration::from_secs(1));
        after(&mut detector, 500, |_| writing(3));
        // It is forgotten, in time.
        after(&mut detector, 2 * 15_000, |_| Observation::default());
        assert_eq!(after(&mut detector, 16, |_| writing(4)), STUCK);
    }

    #[test]
    fn operation_of_ten_seconds_counts_though_the_disk_moves() {
        let mut detector = StallDetector::default();
        assert_eq!(after(&mut detector, 500, |at| syncing(1, Some(at))), Duration::ZERO);
        assert_eq!(after(&mut detector, 1, |at| syncing(1, Some(at))), PATIENCE);
        assert_eq!(detector.oldest_unfinished(), PATIENCE);
        after(&mut detector, 1, |at| syncing(2, Some(at)));
        assert_eq!(detector.oldest_unfinished(), Duration::ZERO);
    }

    #[test]
    fn disk_that_was_stuck_is_trusted_after_a_calm_that_grows_with_relapses() {
        let mut detector = StallDetector::default();
        for calm in [1, 2, 4, 8] {
            assert!(after(&mut detector, 120, |_| writing(1)) >= STUCK);
            let looks = calm * 1_000 / 20;
            assert!(after(&mut detector, looks - 1, |_| Observation::default()) >= STUCK, "{calm}");
            assert_eq!(after(&mut detector, 1, |_| Observation::default()), Duration::ZERO, "{calm}");
        }
        after(&mut detector, 3_000, |_| Observation::default());
        assert!(after(&mut detector, 120, |_| writing(1)) >= STUCK);
        assert_eq!(after(&mut detector, 50, |_| Observation::default()), Duration::ZERO, "long ago");
    }

    #[test]
    fn standstill_during_the_calm_begins_it_anew() {
        let mut detector = StallDetector::default();
        after(&mut detector, 20, |_| writing(1));
        after(&mut detector, 40, |_| Observation::default());
        after(&mut detector, 8, |_| writing(2));
        assert!(after(&mut detector, 45, |_| Observation::default()) >= STUCK);
    }
}
