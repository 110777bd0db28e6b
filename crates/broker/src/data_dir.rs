//! The broker's data directory: formats itself, opens and creates the logs of partitions, keeps checkpoints.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use milena_config::TopicConfig;
use milena_disk::Health;
use milena_log::fs::{RealFs, WatchedFs};
use milena_log::{
    Checkpoint, CheckpointEntry, DamagePolicy, DirEntryKind, Error, LastRun, LastShutdown, Log, LogDir,
    MetaProperties, OpenOptions, ReplayEvent, Storage, Synced, TopicId,
};
use milena_metadata::BrokerEpoch;
use milena_metadata::decide::brokers::Kept;
use milena_partition::Producers;
use milena_records::Offset;
use milena_wire::Uuid;
use tracing::{info, warn};

use crate::hosted::{Checkpointed, Hosted, log_config};
use crate::meters::Counter;
use crate::{clock, random};

/// Bytes at a log's end in which the batches are looked for that idempotent producers may repeat (PR-14).
const RECALLED_BYTES: u64 = 64 * 1024;

/// A partition by topic name and index, as directories and checkpoints name it.
type Name = (String, i32);

/// The data directory, open and locked.
pub(crate) struct DataDir {
    root: LogDir,
    storage: Arc<Storage>,
    health: Arc<Health>,
    last_run: LastRun,
    /// What the last run left behind, until the partitions are opened.
    found: Mutex<Found>,
    /// Held while checkpoints are gathered and written. Two writers would take each other's temporary file away, and the
    /// older view could replace the newer, by which DeleteRecords has promised something.
    checkpoints: Mutex<()>,
    /// The cleaner's checkpoint as it was last written.
    cleaned: Mutex<Vec<CheckpointEntry>>,
    /// Logs that were found damaged and set aside.
    damaged: Counter,
}

#[derive(Default)]
struct Found {
    partitions: HashMap<Name, PathBuf>,
    deleted: Vec<PathBuf>,
    recovery_points: HashMap<Name, Offset>,
    high_watermarks: HashMap<Name, Offset>,
    log_starts: HashMap<Name, Offset>,
    cleaned: HashMap<Name, Offset>,
}

