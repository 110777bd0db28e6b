//! Commands about transactions on their way through Raft. What comes at the same time is proposed together: one
//! message to the Raft core and one write to its log for all of it.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use milena_quorum::{GroupHandle, ProposeError};
use milena_txn::Command;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::coordination::{Answers, Applied, Decided, TRANSACTION};

/// Commands that may wait to be proposed; whoever comes then waits, too.
const QUEUE: usize = 4_096;
/// Most that are proposed together.
const BATCH: usize = 512;
/// Batches on their way at the same time.
const IN_FLIGHT: usize = 16;

/// Why a command has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    /// It was not written.
    #[error("this broker does not coordinate transactions")]
    NotCoordinator,
    /// It may take effect or not.
    #[error("whether the change took effect is not known")]
    Indeterminate,
}

type Outcome = Result<Decided, Unanswered>;

struct Proposal {
    command: Bytes,
    outcome: oneshot::Sender<Outcome>,
}

/// Where commands are proposed. Clones mean the same.
#[derive(Clone)]
pub(crate) struct Proposals(mpsc::Sender<Proposal>);

/// The other end of [`Proposals`], for [`run`].
pub(crate) struct Queue(mpsc::Receiver<Proposal>);

/// A handle, and what the task needs.
pub(crate) fn proposals() -> (Proposals, Queue) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Proposals(sender), Queue(receiver))
}

impl Proposals {
    /// Proposes a command and waits for what applying it answers. Giving up waiting does not withdraw it.
    pub(crate) async fn propose(&self, command: &Command) -> Outcome {
        self.enqueue(command).await?.await
    }

    /// Puts a command behind those that others put here before; the answer comes later.
    pub(crate) async fn enqueue(
        &self,
        command: &Command,
    ) -> Result<impl Future<Output = Outcome> + use<>, Unanswered> {
        let (outcome, proposed) = oneshot::channel();
        let proposal = Proposal { command: framed(command), outcome };
        self.0.send(proposal).await.map_err(|_| Unanswered::NotCoordinator)?;
        Ok(async { proposed.await.unwrap_or(Err(Unanswered::Indeterminate)) })
    }
}

/// As it stands in the log of the group, which holds other commands as well.
fn framed(command: &Command) -> Bytes {
    let encoded = command.encode();
    let mut bytes = BytesMut::with_capacity(1 + encoded.len());
    bytes.put_u8(TRANSACTION);
    bytes.put_slice(&encoded);
    bytes.freeze()
}

/// Proposes until `shutdown`.
pub(crate) async fn run(mut queue: Queue, raft: GroupHandle, answers: Answers, shutdown: CancellationToken) {
    let mut taken = Vec::with_capacity(BATCH);
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(()) = in_flight.next() => {}
            count = queue.0.recv_many(&mut taken, BATCH), if in_flight.len() < IN_FLIGHT => {
                if count == 0 {
                    return;
                }
                in_flight.push(propose(&raft, &answers, std::mem::take(&mut taken)));
            }
        }
    }
}

async fn propose(raft: &GroupHandle, answers: &Answers, proposals: Vec<Proposal>) {
    let (commands, waiting): (Vec<_>, Vec<_>) =
        proposals.into_iter().map(|proposal| (proposal.command, proposal.outcome)).unzip();
    let outcomes = raft.propose_many(commands).await;
    for (outcome, waiting) in outcomes.into_iter().zip(waiting) {
        let outcome = match outcome {
            Ok(applied) => match answers.take(applied.index) {
                Some(Applied::Transaction(decided)) => Ok(decided),
                Some(Applied::Group(_)) | None => Err(Unanswered::Indeterminate),
            },
            Err(ProposeError::NotLeader { .. }) => Err(Unanswered::NotCoordinator),
            Err(_) => Err(Unanswered::Indeterminate),
        };
        // Who gave up does not listen.
        let _ = waiting.send(outcome);
    }
}
