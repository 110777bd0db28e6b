//! A partition's leader asks the coordinator about a transaction that writes to it for the first time (KIP-890): the
//! partition is added to the transaction, or for older producers only looked up.
//!
//! The coordinator is found by its leadership of the `coordination` group; while that changes hands, the question is
//! asked again for a short while, as clients wait longer after an error than an election takes.

use std::sync::Arc;
use std::time::Duration;

use milena_config::BrokerConfig;
use milena_peer::Peers;
use milena_peer::transactions::Transactional;
use milena_peer::transactions::message::{EnlistRequest, EnlistResponse, EnlistedPartition, Partition};
use milena_quorum::{GroupHandle, NodeId};
use milena_wire::{ErrorCode, Uuid};
use tokio::time::{Instant, timeout_at};

/// Longest for all attempts together.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest for one answer of the coordinator; afterwards another may coordinate.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Before a coordinator that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a batch waits for its producer's transaction before it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reattempts {
    /// `add.partitions.to.txn.retry.backoff.ms`: before the coordinator is asked again.
    pub(crate) pause: Duration,
    /// `add.partitions.to.txn.retry.backoff.max.ms`, at most `request.timeout.ms`: for all attempts together.
    pub(crate) longest: Duration,
}

impl Reattempts {
    /// As the broker is configured.
    pub(crate) fn of(config: &BrokerConfig) -> Self {
        let longest = config.add_partitions_to_txn_retry_backoff_max_ms().min(config.request_timeout_ms());
        let millis = |ms: i32| Duration::from_millis(ms.max(0) as u64);
        Self { pause: millis(config.add_partitions_to_txn_retry_backoff_ms()), longest: millis(longest) }
    }

    /// Asks, which may take until the given moment, as long as the producer's transaction before has not ended. Older
    /// clients never meet that: for them partitions are only looked up.
    async fn run<F>(self, mut ask: impl FnMut(Instant) -> F) -> Vec<Result<(), ErrorCode>>
    where
        F: Future<Output = Vec<Result<(), ErrorCode>>>,
    {
        let until = Instant::now() + self.longest;
        loop {
            let answers = ask(until).await;
            let is_concurrent = answers.contains(&Err(ErrorCode::ConcurrentTransactions));
            if !is_concurrent || Instant::now() >= until {
                return answers;
            }
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// What the client behind a request understands, which decides what is asked and how a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// Adds partitions itself; knows no TRANSACTION_ABORTABLE. Produce before version 11.
    Default,
    /// Adds partitions itself. Produce 11.
    Abortable,
    /// Has partitions added by writing to them, and a new epoch in each transaction. Produce 12 and later.
    EpochBump,
}

impl Support {
    /// Of a client that sends this version of Produce.
    pub(crate) fn of_produce(version: i16) -> Self {
        match version {
            ..=10 => Self::Default,
            11 => Self::Abortable,
            12.. => Self::EpochBump,
        }
    }

    /// Whether partitions are only looked up.
    pub(crate) fn verifies_only(self) -> bool {
        self != Self::EpochBump
    }

    /// The code for a producer, where the coordinator gave `code`. `None` is success.
    ///
    /// Fencing comes as INVALID_PRODUCER_EPOCH, and whatever passes as NOT_ENOUGH_REPLICAS: all clients retry it and
    /// it makes none of them look for new metadata. Kafka does the same.
    pub(crate) fn producer_code(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Self::Default => ErrorCode::InvalidTxnState,
            ErrorCode::ConcurrentTransactions if self == Self::EpochBump => code,
            ErrorCode::ConcurrentTransactions
            | ErrorCode::NetworkException
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
            _ => code,
        }
    }
}

/// A partition that a transaction writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its topic's id.
    pub(crate) topic_id: Uuid,
    /// Its topic's name.
    pub(crate) topic: Arc<str>,
    /// Its index.
    pub(crate) index: i32,
}

/// What is asked of the coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Enlistment {
    /// As the client's request gives it.
    pub(crate) transactional_id: String,
    /// Of the batch.
    pub(crate) producer_id: i64,
    /// Of the batch.
    pub(crate) producer_epoch: i16,
    /// Of the client.
    pub(crate) support: Support,
    /// At most what one request writes to.
    pub(crate) targets: Vec<Target>,
}

/// Asks the coordinator, here or elsewhere. Clones mean the same.
#[derive(Clone)]
pub(crate) struct Enlister {
    raft: GroupHandle,
    peers: Option<Peers>,
    local: Arc<dyn Transactional>,
    reattempts: Reattempts,
}

impl Enlister {
    /// Asks `local` while this broker leads `raft`, else its leader by way of `peers`.
    pub(crate) fn new(
        raft: GroupHandle,
        peers: Option<Peers>,
        local: Arc<dyn Transactional>,
        reattempts: Reattempts,
    ) -> Self {
        Self { raft, peers, local, reattempts }
    }

    /// Adds the partitions to the transaction, or looks whether they belong to it. For each, in order, success or
    /// the code for the producer. Takes at most three seconds, and as long as [`Reattempts`] allow.
    pub(crate) async fn enlist(&self, enlistment: &Enlistment) -> Vec<Result<(), ErrorCode>> {
        self.reattempts.run(|until| self.once(enlistment, until)).await
    }

