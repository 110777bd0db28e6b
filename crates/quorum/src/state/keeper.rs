//! The thread that keeps a group's applied state on disk: batches into sled, snapshots into files.

use super::kept::KeptTree;
use super::snapshot::SnapshotFile;
use crate::convert::{log_id_to, meta_to, stored_membership_from};
use crate::disk::Disk;
use crate::id::GroupId;
use crate::machine::Change;
use crate::message::Applied;
use crate::types::{LogId, SnapshotMeta};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Changes that may wait to be stored, in KiB. Beyond it, applying waits.
const QUEUED_KIB: usize = 32 << 10;
/// Applied batches are gathered for this long before sled sees them: it works per key, and a busy
/// group changes the same keys again and again. Nobody waits for it.
const STORE_AFTER: Duration = Duration::from_millis(50);
/// Changes stored in one batch of sled.
const BATCH_BYTES: usize = 4 << 20;
/// Applied entries reach the disk this long after the last one at the latest; a crash of the
/// process before costs applying them again, nothing else.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// How much was applied, or has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub bytes: u64,
    pub entries: u64,
}

/// Entries that were applied: what they changed, and where they led.
pub(crate) struct AppliedBatch {
    pub changes: Vec<Change>,
    pub last: LogId,
    /// The membership as of `last`, if these entries changed it.
    pub membership: Option<SnapshotMeta>,
    pub entries: u64,
    /// Length of the commands and of the changes.
    pub bytes: u64,
}

enum Job {
    Store(AppliedBatch, OwnedSemaphorePermit),
    Snapshot(oneshot::Sender<io::Result<SnapshotFile>>),
    Install(SnapshotFile, oneshot::Sender<io::Result<SnapshotFile>>),
    Stop(oneshot::Sender<io::Result<()>>),
}

/// Handle of the thread. Jobs are done in the order they were given.
pub(crate) struct Keeper {
    jobs: Mutex<Sender<Job>>,
    queue: Arc<Semaphore>,
    current: Arc<Mutex<Option<SnapshotFile>>>,
    snapshot_due: watch::Receiver<bool>,
    failure: Arc<Mutex<Option<String>>>,
    /// Works when it is told to, where there is no thread.
    #[cfg(any(test, feature = "simulation"))]
    by_hand: Mutex<Option<Worker>>,
}

/// What a keeper works with.
pub(crate) struct KeeperSetup {
    pub group: GroupId,
    pub disk: Arc<dyn Disk>,
    /// Directory of the snapshot files.
    pub dir: PathBuf,
    pub tree: KeptTree,
    pub snapshot: Option<SnapshotFile>,
    /// A snapshot is due when either is reached since the last one.
    pub snapshot_after: Amount,
}

impl Keeper {
    pub(crate) fn spawn(setup: KeeperSetup) -> io::Result<Keeper> {
        let (jobs, received) = channel();
        let current = Arc::new(Mutex::new(setup.snapshot.clone()));
        let (told, snapshot_due) = watch::channel(false);
        let failure = Arc::new(Mutex::new(None));
        let worker = Worker {
            setup,
            received,
            current: current.clone(),
            snapshot_due: told,
            failure: failure.clone(),
            since: Amount { bytes: 0, entries: 0 },
            dirty: false,
            gathers_for: STORE_AFTER,
        };
        let keeper = Keeper {
            jobs: Mutex::new(jobs),
            queue: Arc::new(Semaphore::new(QUEUED_KIB)),
            current,
            snapshot_due,
            failure,
            #[cfg(any(test, feature = "simulation"))]
            by_hand: Mutex::default(),
        };
        #[cfg(any(test, feature = "simulation"))]
        if !worker.setup.disk.has_threads() {
            *keeper.by_hand.lock().unwrap() = Some(Worker { gathers_for: Duration::ZERO, ..worker });
            return Ok(keeper);
        }
        let name = format!("state-{}", worker.setup.group.0);
        thread::Builder::new().name(name).stack_size(1 << 20).spawn(move || worker.run())?;
        Ok(keeper)
    }

