//! What is on its way between clients, coordinator and partitions.

use crate::{Command, ProducerIdAndEpoch, Refusal, TopicId, TransactionVersion};

/// A transaction as its client sees it: what the oracles call by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit(pub u64);

pub type Place = (TopicId, i32);

/// One call of a client. It may be sent many times under the same number, and each may arrive many times.
#[derive(Debug, Clone)]
pub struct Request {
    pub client: usize,
    pub number: u64,
    pub id: String,
    pub unit: Unit,
    pub call: Call,
}

#[derive(Debug, Clone)]
pub enum Call {
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
    /// Goes to the partition; with `adds` it asks the coordinator to add it, else whether it was added.
    Produce {
        producer: ProducerIdAndEpoch,
        place: Place,
        adds: bool,
    },
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

#[derive(Debug, Clone)]
pub struct Marker {
    pub term: u64,
    pub id: String,
    pub place: Place,
    pub producer: ProducerIdAndEpoch,
    pub commit: bool,
    pub version: TransactionVersion,
    pub sequence: u64,
}

#[derive(Debug, Clone)]
pub enum Message {
    Request(Request),
    Reply {
        client: usize,
        number: u64,
        outcome: Result<Option<ProducerIdAndEpoch>, Refusal>,
    },
    Marker(Marker),
    /// A proposal of some coordinator, perhaps a former one.
    Proposal(Command),
}
