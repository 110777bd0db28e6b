//! Linearizable reads: many readers, one round of heartbeats.
//!
//! ReadIndex, never leases: a lease trusts clocks, and a paused process still believes in its own.

use crate::answered::unless_ended;
use crate::error::ReadError;
use crate::types::{LogId, Raft, Types};
use milena_bugs::{Bug, is_on};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};

/// Readers that may wait for the next round; more of them wait for room.
const WAITING: usize = 4096;

type Answer = Result<u64, ReadError>;

/// Asks for read indices of one group.
#[derive(Clone)]
pub(crate) struct Reads {
    ask: mpsc::Sender<oneshot::Sender<Answer>>,
}

impl Reads {
    /// Starts the task that serves the readers; it ends with the last handle.
    pub(crate) fn spawn(raft: Raft, applied: watch::Receiver<Option<LogId>>) -> Reads {
        let (ask, asked) = mpsc::channel(WAITING);
        tokio::spawn(serve(raft, applied, asked));
        Reads { ask }
    }

    /// `None` if the group has stopped.
    pub(crate) async fn index(&self) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.ask.send(answer).await.ok()?;
        answered.await.ok()
    }
}

async fn serve(
    raft: Raft,
    mut applied: watch::Receiver<Option<LogId>>,
    mut asked: mpsc::Receiver<oneshot::Sender<Answer>>,
) {
    let mut readers = Vec::new();
    // Whoever asked before the round began is served by it; who asks during it, by the next.
    while asked.recv_many(&mut readers, WAITING).await > 0 {
        let Some(answer) = round(&raft, &mut applied).await else {
            return;
        };
        for reader in readers.drain(..) {
            // A reader that has gone needs no answer.
            let _ = reader.send(answer.clone());
        }
    }
}

/// One round; `None` once the group has stopped.
async fn round(raft: &Raft, applied: &mut watch::Receiver<Option<LogId>>) -> Option<Answer> {
    let policy = if is_on(Bug::F7) { ReadPolicy::LeaseRead } else { ReadPolicy::ReadIndex };
    let index = match unless_ended(raft, raft.get_read_linearizer(policy)).await? {
        Ok(linearizer) => linearizer.read_log_id().index(),
        Err(RaftError::APIError(error)) => return Some(Err(refused(error))),
        Err(RaftError::Fatal(_)) => return None,
    };
    applied.wait_for(|applied| applied.is_some_and(|applied| applied.index() >= index)).await.ok()?;
    Some(Ok(index))
}

fn refused(error: LinearizableReadError<Types>) -> ReadError {
    match error {
        LinearizableReadError::ForwardToLeader(forward) => ReadError::NotLeader { leader: forward.leader_id },
        LinearizableReadError::QuorumNotEnough(_) => ReadError::NoQuorum,
    }
}
