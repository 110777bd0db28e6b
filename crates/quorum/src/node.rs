//! This process's part of every group: directories, log, groups.

use crate::answered::unless_ended;
use crate::candidacy::Candidacy;
use crate::config::NodeConfig;
use crate::convert::{log_id_from, log_id_of, stored_membership_from};
use crate::disk::{Disk, RealDisk, apart};
use crate::error::OpenError;
use crate::group::{GroupHandle, Inner, PROPOSED_KIB};
use crate::id::GroupId;
use crate::inbound::Inbound;
use crate::leadership::{follow, is_alone};
use crate::log_store::{LogStore, QUEUED_KIB};
use crate::machine::StateMachine;
use crate::maintenance::{Rules, tend};
use crate::message;
use crate::outbound::Outbound;
use crate::reads::Reads;
use crate::state::{
    Amount, Applier, GroupTree, Keeper, KeeperSetup, KeptTree, SnapshotFile, StateStore, restore,
};
use crate::status::LeaderInfo;
use crate::types::{LogId, Raft, StoredMembership};
use crate::wal::{Position, Recovery, Wal};
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{Semaphore, watch};

/// An open data directory and the groups that run on it. Clones mean the same node.
#[derive(Clone)]
pub struct Node {
    inner: Arc<NodeInner>,
}

struct NodeInner {
    config: NodeConfig,
    disk: Arc<dyn Disk>,
    raft_dir: PathBuf,
    wal: Arc<Wal>,
    state: Arc<StateStore>,
    log_queue: Arc<Semaphore>,
    inbound: Inbound,
    started: Mutex<BTreeSet<GroupId>>,
    groups: Mutex<Vec<GroupHandle>>,
    recovery: Recovery,
    #[cfg(any(test, feature = "simulation"))]
    keepers: Mutex<Vec<Arc<Keeper>>>,
}

impl Node {
    /// Opens the directory: replays the log, opens the applied state. Nothing runs yet but the
    /// log's writer.
    pub async fn open(config: NodeConfig) -> Result<Node, OpenError> {
        let disk = RealDisk::new(Arc::clone(&config.disk_health));
        Node::open_on(Arc::new(disk), config).await
    }

    pub(crate) async fn open_on(disk: Arc<dyn Disk>, config: NodeConfig) -> Result<Node, OpenError> {
        config.check()?;
        let on = Arc::clone(&disk);
        let opened = apart(&*on, move || NodeInner::open(disk, config)).await;
        match opened {
            Ok(inner) => Ok(Node { inner: Arc::new(inner?) }),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Starts a group. `machine` is restored from the stored pairs before this returns. If this
    /// node is the only member, it is also elected, and has applied everything in its log.
    pub async fn start(&self, group: GroupId, machine: impl StateMachine) -> Result<GroupHandle, OpenError> {
        if !self.inner.started.lock().unwrap().insert(group) {
            return Err(OpenError::AlreadyRunning(group.name()));
        }
        let handle = self.inner.start(group, Box::new(machine)).await?;
        self.inner.groups.lock().unwrap().push(handle.clone());
        Ok(handle)
    }

    /// Serves requests of other nodes.
    pub fn inbound(&self) -> Inbound {
        self.inner.inbound.clone()
    }

    /// What was found in the log at the start.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Whether something waits for the log's writer.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_work(&self) -> bool {
        self.inner.wal.has_work()
    }

    /// Does what the log's writer would do, on a disk without threads.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn pump_log(&self) {
        self.inner.wal.pump();
    }

    /// The same for those who keep the applied state.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn pump_state(&self) {
        self.inner.keepers.lock().unwrap().iter().for_each(|keeper| keeper.pump());
    }

    /// Stops all groups, stores and flushes everything.
    pub async fn shutdown(&self) {
        let groups = std::mem::take(&mut *self.inner.groups.lock().unwrap());
        for group in groups {
            group.shutdown().await;
        }
        let (wal, state) = (self.inner.wal.clone(), self.inner.state.clone());
        let close = move || {
            state.close();
            wal.close();
        };
        // It joins the log's writer, which panics only where that was logged.
        let _ = tokio::task::spawn_blocking(close).await;
    }
}

