//! Markers that are missing, and those that were written (TX-8, TX-11, TX-12).

use milena_bugs::{Bug, is_on};

use super::{Changes, Transactions};
use crate::command::MarkersWritten;
use crate::state::{State, TopicId, TransactionVersion};
use crate::transaction::{Partitions, ProducerIdAndEpoch, Transaction};

/// Markers that must be written for one decided transaction.
///
/// Together with the Raft term of `coordination`, the coordinator epoch, this is what WriteTxnMarkers says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarkersDue<'a> {
    /// Whose transaction.
    pub transactional_id: &'a str,
    /// Id and epoch that the markers carry.
    pub producer: ProducerIdAndEpoch,
    /// COMMIT or ABORT.
    pub commit: bool,
    /// With V2 the epoch must be greater than that of the open transaction, not only equal (KIP-1228).
    pub version: TransactionVersion,
    /// Names the transaction; comes back in [`MarkersWritten`].
    pub sequence: u64,
    /// Partitions without the marker; never empty.
    pub partitions: &'a Partitions,
}

/// What written markers came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkersOutcome {
    /// Of another transaction than the present one, or it is complete already: nothing changed.
    Stale,
    /// So many partitions still lack theirs.
    Missing(usize),
    /// These were the last.
    Complete,
}

impl Transactions {
    /// Every decided transaction that lacks markers, by transactional id. A new leader sends all of them again; a
    /// marker that is there already is not written twice (T10).
    pub fn markers_due(&self) -> impl Iterator<Item = MarkersDue<'_>> {
        self.prepared.iter().filter_map(|id| self.markers_due_of(id))
    }

    /// The missing markers of one transactional id, if it has a decided transaction.
    pub fn markers_due_of<'a>(&'a self, transactional_id: &str) -> Option<MarkersDue<'a>> {
        let (transactional_id, transaction) = self.entries.get_key_value(transactional_id)?;
        let prepared = transaction.state.is_prepared();
        prepared.then_some(MarkersDue {
            transactional_id,
            producer: transaction.producer,
            commit: transaction.state == State::PrepareCommit,
            version: transaction.version,
            sequence: transaction.sequence,
            partitions: &transaction.partitions,
        })
    }

    pub(super) fn markers_written(
        &mut self,
        command: &MarkersWritten,
        changes: &mut dyn Changes,
    ) -> MarkersOutcome {
        let is_meant = |it: &Transaction| {
            let named = it.sequence == command.sequence && it.producer == command.producer;
            it.state.is_prepared() && (named || is_on(Bug::T4))
        };
        let Some(known) = self.entries.get(&command.transactional_id).filter(|it| is_meant(it)) else {
            return MarkersOutcome::Stale;
        };
        let mut transaction = known.clone();
        for (topic_id, _, partition) in command.partitions.iter() {
            transaction.partitions.remove(topic_id, partition);
        }
        transaction.update_time_ms = command.now_ms;
        let outcome = match transaction.partitions.len() {
            0 => {
                transaction.complete();
                MarkersOutcome::Complete
            }
            missing => MarkersOutcome::Missing(missing),
        };
        self.put(&command.transactional_id, transaction, changes);
        outcome
    }

    /// Takes the partitions of deleted topics out of all transactions; how many that completed.
    pub(super) fn delete_topics(
        &mut self,
        now_ms: i64,
        topic_ids: &[TopicId],
        changes: &mut dyn Changes,
    ) -> usize {
        let mut changed = Vec::new();
        let mut completed = 0;
        for (transactional_id, known) in &self.entries {
            if !known.partitions.topics().any(|(id, ..)| topic_ids.contains(&id)) {
                continue;
            }
            let mut transaction = known.clone();
            for topic_id in topic_ids {
                transaction.partitions.remove_topic(*topic_id);
            }
            transaction.update_time_ms = now_ms;
            if transaction.state.is_prepared() && transaction.partitions.is_empty() {
                transaction.complete();
                completed += 1;
            }
            changed.push((transactional_id.clone(), transaction));
        }
        for (transactional_id, transaction) in changed {
            self.put(&transactional_id, transaction, changes);
        }
        completed
    }
}
