//! The coordinator's task: feeds events to the pure [`Coordinator`] and performs its effects.
//!
//! It exists on every broker and coordinates while this broker leads the `coordination` group. A term that
//! ends takes its coordinator with it: whatever was parked is answered NOT_COORDINATOR, and proposals that
//! complete later belong to nobody.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use milena_group::{
    Command, Coordinator, Effect, Event, Failure, Groups, Now, ProposalId, Reply, RequestId, Settings,
};
use milena_quorum::{GroupHandle, ProposeError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Answers, Applied, Call, Calls, View};

/// Calls taken in one turn before time and proposals get theirs.
const CALLS_PER_TURN: usize = 256;

type Proposal =
    Pin<Box<dyn Future<Output = (ProposalId, Result<milena_quorum::Applied, ProposeError>)> + Send>>;

struct Task {
    raft: GroupHandle,
    groups: Arc<RwLock<Groups>>,
    answers: Answers,
    settings: Settings,
    started: Instant,
    coordinator: Option<Coordinator>,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
    proposals: FuturesUnordered<Proposal>,
    /// Rings when the newest proposal has its place in the log.
    in_line: oneshot::Receiver<()>,
    effects: Vec<Effect>,
}

/// Runs until `shutdown`.
pub(crate) async fn run(
    mut calls: Calls,
    raft: GroupHandle,
    groups: Arc<RwLock<Groups>>,
    answers: Answers,
    settings: Settings,
    shutdown: CancellationToken,
) {
    let mut leader = raft.leader();
    let mut task = Task {
        raft,
        groups,
        answers,
        settings,
        started: Instant::now(),
        coordinator: None,
        waiting: HashMap::new(),
        proposals: FuturesUnordered::new(),
        in_line: oneshot::channel().1,
        effects: Vec::new(),
    };
    let mut taken = Vec::with_capacity(CALLS_PER_TURN);
    leader.mark_changed();
    loop {
        let deadline = task.deadline();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Ok(()) = leader.changed() => {
                let now = *leader.borrow_and_update();
                task.lead(now.is_self.then_some(now.term));
            }
            Some((id, outcome)) = task.proposals.next() => task.proposed(id, outcome),
            () = sleep_until(deadline) => task.step(Event::Tick),
            count = calls.0.recv_many(&mut taken, CALLS_PER_TURN) => {
                if count == 0 {
                    break;
                }
                taken.drain(..).for_each(|call| task.take(call));
            }
        }
    }
    task.lead(None);
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Task {
    /// Begins or ends coordinating.
    fn lead(&mut self, term: Option<u64>) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.resign(&mut self.effects);
            self.perform();
        }
        if let Some(term) = term {
            let now = self.now();
            let groups = self.groups.read().unwrap();
            info!(term, groups = groups.group_count(), "coordinates consumer groups");
            self.coordinator = Some(Coordinator::new(term, now, &groups, self.settings.clone()));
        }
    }

    fn take(&mut self, call: Call) {
        match call {
            Call::Request(event, id, reply) => {
                // Without a coordinator the reply is dropped, which the caller reads as NOT_COORDINATOR.
                if self.coordinator.is_some() {
                    self.waiting.insert(id, reply);
                    self.step(event);
                }
            }
            Call::Abandoned(id) => {
                self.waiting.remove(&id);
                self.step(Event::Disconnected(vec![id]));
            }
            Call::Notice(event) => self.step(event),
            Call::View(view) => self.view(view),
        }
    }

    fn view(&self, view: View) {
        let Some(coordinator) = &self.coordinator else { return };
        let groups = self.groups.read().unwrap();
        match view {
            View::Describe(names, answer) => {
                let described = names.iter().map(|name| coordinator.describe(&groups, name)).collect();
                let _ = answer.send(described);
            }
            View::List(states, types, answer) => {
                let _ = answer.send(coordinator.list(&groups, &texts(&states), &texts(&types)));
            }
        }
    }

    fn proposed(&mut self, proposal: ProposalId, outcome: Result<milena_quorum::Applied, ProposeError>) {
        let answer = outcome.map(|applied| self.answers.take(applied.index));
        self.step(match answer {
            Ok(Some(Applied::Group(answer))) => Event::Committed { proposal, answer },
            Ok(Some(Applied::Transaction(_)) | None) => {
                Event::ProposalFailed { proposal, failure: Failure::Indeterminate }
            }
            Err(ProposeError::NotLeader { .. }) => {
                Event::ProposalFailed { proposal, failure: Failure::LeadershipLost }
            }
            Err(_) => Event::ProposalFailed { proposal, failure: Failure::Indeterminate },
        });
    }

    fn step(&mut self, event: Event) {
        let now = self.now();
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.step(now, event, &self.groups.read().unwrap(), &mut self.effects);
        }
        self.perform();
    }

    fn perform(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Propose(id, command) => {
                    let (taken, next) = oneshot::channel();
                    let before = std::mem::replace(&mut self.in_line, next);
                    self.proposals.push(propose(self.raft.clone(), id, &command, before, taken));
                }
                Effect::Reply(id, reply) => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        let _ = waiting.send(reply);
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let at = self.coordinator.as_ref()?.next_deadline()?;
        Some(self.started + Duration::from_millis(at))
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic_ms: self.started.elapsed().as_millis() as u64, unix_ms: unix.as_millis() as i64 }
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// Proposes once the proposal before has its place in the log: their order is the coordinator's.
fn propose(
    raft: GroupHandle,
    id: ProposalId,
    command: &Command,
    before: oneshot::Receiver<()>,
    taken: oneshot::Sender<()>,
) -> Proposal {
    let command = Bytes::from(command.encode());
    Box::pin(async move {
        // An error is as good: whoever was before has given up.
        let _ = before.await;
        let submitted = raft.submit(command).await;
        let _ = taken.send(());
        let outcome = match submitted {
            Ok(submitted) => submitted.outcome().await,
            Err(error) => Err(error),
        };
        (id, outcome)
    })
}
