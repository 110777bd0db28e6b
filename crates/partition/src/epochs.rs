//! Which leader epoch wrote which offsets, and the answers derived from it. The file it is kept in,
//! `leader-epoch-checkpoint`, is `milena-log`'s.
//!
//! Followers truncate by these answers and by nothing else (KIP-101, KIP-279); clients detect truncation
//! by them (KIP-320). Both columns grow strictly, whatever happens (KAFKA-7897).

use milena_bugs::{Bug, is_on};
use milena_records::{LeaderEpoch, Offset};

/// One leader epoch and the first offset written in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// First offset written in it; of a new leader that has written nothing, its log end offset.
    pub start_offset: Offset,
}

/// Answer to "where does this epoch end": OffsetForLeaderEpoch, diverging epochs in Fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch not above the asked one.
    pub epoch: LeaderEpoch,
    /// First offset that is not of that epoch.
    pub end_offset: Offset,
}

/// The epochs of one log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// The newest epoch, [`LeaderEpoch::NONE`] if none is known.
    pub fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(LeaderEpoch::NONE, |entry| entry.epoch)
    }

    /// All epochs, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The epoch in which `offset` was or would be written.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Largest epoch not above `epoch`, and where it ends; `None` if nothing can be said (LE-1).
    ///
    /// `log_end` is the end of the newest epoch. An epoch older than all known ones ends where those begin
    /// and is answered as itself.
    pub fn end_offset_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let latest = self.entries.last()?.epoch;
        if epoch == latest {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        if epoch.0 < 0 || epoch > latest {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries[after].start_offset;
        let epoch = after.checked_sub(1).map_or(epoch, |at| self.entries[at].epoch);
        Some(EpochEnd { epoch, end_offset })
    }

    /// Notes that `epoch` begins at `start_offset`; returns whether anything changed.
    ///
    /// Entries of the same or a later epoch, or at or behind that offset, are contradicted and go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known = self.entries.last();
        if epoch.0 < 0 || known.is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset) {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Notes that the log has a batch of `epoch` at `base_offset`, its end so far; returns whether anything changed.
    ///
    /// A broker that led without writing anything, and follows now, has an epoch noted from its log end on in which
    /// nothing was written. The batch tells better.
    pub fn appended(&mut self, epoch: LeaderEpoch, base_offset: Offset) -> bool {
        if epoch == self.latest() {
            return false;
        }
        let forgot = !is_on(Bug::R5) && self.truncate_from_end(base_offset);
        let began = epoch > self.latest() && self.assign(epoch, base_offset);
        forgot || began
    }

    /// Forgets epochs that begin at or behind `end`; returns whether there were any.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets what lies before `start`: the epoch that holds it now begins there.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start);
        let Some(holding) = after.checked_sub(1) else { return false };
        let changed = holding > 0 || self.entries[holding].start_offset != start;
        self.entries.drain(..holding);
        self.entries[0].start_offset = start;
        changed
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// A cache of these rows; `None` if a column does not grow.
    pub fn from_entries(entries: Vec<EpochEntry>) -> Option<Self> {
        let grows = entries
            .windows(2)
            .all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset);
        grows.then_some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(rows: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for &(epoch, start) in rows {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache
    }

    fn rows(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries.iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn end_of_an_epoch_is_the_start_of_the_next_known_one() {
        let cache = cache(&[(2, 10), (5, 20), (7, 30)]);
        for (asked, want) in [
            (7, Some((7, 40))),
            (8, None),
            (-1, None),
            (1, Some((1, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (5, Some((5, 30))),
            (6, Some((5, 30))),
        ] {
            let got = cache.end_offset_of(LeaderEpoch(asked), Offset(40));
            assert_eq!(got.map(|end| (end.epoch.0, end.end_offset.0)), want, "epoch {asked}");
        }
        assert_eq!(EpochCache::default().end_offset_of(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn both_columns_grow_whatever_is_assigned() {
        for (start, assigned, want) in [
            (vec![(1, 0)], (2, 10), vec![(1, 0), (2, 10)]),
            (vec![(1, 0)], (1, 10), vec![(1, 0)]),
            (vec![(1, 0), (2, 10)], (3, 10), vec![(1, 0), (3, 10)]),
            (vec![(1, 0), (4, 10)], (3, 20), vec![(1, 0), (3, 20)]),
            (vec![(1, 5)], (1, 0), vec![(1, 0)]),
        ] {
            let mut cache = cache(&start);
            cache.assign(LeaderEpoch(assigned.0), Offset(assigned.1));
            assert_eq!(rows(&cache), want, "{start:?} then {assigned:?}");
        }
    }

    #[test]
    fn truncation_keeps_the_epoch_of_what_is_left() {
        let full = [(1, 0), (2, 10), (3, 20)];
        for (end, want) in [(20, &full[..2]), (21, &full[..]), (0, &[]), (15, &full[..2])] {
            let mut cache = cache(&full);
            cache.truncate_from_end(Offset(end));
            assert_eq!(rows(&cache), want, "end {end}");
        }
        for (start, want) in [
            (0, full.to_vec()),
            (5, vec![(1, 5), (2, 10), (3, 20)]),
            (10, vec![(2, 10), (3, 20)]),
            (99, vec![(3, 99)]),
        ] {
            let mut cache = cache(&full);
            cache.truncate_from_start(Offset(start));
            assert_eq!(rows(&cache), want, "start {start}");
        }
    }
}