impl NodeInner {
    fn open(disk: Arc<dyn Disk>, config: NodeConfig) -> Result<NodeInner, OpenError> {
        let raft_dir = config.data_dir.join("raft");
        let state_dir = config.data_dir.join("state");
        if disk.create_dir(&raft_dir).map_err(OpenError::io("create", &raft_dir))? {
            disk.sync_dir(&config.data_dir).map_err(OpenError::io("flush", &config.data_dir))?;
        }
        let (wal, recovery) = Wal::open(disk.clone(), &raft_dir, config.segment_bytes)?;
        let (state, _aside) =
            StateStore::open(disk.clone(), &state_dir, wal.identity(), config.state_cache_bytes)?;
        Ok(NodeInner {
            inbound: Inbound::new(disk.clone(), raft_dir.clone()),
            config,
            disk,
            raft_dir,
            wal: Arc::new(wal),
            state,
            log_queue: Arc::new(Semaphore::new(QUEUED_KIB)),
            started: Mutex::default(),
            groups: Mutex::default(),
            recovery,
            #[cfg(any(test, feature = "simulation"))]
            keepers: Mutex::default(),
        })
    }

    async fn start(
        &self,
        group: GroupId,
        mut machine: Box<dyn StateMachine>,
    ) -> Result<GroupHandle, OpenError> {
        let failed = |reason: String| OpenError::Group { group: group.name(), reason };
        let loaded = self.load(group)?;
        let Loaded { tree, applied, snapshot } = loaded;
        let in_snapshot = snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
        let (last, membership) = position_of(&applied).map_err(|error| failed(error.to_string()))?;
        let pairs = tree.pairs().map_err(|error| failed(error.to_string()))?;
        let restored =
            apart(&*self.disk, move || restore(&mut *machine, pairs, last).map(|()| machine)).await;
        let machine = match restored {
            Ok(machine) => machine.map_err(|error| failed(error.to_string()))?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let keeper = Keeper::spawn(KeeperSetup {
            group,
            disk: self.disk.clone(),
            dir: self.raft_dir.clone(),
            tree: KeptTree::new(tree, self.disk.clone(), applied),
            snapshot,
            snapshot_after: Amount {
                bytes: self.config.snapshot_bytes,
                entries: self.config.snapshot_entries,
            },
        });
        let keeper = Arc::new(keeper.map_err(|error| failed(error.to_string()))?);
        #[cfg(any(test, feature = "simulation"))]
        self.keepers.lock().unwrap().push(keeper.clone());
        self.keep_a_snapshot(group, &keeper, last, in_snapshot)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let (told, applied) = watch::channel(None);
        let applier = Applier::new(machine, self.disk.clone(), keeper.clone(), last, membership, told);
        let candidacy = Candidacy::new();
        let queue = self.log_queue.clone();
        let log = LogStore::new(self.wal.clone(), group, queue, self.config.node_id, candidacy.clone());
        let network = Outbound { group, network: self.config.network.clone(), candidacy: candidacy.clone() };
        let config = self.raft_config(group)?;
        let raft = Raft::new(self.config.node_id, config, network, log, applier).await;
        let raft = raft.map_err(|error| failed(error.to_string()))?;
        self.inbound.add(group, raft.clone());
        let handle = self.handle(group, raft.clone(), keeper, applied, candidacy);
        if let Err(error) = self.wait_until_ready(group, &raft, &handle).await {
            // Nobody else can end what has begun by now.
            handle.shutdown().await;
            return Err(error);
        }
        Ok(handle)
    }

    async fn wait_until_ready(
        &self,
        group: GroupId,
        raft: &Raft,
        handle: &GroupHandle,
    ) -> Result<(), OpenError> {
        self.initialize(group, raft).await?;
        self.wait_until_leading(raft, handle).await
    }

    fn handle(
        &self,
        group: GroupId,
        raft: Raft,
        keeper: Arc<Keeper>,
        applied: watch::Receiver<Option<LogId>>,
        candidacy: Candidacy,
    ) -> GroupHandle {
        let (told, leader) = watch::channel(LeaderInfo::default());
        let max_segments = (self.config.snapshot_bytes / self.config.segment_bytes) as u32 + 2;
        let rules = Rules { keep_entries: self.config.keep_entries, max_segments };
        let me = self.config.node_id;
        let follower = tokio::spawn(follow(group, me, raft.clone(), candidacy, applied.clone(), told));
        let tender = tokio::spawn(tend(group, raft.clone(), self.wal.clone(), keeper.snapshot_due(), rules));
        GroupHandle::new(Inner {
            group,
            node: self.config.node_id,
            reads: Reads::spawn(raft.clone(), applied.clone()),
            raft,
            wal: self.wal.clone(),
            keeper,
            leader,
            applied,
            inbound: self.inbound.clone(),
            tasks: Mutex::new(vec![follower.abort_handle(), tender.abort_handle()]),
            room: Arc::new(Semaphore::new(PROPOSED_KIB)),
            failure: OnceLock::new(),
            is_shut_down: AtomicBool::new(false),
        })
    }

    /// The stored state and the snapshot of a group, as far as they can be read; together with
    /// the log they must be complete.
    fn load(&self, group: GroupId) -> Result<Loaded, OpenError> {
        let path = SnapshotFile::path(&self.raft_dir, group);
        let files = self.disk.list(&self.raft_dir).map_err(OpenError::io("list", &self.raft_dir))?;
        self.delete_leftovers(group, &files);
        let mut snapshot = None;
        if files.contains(&path) {
            match SnapshotFile::open(&*self.disk, &path, group) {
                Ok(found) => snapshot = Some(found),
                Err(error) => tracing::error!(path = %path.display(), %error, "snapshot cannot be read"),
            }
        }
        let failed =
            |error: std::io::Error| OpenError::Group { group: group.name(), reason: error.to_string() };
        let (tree, applied) = self.state.group(group).map_err(failed)?;
        let in_snapshot = snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
        let have = in_snapshot.max(applied.last.map(log_id_from));
        let have_index = have.map(|have| have.index());
        if let Some(purged) = self.wal.positions(group.0).purged.map(log_id_of)
            && have_index < Some(purged.index())
        {
            let have = have_index.unwrap_or(0);
            return Err(OpenError::StateMissing { group: group.name(), purged: purged.index(), have });
        }
        if let Some(have) = have {
            self.cut_overtaken(group, have).map_err(failed)?;
        }
        Ok(Loaded { tree, applied, snapshot })
    }

    /// Cuts from the log what a leader wrote in vain, where the state already holds what a later one wrote in its place.
    ///
    /// What a majority has is applied before it is on this disk, so a process that is killed may leave a state that is
    /// ahead of its log. openraft fills such a gap, and refuses a log that goes on otherwise at the same place.
    fn cut_overtaken(&self, group: GroupId, have: LogId) -> std::io::Result<()> {
        let log = self.wal.positions(group.0);
        let Some(last) = log.last.map(log_id_of).filter(|last| *last < have && last.index() >= have.index())
        else {
            return Ok(());
        };
        tracing::warn!(%group, state = %have, log = %last, "the log's end was overtaken by the state; it is cut");
        let below = have.index().saturating_sub(1);
        let kept = self.wal.read(group.0, below, have.index(), usize::MAX)?;
        let kept = kept.first().map(|entry| Position { term: entry.term, index: entry.index });
        self.wal.truncate_after(group.0, kept.or(log.purged))
    }

    /// Writes a snapshot where the state is all that there is of some entries: they were applied before they were on this
    /// disk, and then the process was killed, see [`Self::cut_overtaken`].
    ///
    /// openraft then purges the whole log, and takes the older snapshot that it finds for one that reaches as far. A
    /// follower that lacks those entries would be sent it again and again; and what sled has not flushed, a loss of power
    /// would take together with the log.
    async fn keep_a_snapshot(
        &self,
        group: GroupId,
        keeper: &Keeper,
        applied: Option<LogId>,
        in_snapshot: Option<LogId>,
    ) -> std::io::Result<()> {
        let log = self.wal.positions(group.0);
        let is_ahead = applied > log.last.map(log_id_of);
        let is_purged = log.purged.map(log_id_of) > in_snapshot;
        if applied > in_snapshot && (is_ahead || is_purged) {
            keeper.snapshot()?.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    }

    /// Deletes snapshots that a crash left half written or half received.
    fn delete_leftovers(&self, group: GroupId, files: &[PathBuf]) {
        let prefix = format!("{}.snapshot.", group.name());
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(&prefix)
                && let Err(error) = self.disk.remove(file)
            {
                tracing::warn!(path = %file.display(), %error, "unfinished snapshot not deleted");
            }
        }
    }

    /// Forms the group if its log is empty and this node was told with whom.
    async fn initialize(&self, group: GroupId, raft: &Raft) -> Result<(), OpenError> {
        let voters = &self.config.initial_voters;
        if voters.is_empty() {
            return Ok(());
        }
        let members: BTreeMap<_, ()> = voters.iter().map(|id| (*id, ())).collect();
        let reason = match unless_ended(raft, raft.initialize(members)).await {
            // Not allowed: it has been formed before.
            Some(Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_)))) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => "stopped".to_owned(),
        };
        Err(OpenError::Group { group: group.name(), reason })
    }

    /// A node without peers is elected as soon as it runs; waits for that.
    async fn wait_until_leading(&self, raft: &Raft, handle: &GroupHandle) -> Result<(), OpenError> {
        let me = self.config.node_id;
        // Asked of the core: its metrics may not have been published yet.
        let alone =
            raft.with_raft_state(move |state| is_alone(me, state.membership_state.effective().membership()));
        let leads = match unless_ended(raft, alone).await {
            Some(Ok(false)) => return Ok(()),
            Some(Ok(true)) => handle.leader().wait_for(|info| info.is_self).await.is_ok(),
            _ => false,
        };
        let reason = || handle.stop_reason().unwrap_or_else(|| "stopped".to_owned());
        leads.then_some(()).ok_or_else(|| OpenError::Group { group: handle.id().name(), reason: reason() })
    }

    fn raft_config(&self, group: GroupId) -> Result<Arc<Config>, OpenError> {
        let timers = self.config.timers;
        let config = Config {
            cluster_name: group.name(),
            heartbeat_interval: timers.heartbeat_ms,
            election_timeout_min: timers.election_min_ms,
            election_timeout_max: timers.election_max_ms,
            max_payload_entries: 4096,
            // `maintenance` decides about snapshots and purges.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            replication_lag_threshold: self.config.keep_entries.max(1),
            // `leadership` turns it on as soon as there is somebody else.
            enable_tick: false,
            enable_pre_vote: Some(true),
            // A learner may come back with an empty disk. A voter must not (F11): the broker refuses to start it. The
            // alternative here is that the leader panics, and with it the next one.
            allow_log_reversion: Some(true),
            // A leader that comes back asks for votes like anybody else.
            enable_leader_restore: Some(false),
            backoff: "10ms 20ms 40ms ...200ms".to_owned(),
            ..Config::default()
        };
        let config = config.validate().map_err(|error| OpenError::Config(error.to_string()))?;
        Ok(Arc::new(config))
    }
}

struct Loaded {
    tree: GroupTree,
    applied: message::Applied,
    snapshot: Option<SnapshotFile>,
}

fn position_of(applied: &message::Applied) -> std::io::Result<(Option<LogId>, StoredMembership)> {
    let membership = stored_membership_from(applied.membership_at, applied.membership.clone())?;
    Ok((applied.last.map(log_id_from), membership))
}
