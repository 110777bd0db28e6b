//! What happened: one event per operation of a client, with the moments at which it began and ended.

use serde::{Deserialize, Serialize};

/// Microseconds since the history began, by one monotonic clock.
pub type Micros = u64;

/// A record's value. No two sends of a history share one.
pub type Value = u64;

/// An operation, or a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Event {
    /// A record was sent.
    Send(Send),
    /// A transaction ended, or its end was tried.
    Transaction(Transaction),
    /// A consumer was given records of a partition.
    Poll(Poll),
    /// A consumer was given partitions, or positioned anew: what follows need not follow on what was.
    Assigned(Assigned),
    /// An offset was committed.
    Commit(Commit),
    /// A committed offset was asked for.
    FetchedCommit(FetchedCommit),
    /// The end of a partition was asked for.
    EndOffset(EndOffset),
    /// A consumer has read a partition up to its end, after everything else was over.
    Driven(Driven),
    /// A fault was injected, or healed.
    Fault(Fault),
}

/// A record on its way, from the application's `send` to the word that ended the waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// When it was handed to the producer.
    pub began: Micros,
    /// When its outcome was known.
    pub ended: Micros,
    /// Which producer.
    pub producer: u32,
    /// Its place among the sends of that producer.
    pub number: u64,
    /// Topic and partition, as in `orders-0`.
    pub partition: String,
    /// What was sent.
    pub value: Value,
    /// The transaction it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<u64>,
    /// What the producer was told.
    pub outcome: Outcome,
}

/// What a producer was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is safe.
    Acked {
        /// Where it is; absent if the broker does not know any more (a repeat of an old batch).
        offset: Option<i64>,
        /// Who said so, if the client can tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        broker: Option<i32>,
    },
    /// It is nowhere, and will not be.
    Refused {
        /// Kafka's error code.
        code: String,
    },
    /// Nobody knows.
    Unknown {
        /// What the client was told last.
        why: String,
    },
}

/// The end of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// When its end was asked for. No reader of committed records may see it earlier.
    pub began: Micros,
    /// When the answer came.
    pub ended: Micros,
    /// As in [`Send::transaction`].
    pub transaction: u64,
    /// How it ended.
    pub settled: Settled,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// The coordinator has said that it is committed.
    Committed,
    /// The coordinator has said that it is aborted, or its producer aborted without ever asking for a commit.
    Aborted,
    /// A commit was asked for, and the answer is not known.
    Unknown,
}

/// What a consumer may be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Everything below the high watermark.
    #[default]
    Uncommitted,
    /// Nothing of open or aborted transactions.
    Committed,
}

/// Records that one poll returned of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// When it was asked for.
    pub began: Micros,
    /// When the records were there.
    pub ended: Micros,
    /// Which consumer.
    pub consumer: u32,
    /// Topic and partition.
    pub partition: String,
    /// Offsets and values, as they came.
    pub records: Vec<(i64, Value)>,
    /// What the consumer asked for.
    #[serde(default)]
    pub isolation: Isolation,
}

/// A consumer has a new assignment or position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// When it learnt of it.
    pub at: Micros,
    /// Which consumer.
    pub consumer: u32,
    /// The group, generation (or member epoch) and member that gave it the partitions; absent for a consumer that
    /// chose them by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<(String, i32, String)>,
    /// Topics and partitions.
    pub partitions: Vec<String>,
}

/// A commit of one offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// When it was asked for.
    pub began: Micros,
    /// When the answer came.
    pub ended: Micros,
    /// The group.
    pub group: String,
    /// Topic and partition.
    pub partition: String,
    /// Who committed; the commits of one committer are sent one after the other.
    pub committer: u32,
    /// What was committed.
    pub offset: i64,
    /// What the committer was told; the offset of `Acked` is ignored.
    pub outcome: Outcome,
}

/// An answer to OffsetFetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedCommit {
    /// When it was asked for.
    pub began: Micros,
    /// When the answer came.
    pub ended: Micros,
    /// The group.
    pub group: String,
    /// Topic and partition.
    pub partition: String,
    /// The committed offset; `None` if there is none.
    pub offset: Option<i64>,
}

/// An answer to ListOffsets for the latest offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOffset {
    /// When it was asked for.
    pub began: Micros,
    /// When the answer came.
    pub ended: Micros,
    /// Topic and partition.
    pub partition: String,
    /// The high watermark, or the last stable offset for readers of committed records.
    pub offset: i64,
    /// Which of the two.
    #[serde(default)]
    pub isolation: Isolation,
}

/// The last read: it is over when the consumer's position has reached the end offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driven {
    /// When.
    pub at: Micros,
    /// Which consumer; it began at the log start offset and was not disturbed.
    pub consumer: u32,
    /// Topic and partition.
    pub partition: String,
    /// The end offset, exclusive.
    pub end: i64,
}

/// Something was done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: Micros,
    /// What, for people.
    pub what: String,
}
