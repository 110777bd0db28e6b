//! Changes to the cluster's metadata, from any broker: decide on the newest image here, agree through Raft, or
//! decide again.
//!
//! A command carries the index of the image that it was decided on and does nothing on any other, so whoever
//! decides may be any broker: only the command travels to the Raft leader. The same command may also be sent
//! again when an answer was lost; the state remembers, on every broker, which commands took effect.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_metadata::decide::Decision;
use milena_metadata::{Command, Image, Outcome};
use milena_peer::Peers;
use milena_peer::message::{ProposeRequest, ReadIndexRequest, propose_response, read_index_response};
use milena_quorum::{GroupHandle, NodeId, ProposeError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::Committed;

/// Longest that one change takes, elections of a leader included. Clients give up after 30 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest for one answer of the leader; afterwards another may be leader.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Before a leader that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Where metadata is changed. Changes of one broker take effect one after the other.
#[derive(Clone)]
pub(crate) struct Controller {
    raft: GroupHandle,
    peers: Option<Peers>,
    committed: Committed,
    turn: Arc<Mutex<()>>,
}

/// A change that was agreed on, or that turned out to need none.
pub(crate) struct Changed<T> {
    /// What the decision answered.
    pub(crate) answer: T,
    /// The image of this index has it; this broker's does.
    pub(crate) index: u64,
}

/// Why nothing was agreed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError<R> {
    /// The change is not allowed.
    #[error(transparent)]
    Refused(R),
    /// Nothing was agreed on in time. It may or may not take effect.
    #[error("the metadata quorum did not answer: {0}")]
    Unknown(String),
}

/// What became of one attempt.
enum Attempt {
    Applied {
        index: u64,
    },
    /// It was decided on another state than the one at `index`.
    Stale {
        index: u64,
    },
    /// Nobody wrote it.
    NotTaken {
        reason: String,
    },
    /// It may have been written.
    Lost {
        reason: String,
    },
    /// It can never be.
    Refused {
        reason: String,
    },
}

impl Controller {
    /// Changes go through `raft`, here or by way of `peers`, and come out in `committed`.
    pub(crate) fn new(raft: GroupHandle, peers: Option<Peers>, committed: Committed) -> Self {
        Self { raft, peers, committed, turn: Arc::default() }
    }

