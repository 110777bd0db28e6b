//! The transaction coordinator as replicated state. No I/O, no clock, no random source.
//!
//! [`Transactions`] is the same on every voter of the `coordination` Raft group; only [`Transactions::apply`]
//! changes it, and every decision is made there: requests become [`Command`]s that carry the time and fresh
//! producer ids, and the reply is what applying them came to. There is no second half and nothing to load: a
//! new Raft leader goes on from what was applied.
//!
//! # The end of a transaction
//!
//! The entry that moves a transaction to PrepareCommit or PrepareAbort is the decision. From then on only
//! markers are missing: [`Transactions::markers_due`] names them on any voter, whoever leads sends them, and
//! [`Command::MarkersWritten`] takes them off the list. Without partitions to mark, the deciding entry completes
//! the transaction as well. Offsets of groups need no marker: groups live in the same log, and
//! [`Applied::settled`] tells the machine that holds both to make them visible, or drop them, in the same entry.
//!
//! TxnOffsetCommit is one entry for both machines as well: the machine that holds both applies
//! [`CommitOffsets`] here, and if the answer is yes the groups' command inside it, at the same index.
//!
//! # Which epoch a marker carries
//!
//! A transaction whose records carry producer epoch `e` ends with markers that carry
//!
//! | who ends it | marker's epoch | `transaction_version` |
//! |---|---|---|
//! | EndTxn v5 and up (KIP-890, `transaction.version` 2) | `e + 1` | 2 |
//! | EndTxn before v5 | `e` | 0 |
//! | the coordinator: time-out, or InitProducerId on an ongoing transaction | `e + 1` | 2 |
//!
//! The producer goes on at the marker's epoch, except when that is 32767, the last there is: then it goes on
//! under a new producer id at epoch 0, while the markers still carry the old id at 32767. So an open transaction
//! of a producer at epoch `e` is closed by a marker of version 0 with an epoch `>= e`, and by one of version 2
//! with an epoch `> e`; anything lower belongs to a transaction that is over (KIP-1228).
//!
//! # Invariants
//!
//! - A decision never changes, and is in the log before anybody hears of it.
//! - `(producer id, epoch)` of a transactional id never goes back; a producer id is never used again.
//! - A transaction is named by its *sequence*, the log index that began it. Time-outs and written markers name
//!   it, so that a late one cannot hit the next transaction.
//! - Requests name `(producer id, epoch)`. One of a finished transaction is refused or answered as the repeat it
//!   is. Clients before KIP-890 use one epoch for many transactions, so a late EndTxn of theirs can end the next
//!   one (KAFKA-17754); that is in their protocol.
#![warn(missing_docs)]

mod command;
mod refusal;
mod state;
mod stored;
#[cfg(test)]
mod tests;
mod transaction;
mod transactions;

pub use command::{
    AddOffsets, AddPartitions, Command, CommitOffsets, DecodeError, EndTransaction, Idle, InitProducerId,
    MarkersWritten, TimeOut,
};
pub use refusal::Refusal;
pub use state::{State, TopicId, TransactionVersion};
pub use transaction::{Partitions, ProducerIdAndEpoch, Transaction};
pub use transactions::{
    Answer, Applied, Changes, KEY_PREFIX, Listing, MarkersDue, MarkersOutcome, RestoreError, Settled,
    Transactions,
};
