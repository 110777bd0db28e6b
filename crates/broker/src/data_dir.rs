//! The broker's data directory: formats itself, opens and creates the logs of partitions, keeps checkpoints.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use milena_config::TopicConfig;
use milena_log::fs::RealFs;
use milena_log::{
    Checkpoint, CheckpointEntry, DirEntryKind, Error, LastShutdown, Log, LogDir, MetaProperties, OpenOptions,
    ReplayEvent, Storage, TopicId,
};
use milena_partition::Producers;
use milena_records::Offset;
use milena_wire::Uuid;
use tracing::{info, warn};

use crate::hosted::{Checkpointed, Hosted, log_config};
use crate::{clock, random};

/// Bytes at a log's end in which the batches are looked for that idempotent producers may repeat (PR-14).
const RECALLED_BYTES: u64 = 64 * 1024;

/// A partition by topic name and index, as directories and checkpoints name it.
type Name = (String, i32);

/// The data directory, open and locked.
pub(crate) struct DataDir {
    root: LogDir,
    storage: Arc<Storage>,
    last_shutdown: LastShutdown,
    /// What the last run left behind, until the partitions are opened.
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    partitions: HashMap<Name, PathBuf>,
    deleted: Vec<PathBuf>,
    recovery_points: HashMap<Name, Offset>,
    high_watermarks: HashMap<Name, Offset>,
    log_starts: HashMap<Name, Offset>,
}

/// A partition's log with what was rebuilt from it.
pub(crate) struct OpenedLog {
    pub(crate) log: Log,
    pub(crate) producers: Producers,
    pub(crate) high_watermark: Offset,
}

impl DataDir {
    /// Opens or creates the directory.
    pub(crate) fn open(root: &Path, open_files: usize) -> Result<Self, Error> {
        let fs = Arc::new(RealFs);
        let root = LogDir::open(fs.clone(), root)?;
        let (last_shutdown, _) = root.begin()?;
        let found = Mutex::new(Found::read(&root)?);
        Ok(Self { root, storage: Storage::new(fs, open_files), last_shutdown, found })
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        self.root.root()
    }

    /// How the last run ended.
    pub(crate) fn last_shutdown(&self) -> LastShutdown {
        self.last_shutdown
    }

    /// Whether a broker has used it before.
    pub(crate) fn is_formatted(&self) -> Result<bool, Error> {
        Ok(self.root.meta_properties()?.is_some())
    }

    /// Who the directory belongs to. An empty one is formatted: for this node, and for the cluster with
    /// `cluster_id` or a new one.
    pub(crate) fn identity(&self, node_id: i32, cluster_id: Option<&str>) -> Result<MetaProperties, Error> {
        if let Some(meta) = self.root.meta_properties()? {
            return Ok(meta);
        }
        let cluster_id = cluster_id.map_or_else(|| random::uuid().to_string(), str::to_owned);
        let meta = MetaProperties { cluster_id, node_id, directory_id: random::uuid().to_string() };
        self.root.write_meta_properties(&meta)?;
        info!(dir = %self.root().display(), cluster_id = meta.cluster_id, node_id, "formatted data directory");
        Ok(meta)
    }

    /// From now on a crash of the process alone loses no completed write.
    pub(crate) fn mark_running(&self, broker_epoch: i64) -> Result<(), Error> {
        self.root.mark_running(broker_epoch)
    }

