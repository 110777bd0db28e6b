//! `log.cleaner.io.max.bytes.per.second`, for all cleaner threads together.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// When the bytes so far may have been read and written.
#[derive(Default)]
pub(super) struct Throttle {
    due: Mutex<Option<Instant>>,
}

/// Longest pause at once: what remains is waited for before the next bytes.
const LONGEST: Duration = Duration::from_secs(1);

impl Throttle {
    /// Counts bytes; returns how long to wait before the next ones.
    pub(super) fn spend(&self, bytes: u64, per_second: f64, now: Instant) -> Duration {
        if per_second >= 1e15 {
            return Duration::ZERO;
        }
        let cost = Duration::from_secs_f64((bytes as f64 / per_second.max(1.0)).min(3600.0));
        let mut due = self.due.lock().unwrap();
        // Time that was not used is gone: no burst after a pause.
        let next = due.filter(|due| *due > now).unwrap_or(now) + cost;
        *due = Some(next);
        (next - now).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_time_that_the_rate_gives_them() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.spend(500, 1000.0, start), Duration::from_millis(500));
        assert_eq!(throttle.spend(250, 1000.0, start), Duration::from_millis(750), "of two threads");
        let later = start + Duration::from_secs(10);
        assert_eq!(throttle.spend(100, 1000.0, later), Duration::from_millis(100));
        assert_eq!(throttle.spend(1 << 40, f64::MAX, later), Duration::ZERO);
    }
}
