//! Sends the markers of decided transactions, for as long as this broker coordinates: to the leaders of the
//! partitions, again and to new leaders until each has its marker below the high watermark (TX-8, TX-11).
//!
//! What is due stands in the replicated state. A new coordinator begins with all of it, so nothing here needs to
//! outlive a term.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use milena_peer::transactions::message::{Marker, Partition};
use milena_quorum::NodeId;
use milena_txn::{Answer, Command, MarkersOutcome, MarkersWritten, Partitions, ProducerIdAndEpoch};
use milena_txn::{TopicId, Transactions};
use milena_wire::{ErrorCode, Uuid};
use tokio::time::Instant;
use tracing::{info, warn};

use super::completions::{Completions, Due};
use super::enlister::{partition, topic_id};
use super::lanes::{BATCH_PARTITIONS, Job, Lanes, Written};
use super::proposals::Proposals;
use crate::clock;
use crate::cluster::Controller;
use crate::view::View;

/// Transactions whose markers are under way; further ones wait.
const UNDER_WAY: usize = 16_384;
/// Before a marker is sent again; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(20);
/// Longest before a marker is sent again. New metadata ends every pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(640);
/// Longest for the metadata to be brought up to date, to know whether a topic is gone.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What the sender works with.
pub(crate) struct MarkerSender {
    /// Raft term of `coordination`: the coordinator epoch.
    pub(crate) term: u64,
    pub(crate) transactions: Arc<RwLock<Transactions>>,
    pub(crate) proposals: Proposals,
    pub(crate) due: Arc<Due>,
    pub(crate) completions: Completions,
    pub(crate) view: Arc<View>,
    pub(crate) controller: Controller,
}

/// A transaction whose markers are under way.
struct Progress {
    sequence: u64,
    producer: ProducerIdAndEpoch,
    all: Partitions,
    missing: Partitions,
}

/// What is tried again after a pause.
enum Retry {
    Send(Job),
    /// Whether its markers are recorded is not known.
    Look(Arc<str>),
}

/// A job for partitions of topics that this broker does not know, and whether its metadata is current.
type Lookup = BoxFuture<'static, (Job, bool)>;

struct Sending {
    sender: MarkerSender,
    lanes: Lanes,
    progress: HashMap<Arc<str>, Progress>,
    backlog: BTreeSet<String>,
    retries: BTreeMap<(Instant, u64), Retry>,
    next_retry: u64,
    lookups: FuturesUnordered<Lookup>,
    /// Completions on their way into the log: id, sequence, and at last whether the transaction is over.
    records: FuturesUnordered<BoxFuture<'static, (Arc<str>, u64, bool)>>,
}

