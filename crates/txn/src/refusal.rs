//! Why a request about a transaction is refused. The broker maps each to a wire error code.

/// One reason, with Kafka's name for the error it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// INVALID_PRODUCER_ID_MAPPING (49): unknown transactional id, or not this producer's.
    #[error("producer id is not that of the transactional id")]
    InvalidProducerIdMapping,
    /// PRODUCER_FENCED (90), to older clients INVALID_PRODUCER_EPOCH (47) (TX-4): not the present epoch.
    #[error("producer epoch is not that of the transactional id")]
    ProducerFenced,
    /// CONCURRENT_TRANSACTIONS (51): the previous transaction still lacks markers; ask again.
    #[error("previous transaction is not complete yet")]
    ConcurrentTransactions,
    /// INVALID_TXN_STATE (48): the transaction cannot do this now.
    #[error("transaction is not in a state for this")]
    InvalidTxnState,
    /// TRANSACTION_ABORTABLE (120): the transaction does not have this partition or group (KIP-1050).
    #[error("partition or group is not part of the ongoing transaction")]
    TransactionAbortable,
    /// TRANSACTIONAL_ID_NOT_FOUND (105).
    #[error("transactional id is not known")]
    TransactionalIdNotFound,
    /// Never sent: the epochs are used up and the command brought no fresh producer id. Propose it again with one
    /// (see [`Transactions::needs_producer_id`](crate::Transactions::needs_producer_id)), or answer
    /// COORDINATOR_NOT_AVAILABLE (15).
    #[error("a fresh producer id is needed")]
    NeedsProducerId,
}
