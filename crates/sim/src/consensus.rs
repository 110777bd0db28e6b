//! The second mode: a quorum that a world does not look into, in place of a model of it.
#![cfg_attr(not(feature = "openraft"), allow(dead_code, reason = "there is none"))]

use bytes::Bytes;

use crate::queue::Time;

/// What a world hears of the quorum; `S` is the replicated state, `A` what it answers to a command.
#[derive(Debug)]
pub(crate) enum News<S, A> {
    /// A process has begun with what an earlier one had stored, or was sent a snapshot.
    Restored { node: usize, index: u64, state: S },
    /// A node has applied an entry, and is in this state.
    Applied { node: usize, index: u64, state: S, answer: A },
    /// A node leads in this term and has applied all that was committed before, or does not lead.
    Leads { node: usize, term: Option<u64> },
    /// What became of a command: its place in the log, and the answer.
    Proposed { ticket: u64, outcome: Result<(u64, A), Failed> },
    /// The index of a read, all of which the node has applied; none if it was refused.
    Read { ticket: u64, index: Option<u64> },
}

/// Why a command is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The node does not lead.
    NotLeader,
    /// Nobody knows: it may be there.
    Unknown,
}

/// Raft nodes.
pub(crate) trait Consensus<S, A> {
    /// When something happens next.
    fn next_at(&self) -> Time;
    /// The world's time, if nothing happens here before.
    fn advance(&mut self, now: Time);
    /// Lets the next thing happen.
    fn step(&mut self);
    /// What has become known since the last time; an error is a promise that Raft broke.
    fn take_news(&mut self) -> Result<Vec<News<S, A>>, String>;
    /// A process begins.
    fn start(&mut self, node: usize);
    /// A process is killed, or the machine under it loses its power.
    fn stop(&mut self, node: usize, power_lost: bool);
    /// A process stands still.
    fn pause(&mut self, node: usize, for_us: Time);
    /// Whether a process is there and does not stand still.
    fn runs(&self, node: usize) -> bool;
    /// Whether packets go this way.
    fn connect(&mut self, from: usize, to: usize, reaches: bool);
    /// Whether many packets are late.
    fn be_rough(&mut self, is_rough: bool);
    /// Everybody believes that its leader is dead, and that `successor` should follow it.
    fn accuse(&mut self, successor: usize);
    /// Who leads, as far as a node knows.
    fn leader(&self, node: usize) -> Option<usize>;
    /// Proposes a command to a node; its fate comes as news, unless the node dies before.
    fn propose(&mut self, node: usize, ticket: u64, command: Bytes);
    /// Asks a node for the index of a read; it comes as news, unless the node dies before.
    fn read(&mut self, node: usize, ticket: u64);
    /// Hash over every event.
    fn hash(&self) -> u64;
}
