//! Transactional ids that nobody uses any more (TX-9).

use super::{Changes, Transactions, pairs};
use crate::command::Idle;
use crate::state::State;
use crate::transaction::Transaction;

impl Transactions {
    /// Transactional ids after `after` that may be forgotten at `now_ms`: nothing is open, and nobody touched them
    /// for `retention_ms` (`transactional.id.expiration.ms`). At most `limit`.
    pub fn idle(&self, after: Option<&str>, now_ms: i64, retention_ms: i64, limit: usize) -> Vec<Idle> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range::<str, _>((from, Bound::Unbounded));
        let untouched_since = now_ms.saturating_sub(retention_ms);
        let idle = entries.filter(|(_, it)| it.is_at_rest() && it.update_time_ms <= untouched_since);
        let idle =
            idle.map(|(id, it)| Idle { transactional_id: id.clone(), update_time_ms: it.update_time_ms });
        idle.take(limit).collect()
    }

    pub(super) fn expire(&mut self, idle: &[Idle], changes: &mut dyn Changes) -> usize {
        let mut removed = 0;
        for it in idle {
            let unchanged =
                |known: &&Transaction| known.is_at_rest() && known.update_time_ms == it.update_time_ms;
            if self.entries.get(&it.transactional_id).filter(unchanged).is_none() {
                continue;
            }
            // At rest: in neither index.
            self.entries.remove(&it.transactional_id);
            changes.delete(pairs::key(&it.transactional_id));
            removed += 1;
        }
        removed
    }
}

impl Transaction {
    fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Empty | State::CompleteCommit | State::CompleteAbort | State::Dead)
    }
}