    /// Everything is closed and written.
    pub(crate) fn mark_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        self.root.mark_clean(broker_epoch)
    }

    /// Opens a partition's log, or creates it. A directory of that name that belongs to another topic is set
    /// aside first.
    pub(crate) fn open_partition(
        &self,
        topic: &str,
        id: Uuid,
        index: i32,
        config: &TopicConfig,
    ) -> Result<OpenedLog, Error> {
        let name = (topic.to_owned(), index);
        let mut found = self.found.lock().unwrap();
        let exists = found.partitions.remove(&name);
        let at = |offsets: &mut HashMap<Name, Offset>| offsets.remove(&name).unwrap_or(Offset::ZERO);
        let options = OpenOptions {
            recovery_point: at(&mut found.recovery_points),
            log_start: at(&mut found.log_starts),
            ..OpenOptions::new(self.last_shutdown, clock::unix_ms())
        };
        let high_watermark = at(&mut found.high_watermarks);
        drop(found);
        let config = Arc::new(log_config(config));
        if let Some(path) = exists {
            let opened = self.open_log(&path, config.clone(), &options, high_watermark)?;
            if opened.log.topic_id() == TopicId(id.0) {
                return Ok(opened);
            }
            drop(opened);
            self.set_aside(topic, index)?;
        }
        let path = self.root.partition_path(topic, index);
        let log = Log::create(&self.storage, &path, TopicId(id.0), config, clock::unix_ms())?;
        Ok(OpenedLog { log, producers: Producers::default(), high_watermark: Offset::ZERO })
    }

    fn open_log(
        &self,
        path: &Path,
        config: Arc<milena_log::LogConfig>,
        options: &OpenOptions,
        high_watermark: Offset,
    ) -> Result<OpenedLog, Error> {
        let mut producers = Producers::default();
        let (log, report) = Log::open(&self.storage, path, config, options, &mut |event| match event {
            ReplayEvent::Snapshot(entries, _) => producers.restore(entries),
            ReplayEvent::Batch(header) => producers.record(header),
        })?;
        if !producers.is_empty() {
            let mut newest = Vec::new();
            log.recent_batches(RECALLED_BYTES, &mut |header| newest.push(*header))?;
            producers.recall(&newest);
        }
        if let Some(torn) = report.torn_tail {
            warn!(file = %torn.path.display(), position = torn.position, bytes = torn.bytes, log_end = %torn.log_end, damage = %torn.damage, "cut off an unfinished write");
        }
        Ok(OpenedLog { log, producers, high_watermark })
    }

    /// Directories that no topic claims are set aside, never deleted; those of deleted topics are removed.
    pub(crate) fn clear_leftovers(&self) {
        let found = std::mem::take(&mut *self.found.lock().unwrap());
        for (topic, index) in found.partitions.into_keys() {
            if let Err(error) = self.set_aside(&topic, index) {
                warn!(topic, partition = index, %error, "directory that no topic claims cannot be renamed");
            }
        }
        for path in found.deleted {
            self.remove(&path);
        }
    }

    /// Frees the name of a deleted partition. Its files are left to [`DataDir::remove`].
    pub(crate) fn rename_deleted(&self, topic: &str, index: i32) -> Option<PathBuf> {
        match self.root.rename_deleted(topic, index, u128::from_be_bytes(random::bytes())) {
            Ok(path) => Some(path),
            Err(error) => {
                warn!(topic, partition = index, %error, "directory of a deleted partition cannot be renamed");
                None
            }
        }
    }

    /// Unlinks the files of a deleted partition. May take long.
    pub(crate) fn remove(&self, path: &Path) {
        if let Err(error) = self.root.remove(path) {
            warn!(path = %path.display(), %error, "files of a deleted partition cannot be removed");
        }
    }

    /// Makes everything in the directory durable.
    pub(crate) fn sync_all(&self) -> Result<(), Error> {
        self.root.sync_all().map(drop)
    }

    /// Writes the checkpoints of these partitions as they are now. A failure is logged: the next round tries again.
    pub(crate) fn checkpoint(&self, all: &[Arc<Hosted>]) {
        let offsets = all.iter().filter_map(|hosted| Some((&**hosted, hosted.checkpointed()?)));
        if let Err(error) = self.write_checkpoints(offsets) {
            warn!(%error, "checkpoints not written");
        }
    }

    /// Writes all three checkpoints.
    pub(crate) fn write_checkpoints<'a>(
        &self,
        partitions: impl Iterator<Item = (&'a Hosted, Checkpointed)>,
    ) -> Result<(), Error> {
        let (mut recovery_points, mut log_starts, mut high_watermarks) = (Vec::new(), Vec::new(), Vec::new());
        for (hosted, offsets) in partitions {
            let entry =
                |offset| CheckpointEntry { topic: hosted.topic.to_string(), partition: hosted.index, offset };
            recovery_points.push(entry(offsets.recovery_point));
            high_watermarks.push(entry(offsets.high_watermark));
            if offsets.log_start > Offset::ZERO {
                log_starts.push(entry(offsets.log_start));
            }
        }
        self.root.write_checkpoint(Checkpoint::RecoveryPoint, &recovery_points)?;
        self.root.write_checkpoint(Checkpoint::LogStart, &log_starts)?;
        self.root.write_checkpoint(Checkpoint::HighWatermark, &high_watermarks)
    }

    /// Bytes of the volume, and those that can still be used.
    pub(crate) fn volume_bytes(&self) -> Option<(i64, i64)> {
        let volume = rustix::fs::statvfs(self.root()).ok()?;
        let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(volume.f_frsize)).unwrap_or(i64::MAX);
        Some((bytes(volume.f_blocks), bytes(volume.f_bavail)))
    }

    /// Closes files that nobody used since the last call.
    pub(crate) fn close_idle_files(&self) {
        self.storage.close_idle_files();
    }

    fn set_aside(&self, topic: &str, index: i32) -> Result<(), Error> {
        let path = self.root.rename_stray(topic, index, u128::from_be_bytes(random::bytes()))?;
        warn!(topic, partition = index, path = %path.display(), "set aside a directory that no topic claims");
        Ok(())
    }
}

impl Found {
    fn read(root: &LogDir) -> Result<Self, Error> {
        let mut found = Self::default();
        for dir in root.partitions()? {
            match dir.kind {
                DirEntryKind::Partition { topic, partition } => {
                    found.partitions.insert((topic, partition), dir.path);
                }
                DirEntryKind::Deleted => found.deleted.push(dir.path),
                DirEntryKind::Stray | DirEntryKind::Future => {}
            }
        }
        let offsets = |kind| -> Result<HashMap<Name, Offset>, Error> {
            let entries = root.read_checkpoint(kind)?;
            Ok(entries.into_iter().map(|it| ((it.topic, it.partition), it.offset)).collect())
        };
        found.recovery_points = offsets(Checkpoint::RecoveryPoint)?;
        found.high_watermarks = offsets(Checkpoint::HighWatermark)?;
        found.log_starts = offsets(Checkpoint::LogStart)?;
        Ok(found)
    }
}
