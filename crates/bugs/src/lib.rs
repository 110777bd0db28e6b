//! Mistakes that lost data elsewhere, ready to be made again: the test of the tests.
//!
//! Each switch takes back one rule of the state machines. `milena-sim` turns them on one by one and must notice; how
//! many seeds that took is in `docs/replication-bugs.md`. Without the feature `on` all of it compiles to nothing.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        /// A mistake, named after its row in the catalogue of replication failures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name),*];

            /// What is done wrong.
            pub fn what(self) -> &'static str {
                match self {
                    $(Bug::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

bugs! {
    /// A follower cuts its log to its high watermark when the leader changes (KIP-101, KAFKA-1211).
    R1;
    /// The leader sends without looking whether the follower's log diverges (KIP-101).
    R2;
    /// A follower takes the end of another epoch for the end of its own (KIP-279, KAFKA-6361).
    R3;
    /// A reply is taken although it was asked for in an earlier leader epoch (KAFKA-7164).
    R4;
    /// An epoch in which nothing was written goes on to cover what follows (KAFKA-7897).
    R5;
    /// A flush leaves the file of epochs to itself, and a torn one counts as empty (KAFKA-16541).
    R6;
    /// Truncation to the log's end leaves later epochs in the cache (KAFKA-10706).
    R7;
    /// The follower forgets the epoch of its last record (KAFKA-15510).
    R8;
    /// Batches of a later epoch than was asked in are stored (KAFKA-18723).
    R9;
    /// Out of range means to begin anew at the leader's log start (KAFKA-2143).
    R11;
    /// A log that begins anew keeps its high watermark (KAFKA-9491).
    R13;
    /// A replica joins the ISR by the high watermark alone (KAFKA-16452).
    R14;
    /// A new leader tells the latest offset before it knows it (KIP-207).
    R15;
    /// The leader's epoch is not compared when a follower fetches (KAFKA-14078).
    R17;
    /// A replica that may have been added to the ISR is not waited for (KIP-497).
    M1;
    /// A replica counts as removed from the ISR before the controller agrees (KIP-497).
    M2;
    /// Fenced brokers enter the ISR (KIP-841).
    M3;
    /// A change of the ISR that was decided on old metadata takes effect (KAFKA-14140).
    M4;
    /// A member of the ISR is not asked which process it is (KIP-903).
    M5;
    /// The high watermark moves below `min.insync.replicas` (KIP-966).
    M6;
    /// Eligible replicas outlive a change of `min.insync.replicas`.
    M8;
    /// A replica that is dropped and assigned again is remembered as it was.
    M9;
    /// A machine that lost its power claims to have kept everything.
    M20;
    /// Only the last batch of a producer is remembered (Redpanda #3039).
    P1;
    /// A repeated batch is acknowledged before it is replicated.
    P3;
    /// Followers do not learn of producers (AutoMQ #437).
    P6;
    /// A batch overtakes one that was refused a moment ago.
    P10;
    /// Compaction drops a marker while data of its transaction is left (KAFKA-8351, KAFKA-14055).
    T9;
    /// A transaction opens without a question to the coordinator (KIP-890, KAFKA-14402).
    T2;
    /// A yes of the coordinator about one transaction lets a batch into the next one (KAFKA-14884).
    T3;
    /// A snapshot of producers forgets which transactions are open (the last stable offset after a restart).
    T11;
    /// A write is acknowledged by a later epoch's high watermark (KAFKA-20634).
    G1;
    /// A coordinator that was replaced and does not know it tells offsets from its memory.
    G2;
    /// A commit is fenced when it is proposed, and not when it is applied (KAFKA-2555).
    G4;
    /// Offsets expire by their age alone, whatever the group's members do (KAFKA-13636).
    G6;
    /// The end of a transaction does not bump the epoch, so a late EndTxn ends the next one (KIP-890, KAFKA-17754).
    T1;
    /// Written markers are told by the transactional id alone, whatever transaction they ended (KAFKA-16352).
    T4;
    /// A repeated EndTxn is taken for the end of the next transaction (KAFKA-20785).
    T5;
    /// The abort of a transaction that nothing was added to is refused (KAFKA-18401).
    T6;
    /// What becomes part of a transaction is in the coordinator's memory alone (Redpanda #6018).
    T7;
    /// A time-out aborts whatever transaction is open (Redpanda #5438).
    T8;
    /// The decision is in the coordinator's memory alone until the markers are written.
    T10;
    /// Offsets of a fenced member are taken into a transaction.
    T12;
    /// A late marker ends the next transaction of a client that keeps its epoch (KIP-1228).
    T13;
    /// A read of the quorum's leader trusts its lease (etcd#20418, openraft#1747).
    F7;
    /// An entry counts as written before it is on disk (d-engine#446).
    F9;
    /// A vote is given before it is on disk.
    F15;
    /// The quorum's log is not flushed.
    F16;
}

#[cfg(feature = "on")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this mistake shall be made, on this thread.
    pub fn is_on(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }

    /// Makes a mistake for as long as `act` runs, on this thread.
    pub fn with<T>(bug: Option<Bug>, act: impl FnOnce() -> T) -> T {
        let before = ON.replace(bug);
        let outcome = act();
        ON.set(before);
        outcome
    }
}

#[cfg(not(feature = "on"))]
mod switch {
    use super::Bug;

    /// No mistake is ever made.
    #[inline(always)]
    pub const fn is_on(_: Bug) -> bool {
        false
    }
}

pub use switch::*;
