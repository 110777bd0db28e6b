//! Applies committed entries to the state machine; openraft's view of the applied state.

use super::keeper::{AppliedBatch, Keeper};
use super::snapshot::SnapshotFile;
use crate::disk::{Disk, apart};
use crate::machine::{Changes, StateMachine};
use crate::types::{LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, Types};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// Entries after which a batch is closed: proposers behind it need not wait for more.
const BATCH_ENTRIES: usize = 1024;
/// Bytes of commands and changes after which a batch is closed.
const BATCH_BYTES: u64 = 1 << 20;

/// The state machine of a group and what is kept of it on disk.
pub(crate) struct Applier {
    /// Absent only while a snapshot is being restored. Never locked: the mutex makes the applier
    /// shareable, as openraft wants it.
    machine: Mutex<Option<Box<dyn StateMachine>>>,
    disk: Arc<dyn Disk>,
    keeper: Arc<Keeper>,
    last: Option<LogId>,
    membership: StoredMembership,
    told: watch::Sender<Option<LogId>>,
}

impl Applier {
    /// `machine` is already in the state that `last` stands for.
    pub(crate) fn new(
        machine: Box<dyn StateMachine>,
        disk: Arc<dyn Disk>,
        keeper: Arc<Keeper>,
        last: Option<LogId>,
        membership: StoredMembership,
        told: watch::Sender<Option<LogId>>,
    ) -> Self {
        told.send_replace(last);
        Applier { machine: Mutex::new(Some(machine)), disk, keeper, last, membership, told }
    }

    async fn finish(&mut self, batch: &mut Open) -> io::Result<()> {
        let Some(last) = batch.last.take() else {
            return Ok(());
        };
        let bytes = batch.bytes + batch.changes.bytes() as u64;
        let membership = std::mem::take(&mut batch.membership_changed)
            .then(|| SnapshotMeta { last_log_id: Some(last), last_membership: self.membership.clone() });
        let entries = std::mem::take(&mut batch.entries);
        let applied = AppliedBatch { changes: batch.changes.take(), last, membership, entries, bytes };
        self.keeper.store(applied).await?;
        batch.bytes = 0;
        self.last = Some(last);
        self.machine().applied(last.index());
        for (responder, answer) in batch.answers.drain(..) {
            responder.send(answer);
        }
        self.told.send_replace(Some(last));
        Ok(())
    }

    fn machine(&mut self) -> &mut dyn StateMachine {
        &mut **self.machine.get_mut().unwrap().as_mut().expect("no snapshot is being restored")
    }
}

/// A batch that is being applied.
#[derive(Default)]
struct Open {
    changes: Changes,
    answers: Vec<(ApplyResponder<Types>, Bytes)>,
    last: Option<LogId>,
    membership_changed: bool,
    entries: u64,
    bytes: u64,
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut batch = Open::default();
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let mut answer = Bytes::new();
            match entry.payload {
                Payload::Blank => {}
                Payload::Normal(command) => {
                    batch.bytes += command.0.len() as u64;
                    answer = self.machine().apply(entry.log_id.index(), &command.0, &mut batch.changes);
                }
                Payload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    batch.membership_changed = true;
                }
            }
            batch.last = Some(entry.log_id);
            batch.entries += 1;
            batch.answers.extend(responder.map(|responder| (responder, answer)));
            if batch.entries as usize >= BATCH_ENTRIES
                || batch.bytes + batch.changes.bytes() as u64 >= BATCH_BYTES
            {
                self.finish(&mut batch).await?;
            }
        }
        self.finish(&mut batch).await
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Asked for here, in the order of the entries: what is applied later is not in it.
        Builder(Some(self.keeper.snapshot()))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let installed = self.keeper.install(snapshot).await?;
        let mut machine = self.machine.get_mut().unwrap().take().expect("no snapshot is being restored");
        let restored = apart(&*self.disk, move || {
            restore(&mut *machine, installed.pairs()?, installed.meta.last_log_id)?;
            io::Result::Ok(machine)
        });
        *self.machine.get_mut().unwrap() = Some(restored.await.map_err(io::Error::other)??);
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.told.send_replace(self.last);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.keeper.current_snapshot().map(|snapshot| Snapshot { meta: snapshot.meta.clone(), snapshot }))
    }
}

/// Brings a state machine to the state of stored pairs.
pub(crate) fn restore(
    machine: &mut dyn StateMachine,
    pairs: impl Iterator<Item = io::Result<(Bytes, Bytes)>>,
    last: Option<LogId>,
) -> io::Result<()> {
    let mut failed = None;
    let mut sound = pairs.map_while(|pair| pair.map_err(|error| failed = Some(error)).ok());
    machine.restore(&mut sound);
    drop(sound);
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(last) = last {
        machine.applied(last.index());
    }
    Ok(())
}

/// Waits for the keeper to write the snapshot it was asked for.
pub(crate) struct Builder(Option<io::Result<oneshot::Receiver<io::Result<SnapshotFile>>>>);

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let asked = self.0.take().unwrap_or_else(|| Err(io::Error::other("a builder builds once")))?;
        let snapshot = asked.await.map_err(|_| io::Error::other("the group has stopped"))??;
        Ok(Snapshot { meta: snapshot.meta.clone(), snapshot })
    }
}
