//! Requests about transactions: each becomes a command, and the reply is what applying it answers.
//!
//! This broker answers while it leads the `coordination` group, else NOT_COORDINATOR; nothing is handed on. A request
//! that comes while the markers of the previous transaction are on their way waits a moment for them: clients that
//! are told CONCURRENT_TRANSACTIONS come back after 20 to 100 ms, and markers take a few.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use milena_group::CommitInTransaction;
use milena_peer::transactions::message::EnlistRequest;
use milena_quorum::GroupHandle;
use milena_txn::{
    AddOffsets, AddPartitions, Answer, Command, CommitOffsets, EndTransaction, InitProducerId, Listing,
    Partitions, ProducerIdAndEpoch, Refusal, TopicId, Transaction, Transactions,
};
use milena_wire::ErrorCode;
use tokio::time::{Instant, timeout};

use super::completions::Completions;
use super::enlister::topic_id;
use super::proposals::{Proposals, Unanswered};
use crate::clock;
use crate::coordination::Decided;
use crate::error::{group_code, transaction_code};
use crate::producer_ids::ProducerIds;

/// Longest that a request waits for the markers of the previous transaction; afterwards the client is told to come
/// back. A leader that asks for a producer says itself how long, and waits no longer than twice this for its answer.
const PARKED: Duration = Duration::from_millis(400);

/// Longest for a command to be agreed on. A leader that is cut off would wait for ever, and its clients do not know.
const AGREEMENT: Duration = Duration::from_secs(5);

/// What connections and other brokers ask of the coordinator. Clones mean the same.
#[derive(Clone)]
pub(crate) struct TransactionCoordinator {
    raft: GroupHandle,
    transactions: Arc<RwLock<Transactions>>,
    proposals: Proposals,
    completions: Completions,
    producer_ids: ProducerIds,
}

/// What may keep a command from being proposed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FreshId {
    Never,
    /// Only where the epochs are used up.
    IfExhausted,
    Always,
}

impl TransactionCoordinator {
    /// Proposes to `raft`, whose state `transactions` is.
    pub(crate) fn new(
        raft: GroupHandle,
        transactions: Arc<RwLock<Transactions>>,
        proposals: Proposals,
        completions: Completions,
        producer_ids: ProducerIds,
    ) -> Self {
        Self { raft, transactions, proposals, completions, producer_ids }
    }