    /// Does the jobs that are there, where there is no thread.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn pump(&self) {
        let mut by_hand = self.by_hand.lock().unwrap();
        let worked = by_hand.as_mut().map_or(Ok(()), Worker::work_off);
        worked.expect("only the log's disk fails");
    }

    /// Stores what a batch changed, some time soon. Waits while too much is queued.
    pub(crate) async fn store(&self, batch: AppliedBatch) -> io::Result<()> {
        let permits = (batch.bytes / 1024 + 1).min(QUEUED_KIB as u64) as u32;
        let room = self.queue.clone().acquire_many_owned(permits).await.map_err(io::Error::other)?;
        self.give(Job::Store(batch, room))
    }

    /// Asks for a snapshot of everything given to [`Keeper::store`] so far.
    pub(crate) fn snapshot(&self) -> io::Result<oneshot::Receiver<io::Result<SnapshotFile>>> {
        let (done, answer) = oneshot::channel();
        self.give(Job::Snapshot(done))?;
        Ok(answer)
    }

    /// Replaces the state by a snapshot, durably.
    pub(crate) async fn install(&self, snapshot: SnapshotFile) -> io::Result<SnapshotFile> {
        let (done, answer) = oneshot::channel();
        self.give(Job::Install(snapshot, done))?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Stores and flushes everything, and ends the thread.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.give(Job::Stop(done))?;
        answer.await.map_err(|_| self.gone())?
    }

    /// The newest durable snapshot.
    pub(crate) fn current_snapshot(&self) -> Option<SnapshotFile> {
        self.current.lock().unwrap().clone()
    }

    /// Turns true when enough was applied since the last snapshot.
    pub(crate) fn snapshot_due(&self) -> watch::Receiver<bool> {
        self.snapshot_due.clone()
    }

    /// Ready when the thread has ended: because it was stopped, or could not store what it had to.
    pub(crate) async fn ended(&self) {
        // The thread has the other end.
        let mut due = self.snapshot_due.clone();
        while due.changed().await.is_ok() {}
    }

    /// Why the keeper stopped, if a disk made it.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    fn give(&self, job: Job) -> io::Result<()> {
        self.jobs.lock().unwrap().send(job).map_err(|_| self.gone())
    }

    fn gone(&self) -> io::Error {
        io::Error::other(self.failure().unwrap_or_else(|| "the group has stopped".to_owned()))
    }
}

struct Worker {
    setup: KeeperSetup,
    received: Receiver<Job>,
    current: Arc<Mutex<Option<SnapshotFile>>>,
    snapshot_due: watch::Sender<bool>,
    failure: Arc<Mutex<Option<String>>>,
    /// Applied since the last snapshot.
    since: Amount,
    /// Stored, but not flushed.
    dirty: bool,
    /// See [`STORE_AFTER`].
    gathers_for: Duration,
}

impl Worker {
    fn run(mut self) {
        // On some damage sled panics where it should answer.
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        if let Err(error) = worked.unwrap_or_else(|_| Err(io::Error::other("its database panicked"))) {
            self.failed("applied state", &error);
        }
    }

    /// Notes why the group stops, before anybody can see that it does.
    fn failed(&self, what: &str, error: &io::Error) {
        let (group, dir) = (self.setup.group, self.setup.dir.display());
        tracing::error!(%group, %error, "{what} cannot be stored, stopping");
        let mut failure = self.failure.lock().unwrap();
        failure.get_or_insert_with(|| format!("{what} of {group} beside {dir}: {error}"));
    }

    fn work(&mut self) -> io::Result<()> {
        let mut next = None;
        while let Some(job) = match next.take() {
            None => self.wait()?,
            next => next,
        } {
            let is_last = matches!(job, Job::Stop(_));
            next = self.act(job)?;
            if is_last {
                return Ok(());
            }
        }
        self.setup.tree.flush()
    }

