//! A checker of histories: what clients sent, were promised, read and committed, judged against what a log
//! must keep.
//!
//! It knows no broker and does no I/O. A [`History`] comes from any client in any language, as JSON lines; what
//! is wrong with it comes back as [`Anomaly`]s, named as Jepsen's Kafka workload names them. Judgements are
//! sound: each is a contradiction between answers, never a guess from timing. What cannot be judged (a write
//! whose outcome nobody saw) is counted as unknown.
//!
//! Left out: cycles of dependencies between transactions (Elle's G0 and G1c), logs from which retention or
//! compaction removed something while they were watched.

mod anomaly;
mod commits;
mod event;
mod history;
mod order;
mod owners;
mod polls;
mod sends;
mod verdict;
mod windows;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Kind};
pub use event::{
    Assigned, Commit, Driven, EndOffset, Event, Fault, FetchedCommit, Isolation, Micros, Outcome, Poll, Send,
    Settled, Transaction, Value,
};
pub use history::{History, NotAHistory};
pub use verdict::{Verdict, check};
pub use windows::{Window, longest_window, windows};
