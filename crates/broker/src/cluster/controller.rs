//! Changes to the cluster's metadata: decide on the newest image, agree through Raft, or decide again.

use std::sync::Arc;

use milena_metadata::decide::Decision;
use milena_metadata::{Command, Image, Outcome};
use milena_quorum::{GroupHandle, ProposeError};
use tokio::sync::Mutex;

use super::Committed;

/// Where metadata is changed. On the Raft leader changes take effect one after the other.
#[derive(Clone)]
pub(crate) struct Controller {
    raft: GroupHandle,
    committed: Committed,
    turn: Arc<Mutex<()>>,
}

/// A change that was agreed on, or that turned out to need none.
pub(crate) struct Changed<T> {
    /// What the decision answered.
    pub(crate) answer: T,
    /// The image of this index has it.
    pub(crate) index: u64,
}

/// Why nothing was agreed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError<R> {
    /// The change is not allowed.
    #[error(transparent)]
    Refused(R),
    /// Another broker must decide.
    #[error("this broker is not the controller")]
    NotController,
    /// It may or may not take effect.
    #[error("the metadata quorum did not answer: {0}")]
    Unknown(String),
}

impl Controller {
    /// Changes go through `raft` and come out in `committed`.
    pub(crate) fn new(raft: GroupHandle, committed: Committed) -> Self {
        Self { raft, committed, turn: Arc::default() }
    }

    /// The newest committed image.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.committed.image()
    }

    /// Makes one change. `decide` may be called several times, each time with a newer image.
    pub(crate) async fn change<T, R>(
        &self,
        mut decide: impl FnMut(&Image) -> Result<Decision<T>, R>,
    ) -> Result<Changed<T>, ChangeError<R>> {
        // One at a time, so that decisions rarely go stale.
        let _turn = self.turn.lock().await;
        loop {
            let image = self.committed.image();
            let Decision { records, answer } = decide(&image).map_err(ChangeError::Refused)?;
            if records.is_empty() {
                return Ok(Changed { answer, index: image.index() });
            }
            let command = Command { decided_at: image.index(), records }.encode();
            match self.raft.propose(command).await {
                Ok(applied) if Outcome::decode(&applied.answer) == Some(Outcome::Applied) => {
                    return Ok(Changed { answer, index: applied.index });
                }
                Ok(_) => {}
                Err(ProposeError::NotLeader { .. }) => return Err(ChangeError::NotController),
                Err(error) => return Err(ChangeError::Unknown(error.to_string())),
            }
        }
    }
}