impl MarkerSender {
    /// Sends until it is dropped.
    pub(super) async fn run(self, lanes: Lanes) {
        let mut metadata = self.view.indexes();
        let due = Arc::clone(&self.due);
        let mut sending = Sending {
            sender: self,
            lanes,
            progress: HashMap::new(),
            backlog: BTreeSet::new(),
            retries: BTreeMap::new(),
            next_retry: 0,
            lookups: FuturesUnordered::new(),
            records: FuturesUnordered::new(),
        };
        due.open();
        sending.begin();
        loop {
            sending.lanes.flush();
            let retry_at = sending.retries.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                ids = due.take() => ids.into_iter().for_each(|id| sending.take(id)),
                written = sending.lanes.next() => {
                    written.into_iter().for_each(|written| sending.written(written));
                }
                Some((id, sequence, is_over)) = sending.records.next() => {
                    sending.recorded(id, sequence, is_over);
                }
                Some((job, is_current)) = sending.lookups.next() => sending.looked_up(job, is_current),
                () = sleep_until(retry_at) => sending.retry(Instant::now()),
                Ok(()) = metadata.changed() => sending.retry(Instant::now() + LONGEST_PAUSE),
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Sending {
    /// Takes what an earlier coordinator left.
    fn begin(&mut self) {
        let transactions = self.sender.transactions.read().unwrap();
        let ids: Vec<String> =
            transactions.markers_due().map(|due| due.transactional_id.to_owned()).collect();
        drop(transactions);
        if !ids.is_empty() {
            info!(term = self.sender.term, transactions = ids.len(), "goes on with markers that are due");
        }
        ids.into_iter().for_each(|id| self.take(id));
    }

    fn take(&mut self, id: String) {
        if self.progress.len() >= UNDER_WAY && !self.progress.contains_key(id.as_str()) {
            self.backlog.insert(id);
            return;
        }
        let transactions = Arc::clone(&self.sender.transactions);
        let transactions = transactions.read().unwrap();
        let Some(due) = transactions.markers_due_of(&id) else { return };
        if self.progress.get(id.as_str()).is_some_and(|known| known.sequence == due.sequence) {
            return;
        }
        let id: Arc<str> = id.into();
        let progress = Progress {
            sequence: due.sequence,
            producer: due.producer,
            all: due.partitions.clone(),
            missing: due.partitions.clone(),
        };
        let marker = Marker {
            producer_id: due.producer.producer_id,
            producer_epoch: due.producer.epoch.into(),
            committed: due.commit,
            coordinator_epoch: i32::try_from(self.sender.term).unwrap_or(i32::MAX),
            transaction_version: due.version.level().into(),
            partitions: due.partitions.iter().map(|(id, _, at)| partition(Uuid(id.0), at)).collect(),
            sequence: due.sequence,
        };
        self.progress.insert(Arc::clone(&id), progress);
        self.route(Job { transactional_id: id, sequence: due.sequence, attempts: 0, marker });
    }

    /// Puts a marker on the way to the leaders of its partitions as they are now.
    fn route(&mut self, job: Job) {
        let image = self.sender.view.image();
        let mut by_leader: BTreeMap<NodeId, Vec<Partition>> = BTreeMap::new();
        let (mut leaderless, mut unknown) = (Vec::new(), Vec::new());
        for at in &job.marker.partitions {
            let topic = image.topic_by_id(topic_id(at));
            match topic.and_then(|topic| topic.partitions.get(usize::try_from(at.index).ok()?)) {
                None => unknown.push(*at),
                Some(known) => match known.leader.and_then(|id| u64::try_from(id.0).ok()) {
                    Some(leader) => {
                        let at = Partition { leader_epoch: Some(known.leader_epoch.0), ..*at };
                        by_leader.entry(NodeId(leader)).or_default().push(at);
                    }
                    None => leaderless.push(*at),
                },
            }
        }
        drop(image);
        for (leader, partitions) in by_leader {
            for partitions in partitions.chunks(BATCH_PARTITIONS) {
                self.lanes.push(leader, job.of(partitions.to_vec()));
            }
        }
        if !leaderless.is_empty() {
            self.send_later(job.of(leaderless));
        }
        if !unknown.is_empty() {
            let (job, controller, view) =
                (job.of(unknown), self.sender.controller.clone(), Arc::clone(&self.sender.view));
            self.lookups.push(Box::pin(async move {
                let deadline = Instant::now() + CATCH_UP;
                let current = async {
                    controller.catch_up(deadline).await.ok()?;
                    view.applied(controller.image().index()).await;
                    Some(())
                };
                let is_current = tokio::time::timeout_at(deadline, current).await;
                (job, matches!(is_current, Ok(Some(()))))
            }));
        }
    }

    /// Of a topic that is deleted for certain, nothing can be marked (TX-12).
    fn looked_up(&mut self, job: Job, is_current: bool) {
        if !is_current {
            return self.send_later(job);
        }
        let image = self.sender.view.image();
        let (here, gone): (Vec<_>, Vec<_>) =
            job.marker.partitions.iter().copied().partition(|at| image.topic_by_id(topic_id(at)).is_some());
        drop(image);
        if !gone.is_empty() {
            let codes = vec![ErrorCode::None; gone.len()];
            self.written(Written { job: job.of(gone), codes });
        }
        if !here.is_empty() {
            self.send_later(job.of(here));
        }
    }

    fn written(&mut self, Written { job, codes }: Written) {
        let Some(progress) =
            self.progress.get_mut(&job.transactional_id).filter(|it| it.sequence == job.sequence)
        else {
            return;
        };
        let mut open = Vec::new();
        for (at, code) in job.marker.partitions.iter().zip(codes) {
            match code {
                ErrorCode::None => {}
                // The partition has seen a later epoch of this producer: its transaction is over there, and this
                // marker will never be taken. Kafka goes on without it, too.
                ErrorCode::InvalidProducerEpoch => {
                    warn!(id = %job.transactional_id, partition = at.index, "marker refused: newer producer epoch");
                }
                _ => {
                    open.push(*at);
                    continue;
                }
            }
            progress.missing.remove(TopicId(topic_id(at).0), at.index);
        }
        let is_done = progress.missing.is_empty();
        if !open.is_empty() {
            self.send_later(job.of(open));
        } else if is_done {
            self.record(job.transactional_id);
        }
    }

    /// All markers of a transaction are where they must be: makes it complete.
    fn record(&mut self, id: Arc<str>) {
        let Some(progress) = self.progress.get(&id) else { return };
        let command = Command::MarkersWritten(MarkersWritten {
            transactional_id: id.to_string(),
            now_ms: clock::unix_ms(),
            producer: progress.producer,
            sequence: progress.sequence,
            partitions: progress.all.clone(),
        });
        let (proposals, sequence) = (self.sender.proposals.clone(), progress.sequence);
        let completions = self.sender.completions.clone();
        self.records.push(Box::pin(async move {
            let decided = match proposals.enqueue(&command).await {
                Ok(decided) => {
                    let _proposed = completions.proposed(&id);
                    decided.await
                }
                Err(error) => Err(error),
            };
            let over = [MarkersOutcome::Complete, MarkersOutcome::Stale].map(Answer::Markers);
            (id, sequence, decided.is_ok_and(|decided| over.contains(&decided.answer)))
        }));
    }

    fn recorded(&mut self, id: Arc<str>, sequence: u64, is_over: bool) {
        // The next transaction of the same id may be under way already.
        if self.progress.get(&id).is_some_and(|it| it.sequence == sequence) {
            self.progress.remove(&id);
        }
        if !is_over {
            self.later(PAUSE, Retry::Look(id));
        }
        if let Some(next) = self.backlog.pop_first() {
            self.take(next);
        }
    }

    fn send_later(&mut self, mut job: Job) {
        let pause = PAUSE.saturating_mul(1 << job.attempts.min(5)).min(LONGEST_PAUSE);
        job.attempts += 1;
        if job.attempts.is_multiple_of(50) {
            let partitions = job.marker.partitions.len();
            warn!(id = %job.transactional_id, partitions, attempts = job.attempts, "markers are still not written");
        }
        self.later(pause, Retry::Send(job));
    }

    fn later(&mut self, pause: Duration, retry: Retry) {
        self.next_retry += 1;
        self.retries.insert((Instant::now() + pause, self.next_retry), retry);
    }

    /// Tries again what was to be tried before `until`.
    fn retry(&mut self, until: Instant) {
        let rest = self.retries.split_off(&(until, u64::MAX));
        for retry in std::mem::replace(&mut self.retries, rest).into_values() {
            match retry {
                Retry::Send(job) => self.route(job),
                Retry::Look(id) => self.take(id.to_string()),
            }
        }
    }
}

impl Job {
    /// The same marker for some of its partitions.
    fn of(&self, partitions: Vec<Partition>) -> Self {
        let marker = Marker { partitions, ..self.marker };
        Self { transactional_id: Arc::clone(&self.transactional_id), marker, ..*self }
    }
}
