//! Consumer groups as the broker runs them: the replicated state behind Raft, the coordinator's reactions in
//! one task, and the requests of connections in between.
//!
//! Decisions are made in `milena-group`. Here is what needs a clock, a channel or a log.

mod machine;
mod orphans;
mod task;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use milena_group::{
    CommitOffsets, DeleteGroup, DeleteOffsets, Event, Groups, Heartbeat, Join, Leave, Refusal, Reply,
    RequestId, Sync, TopicId,
};
use milena_quorum::GroupHandle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(crate) use machine::{Answers, Applied, CoordinationMachine, CoordinationState, Decided, TRANSACTION};
pub(crate) use orphans::run as remove_orphans;
pub(crate) use task::run;

/// Requests that may wait for the coordinator's task to take them.
const QUEUE: usize = 4_096;

/// What connections ask of the coordinator.
#[derive(Clone)]
pub(crate) struct Coordination {
    calls: mpsc::Sender<Call>,
    next_request: Arc<AtomicU64>,
    groups: Arc<RwLock<Groups>>,
    raft: GroupHandle,
    /// `offsets.commit.timeout.ms`.
    patience: Duration,
}

/// The other end of [`Coordination`], for the task.
pub(crate) struct Calls(mpsc::Receiver<Call>);

enum Call {
    /// To be answered.
    Request(Event, RequestId, oneshot::Sender<Reply>),
    /// Whoever waited for it is gone.
    Abandoned(RequestId),
    /// Not to be answered.
    Notice(Event),
    /// A look at groups with their volatile state.
    View(View),
}

/// A question about groups that the coordinator answers from what it knows.
pub(crate) enum View {
    /// DescribeGroups.
    Describe(Vec<String>, oneshot::Sender<Vec<Option<milena_group::Description>>>),
    /// ListGroups: states and types to keep, all if empty.
    List(Vec<String>, Vec<String>, oneshot::Sender<Vec<milena_group::ListedGroup>>),
}

impl Coordination {
    /// A handle and what the task needs. What must be agreed on with other voters, or stored on a disk that is full, is
    /// answered with COORDINATOR_NOT_AVAILABLE after `patience`, as Kafka does; it may take effect later.
    pub(crate) fn new(groups: Arc<RwLock<Groups>>, raft: GroupHandle, patience: Duration) -> (Self, Calls) {
        let (calls, queue) = mpsc::channel(QUEUE);
        (Self { calls, next_request: Arc::default(), groups, raft, patience }, Calls(queue))
    }

    /// JoinGroup; waits for the other members.
    pub(crate) async fn join(&self, join: Join) -> Result<milena_group::Joined, milena_group::JoinRefused> {
        let member_id = join.member_id.clone();
        match self.call(|id| Event::Join(id, join)).await {
            Some(Reply::Join(result)) => result,
            _ => Err(milena_group::JoinRefused { refusal: Refusal::NotCoordinator, member_id }),
        }
    }