    /// InitProducerId with a transactional id (TX-3); the time-out is in its bounds.
    pub(crate) async fn init_producer_id(
        &self,
        transactional_id: String,
        timeout_ms: i32,
        expected: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let command = |now_ms, fresh: Option<i64>| {
            Command::InitProducerId(InitProducerId {
                transactional_id: transactional_id.clone(),
                now_ms,
                timeout_ms,
                expected,
                fresh_producer_id: fresh.unwrap_or_default(),
            })
        };
        match self.decide(&transactional_id, FreshId::Always, command).await?.answer {
            Answer::Initialized(outcome) => outcome.map_err(transaction_code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// AddPartitionsToTxn (TX-5), of partitions that exist; one answer for all.
    pub(crate) async fn add_partitions(
        &self,
        transactional_id: String,
        producer: ProducerIdAndEpoch,
        partitions: Partitions,
    ) -> Result<(), ErrorCode> {
        self.add_partitions_within(PARKED, transactional_id, producer, partitions).await
    }

    /// The same; the producer's previous transaction may take `patience` to end.
    async fn add_partitions_within(
        &self,
        patience: Duration,
        transactional_id: String,
        producer: ProducerIdAndEpoch,
        partitions: Partitions,
    ) -> Result<(), ErrorCode> {
        let command = |now_ms, _| {
            Command::AddPartitions(AddPartitions {
                transactional_id: transactional_id.clone(),
                now_ms,
                producer,
                partitions: partitions.clone(),
            })
        };
        self.added(patience, &transactional_id, command).await
    }

    /// AddOffsetsToTxn.
    pub(crate) async fn add_offsets(
        &self,
        transactional_id: String,
        producer: ProducerIdAndEpoch,
        group: String,
    ) -> Result<(), ErrorCode> {
        let command = |now_ms, _| {
            Command::AddOffsets(AddOffsets {
                transactional_id: transactional_id.clone(),
                now_ms,
                producer,
                group: group.clone(),
            })
        };
        self.added(PARKED, &transactional_id, command).await
    }

    async fn added(
        &self,
        patience: Duration,
        transactional_id: &str,
        command: impl Fn(i64, Option<i64>) -> Command,
    ) -> Result<(), ErrorCode> {
        match self.decide_within(patience, transactional_id, FreshId::Never, command).await?.answer {
            Answer::Added(outcome) => outcome.map_err(transaction_code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Whether each partition is part of the open transaction (KIP-890).
    pub(crate) async fn check_partitions(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &[(TopicId, i32)],
    ) -> Result<Vec<Result<(), Refusal>>, ErrorCode> {
        let transactions = self.read().await?;
        let check = |(topic, at): &(TopicId, i32)| {
            transactions.check_partition(transactional_id, producer, *topic, *at)
        };
        Ok(partitions.iter().map(check).collect())
    }

    /// EndTxn (TX-6, TX-7). `bumps` for version 5 and later. What the producer is from now on.
    pub(crate) async fn end(
        &self,
        transactional_id: String,
        producer: ProducerIdAndEpoch,
        commit: bool,
        bumps: bool,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let command = |now_ms, fresh_producer_id| {
            Command::EndTransaction(EndTransaction {
                transactional_id: transactional_id.clone(),
                now_ms,
                producer,
                commit,
                bumps,
                fresh_producer_id,
            })
        };
        match self.decide(&transactional_id, FreshId::IfExhausted, command).await?.answer {
            Answer::Ended(outcome) => outcome.map_err(transaction_code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// TxnOffsetCommit (TX-10): a code per offset. `adds_group` for version 5 and later; metadata of more than
    /// `longest` UTF-16 units is refused.
    pub(crate) async fn commit_offsets(
        &self,
        transactional_id: String,
        commit: CommitInTransaction,
        adds_group: bool,
        longest: usize,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let producer = ProducerIdAndEpoch { producer_id: commit.producer_id, epoch: commit.producer_epoch };
        let group = commit.group.clone();
        let (command, verdicts) =
            milena_group::Command::commit_in_transaction(commit, clock::unix_ms(), longest);
        let group_command = Bytes::from(command.encode());
        let command = |now_ms, _| {
            Command::CommitOffsets(CommitOffsets {
                transactional_id: transactional_id.clone(),
                now_ms,
                producer,
                group: group.clone(),
                adds_group,
                group_command: group_command.clone(),
            })
        };
        let decided = self.decide(&transactional_id, FreshId::Never, command).await?;
        match decided.answer {
            Answer::OffsetsAdmitted(admitted) => admitted.map_err(transaction_code)?,
            _ => return Err(ErrorCode::UnknownServerError),
        }
        decided.offsets.unwrap_or(Ok(())).map_err(group_code)?;
        Ok(verdicts.into_iter().map(|it| it.map_or_else(group_code, |()| ErrorCode::None)).collect())
    }

    /// What a partition's leader asks: adds partitions, or looks whether they are part of the transaction. One code
    /// per partition.
    pub(crate) async fn enlist(&self, request: EnlistRequest) -> Vec<ErrorCode> {
        let count = request.partitions.len();
        let Ok(epoch) = i16::try_from(request.producer_epoch) else {
            return vec![ErrorCode::InvalidRequest; count];
        };
        let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch };
        let named = request.partitions.iter().filter_map(|it| Some((it.partition.as_ref()?, &it.topic)));
        let named: Vec<_> =
            named.map(|(it, topic)| (TopicId(topic_id(it).0), topic.as_str(), it.index)).collect();
        if named.len() != count {
            return vec![ErrorCode::InvalidRequest; count];
        }
        if request.verify_only {
            let partitions: Vec<_> = named.iter().map(|(id, _, index)| (*id, *index)).collect();
            return match self.check_partitions(&request.transactional_id, producer, &partitions).await {
                Ok(verdicts) => verdicts.into_iter().map(code_of).collect(),
                Err(code) => vec![code; count],
            };
        }
        let partitions = named.into_iter().collect();
        let asked = request.patience_ms.map(|ms| Duration::from_millis(ms.into()));
        let patience = asked.map_or(PARKED, |asked| asked.min(PARKED));
        let outcome =
            self.add_partitions_within(patience, request.transactional_id, producer, partitions).await;
        vec![outcome.err().unwrap_or(ErrorCode::None); count]
    }

    /// DescribeTransactions: what is known of each transactional id.
    pub(crate) async fn describe(
        &self,
        transactional_ids: &[&str],
    ) -> Result<Vec<Result<Transaction, Refusal>>, ErrorCode> {
        let transactions = self.read().await?;
        Ok(transactional_ids.iter().map(|id| transactions.describe(id).cloned()).collect())
    }

    /// ListTransactions: id and state of those that `listing` and `keeps` let through.
    pub(crate) async fn list(
        &self,
        listing: &Listing,
        keeps: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, i64, milena_txn::State)>, ErrorCode> {
        let transactions = self.read().await?;
        let listed = transactions.list(listing, clock::unix_ms()).filter(|(id, _)| keeps(id));
        Ok(listed.map(|(id, it)| (id.to_owned(), it.producer().producer_id, it.state())).collect())
    }

    /// These topics are gone: nothing is left to mark in them (TX-12). Only the coordinator acts on it; markers that
    /// are due find out by themselves.
    pub(crate) async fn topics_deleted(&self, topics: &[milena_group::TopicId]) {
        let topic_ids: Vec<_> = {
            let known = self.transactions.read().unwrap().topic_ids();
            topics.iter().map(|id| TopicId(id.0)).filter(|id| known.contains(id)).collect()
        };
        if self.is_coordinator() && !topic_ids.is_empty() {
            let command = Command::DeleteTopics { now_ms: clock::unix_ms(), topic_ids };
            if let Err(code) = self.agree(&command).await {
                tracing::debug!(%code, "deleted topics are not recorded");
            }
        }
    }

    /// Whether this broker coordinates.
    pub(crate) fn is_coordinator(&self) -> bool {
        self.raft.leader().borrow().is_self
    }

    /// The state with everything that was acknowledged before this call.
    async fn read(&self) -> Result<std::sync::RwLockReadGuard<'_, Transactions>, ErrorCode> {
        let confirmed = timeout(AGREEMENT, self.raft.read_index()).await;
        confirmed.map_err(|_| ErrorCode::CoordinatorNotAvailable)?.map_err(|_| ErrorCode::NotCoordinator)?;
        Ok(self.transactions.read().unwrap())
    }

    /// Proposes `command` until it does not meet the end of the previous transaction, or that takes too long.
    async fn decide(
        &self,
        transactional_id: &str,
        fresh: FreshId,
        command: impl Fn(i64, Option<i64>) -> Command,
    ) -> Result<Decided, ErrorCode> {
        self.decide_within(PARKED, transactional_id, fresh, command).await
    }

    /// The same; the end of the previous transaction may take `patience`.
    async fn decide_within(
        &self,
        patience: Duration,
        transactional_id: &str,
        fresh: FreshId,
        command: impl Fn(i64, Option<i64>) -> Command,
    ) -> Result<Decided, ErrorCode> {
        let parked_until = Instant::now() + patience;
        loop {
            if !self.is_coordinator() {
                return Err(ErrorCode::NotCoordinator);
            }
            self.completion(transactional_id, parked_until).await;
            let needed = match fresh {
                FreshId::Never => false,
                FreshId::IfExhausted => self.transactions.read().unwrap().needs_producer_id(transactional_id),
                FreshId::Always => true,
            };
            let fresh = match needed {
                true => Some(self.producer_ids.next().await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?),
                false => None,
            };
            let command = command(clock::unix_ms(), fresh);
            let decided = self.agree(&command).await?;
            match refusal_of(&decided.answer) {
                Some(Refusal::ConcurrentTransactions) if Instant::now() < parked_until => {}
                // The epochs ran out between the look and the proposal.
                Some(Refusal::NeedsProducerId) if fresh.is_none() && Instant::now() < parked_until => {}
                _ => return Ok(decided),
            }
        }
    }

    /// Waits until no markers of this transactional id are on their way, and what is proposed now comes behind them.
    async fn completion(&self, transactional_id: &str, until: Instant) {
        let is_prepared = || {
            self.transactions.read().unwrap().markers_due_of(transactional_id).is_some()
                && !self.completions.is_proposed(transactional_id)
        };
        if is_prepared() {
            let patience = until.saturating_duration_since(Instant::now());
            self.completions.wait(transactional_id, patience, is_prepared).await;
        }
    }

    async fn agree(&self, command: &Command) -> Result<Decided, ErrorCode> {
        match timeout(AGREEMENT, self.proposals.propose(command)).await {
            Ok(Ok(decided)) => Ok(decided),
            Ok(Err(Unanswered::NotCoordinator)) => Err(ErrorCode::NotCoordinator),
            Ok(Err(Unanswered::Indeterminate)) | Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }
}

/// Why the request behind an answer is refused, if it is.
fn refusal_of(answer: &Answer) -> Option<Refusal> {
    match answer {
        Answer::Initialized(outcome) | Answer::Ended(outcome) => outcome.err(),
        Answer::Added(outcome) | Answer::OffsetsAdmitted(outcome) => outcome.err(),
        Answer::TimedOut(_) | Answer::Markers(_) | Answer::TopicsDeleted { .. } | Answer::Expired { .. } => {
            None
        }
    }
}

fn code_of(verdict: Result<(), Refusal>) -> ErrorCode {
    verdict.map_or_else(transaction_code, |()| ErrorCode::None)
}
