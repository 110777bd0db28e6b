//! What becomes part of a transaction; the first thing begins it (TX-5).

use milena_bugs::{Bug, is_on};

use super::{Changes, Transactions};
use crate::command::{AddOffsets, AddPartitions, CommitOffsets};
use crate::refusal::Refusal;
use crate::state::{State, TopicId};
use crate::transaction::{Partitions, ProducerIdAndEpoch, Transaction};

/// One addition to a transaction.
struct Addition<'a> {
    transactional_id: &'a str,
    now_ms: i64,
    producer: ProducerIdAndEpoch,
}

impl Transactions {
    pub(super) fn add_partitions(
        &mut self,
        index: u64,
        command: &AddPartitions,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let AddPartitions { transactional_id, now_ms, producer, partitions } = command;
        let addition = Addition { transactional_id, now_ms: *now_ms, producer: *producer };
        let has_all = |it: &Transaction| partitions.iter().all(|(id, _, at)| it.partitions.contains(id, at));
        self.add(index, addition, has_all, |it| it.partitions.extend(partitions), changes)
    }

    pub(super) fn add_offsets(
        &mut self,
        index: u64,
        command: &AddOffsets,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let AddOffsets { transactional_id, now_ms, producer, group } = command;
        let addition = Addition { transactional_id, now_ms: *now_ms, producer: *producer };
        self.add_group(index, addition, group, changes)
    }

    /// Whether offsets may be committed in the transaction; adds the group to it for clients that expect it.
    pub(super) fn admit_offsets(
        &mut self,
        index: u64,
        command: &CommitOffsets,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let CommitOffsets { transactional_id, now_ms, producer, group, adds_group, .. } = command;
        if *adds_group {
            let addition = Addition { transactional_id, now_ms: *now_ms, producer: *producer };
            return self.add_group(index, addition, group, changes);
        }
        self.check_ongoing(transactional_id, *producer, |it| it.groups.contains(group))
    }

    /// Whether the partition is part of this producer's open transaction: what the leader of a partition asks
    /// before the first append for clients that add partitions themselves (KIP-890, T2). Otherwise 49, 90, 51 or
    /// TRANSACTION_ABORTABLE.
    pub fn check_partition(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        topic_id: TopicId,
        partition: i32,
    ) -> Result<(), Refusal> {
        self.check_ongoing(transactional_id, producer, |it| it.partitions.contains(topic_id, partition))
    }

    fn check_ongoing(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        has: impl FnOnce(&Transaction) -> bool,
    ) -> Result<(), Refusal> {
        let transaction = self.entries.get(transactional_id).ok_or(Refusal::InvalidProducerIdMapping)?;
        transaction.check(producer)?;
        if transaction.state == State::Ongoing && has(transaction) {
            Ok(())
        } else {
            Err(Refusal::TransactionAbortable)
        }
    }

    fn add_group(
        &mut self,
        index: u64,
        addition: Addition<'_>,
        group: &str,
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let has_it = |it: &Transaction| it.groups.contains(group);
        let add = |it: &mut Transaction| {
            it.groups.insert(group.to_owned());
        };
        self.add(index, addition, has_it, add, changes)
    }

    fn add(
        &mut self,
        index: u64,
        addition: Addition<'_>,
        has_it: impl FnOnce(&Transaction) -> bool,
        add: impl FnOnce(&mut Transaction),
        changes: &mut dyn Changes,
    ) -> Result<(), Refusal> {
        let Addition { transactional_id, now_ms, producer } = addition;
        let known = self.entries.get(transactional_id).ok_or(Refusal::InvalidProducerIdMapping)?;
        known.check(producer)?;
        if known.state == State::Ongoing && has_it(known) {
            return Ok(());
        }
        let mut transaction = known.clone();
        if transaction.state != State::Ongoing {
            transaction.begin(index, now_ms);
        }
        add(&mut transaction);
        transaction.update_time_ms = now_ms;
        if is_on(Bug::T7) {
            self.set(transactional_id, transaction);
        } else {
            self.put(transactional_id, transaction, changes);
        }
        Ok(())
    }
}

impl Transaction {
    fn begin(&mut self, index: u64, now_ms: i64) {
        self.state = State::Ongoing;
        self.sequence = index;
        self.start_time_ms = Some(now_ms);
        self.partitions = Partitions::default();
        self.groups.clear();
        // Its client has heard every answer so far, else it would not begin: what comes again now is late.
        self.ended = None;
        self.last = None;
    }
}
