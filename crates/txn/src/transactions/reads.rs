//! Questions about transactions: DescribeTransactions, ListTransactions, and what the coordinator's shell has to
//! do next.

use std::collections::BTreeSet;

use super::Transactions;
use crate::refusal::Refusal;
use crate::state::{State, TopicId};
use crate::transaction::Transaction;

/// Filters of ListTransactions; empty or `None` keeps all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Any of these states.
    pub states: Vec<State>,
    /// Any of these producer ids.
    pub producer_ids: Vec<i64>,
    /// Begun longer ago than so many milliseconds (v1).
    pub older_than_ms: Option<i64>,
}

impl Transactions {
    /// One transactional id.
    pub fn find(&self, transactional_id: &str) -> Option<&Transaction> {
        self.entries.get(transactional_id)
    }

    /// DescribeTransactions of one transactional id.
    pub fn describe(&self, transactional_id: &str) -> Result<&Transaction, Refusal> {
        self.find(transactional_id).ok_or(Refusal::TransactionalIdNotFound)
    }

    /// ListTransactions, by transactional id. One that never had a transaction counts as begun in 1970, as at Kafka.
    pub fn list<'a>(
        &'a self,
        listing: &'a Listing,
        now_ms: i64,
    ) -> impl Iterator<Item = (&'a str, &'a Transaction)> {
        let keeps = move |it: &Transaction| {
            let state = listing.states.is_empty() || listing.states.contains(&it.state);
            let producer =
                listing.producer_ids.is_empty() || listing.producer_ids.contains(&it.producer.producer_id);
            let age_ms = now_ms.saturating_sub(it.start_time_ms.unwrap_or(-1));
            state && producer && listing.older_than_ms.is_none_or(|least| age_ms > least)
        };
        self.iter().filter(move |(_, it)| keeps(it))
    }

    /// All, by transactional id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.entries.iter().map(|(id, it)| (id.as_str(), it))
    }

    /// Number of transactional ids.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Transactional id and sequence of the open transactions whose time-out has passed at `now_ms`, the longest
    /// overdue first: what [`Command::TimeOut`](crate::Command::TimeOut) is to be proposed for.
    pub fn due(&self, now_ms: i64) -> impl Iterator<Item = (&str, u64)> {
        let due = self.deadlines.iter().take_while(move |(deadline, _)| *deadline < now_ms);
        due.map(|(_, id)| (id.as_str(), self.entries[id].sequence))
    }

    /// When the next open transaction is past its time-out, unless it ends before.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Whether EndTxn of this transactional id must bring a fresh producer id.
    pub fn needs_producer_id(&self, transactional_id: &str) -> bool {
        self.find(transactional_id).is_some_and(|it| it.producer.is_exhausted())
    }

    /// Topics that are part of transactions or still lack markers. A new leader compares them with the cluster's
    /// topics, and reports those that are gone.
    pub fn topic_ids(&self) -> BTreeSet<TopicId> {
        self.entries.values().flat_map(|it| it.partitions.topics().map(|(id, ..)| id)).collect()
    }
}