    /// SyncGroup; waits for the leader's assignment.
    pub(crate) async fn sync(&self, sync: Sync) -> Result<milena_group::Synced, Refusal> {
        match self.call(|id| Event::Sync(id, sync)).await {
            Some(Reply::Sync(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// Heartbeat.
    pub(crate) async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<(), Refusal> {
        match self.call(|id| Event::Heartbeat(id, heartbeat)).await {
            Some(Reply::Heartbeat(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// LeaveGroup.
    pub(crate) async fn leave(&self, leave: Leave) -> Result<Vec<milena_group::LeftMember>, Refusal> {
        match self.call_in_time(|id| Event::Leave(id, leave)).await? {
            Some(Reply::Leave(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// OffsetCommit; answers when the commit is durable.
    pub(crate) async fn commit(&self, commit: CommitOffsets) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        match self.call_in_time(|id| Event::CommitOffsets(id, commit)).await? {
            Some(Reply::CommitOffsets(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// OffsetDelete.
    pub(crate) async fn delete_offsets(
        &self,
        delete: DeleteOffsets,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        match self.call_in_time(|id| Event::DeleteOffsets(id, delete)).await? {
            Some(Reply::DeleteOffsets(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// DeleteGroups, one group.
    pub(crate) async fn delete_group(&self, group: String) -> Result<(), Refusal> {
        match self.call_in_time(|id| Event::DeleteGroup(id, DeleteGroup { group })).await? {
            Some(Reply::DeleteGroup(result)) => result,
            _ => Err(Refusal::NotCoordinator),
        }
    }

    /// Topics with committed offsets that are not among the known ones.
    pub(crate) fn topics_except(&self, is_known: impl Fn(&TopicId) -> bool) -> Vec<TopicId> {
        let mut topics: Vec<_> = self.groups.read().unwrap().topic_ids().into_iter().collect();
        topics.retain(|id| !is_known(id));
        topics
    }

    /// These topics are gone; their committed offsets go too.
    pub(crate) async fn topics_deleted(&self, topics: Vec<TopicId>) {
        let _ = self.calls.send(Call::Notice(Event::TopicsDeleted(topics))).await;
    }

    /// DescribeGroups: one entry per name, `None` for a group that does not exist.
    pub(crate) async fn describe(
        &self,
        groups: Vec<String>,
    ) -> Result<Vec<Option<milena_group::Description>>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.view(View::Describe(groups, answer), answered).await
    }

    /// ListGroups: what this broker coordinates, which is nothing while another one does. That is no refusal, as clients
    /// ask every broker and give up on any error; only while nobody coordinates they shall ask again.
    pub(crate) async fn list(
        &self,
        states: Vec<String>,
        types: Vec<String>,
    ) -> Result<Vec<milena_group::ListedGroup>, Refusal> {
        if self.is_elsewhere() {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        match self.view(View::List(states, types, answer), answered).await {
            // Another one coordinates by now.
            Err(_) if self.is_elsewhere() => Ok(Vec::new()),
            Err(_) => Err(Refusal::CoordinatorNotAvailable),
            listed => listed,
        }
    }

    /// Another broker is known to be the coordinator.
    fn is_elsewhere(&self) -> bool {
        let leader = self.raft.leader().borrow().leader;
        leader.is_some_and(|leader| leader != self.raft.node_id())
    }

    /// The state with every commit that was acknowledged before this call (OF-1, rule G2: a read index, not
    /// a plain local read).
    pub(crate) async fn read(&self) -> Result<RwLockReadGuard<'_, Groups>, Refusal> {
        self.catch_up().await?;
        Ok(self.groups.read().unwrap())
    }

    /// Waits until this broker knows all that was acknowledged. One that reaches no other voter does not learn whether
    /// it coordinates.
    async fn catch_up(&self) -> Result<(), Refusal> {
        match timeout(self.patience, self.raft.read_index()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::NotCoordinator),
        }
    }

    async fn view<T>(&self, view: View, answered: oneshot::Receiver<T>) -> Result<T, Refusal> {
        self.catch_up().await?;
        let _ = self.calls.send(Call::View(view)).await;
        answered.await.map_err(|_| Refusal::NotCoordinator)
    }

    /// A call that waits for nothing but the log.
    async fn call_in_time(&self, event: impl FnOnce(RequestId) -> Event) -> Result<Option<Reply>, Refusal> {
        timeout(self.patience, self.call(event)).await.map_err(|_| Refusal::CoordinatorNotAvailable)
    }

    async fn call(&self, event: impl FnOnce(RequestId) -> Event) -> Option<Reply> {
        let id = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        let (reply, replied) = oneshot::channel();
        self.calls.send(Call::Request(event(id), id, reply)).await.ok()?;
        let mut guard = Abandon { calls: &self.calls, id: Some(id) };
        let reply = replied.await.ok();
        guard.id = None;
        reply
    }
}

/// Tells the coordinator that nobody waits any more when a connection goes away in the middle of a request, so
/// that a parked join does not hold up a rebalance. Commits stay in their queue, which keeps their order (G10).
struct Abandon<'a> {
    calls: &'a mpsc::Sender<Call>,
    id: Option<RequestId>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // A full queue loses the notice; then the reply goes nowhere, which is harmless.
            let _ = self.calls.try_send(Call::Abandoned(id));
        }
    }
}
