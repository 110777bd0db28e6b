//! The handle of a running group: propose, read, watch, change members.

use crate::answered::{ended, unless_ended};
use crate::error::{ChangeError, ProposeError, ReadError};
use crate::id::{GroupId, NodeId};
use crate::inbound::Inbound;
use crate::reads::Reads;
use crate::state::Keeper;
use crate::status::{GroupStatus, LeaderInfo, ReplicaStatus, Vitals};
use crate::types::{Command, LogId, Raft, Types};
use crate::wal::Wal;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::raft::{TransferLeaderRequest, WriteResult};
use openraft::{ChangeMembers, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;

/// Commands that may be on their way, in KiB of their bytes. Beyond it, proposers wait.
pub(crate) const PROPOSED_KIB: usize = 64 << 10;

/// A command that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its position in the group's log.
    pub index: u64,
    /// The term in which it was written.
    pub term: u64,
    /// What the state machine answered.
    pub answer: Bytes,
}

/// A running group on this node. Clones are cheap and mean the same group.
#[derive(Clone)]
pub struct GroupHandle {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub group: GroupId,
    pub node: NodeId,
    pub raft: Raft,
    pub wal: Arc<Wal>,
    pub keeper: Arc<Keeper>,
    pub leader: watch::Receiver<LeaderInfo>,
    pub applied: watch::Receiver<Option<LogId>>,
    pub reads: Reads,
    pub inbound: Inbound,
    pub tasks: Mutex<Vec<AbortHandle>>,
    pub room: Arc<Semaphore>,
    /// Why the disk stopped the group, once that was asked.
    pub failure: OnceLock<String>,
    /// Whether it was told to stop before it stopped by itself.
    pub is_shut_down: AtomicBool,
}

type Outcomes = BoxStream<'static, Result<WriteResult<Types>, Fatal<Types>>>;

/// A command that was handed in, and has its place in the log if it gets there at all.
pub struct Submitted {
    handle: GroupHandle,
    outcome: Outcomes,
    /// Taken until the outcome is known.
    _room: OwnedSemaphorePermit,
}

impl Submitted {
    /// Waits until the command is applied here, or lost.
    pub async fn outcome(mut self) -> Result<Applied, ProposeError> {
        self.handle.next(&mut self.outcome).await
    }
}

impl GroupHandle {
    pub(crate) fn new(inner: Inner) -> GroupHandle {
        GroupHandle { inner: Arc::new(inner) }
    }

    /// The group's id.
    pub fn id(&self) -> GroupId {
        self.inner.group
    }

    /// The node this is.
    pub fn node_id(&self) -> NodeId {
        self.inner.node
    }

    /// Proposes a command and waits until it is applied here. Waits as well while too much is on
    /// its way. There is no time-out: a leader cut off from the others keeps what it accepted
    /// until it hears of the next one. Giving up waiting does not withdraw the command.
    pub async fn propose(&self, command: Bytes) -> Result<Applied, ProposeError> {
        self.submit(command).await?.outcome().await
    }

    /// Hands a command in and does not wait for what becomes of it: of two commands, the one whose
    /// `submit` returned before the other's was called comes first in the log. Waits only while
    /// too much is on its way.
    pub async fn submit(&self, command: Bytes) -> Result<Submitted, ProposeError> {
        let room = self.room_for(&command).await?;
        match self.inner.raft.client_write_many([Command(command)]).await {
            Ok(outcome) => Ok(Submitted { handle: self.clone(), outcome, _room: room }),
            Err(fatal) => Err(ProposeError::Stopped { reason: self.why(&fatal) }),
        }
    }

    /// Proposes commands together, in order. Each has its own outcome; there is no atomicity
    /// between them.
    pub async fn propose_many(&self, commands: Vec<Bytes>) -> Vec<Result<Applied, ProposeError>> {
        let count = commands.len();
        let all_failed = |error: ProposeError| std::iter::repeat_n(Err(error), count).collect();
        let mut room = Vec::new();
        for command in &commands {
            match self.room_for(command).await {
                Ok(permit) => room.push(permit),
                Err(error) => return all_failed(error),
            }
        }
        let mut answers = match self.inner.raft.client_write_many(commands.into_iter().map(Command)).await {
            Ok(answers) => answers,
            Err(fatal) => return all_failed(ProposeError::Stopped { reason: self.why(&fatal) }),
        };
        let mut outcomes = Vec::with_capacity(count);
        while outcomes.len() < count {
            match self.next(&mut answers).await {
                // So have all behind it.
                Err(stopped @ ProposeError::Stopped { .. }) => outcomes.resize(count, Err(stopped)),
                outcome => outcomes.push(outcome),
            }
        }
        outcomes
    }

