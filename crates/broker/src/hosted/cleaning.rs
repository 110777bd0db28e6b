//! What the log cleaner asks of a partition: how dirty it is, and to take a cleaned group in.

use std::sync::atomic::Ordering;

use milena_log::{Cleanable, CleanedGroup, Cleaning, CleaningOptions, Error, FlushHandle};
use milena_records::Offset;
use tracing::warn;

use super::{Hosted, State};
use crate::clock;

/// When a partition is to be cleaned, out of its topic's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CleaningLimits {
    /// `min.cleanable.dirty.ratio`.
    pub(crate) min_dirty_ratio: f64,
    /// `max.compaction.lag.ms`.
    pub(crate) max_lag_ms: i64,
}

impl Hosted {
    /// What can be cleaned now; `None` if the topic is not compacted, the partition closed or set aside.
    ///
    /// Closes the active segment if its oldest record has waited for longer than `max.compaction.lag.ms`.
    pub(crate) fn survey(&self, now_ms: i64) -> Option<(Cleanable, CleaningLimits)> {
        let config = self.config.load();
        if !config.compacts() || self.is_uncleanable() {
            return None;
        }
        let limits = CleaningLimits {
            min_dirty_ratio: config.min_cleanable_dirty_ratio(),
            max_lag_ms: config.max_compaction_lag_ms(),
        };
        let min_lag_ms = config.min_compaction_lag_ms();
        let range = self.with(|state| {
            if limits.max_lag_ms != i64::MAX {
                state.roll_for_compaction(limits.max_lag_ms, now_ms);
            }
            state.log.cleanable(state.last_stable_offset(), min_lag_ms, now_ms)
        });
        range.map(|range| (range, limits))
    }

    /// `delete.retention.ms` of the topic.
    pub(crate) fn delete_retention_ms(&self) -> i64 {
        self.config.load().delete_retention_ms()
    }

    /// The flush that must have run before a section up to `end` is cleaned; `None` if all of it is durable.
    pub(crate) fn flush_up_to(&self, end: Offset) -> Option<Result<FlushHandle, Error>> {
        self.with(|state| (state.log.recovery_point() < end).then(|| state.log.flush_handle()))?
    }

    /// Begins to clean; `None` if the partition is closed.
    pub(crate) fn begin_cleaning(
        &self,
        range: Cleanable,
        options: CleaningOptions,
    ) -> Option<Result<Cleaning, Error>> {
        self.with(|state| state.log.begin_cleaning(range, &state.producers.entries(), options))
    }

    /// Puts a cleaned group in its place; false if the log has changed or the partition is closed.
    pub(crate) fn swap_cleaned(&self, group: CleanedGroup) -> Result<bool, Error> {
        let swapped = self.with(|state| state.log.swap(group, clock::unix_ms())).unwrap_or(Ok(false));
        self.touched.store(true, Ordering::Relaxed);
        self.has_removed.store(true, Ordering::Relaxed);
        swapped
    }

    /// Whether the log is still the one that a cleaning began with.
    pub(crate) fn is_current(&self, cleaning: &Cleaning) -> bool {
        self.with(|state| state.log.is_current(cleaning)).unwrap_or(false)
    }

    /// Everything below `end` is clean now.
    pub(crate) fn cleaned(&self, cleaning: &Cleaning, end: Offset) {
        self.with(|state| state.log.cleaned(cleaning, end));
    }

    /// Its cleaning fails: it is left alone until the next start.
    pub(crate) fn set_uncleanable(&self) {
        self.uncleanable.store(true, Ordering::Relaxed);
    }

    /// Whether its cleaning has failed.
    pub(crate) fn is_uncleanable(&self) -> bool {
        self.uncleanable.load(Ordering::Relaxed)
    }

    /// Whether it was deleted, or closed for shutdown.
    pub(crate) fn is_closed(&self) -> bool {
        self.with(|_| ()).is_none()
    }
}

impl State {
    fn roll_for_compaction(&mut self, max_lag_ms: i64, now_ms: i64) {
        match self.log.roll_for_compaction(max_lag_ms, now_ms) {
            Ok(false) => {}
            Ok(true) => {
                self.rolled = true;
                if let Err(error) = self.log.take_snapshot(&self.producers.entries(), self.log.log_end()) {
                    warn!(%error, "producer snapshot not written");
                }
            }
            Err(error) => warn!(%error, "active segment not closed for compaction"),
        }
    }
}