    /// One answer of the coordinator, which may wait `until` then for the transaction before.
    async fn once(&self, enlistment: &Enlistment, until: Instant) -> Vec<Result<(), ErrorCode>> {
        let count = enlistment.targets.len();
        let deadline = Instant::now() + PATIENCE;
        let mut leader = self.raft.leader();
        let mut last = ErrorCode::CoordinatorNotAvailable;
        while Instant::now() < deadline {
            let elected = timeout_at(deadline, leader.wait_for(|now| now.leader.is_some())).await;
            let Ok(Ok(elected)) = elected.map(|found| found.map(|now| now.leader)) else { break };
            let Some(coordinator) = elected else { continue };
            let moved = leader.wait_for(|now| now.leader.is_some_and(|now| now != coordinator));
            let asked = tokio::select! {
                answer = self.ask(coordinator, request(enlistment, until)) => answer,
                Ok(_) = moved => continue,
            };
            match asked.filter(|answer| answer.codes.len() == count) {
                Some(answer) => {
                    let codes: Vec<_> = answer.codes.iter().map(|code| error_code(*code)).collect();
                    match codes.iter().find(|code| is_elsewhere(**code)) {
                        Some(code) => last = *code,
                        None => return codes.into_iter().map(|it| verdict(enlistment.support, it)).collect(),
                    }
                }
                None => last = ErrorCode::NetworkException,
            }
            tokio::time::sleep(PAUSE).await;
        }
        vec![verdict(enlistment.support, last); count]
    }

    /// The coordinator's answer, if there is one.
    async fn ask(&self, coordinator: NodeId, request: EnlistRequest) -> Option<EnlistResponse> {
        if coordinator == self.raft.node_id() {
            return tokio::time::timeout(ATTEMPT, self.local.enlist(request)).await.ok();
        }
        self.peers.as_ref()?.enlist(coordinator, request, ATTEMPT).await.ok()
    }
}

/// Whether another broker, or this one a moment later, may know better.
fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
}

fn verdict(support: Support, code: ErrorCode) -> Result<(), ErrorCode> {
    match support.producer_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(code),
    }
}

/// A code from another broker; one of a later release that this one does not know is an unknown error.
pub(super) fn error_code(code: i32) -> ErrorCode {
    i16::try_from(code).ok().and_then(ErrorCode::from_code).unwrap_or(ErrorCode::UnknownServerError)
}

fn request(enlistment: &Enlistment, until: Instant) -> EnlistRequest {
    let patience = until.saturating_duration_since(Instant::now());
    let partitions = enlistment.targets.iter().map(|target| EnlistedPartition {
        partition: Some(partition(target.topic_id, target.index)),
        topic: target.topic.to_string(),
    });
    EnlistRequest {
        transactional_id: enlistment.transactional_id.clone(),
        producer_id: enlistment.producer_id,
        producer_epoch: enlistment.producer_epoch.into(),
        verify_only: enlistment.support.verifies_only(),
        partitions: partitions.collect(),
        patience_ms: Some(patience.as_millis().try_into().unwrap_or(u32::MAX)),
    }
}

/// A partition as brokers name it to each other.
pub(super) fn partition(topic: Uuid, index: i32) -> Partition {
    let id = u128::from_be_bytes(topic.0);
    Partition { topic_high: (id >> 64) as u64, topic_low: id as u64, index, leader_epoch: None }
}

/// The topic's id in a partition's name.
pub(super) fn topic_id(partition: &Partition) -> Uuid {
    let id = u128::from(partition.topic_high) << 64 | u128::from(partition.topic_low);
    Uuid(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_get_codes_that_they_understand() {
        use ErrorCode as E;
        for (code, default, abortable, epoch_bump) in [
            (E::None, E::None, E::None, E::None),
            (E::ProducerFenced, E::InvalidProducerEpoch, E::InvalidProducerEpoch, E::InvalidProducerEpoch),
            (E::TransactionAbortable, E::InvalidTxnState, E::TransactionAbortable, E::TransactionAbortable),
            (
                E::ConcurrentTransactions,
                E::NotEnoughReplicas,
                E::NotEnoughReplicas,
                E::ConcurrentTransactions,
            ),
            (E::NotCoordinator, E::NotEnoughReplicas, E::NotEnoughReplicas, E::NotEnoughReplicas),
            (E::InvalidTxnState, E::InvalidTxnState, E::InvalidTxnState, E::InvalidTxnState),
            (
                E::InvalidProducerIdMapping,
                E::InvalidProducerIdMapping,
                E::InvalidProducerIdMapping,
                E::InvalidProducerIdMapping,
            ),
        ] {
            for (support, expected) in [
                (Support::Default, default),
                (Support::Abortable, abortable),
                (Support::EpochBump, epoch_bump),
            ] {
                assert_eq!(support.producer_code(code), expected, "{code:?} {support:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_the_transaction_before_as_long_as_it_is_configured_to() {
        let millis = Duration::from_millis;
        let concurrent = vec![Err(ErrorCode::ConcurrentTransactions)];
        // Pause, longest, when it is over; how often it is asked, how long that takes.
        for (pause, longest, over, asked, took) in
            [(20, 100, 50, 4, 60), (20, 100, 500, 6, 100), (30, 100, 500, 5, 120), (20, 0, 50, 1, 0)]
        {
            let reattempts = Reattempts { pause: millis(pause), longest: millis(longest) };
            let (began, mut times) = (Instant::now(), 0);
            let answers = reattempts.run(|until| {
                assert_eq!(until - began, millis(longest));
                times += 1;
                let is_over = began.elapsed() >= millis(over);
                std::future::ready(if is_over { vec![Ok(())] } else { concurrent.clone() })
            });
            let answers = answers.await;
            assert_eq!(answers == concurrent, over > longest, "{pause} {longest} {over}");
            assert_eq!((times, began.elapsed()), (asked, millis(took)), "{pause} {longest} {over}");
        }
    }

    #[test]
    fn topic_ids_survive_the_way() {
        let id = Uuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(topic_id(&partition(id, 3)), id);
    }
}
