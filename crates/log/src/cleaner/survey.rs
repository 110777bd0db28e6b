//! What of a log is clean, what is dirty, and how far a cleaning may go.

use milena_records::Offset;

use crate::error::Error;
use crate::log::Log;

/// The part of a log that a cleaning would take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// Everything below was cleaned before.
    pub first_dirty: Offset,
    /// Where it ends: a segment's base.
    pub end: Offset,
    /// Bytes of the segments that are clean.
    pub clean_bytes: u64,
    /// Bytes of those that are not, up to the end.
    pub dirty_bytes: u64,
    /// Time of the first dirty segment's first batch, in milliseconds since 1970; of its last change if it has none.
    pub oldest_dirty_ms: Option<i64>,
}

impl Cleanable {
    /// Share of dirty bytes, 0 to 1: what `min.cleanable.dirty.ratio` is compared with (CP-3).
    pub fn dirty_ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }
}

impl Log {
    /// What may be cleaned now: closed segments that lie wholly below `stable`, the last stable offset, and hold
    /// nothing younger than `min_lag_ms` (CP-2).
    pub fn cleanable(&self, stable: Offset, min_lag_ms: i64, now_ms: i64) -> Cleanable {
        let first_dirty = self.cleaned_to.max(self.log_start);
        let (mut clean_bytes, mut dirty_bytes, mut oldest_dirty_ms) = (0, 0, None);
        let mut end = self.segments[0].base_offset;
        let closed = self.segments.len() - 1;
        for (at, segment) in self.segments[..closed].iter().enumerate() {
            let segment_end = self.segment_end(at);
            if segment_end <= first_dirty {
                clean_bytes += segment.size;
            } else {
                let is_young =
                    min_lag_ms > 0 && segment.largest_timestamp() > now_ms.saturating_sub(min_lag_ms);
                if segment_end > stable || is_young {
                    break;
                }
                if oldest_dirty_ms.is_none() && segment.size > 0 {
                    oldest_dirty_ms = Some(segment.first_timestamp.unwrap_or(segment.modified_ms));
                }
                dirty_bytes += segment.size;
            }
            end = segment_end;
        }
        Cleanable { first_dirty, end: end.max(first_dirty), clean_bytes, dirty_bytes, oldest_dirty_ms }
    }

    /// Everything below this offset has been cleaned: the value for `cleaner-offset-checkpoint`.
    pub fn cleaned_to(&self) -> Offset {
        self.cleaned_to
    }

    /// Takes over what an earlier run had cleaned, from the checkpoint. More than the log holds counts as its end.
    pub fn restore_cleaned_to(&mut self, offset: Offset) {
        self.cleaned_to = offset.clamp(Offset::ZERO, self.log_end);
    }

    /// Closes the active segment if its first batch is older than `max_lag_ms`, so that it can be cleaned although
    /// nothing is appended any more (KIP-354, CP-2). Returns whether it was closed; the owner takes a snapshot then.
    pub fn roll_for_compaction(&mut self, max_lag_ms: i64, now_ms: i64) -> Result<bool, Error> {
        let active = self.active();
        let since = active.first_timestamp.unwrap_or(active.modified_ms);
        if active.size == 0 || now_ms.saturating_sub(since) <= max_lag_ms {
            return Ok(false);
        }
        self.roll(now_ms)
    }
}