/// What is done about a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDamage {
    /// It is left as it is, and the partition offline.
    Refuse,
    /// It ends at the damage.
    Cut,
    /// It is set aside, and the partition begins empty: the leader has it all, and this copy counts for nothing until
    /// it has caught up.
    SetAside,
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
        let health = Arc::<Health>::default();
        health.hold_ballast_in(root);
        let fs = Arc::new(WatchedFs::new(RealFs, Arc::clone(&health)));
        let root = LogDir::open(fs.clone(), root)?;
        let last_run = root.begin()?;
        let found = Mutex::new(Found::read(&root)?);
        let (checkpoints, cleaned) = (Mutex::default(), Mutex::default());
        let storage = Storage::new(fs, open_files);
        Ok(Self { root, storage, health, last_run, found, checkpoints, cleaned, damaged: Counter::default() })
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        self.root.root()
    }

    /// What is under way on its disk.
    pub(crate) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Logs that were damaged and are copied anew, since the start.
    pub(crate) fn damaged_logs(&self) -> u64 {
        self.damaged.get()
    }

    /// How the last run ended.
    pub(crate) fn last_shutdown(&self) -> LastShutdown {
        self.last_run.shutdown
    }

    /// Since when nothing that was ever reported as stored is lost.
    pub(crate) fn kept(&self) -> Kept {
        let LastRun { shutdown, broker_epoch, registering } = &self.last_run;
        match shutdown {
            LastShutdown::Clean | LastShutdown::ProcessCrash => Kept {
                epoch: broker_epoch.map(BrokerEpoch),
                incarnations: registering.iter().filter_map(|id| id.parse().ok()).collect(),
            },
            LastShutdown::Unclean => Kept::default(),
        }
    }

    /// Who the directory belongs to; `None` if nobody has used it.
    pub(crate) fn meta(&self) -> Result<Option<MetaProperties>, Error> {
        self.root.meta_properties()
    }

    /// Whether a Raft log was begun in it. A voter whose log is gone must not vote as if nothing had been (F11).
    pub(crate) fn has_raft_log(&self) -> bool {
        self.root().join("raft").exists()
    }

    /// Gives the directory to a node of a cluster.
    pub(crate) fn format(&self, meta: &MetaProperties) -> Result<(), Error> {
        self.root.write_meta_properties(meta)?;
        let (dir, cluster_id, node_id) = (self.root().display(), &meta.cluster_id, meta.node_id);
        info!(%dir, cluster_id, node_id, "formatted data directory");
        Ok(())
    }

    /// The voters with whom this node began to found a cluster, if that is not finished.
    pub(crate) fn founding(&self) -> Result<Option<String>, Error> {
        self.root.founding()
    }

    /// Notes with whom a cluster is being founded.
    pub(crate) fn write_founding(&self, voters: &str) -> Result<(), Error> {
        self.root.write_founding(Some(voters))
    }

    /// This node is registered, so the Raft groups have begun: should it ever lose its log, it must not found them
    /// anew (F11).
    pub(crate) fn mark_founded(&self) -> Result<(), Error> {
        self.root.write_founding(None)
    }

    /// This process is about to ask for a broker epoch.
    pub(crate) fn mark_registering(&self, incarnation: Uuid) -> Result<(), Error> {
        self.root.mark_registering(&incarnation.to_string())
    }

    /// From now on a crash of the process alone loses no completed write.
    pub(crate) fn mark_running(&self, broker_epoch: i64) -> Result<(), Error> {
        self.root.mark_running(broker_epoch)
    }

    /// Whether the device has failed. If so, a crash from now on counts as unclean, whatever the kernel still has.
    pub(crate) fn suspect_if_failed(&self) -> bool {
        let failed = self.health.failure().is_some();
        if failed && let Err(error) = self.root.mark_suspect() {
            warn!(%error, "the failed data directory cannot be marked");
        }
        failed
    }

    /// Everything is closed and written.
    pub(crate) fn mark_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        self.root.mark_clean(broker_epoch)
    }

    /// Whether the partition was here at the start and has not been opened yet.
    pub(crate) fn has_found(&self, topic: &str, index: i32) -> bool {
        self.found.lock().unwrap().partitions.contains_key(&(topic.to_owned(), index))
    }

    /// Opens a partition's log, or creates it. A directory of that name that belongs to another topic is set
    /// aside first.
    pub(crate) fn open_partition(
        &self,
        topic: &str,
        id: Uuid,
        index: i32,
        config: &TopicConfig,
        on_damage: OnDamage,
    ) -> Result<OpenedLog, Error> {
        let name = (topic.to_owned(), index);
        let mut found = self.found.lock().unwrap();
        let exists = found.partitions.remove(&name);
        let at = |offsets: &mut HashMap<Name, Offset>| offsets.remove(&name).unwrap_or(Offset::ZERO);
        let options = OpenOptions {
            cleaned_to: at(&mut found.cleaned),
            recovery_point: at(&mut found.recovery_points),
            log_start: at(&mut found.log_starts),
            damage: if on_damage == OnDamage::Cut { DamagePolicy::CutThere } else { DamagePolicy::Refuse },
            ..OpenOptions::new(self.last_run.shutdown, clock::unix_ms())
        };
        let high_watermark = at(&mut found.high_watermarks);
        drop(found);
        let config = Arc::new(log_config(config));
        if let Some(path) = exists {
            match self.open_log(&path, config.clone(), &options, high_watermark) {
                Ok(opened) => {
                    if opened.log.topic_id() == TopicId(id.0) {
                        return Ok(opened);
                    }
                    drop(opened);
                    self.set_aside(topic, index)?;
                }
                Err(error @ Error::Damaged { .. }) if on_damage == OnDamage::SetAside => {
                    let unique = u128::from_be_bytes(random::bytes());
                    let aside = self.root.rename_damaged(topic, index, unique)?;
                    self.damaged.add(1);
                    warn!(topic, partition = index, %error, aside = %aside.display(), "a damaged log is set aside; the partition is copied from its leader");
                }
                Err(error) => return Err(error),
            }
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
        let (log, report) =
            Log::open(&self.storage, path, config, options, &mut |event: ReplayEvent<'_>| {
                event.apply(&mut producers);
            })?;
        recall(&log, &mut producers)?;
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
    pub(crate) fn sync_all(&self) -> Result<Synced, Error> {
        self.root.sync_all()
    }

    /// Writes the checkpoints of these partitions as they are now. A failure is logged: the next round tries again.
    pub(crate) fn checkpoint(&self, all: &[Arc<Hosted>]) {
        if let Err(error) = self.try_checkpoint(all) {
            warn!(%error, "checkpoints not written");
        }
    }

    /// Writes the checkpoints of these partitions as they are now, for one who promises something by them.
    pub(crate) fn try_checkpoint(&self, all: &[Arc<Hosted>]) -> Result<(), Error> {
        self.write_checkpoints(all.iter().filter_map(|hosted| Some((&**hosted, hosted.checkpointed()?))))
    }

    /// Writes all three checkpoints.
    pub(crate) fn write_checkpoints<'a>(
        &self,
        partitions: impl Iterator<Item = (&'a Hosted, Checkpointed)>,
    ) -> Result<(), Error> {
        let _alone = self.checkpoints.lock().unwrap();
        let (mut recovery_points, mut log_starts, mut high_watermarks) = (Vec::new(), Vec::new(), Vec::new());
        let mut cleaned = Vec::new();
        for (hosted, offsets) in partitions {
            let entry =
                |offset| CheckpointEntry { topic: hosted.topic.to_string(), partition: hosted.index, offset };
            recovery_points.push(entry(offsets.recovery_point));
            high_watermarks.push(entry(offsets.high_watermark));
            if offsets.log_start > Offset::ZERO {
                log_starts.push(entry(offsets.log_start));
            }
            if offsets.cleaned_to > Offset::ZERO {
                cleaned.push(entry(offsets.cleaned_to));
            }
        }
        self.root.write_checkpoint(Checkpoint::RecoveryPoint, &recovery_points)?;
        self.root.write_checkpoint(Checkpoint::LogStart, &log_starts)?;
        self.root.write_checkpoint(Checkpoint::HighWatermark, &high_watermarks)?;
        self.write_cleaner_checkpoint(cleaned)
    }

    /// Writes how far these partitions have been cleaned. A failure is logged: what is cleaned twice is no loss.
    pub(crate) fn checkpoint_cleaner(&self, all: &[Arc<Hosted>]) {
        let cleaned = all.iter().filter_map(|hosted| {
            let offset = hosted.checkpointed()?.cleaned_to;
            let topic = hosted.topic.to_string();
            (offset > Offset::ZERO).then_some(CheckpointEntry { topic, partition: hosted.index, offset })
        });
        if let Err(error) = self.write_cleaner_checkpoint(cleaned.collect()) {
            warn!(%error, "cleaner checkpoint not written");
        }
    }

    fn write_cleaner_checkpoint(&self, cleaned: Vec<CheckpointEntry>) -> Result<(), Error> {
        let mut written = self.cleaned.lock().unwrap();
        if *written != cleaned {
            self.root.write_checkpoint(Checkpoint::Cleaner, &cleaned)?;
            *written = cleaned;
        }
        Ok(())
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
        found.cleaned = offsets(Checkpoint::Cleaner)?;
        Ok(found)
    }
}

