//! What can happen, and what is sent.

use milena_metadata::{BrokerEpoch, Command};
use milena_partition::{FollowerFetch, Position, Reply};
use milena_records::Offset;

use crate::disk::Record;

/// An entry of the queue. A process life in it makes what was meant for an earlier process vanish with its
/// connections.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A message arrives at a broker.
    ToNode { to: usize, to_life: u32, from: usize, message: Message },
    /// An answer arrives at a producer.
    ToClient { to: usize, generation: u32, partition: usize, sequence: i32, answer: ProduceAnswer },
    /// A request of a producer arrives at a broker.
    Produce { to: usize, request: Produce },
    /// A broker looks around.
    Tick { node: usize, life: u32 },
    /// A broker asks its leader again.
    Refetch { node: usize, life: u32, partition: usize },
    /// A slow read on a leader ends only now.
    LateRead { node: usize, life: u32, partition: usize, read: Read },
    /// A producer looks around.
    ClientTick { client: usize },
    /// A consumer polls.
    ConsumerTick { consumer: usize },
    /// The quorum looks around.
    RaftTick,
    /// Entries that the quorum's leader took in `term` are on a majority of disks, if that is still reachable.
    RaftCommit { term: u64 },
    /// A broker learns what was committed.
    Push { node: usize, life: u32 },
    /// A process starts again.
    Restart { node: usize },
    /// The fault of this number in the plan.
    Fault { number: usize },
    /// The end of a fault.
    Heal { number: usize },
}

/// Broker to broker.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Fetch { partition: usize, number: u64, asked: Position, fetch: FollowerFetch },
    FetchReply { partition: usize, number: u64, asked: Position, reply: Reply, records: Vec<Record> },
    Propose { number: u64, command: Command },
    Proposed { number: u64, outcome: Proposed },
    Heartbeat { epoch: BrokerEpoch, wants_fence: bool, wants_shutdown: bool },
}

/// A read that a leader does for a follower.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) follower: usize,
    pub(crate) follower_life: u32,
    pub(crate) number: u64,
    pub(crate) asked: Position,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// In the log at this index, and applied.
    Applied(u64),
    /// In the log at this index, and without effect: it was decided on another state.
    Stale(u64),
    /// Not taken: this broker does not lead the quorum.
    NotLeader,
}

/// A producer's request: one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Produce {
    pub(crate) client: usize,
    pub(crate) generation: u32,
    pub(crate) partition: usize,
    pub(crate) producer: u32,
    pub(crate) sequence: i32,
    pub(crate) all: bool,
}

/// Its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProduceAnswer {
    Stored(Offset),
    NotLeader,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    OutOfOrder,
    Fenced,
}
