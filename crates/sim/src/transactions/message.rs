//! What is on its way between clients, the coordinator and partition leaders.

use milena_txn::{Command, ProducerIdAndEpoch, Refusal, TopicId, TransactionVersion};

/// A transaction as its client sees it: what the oracles call by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit(pub(super) u64);

pub(super) type Place = (TopicId, i32);

/// One call of a client. It may be sent many times under the same number, and each may arrive many times.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) client: usize,
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) unit: Unit,
    pub(super) call: Call,
}

#[derive(Debug, Clone)]
pub(super) enum Call {
    Init {
        expected: Option<ProducerIdAndEpoch>,
    },
    /// AddPartitionsToTxn.
    Add {
        producer: ProducerIdAndEpoch,
        place: Place,
    },
    AddGroup {
        producer: ProducerIdAndEpoch,
    },
    Produce(Produce),
    Offsets {
        producer: ProducerIdAndEpoch,
        adds: bool,
    },
    End {
        producer: ProducerIdAndEpoch,
        commit: bool,
        bumps: bool,
    },
}

/// A batch of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Produce {
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) place: Place,
    pub(super) sequence: i32,
    pub(super) unit: Unit,
    /// The leader adds the partition to the transaction (KIP-890); else it only asks whether that was done.
    pub(super) adds: bool,
}

/// A leader asks the coordinator for a producer before the first batch of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Enlist {
    pub(super) request: Request,
    pub(super) produce: Produce,
    pub(super) leader_epoch: i32,
    pub(super) guard: milena_partition::Guard,
}

#[derive(Debug, Clone)]
pub(super) struct Marker {
    pub(super) term: u64,
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) producer: ProducerIdAndEpoch,
    pub(super) commit: bool,
    pub(super) version: TransactionVersion,
    pub(super) sequence: u64,
    /// The leader epoch that it is sent to.
    pub(super) leader_epoch: i32,
}

/// What a client hears: a refusal, or what it is from now on, if that changes.
pub(super) type Heard = Result<Option<ProducerIdAndEpoch>, Failure>;

/// Why a client's call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Refused(Refusal),
    /// NOT_LEADER_OR_FOLLOWER and the like: the client asks again.
    Again,
    /// OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_TOPIC_OR_PARTITION: this transaction cannot go on.
    Broken,
}

#[derive(Debug, Clone)]
pub(super) enum Message {
    Request(Request),
    Reply {
        client: usize,
        number: u64,
        heard: Heard,
    },
    Enlist(Enlist),
    Enlisted(Enlist, Result<(), Refusal>),
    Marker(Marker),
    /// A proposal of some coordinator, perhaps a former one.
    Proposal(Command),
}
