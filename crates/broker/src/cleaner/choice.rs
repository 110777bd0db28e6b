//! Which partition is cleaned next (CP-2, CP-3).

use std::sync::Arc;

use milena_log::Cleanable;

use super::CleanerMeters;
use crate::hosted::Hosted;

/// A partition that is to be cleaned.
pub(super) struct Candidate {
    pub(super) hosted: Arc<Hosted>,
    pub(super) range: Cleanable,
}

/// The one with the largest share of dirty bytes among those above their `min.cleanable.dirty.ratio`; before them
/// those whose oldest record has waited for longer than `max.compaction.lag.ms`.
pub(super) fn filthiest(
    all: impl Iterator<Item = Arc<Hosted>>,
    now_ms: i64,
    meters: &CleanerMeters,
) -> Option<Candidate> {
    let mut chosen: Option<(bool, f64, Candidate)> = None;
    let (mut most_dirty, mut longest_delay_ms) = (0.0_f64, 0);
    for hosted in all {
        let Some((range, limits)) = hosted.survey(now_ms) else { continue };
        if range.dirty_bytes == 0 {
            continue;
        }
        let ratio = range.dirty_ratio();
        most_dirty = most_dirty.max(ratio);
        let waited_ms = range.oldest_dirty_ms.map_or(0, |since| now_ms.saturating_sub(since));
        let delay_ms = waited_ms.saturating_sub(limits.max_lag_ms).max(0);
        longest_delay_ms = longest_delay_ms.max(delay_ms);
        let rank = (delay_ms > 0, ratio);
        let is_due = rank.0 || ratio > limits.min_dirty_ratio;
        if is_due && chosen.as_ref().is_none_or(|(is_late, best, _)| rank > (*is_late, *best)) {
            chosen = Some((rank.0, ratio, Candidate { hosted, range }));
        }
    }
    meters.surveyed(most_dirty, longest_delay_ms, now_ms);
    chosen.map(|(_, _, candidate)| candidate)
}