    /// Does a job; gives back one that came meanwhile.
    fn act(&mut self, job: Job) -> io::Result<Option<Job>> {
        match job {
            Job::Store(batch, room) => return self.store(batch, room),
            Job::Snapshot(done) => {
                let snapshot = self.write_snapshot().inspect_err(|error| self.failed("snapshot", error));
                // Whoever asked may be gone; the snapshot is good all the same.
                let _ = done.send(snapshot);
            }
            Job::Install(snapshot, done) => {
                let installed = self.install(snapshot).inspect_err(|error| self.failed("snapshot", error));
                let _ = done.send(installed);
            }
            Job::Stop(done) => {
                let flushed = self.setup.tree.flush();
                let _ = done.send(flushed);
            }
        }
        Ok(None)
    }

    #[cfg(any(test, feature = "simulation"))]
    fn work_off(&mut self) -> io::Result<()> {
        let mut next = self.received.try_recv().ok();
        while let Some(job) = next {
            next = self.act(job)?.or_else(|| self.received.try_recv().ok());
        }
        Ok(())
    }

    /// The next job; `None` when nobody can give one any more. Flushes when it becomes quiet. A flush that fails for
    /// anything but want of room is not tried again: nobody knows what of it is on the disk.
    fn wait(&mut self) -> io::Result<Option<Job>> {
        if self.dirty {
            match self.received.recv_timeout(FLUSH_AFTER) {
                Ok(job) => return Ok(Some(job)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    self.dirty = false;
                    self.setup.tree.flush()?;
                }
            }
        }
        Ok(self.received.recv().ok())
    }

    /// Stores a batch together with those that follow it soon. Gives back the first other job,
    /// for which nothing is waited.
    fn store(&mut self, batch: AppliedBatch, room: OwnedSemaphorePermit) -> io::Result<Option<Job>> {
        let mut bytes = batch.bytes as usize;
        let mut batches = vec![batch];
        let mut rooms = vec![room];
        let mut other = None;
        let until = Instant::now() + self.gathers_for;
        while bytes < BATCH_BYTES
            && let Ok(job) = self.received.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            match job {
                Job::Store(batch, room) => {
                    bytes += batch.bytes as usize;
                    batches.push(batch);
                    rooms.push(room);
                }
                job => {
                    other = Some(job);
                    break;
                }
            }
        }
        let mut applied = self.setup.tree.applied().clone();
        let mut changes = Vec::new();
        for batch in batches {
            self.since.entries += batch.entries;
            self.since.bytes += batch.bytes;
            applied.last = Some(log_id_to(&batch.last));
            if let Some(meta) = &batch.membership {
                let meta = meta_to(meta);
                (applied.membership_at, applied.membership) = (meta.membership_at, meta.membership);
            }
            changes.extend(batch.changes);
        }
        self.setup.tree.store(changes, applied)?;
        self.dirty = true;
        let due_at = self.setup.snapshot_after;
        let due = self.since.entries >= due_at.entries || self.since.bytes >= due_at.bytes;
        self.snapshot_due.send_if_modified(|told| due && !std::mem::replace(told, true));
        Ok(other)
    }

    fn write_snapshot(&mut self) -> io::Result<SnapshotFile> {
        let applied = self.setup.tree.applied().clone();
        let meta = SnapshotMeta {
            last_log_id: applied.last.map(crate::convert::log_id_from),
            last_membership: stored_membership_from(applied.membership_at, applied.membership)?,
        };
        let KeeperSetup { tree, disk, dir, group, .. } = &mut self.setup;
        let snapshot = tree.read(|pairs| SnapshotFile::write(&**disk, dir, *group, meta.clone(), pairs))?;
        self.adopt(snapshot.clone());
        Ok(snapshot)
    }

    fn install(&mut self, snapshot: SnapshotFile) -> io::Result<SnapshotFile> {
        let setup = &mut self.setup;
        let snapshot = snapshot.rename(&*setup.disk, &setup.dir, setup.group)?;
        let meta = meta_to(&snapshot.meta);
        let applied =
            Applied { last: meta.last, membership_at: meta.membership_at, membership: meta.membership };
        setup.tree.replace(|| snapshot.pairs(), applied)?;
        self.adopt(snapshot.clone());
        Ok(snapshot)
    }

    fn adopt(&mut self, snapshot: SnapshotFile) {
        self.since = Amount { bytes: 0, entries: 0 };
        *self.current.lock().unwrap() = Some(snapshot);
        self.snapshot_due.send_replace(false);
    }
}