/// Gives producers back the batches that a snapshot does not hold, so that each may still repeat its newest five.
pub(crate) fn recall(log: &Log, producers: &mut Producers) -> Result<(), Error> {
    if producers.is_empty() {
        return Ok(());
    }
    let mut newest = Vec::new();
    log.recent_batches(RECALLED_BYTES, &mut |header| newest.push(*header))?;
    producers.recall(&newest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_config::BrokerConfig;
    use milena_records::{BatchBuilder, Compression, LeaderEpoch, StoredBatch};

    const TOPIC: Uuid = Uuid([7; 16]);

    #[test]
    fn checkpoints_written_at_the_same_time_do_not_fail_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path(), 64).unwrap();
        std::thread::scope(|scope| {
            let writer = || (0..50).try_for_each(|_| data_dir.try_checkpoint(&[]));
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(writer)).collect();
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
    }

    fn open(dir: &Path, on_damage: OnDamage) -> Result<Offset, Error> {
        let config =
            TopicConfig::resolve(&Default::default(), &BrokerConfig::new(Default::default()).unwrap());
        let opened = DataDir::open(dir, 64)?.open_partition("words", TOPIC, 0, &config, on_damage)?;
        Ok(opened.log.log_end())
    }

    /// A directory with a partition of three batches, the second of which has rotted.
    fn damaged() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path(), 64).unwrap();
        let config =
            TopicConfig::resolve(&Default::default(), &BrokerConfig::new(Default::default()).unwrap());
        let mut opened = data_dir.open_partition("words", TOPIC, 0, &config, OnDamage::Refuse).unwrap();
        let mut second = 0;
        for offset in 0..3 {
            let mut builder = BatchBuilder::new(Compression::None);
            builder.push(1_000, None, Some(b"word"), &[]);
            let bytes = builder.build().to_bytes();
            let rules = milena_records::Rules { now: 1_000, ..Default::default() };
            let validated = milena_records::validate(&bytes, &rules).unwrap();
            let stored: StoredBatch = validated.into_stored(Offset(offset), LeaderEpoch(0));
            opened.log.append(&[stored], 1_000).unwrap();
            second = if offset == 0 { opened.log.size_bytes() } else { second };
        }
        drop((opened, data_dir));
        let file = dir.path().join("words-0/00000000000000000000.log");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[second as usize + 70] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        dir
    }

    fn set_aside(dir: &Path) -> usize {
        let names = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
        names.filter(|it| it.to_string_lossy().ends_with("-damaged")).count()
    }

    #[test]
    fn damaged_log_is_refused_cut_or_set_aside_as_asked() {
        let refused = damaged();
        assert!(matches!(open(refused.path(), OnDamage::Refuse), Err(Error::Damaged { .. })));
        assert_eq!(set_aside(refused.path()), 0);
        let cut = damaged();
        assert_eq!(open(cut.path(), OnDamage::Cut).unwrap(), Offset(1));
        assert_eq!(set_aside(cut.path()), 0);
        let aside = damaged();
        assert_eq!(open(aside.path(), OnDamage::SetAside).unwrap(), Offset(0));
        assert_eq!(set_aside(aside.path()), 1);
        // The copy kept is nobody's partition at the next start.
        assert_eq!(open(aside.path(), OnDamage::Refuse).unwrap(), Offset(0));
        assert_eq!(set_aside(aside.path()), 1);
    }
}
