//! What can go wrong with files. A fault takes the partition offline; a full disk can be told from it by kind.

use std::io;
use std::path::{Path, PathBuf};

use milena_records::Offset;

/// A fault of the log: what was done, where, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}{}: {source}", path.display(), At(*offset))]
    Io {
        /// What was attempted, as a verb: `append to`, `sync`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// First offset concerned, if one is.
        offset: Option<Offset>,
        /// The system's answer.
        source: io::Error,
    },
    /// A file holds something that its writer cannot have written, or no longer holds what was durable.
    #[error("{} is damaged at position {position}: {damage}; {}", path.display(), damage.advice())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Byte where the unreadable part begins.
        position: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A batch handed to append does not begin at or after the log's end.
    #[error("batch {base}..={last} cannot follow log end offset {end} in {}", dir.display())]
    OutOfOrder {
        /// The partition's directory.
        dir: PathBuf,
        /// First offset of the batch.
        base: Offset,
        /// Its last offset.
        last: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// An earlier fault left the log in an unknown state; only opening it again helps.
    #[error("log {} is offline after an earlier fault", dir.display())]
    Offline {
        /// The partition's directory.
        dir: PathBuf,
    },
}

/// Kinds of damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The checksum of a batch does not match its bytes.
    #[error("crc {found:08x} computed, {stored:08x} stored in the batch at offset {offset}")]
    Crc {
        /// Base offset that the batch claims.
        offset: Offset,
        /// What its header says.
        stored: u32,
        /// What its bytes give.
        found: u32,
    },
    /// No batch header can be here.
    #[error("no batch header: {0}")]
    Header(String),
    /// The records of a batch cannot be read.
    #[error("records that cannot be read: {0}")]
    Records(String),
    /// A whole batch, but not one that belongs here.
    #[error("batch at offset {found}, expected {expected} or later")]
    Misplaced {
        /// Least base offset that may come here.
        expected: Offset,
        /// The one found.
        found: Offset,
    },
    /// The file ends inside a batch or before the recovery point.
    #[error("the file ends at {len}, {missing} bytes short")]
    Short {
        /// Bytes there are.
        len: u64,
        /// Bytes lacking.
        missing: u64,
    },
    /// A segment is missing between two others.
    #[error("no segment holds offsets {from}..{to}")]
    Gap {
        /// First missing offset.
        from: Offset,
        /// First offset there is again.
        to: Offset,
    },
    /// A small text file (checkpoint, metadata) that does not parse.
    #[error("{0}")]
    Text(String),
}

impl Damage {
    /// What an operator does about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Text(_) => "restore the file from a replica or a backup, or remove it if it may be rebuilt",
            _ => {
                "this part had been durable or is followed by valid batches, so it is not cut off: restore the \
                 partition's directory from a replica or a backup, or open it once with damage accepted to lose \
                 everything from there on"
            }
        }
    }
}

impl Error {
    /// Whether the disk or a quota is full: nothing is broken, and the same call may succeed later.
    pub fn is_full(&self) -> bool {
        self.io_kind().is_some_and(|kind| {
            matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        })
    }

    /// The system's answer, if it was the system that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Turns an `io::Error` into one that says what was attempted.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), offset: None, source }
    }
}

/// Why a read gives no data.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies before the log start offset or after the log end offset (FE-5).
    #[error("offset {requested} is outside of {start}..={end}")]
    OutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// Log start offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Fault(#[from] Error),
}

struct At(Option<Offset>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " at offset {offset}"),
            None => Ok(()),
        }
    }
}