    /// Waits until this node, as the leader, has applied everything that was committed when the
    /// call was made; reads of the state machine are then linearizable. Answers the index.
    /// Concurrent callers share one round of heartbeats.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        match unless_ended(&self.inner.raft, self.inner.reads.index()).await.flatten() {
            Some(answer) => answer,
            None => Err(ReadError::Stopped { reason: self.end() }),
        }
    }

    /// Who leads, now and later.
    pub fn leader(&self) -> watch::Receiver<LeaderInfo> {
        self.inner.leader.clone()
    }

    /// Index of the last applied entry, 0 before the first.
    pub fn applied_index(&self) -> u64 {
        self.inner.applied.borrow().map_or(0, |at| at.index())
    }

    /// Waits until the entry at `index` is applied here, as leader or follower. `false` if the
    /// group stopped before.
    pub async fn wait_applied(&self, index: u64) -> bool {
        let mut applied = self.inner.applied.clone();
        applied.wait_for(|at| at.is_some_and(|at| at.index() >= index)).await.is_ok()
    }

    /// What this node knows about the group.
    pub fn status(&self) -> GroupStatus {
        let metrics = self.inner.raft.metrics();
        let now = metrics.borrow_watched();
        let membership = now.membership_config.membership();
        let mut replicas = BTreeMap::new();
        if let Some(replication) = &now.replication {
            for (node, matched) in replication {
                let heard = now.heartbeat.as_ref().and_then(|heard| heard.get(node).copied().flatten());
                let silent_for = heard.filter(|_| *node != self.inner.node).map(|at| at.elapsed());
                replicas
                    .insert(*node, ReplicaStatus { matched_index: matched.map(|at| at.index()), silent_for });
            }
        }
        GroupStatus {
            group: self.inner.group,
            leader: now.current_leader,
            term: now.current_term,
            last_index: now.last_log_index,
            committed_index: now.local_committed.map(|at| at.index()),
            applied_index: now.last_applied.map(|at| at.index()),
            snapshot_index: now.snapshot.map(|at| at.index()),
            purged_index: now.purged.map(|at| at.index()),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            replicas,
        }
    }

    /// What beats tell of the group.
    pub fn vitals(&self) -> Vitals {
        let leader = *self.inner.leader.borrow();
        let metrics = self.inner.raft.data_metrics();
        let now = metrics.borrow_watched();
        let last_log = now.last_log.map(|at| (at.committed_leader_id().term, at.index()));
        let metrics = self.inner.raft.server_metrics();
        let is_quorum = metrics.borrow_watched().membership_config.voter_ids().eq([self.inner.node]);
        let quorum_acked_ago = match &now.last_quorum_acked {
            _ if !leader.is_self => None,
            // It needs nobody's acknowledgement.
            _ if is_quorum => Some(Duration::ZERO),
            acked => acked.as_ref().map(|acked| acked.elapsed()),
        };
        Vitals { leader, last_log, quorum_acked_ago }
    }

    /// Adds a member that listens and does not vote; waits until it has nearly caught up. The
    /// network must be able to reach it already. Only the leader can.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), ChangeError> {
        self.changed(self.inner.raft.add_learner(node, (), true)).await
    }

    /// Makes exactly `voters` the voters: learners among them are promoted, other voters leave
    /// the group. Goes through a joint configuration and returns when it is left.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        self.changed(self.inner.raft.change_membership(voters, false)).await
    }

    /// Makes exactly `voters` the voters; those who were and are no longer stay on as learners.
    pub async fn keep_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        self.changed(self.inner.raft.change_membership(voters, true)).await
    }

    /// Removes learners.
    pub async fn remove_learners(&self, nodes: BTreeSet<NodeId>) -> Result<(), ChangeError> {
        self.changed(self.inner.raft.change_membership(ChangeMembers::RemoveNodes(nodes), false)).await
    }

    /// Hands the leadership to `to`, if it is up to date. Watch [`GroupHandle::leader`] for the
    /// outcome: until somebody else leads, nothing is taken in here any more. So it is refused for who cannot be elected.
    pub async fn transfer_leadership(&self, to: NodeId) -> Result<(), ChangeError> {
        if to == self.inner.node || !self.status().voters.contains(&to) {
            return Err(ChangeError::Refused(format!("node {to} is no other voter of {}", self.inner.group)));
        }
        let stopped = |fatal| ChangeError::Stopped { reason: self.why(&fatal) };
        self.inner.raft.trigger().transfer_leader(to).await.map_err(stopped)
    }

    /// On evidence that the leader is dead (its connections were refused, or a majority finds it
    /// silent): stops honouring its lease, and `successor` campaigns at once. To be called on every
    /// survivor with the same successor, the one with the longest log: others cannot win. Wrong
    /// evidence only costs a living leader its office.
    pub async fn leader_died(&self, leader: NodeId, successor: NodeId) -> Result<(), ChangeError> {
        let vote = {
            let metrics = self.inner.raft.server_metrics();
            let now = metrics.borrow_watched();
            if now.current_leader != Some(leader) {
                return Ok(());
            }
            now.vote
        };
        let request = TransferLeaderRequest::new(vote, successor, None);
        match unless_ended(&self.inner.raft, self.inner.raft.handle_transfer_leader(request)).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(ChangeError::Refused(error.to_string())),
            Some(Err(fatal)) => Err(ChangeError::Stopped { reason: self.why(&fatal) }),
            None => Err(ChangeError::Stopped { reason: self.end() }),
        }
    }

    /// Asks for a snapshot now, without waiting for it.
    pub async fn trigger_snapshot(&self) -> Result<(), ChangeError> {
        let stopped = |fatal| ChangeError::Stopped { reason: self.why(&fatal) };
        self.inner.raft.trigger().snapshot().await.map_err(stopped)
    }

    /// Why the group stopped by itself; `None` while it runs, and after a shutdown.
    pub fn stop_reason(&self) -> Option<String> {
        self.disk_failure().or_else(|| self.fatal())
    }

    /// Waits until the group stops, and says why: a fault, or `shutdown`.
    pub async fn stopped(&self) -> String {
        tokio::select! {
            () = ended(&self.inner.raft) => {}
            // The core hears of it with the next entry, which may be long in coming.
            () = self.inner.keeper.ended() => {}
        }
        self.end()
    }

    /// Stops the group: proposals fail, state is stored and flushed.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        if ended(&inner.raft).now_or_never().is_none() {
            inner.is_shut_down.store(true, Ordering::Release);
        }
        inner.inbound.remove(inner.group);
        // An error means that the core had panicked, which it has logged.
        let _ = inner.raft.shutdown().await;
        for task in inner.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
        if let Err(error) = inner.keeper.stop().await {
            tracing::warn!(group = %inner.group, %error, "applied state not flushed at shutdown");
        }
    }

    /// The next outcome of commands that were handed in.
    async fn next(&self, outcomes: &mut Outcomes) -> Result<Applied, ProposeError> {
        match unless_ended(&self.inner.raft, outcomes.next()).await.flatten() {
            Some(Ok(Ok(done))) => Ok(applied(done.log_id, done.response)),
            Some(Ok(Err(error))) => Err(not_applied(error)),
            Some(Err(fatal)) => Err(ProposeError::Stopped { reason: self.why(&fatal) }),
            None => Err(ProposeError::Stopped { reason: self.end() }),
        }
    }

    async fn room_for(&self, command: &Bytes) -> Result<OwnedSemaphorePermit, ProposeError> {
        if command.len() > crate::MAX_COMMAND {
            return Err(ProposeError::TooLarge { size: command.len(), max: crate::MAX_COMMAND });
        }
        let permits = (command.len() / 1024 + 1) as u32;
        let room = self.inner.room.clone().acquire_many_owned(permits).await;
        room.map_err(|_| ProposeError::Stopped { reason: shutdown() })
    }

    async fn changed<T>(
        &self,
        change: impl Future<Output = Result<T, RaftError<Types, ClientWriteError<Types>>>>,
    ) -> Result<(), ChangeError> {
        match unless_ended(&self.inner.raft, change).await {
            Some(Ok(_)) => Ok(()),
            None => Err(ChangeError::Stopped { reason: self.end() }),
            Some(Err(RaftError::Fatal(fatal))) => Err(ChangeError::Stopped { reason: self.why(&fatal) }),
            Some(Err(RaftError::APIError(error))) => Err(match error {
                ClientWriteError::ForwardToLeader(forward) => {
                    ChangeError::NotLeader { leader: forward.leader_id }
                }
                ClientWriteError::LogEntryDiscarded(_) => ChangeError::Indeterminate,
                other => ChangeError::Refused(other.to_string()),
            }),
        }
    }

    /// What is said of a group that has stopped.
    fn end(&self) -> String {
        let was_told = || self.inner.is_shut_down.load(Ordering::Acquire);
        self.stop_reason().unwrap_or_else(|| if was_told() { shutdown() } else { PANICKED.to_owned() })
    }

    fn why(&self, fatal: &Fatal<Types>) -> String {
        match (self.disk_failure(), fatal) {
            (Some(reason), _) => reason,
            // Whoever comes after the first is told only that it has stopped.
            (None, Fatal::Stopped | Fatal::Panicked) => self.end(),
            (None, other) => other.to_string(),
        }
    }

    fn fatal(&self) -> Option<String> {
        let metrics = self.inner.raft.metrics();
        match &metrics.borrow_watched().running_state {
            Ok(()) | Err(Fatal::Stopped) => None,
            Err(fatal) => Some(fatal.to_string()),
        }
    }

    fn disk_failure(&self) -> Option<String> {
        // The first one counts: a disk that fails one of them soon fails the other.
        let found = self.inner.wal.failure().or_else(|| self.inner.keeper.failure())?;
        Some(self.inner.failure.get_or_init(|| found).clone())
    }
}

/// What is said of a group that neither was told to stop nor has told why it did.
const PANICKED: &str = "the consensus core has panicked";

/// What is said of a group that was told to stop.
pub(crate) fn shutdown() -> String {
    "shutdown".to_owned()
}

fn applied(at: LogId, answer: Bytes) -> Applied {
    Applied { index: at.index(), term: at.committed_leader_id().term, answer }
}

fn not_applied(error: ClientWriteError<Types>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader { leader: forward.leader_id },
        // The other kinds belong to membership changes and preconditions, which commands have not.
        _ => ProposeError::Indeterminate,
    }
}

#[cfg(test)]
mod tests;
