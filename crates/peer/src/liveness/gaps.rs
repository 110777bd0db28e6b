//! How long a peer is usually silent between two signs of life.

use std::time::Duration;

/// Upper bounds of the counted silences grow by a quarter each, from 5 ms.
const FIRST_MS: f64 = 5.0;
const STEP: f64 = 1.25;
/// The last one is beyond 10 s.
const BUCKETS: usize = 36;
/// Silences after which the older half of the counts is forgotten: some minutes.
const WINDOW: u32 = 8192;
/// Fewer than this say nothing about one in a thousand.
const ENOUGH: u32 = 1000;

/// Counts of silences, by length.
#[derive(Debug, Clone)]
pub(super) struct Gaps {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Gaps {
    pub(super) fn new() -> Gaps {
        Gaps { counts: [0; BUCKETS], total: 0 }
    }

    /// Counts one.
    pub(super) fn add(&mut self, silence: Duration) {
        let steps = (silence.as_secs_f64() * 1000.0 / FIRST_MS).ln() / STEP.ln();
        let bucket = (steps.ceil().max(0.0) as usize).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        if self.total >= WINDOW {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// Whether there are enough of them to judge by.
    pub(super) fn are_enough(&self) -> bool {
        self.total >= ENOUGH
    }

    /// The silence that one in a thousand exceeds; the second longest while there are fewer, as one hiccup says
    /// little. Zero before that.
    pub(super) fn p999(&self) -> Duration {
        let mut above = (self.total / ENOUGH).max(1);
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            if *count > above {
                return Duration::from_secs_f64(FIRST_MS / 1000.0 * STEP.powi(bucket as i32));
            }
            above -= count;
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_in_a_thousand_may_be_longer() {
        let mut gaps = Gaps::new();
        assert_eq!(gaps.p999(), Duration::ZERO);
        gaps.add(ms(400));
        gaps.add(ms(25));
        // Too few: the second longest counts, rounded up by at most a quarter.
        assert!(!gaps.are_enough());
        assert!((ms(25)..ms(32)).contains(&gaps.p999()), "{:?}", gaps.p999());
        for _ in 0..998 {
            gaps.add(ms(25));
        }
        assert!(gaps.are_enough());
        assert!((ms(25)..ms(32)).contains(&gaps.p999()), "{:?}", gaps.p999());
        gaps.add(ms(400));
        assert!(gaps.p999() > ms(400), "two in a thousand");
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut gaps = Gaps::new();
        (0..100).for_each(|_| gaps.add(ms(2000)));
        (0..20 * WINDOW).for_each(|_| gaps.add(ms(25)));
        assert!(gaps.p999() < ms(32), "{:?}", gaps.p999());
        gaps.add(ms(3_600_000));
        gaps.add(Duration::ZERO);
        assert!(gaps.total < WINDOW);
    }
}
