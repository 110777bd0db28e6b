//! Producer ids and transactions.

use crate::setting::{settings, words::*};

settings! { BrokerConfig part 5 TRANSACTIONS:
    /// Partitions of `__transaction_state`.
    transaction_state_log_num_partitions: "transaction.state.log.num.partitions", Int = 50, AtLeast(1), ReadOnly, Now;
    /// Replicas of `__transaction_state`; the default shrinks to the number of brokers.
    transaction_state_log_replication_factor: "transaction.state.log.replication.factor", Short = 3, AtLeast(1), ReadOnly, Now;
    /// `min.insync.replicas` of `__transaction_state`; the default shrinks to its replicas.
    transaction_state_log_min_isr: "transaction.state.log.min.isr", Int = 2, AtLeast(1), ReadOnly, Now;
    /// Segment size of `__transaction_state`.
    transaction_state_log_segment_bytes: "transaction.state.log.segment.bytes", Int = 104_857_600, AtLeast(1), ReadOnly, Now;
    /// Read size when Kafka loads transactions.
    transaction_state_log_load_buffer_size: "transaction.state.log.load.buffer.size", Int = 5_242_880, AtLeast(1), ReadOnly,
        Accepted("a coordinator's state is always loaded");
    /// Longest transaction time-out a producer may ask for.
    transaction_max_timeout_ms: "transaction.max.timeout.ms", Int = 900_000, AtLeast(1), ReadOnly, Now;
    /// How long an idle transactional id is remembered.
    transactional_id_expiration_ms: "transactional.id.expiration.ms", Int = 604_800_000, AtLeast(1), ReadOnly, Now;
    /// How often transactions past their time-out are aborted.
    transaction_abort_timed_out_transaction_cleanup_interval_ms: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Int = 10_000, AtLeast(1), ReadOnly, Now;
    /// How often forgotten transactional ids are looked for.
    transaction_remove_expired_transaction_cleanup_interval_ms: "transaction.remove.expired.transaction.cleanup.interval.ms", Int = 3_600_000, AtLeast(1), ReadOnly, Now;
    /// Have the coordinator confirm that a partition belongs to the transaction before it is written, for clients that add partitions themselves; others (Produce 12 and later) add them by writing, and are always confirmed.
    transaction_partition_verification_enable: "transaction.partition.verification.enable", Boolean = true, Any, ClusterWide, Now;
    /// Let an outside coordinator decide transactions.
    transaction_two_phase_commit_enable: "transaction.two.phase.commit.enable", Boolean = false, Any, ReadOnly, Later;
    /// How long an idle producer id is remembered, with the sequence numbers that make retries safe.
    producer_id_expiration_ms: "producer.id.expiration.ms", Int = 86_400_000, AtLeast(1), ClusterWide, Now;
    /// How often forgotten producer ids are looked for.
    producer_id_expiration_check_interval_ms: "producer.id.expiration.check.interval.ms", Int = 600_000, AtLeast(1), ReadOnly, Accepted("looked for together with retention: log.retention.check.interval.ms");
    /// Pause before a partition's leader adds it again to a transaction whose producer still ends its last one. The coordinator answers as soon as that is over, so the pause is rarely taken.
    add_partitions_to_txn_retry_backoff_ms: "add.partitions.to.txn.retry.backoff.ms", Int = 20, AtLeast(1), ReadOnly, Now;
    /// Longest that a batch waits at its leader for its producer's last transaction to end; afterwards the client is told to come again (CONCURRENT_TRANSACTIONS).
    add_partitions_to_txn_retry_backoff_max_ms: "add.partitions.to.txn.retry.backoff.max.ms", Int = 100, AtLeast(0), ReadOnly, Now;
}
