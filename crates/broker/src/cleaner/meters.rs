//! What the cleaner has done, for `/metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use milena_log::CleaningStats;

use crate::meters::Counter;

/// Figures of all cleaner threads (Kafka's LogCleaner and LogCleanerManager).
#[derive(Debug, Default)]
pub(crate) struct CleanerMeters {
    /// Cleanings that came to their end.
    pub(crate) cleanings: Counter,
    /// Bytes that both passes read.
    pub(crate) bytes_read: Counter,
    /// Bytes that were written anew.
    pub(crate) bytes_written: Counter,
    recopied: AtomicU64,
    buffer_used: AtomicU64,
    longest_ms: AtomicU64,
    dirty_percent: AtomicU64,
    delay_ms: AtomicI64,
    last_run_ms: AtomicI64,
}

impl CleanerMeters {
    /// A cleaning ended.
    pub(super) fn cleaned(&self, stats: &CleaningStats, took: Duration) {
        self.cleanings.add(1);
        self.bytes_read.add(stats.mapped_bytes + stats.bytes_before);
        self.bytes_written.add(stats.bytes_after);
        self.recopied.store(percent(stats.bytes_after, stats.bytes_before), Ordering::Relaxed);
        self.buffer_used.store(percent(stats.keys, stats.key_capacity), Ordering::Relaxed);
        self.longest_ms.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
    }

    /// All partitions were looked at.
    pub(super) fn surveyed(&self, most_dirty: f64, delay_ms: i64, now_ms: i64) {
        self.dirty_percent.store((most_dirty * 100.0) as u64, Ordering::Relaxed);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
        self.last_run_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Share of the bytes that the last cleaning kept.
    pub(crate) fn recopy_percent(&self) -> u64 {
        self.recopied.load(Ordering::Relaxed)
    }

    /// How full the last cleaning's table of keys was.
    pub(crate) fn buffer_utilization_percent(&self) -> u64 {
        self.buffer_used.load(Ordering::Relaxed)
    }

    /// The longest cleaning.
    pub(crate) fn longest_secs(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed) / 1000
    }

    /// Dirty share of the filthiest partition when they were last looked at.
    pub(crate) fn dirty_percent(&self) -> u64 {
        self.dirty_percent.load(Ordering::Relaxed)
    }

    /// How long past its `max.compaction.lag.ms` the latest record waited then.
    pub(crate) fn compaction_delay_secs(&self) -> i64 {
        self.delay_ms.load(Ordering::Relaxed) / 1000
    }

    /// Milliseconds since partitions were last looked at.
    pub(crate) fn since_last_run_ms(&self, now_ms: i64) -> i64 {
        match self.last_run_ms.load(Ordering::Relaxed) {
            0 => 0,
            last => now_ms.saturating_sub(last).max(0),
        }
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    (part * 100).checked_div(whole).unwrap_or(0)
}