    /// The newest committed image.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.committed.image()
    }

    /// The broker that leads the metadata quorum, as far as this one knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.leader().borrow().leader
    }

    /// Makes one change. `decide` may be called several times, each time with a newer image.
    pub(crate) async fn change<T, R>(
        &self,
        mut decide: impl FnMut(&Image) -> Result<Decision<T>, R>,
    ) -> Result<Changed<T>, ChangeError<R>> {
        let deadline = Instant::now() + PATIENCE;
        // One at a time, so that decisions rarely go stale.
        let _turn = timeout_at(deadline, self.turn.lock())
            .await
            .map_err(|_| ChangeError::Unknown("too many changes are waiting".to_owned()))?;
        loop {
            let image = self.committed.image();
            let Decision { records, answer } = decide(&image).map_err(ChangeError::Refused)?;
            if records.is_empty() {
                return Ok(Changed { answer, index: image.index() });
            }
            let command = Command { decided_at: image.index(), records }.encode();
            if let Some(index) = self.agree(&command, deadline).await.map_err(ChangeError::Unknown)? {
                return Ok(Changed { answer, index });
            }
        }
    }

    /// Waits until this broker has applied everything that was committed when the call was made.
    pub(crate) async fn catch_up(&self, deadline: Instant) -> Result<(), String> {
        let mut reason = "no leader is known".to_owned();
        while Instant::now() < deadline {
            match self.read_index().await {
                Ok(index) => {
                    let applied = timeout_at(deadline, self.raft.wait_applied(index)).await;
                    return match applied {
                        Ok(true) => Ok(()),
                        Ok(false) => Err("the metadata quorum has stopped here".to_owned()),
                        Err(_) => Err(format!("this broker has not caught up with index {index}")),
                    };
                }
                Err(why) => reason = why,
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(reason)
    }

    async fn read_index(&self) -> Result<u64, String> {
        let leader = self.leader().ok_or("no leader is known")?;
        if leader == self.raft.node_id() {
            let index = timeout(ATTEMPT, self.raft.read_index()).await;
            return index.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string());
        }
        let peers = self.peers.as_ref().ok_or("this node has no peers")?;
        let request = ReadIndexRequest { group: self.raft.id().0.into() };
        let answer = peers.read_index(leader, request, ATTEMPT).await.map_err(|error| error.to_string())?;
        match answer.outcome {
            Some(read_index_response::Outcome::Index(index)) => Ok(index),
            Some(read_index_response::Outcome::NotLeader(_)) => Err(format!("node {leader} does not lead")),
            Some(read_index_response::Outcome::Failed(reason)) => Err(reason),
            None => Err(format!("node {leader} gave no answer")),
        }
    }

    /// Brings a command through. `None`: it was decided on an old image, and a newer one is here now.
    async fn agree(&self, command: &Bytes, deadline: Instant) -> Result<Option<u64>, String> {
        let mut last = "no leader was elected in time".to_owned();
        let mut may_be_written = false;
        while Instant::now() < deadline {
            let Some(leader) = self.elected(deadline).await else { break };
            let attempt = tokio::select! {
                attempt = self.attempt(leader, command) => attempt,
                // A leader that hangs does not hold up what its successor can do.
                () = self.succeeded(leader) => Attempt::Lost { reason: format!("node {leader} no longer leads") },
            };
            match attempt {
                Attempt::Applied { index } => {
                    self.applied_here(index, deadline).await?;
                    return Ok(Some(index));
                }
                Attempt::Stale { index } => {
                    self.applied_here(index, deadline).await?;
                    // An earlier attempt may have been the one that made it stale.
                    return Ok(if may_be_written { self.committed.applied_at(command) } else { None });
                }
                Attempt::NotTaken { reason } => last = reason,
                Attempt::Lost { reason } => {
                    may_be_written = true;
                    last = reason;
                }
                Attempt::Refused { reason } => return Err(reason),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(last)
    }

    /// Waits for a leader.
    async fn elected(&self, deadline: Instant) -> Option<NodeId> {
        let mut leader = self.raft.leader();
        let found = timeout_at(deadline, leader.wait_for(|now| now.leader.is_some())).await;
        found.ok()?.ok()?.leader
    }

    /// Waits until somebody else leads.
    async fn succeeded(&self, leader: NodeId) {
        let mut watched = self.raft.leader();
        // The group's end comes out in the attempt.
        if watched.wait_for(|now| now.leader.is_some_and(|now| now != leader)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn attempt(&self, leader: NodeId, command: &Bytes) -> Attempt {
        if leader == self.raft.node_id() {
            self.propose_here(command).await
        } else {
            self.propose_there(leader, command).await
        }
    }

    async fn propose_here(&self, command: &Bytes) -> Attempt {
        match timeout(ATTEMPT, self.raft.propose(command.clone())).await {
            Ok(Ok(done)) => outcome(done.index, &done.answer),
            Ok(Err(error @ ProposeError::NotLeader { .. })) => {
                Attempt::NotTaken { reason: error.to_string() }
            }
            Ok(Err(error @ ProposeError::Indeterminate)) => Attempt::Lost { reason: error.to_string() },
            Ok(Err(error)) => Attempt::Refused { reason: error.to_string() },
            Err(_) => Attempt::Lost { reason: "the other voters did not answer in time".to_owned() },
        }
    }

    async fn propose_there(&self, leader: NodeId, command: &Bytes) -> Attempt {
        use propose_response::Outcome;
        let Some(peers) = &self.peers else {
            return Attempt::NotTaken { reason: format!("node {leader} leads, but this node has no peers") };
        };
        let request = ProposeRequest { group: self.raft.id().0.into(), command: command.clone() };
        let lost = |reason| Attempt::Lost { reason };
        match peers.propose(leader, request, ATTEMPT).await {
            Ok(answer) => match answer.outcome {
                Some(Outcome::Applied(done)) => outcome(done.index, &done.answer),
                Some(Outcome::NotLeader(_)) => {
                    Attempt::NotTaken { reason: format!("node {leader} no longer leads") }
                }
                Some(Outcome::Indeterminate(reason)) => lost(reason),
                Some(Outcome::Refused(reason)) => Attempt::Refused { reason },
                None => lost(format!("node {leader} gave no answer")),
            },
            Err(error) => lost(error.to_string()),
        }
    }

    async fn applied_here(&self, index: u64, deadline: Instant) -> Result<(), String> {
        match timeout_at(deadline, self.raft.wait_applied(index)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the metadata quorum has stopped here".to_owned()),
            Err(_) => Err(format!("the change is agreed on at index {index}, but not applied here in time")),
        }
    }
}

fn outcome(index: u64, answer: &[u8]) -> Attempt {
    match Outcome::decode(answer) {
        Some(Outcome::Applied) => Attempt::Applied { index },
        // Whatever another release answers, a new decision is safe.
        Some(Outcome::Stale) | None => Attempt::Stale { index },
    }
}
