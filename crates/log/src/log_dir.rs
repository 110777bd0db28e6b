//! The root of a data directory: who owns it, how the last run ended, checkpoints, and its partitions.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_records::Offset;

use crate::checkpoint::{self, Durability, damaged, decode_lines, encode_lines, parse_offset};
use crate::error::Error;
use crate::fs::FileSystem;
use crate::log::PARTITION_METADATA;
use crate::names;

const LOCK: &str = ".lock";
const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const RUNNING: &str = "running";
const FOUNDING: &str = "founding";
const DELETE_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
const FUTURE_SUFFIX: &str = "-future";
const DAMAGED_SUFFIX: &str = "-damaged";
/// Key of the lines that [`LogDir::mark_registering`] adds.
const REGISTERING: &str = "registering";
/// Most of them; a process in a loop of crashes must not make the file grow.
const MAX_REGISTERING: usize = 16;
/// Longest name that file systems take.
const MAX_NAME: usize = 255;

/// A data directory, held exclusively from opening until it is dropped.
pub struct LogDir {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDir").field("root", &self.root).finish_non_exhaustive()
    }
}

/// How the process that last used a directory ended, which decides what must be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastShutdown {
    /// In good order: everything was flushed and closed.
    Clean,
    /// It died, but the kernel did not: every completed write is still there, only the last may be torn.
    ProcessCrash,
    /// The machine went down, or nobody knows: only what was synced is sure to be there.
    Unclean,
}

/// What a directory says of who used it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// How it ended.
    pub shutdown: LastShutdown,
    /// The broker epoch that it had, if known.
    pub broker_epoch: Option<i64>,
    /// Processes that asked for an epoch after that one and ended before they knew it, oldest first: any of them may be
    /// the one that is registered. See [`LogDir::mark_registering`].
    pub registering: Vec<String>,
}

/// Identity of a data directory: `meta.properties`, version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`: 22 characters, as Kafka writes ids. Empty in directories of older releases.
    pub directory_id: String,
}

impl MetaProperties {
    /// Who the directory `root` belongs to, whether or not a broker holds it; `None` if it is not formatted.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Damaged`] if it does not say.
    pub fn read(fs: &dyn FileSystem, root: &Path) -> Result<Option<Self>, Error> {
        let path = root.join(META_PROPERTIES);
        let Some(text) = checkpoint::read(fs, &path)? else { return Ok(None) };
        let value = |key: &str| {
            let lines = text.lines().filter(|line| !line.starts_with(['#', '!']));
            let mut pairs = lines.filter_map(|line| line.split_once('='));
            pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
        };
        match value("version").as_deref() {
            Some("1") => {}
            version => return Err(damaged(&path, format!("version {version:?}, expected 1"))),
        }
        let (Some(cluster_id), Some(node_id)) = (value("cluster.id"), value("node.id")) else {
            return Err(damaged(&path, "cluster.id or node.id is missing"));
        };
        let node_id =
            node_id.parse().map_err(|_| damaged(&path, format!("node.id {node_id} is no number")))?;
        Ok(Some(MetaProperties {
            cluster_id,
            node_id,
            directory_id: value("directory.id").unwrap_or_default(),
        }))
    }
}

/// Kinds of checkpoint files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Below it everything is durable.
    RecoveryPoint,
    /// High watermarks.
    HighWatermark,
    /// Log start offsets, of partitions where it is not the first segment's base.
    LogStart,
    /// How far compacted partitions have been cleaned.
    Cleaner,
}

/// Proof that everything written before was made durable: [`LogDir::sync_all`].
#[derive(Debug)]
pub struct Synced {
    _by_sync_all: (),
}

impl Checkpoint {
    fn file(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::HighWatermark => "replication-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// One line of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
}

/// A partition's directory as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: DirEntryKind,
}

/// What a directory name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirEntryKind {
    /// `<topic>-<partition>`.
    Partition {
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
    },
    /// `….<unique>-delete`: to be removed.
    Deleted,
    /// `….<unique>-stray`: no topic claims it; an operator decides.
    Stray,
    /// `….<unique>-future`: a copy that was being moved here.
    Future,
}

impl LogDir {
    /// Opens `root`, created if absent, and locks it.
    ///
    /// # Errors
    /// [`Error::Io`] of kind `WouldBlock` when another process holds it.
    pub fn open(fs: Arc<dyn FileSystem>, root: &Path) -> Result<Self, Error> {
        create_dir_all(&*fs, root)?;
        let path = root.join(LOCK);
        let lock = fs.lock(&path).map_err(Error::io("lock", &path))?;
        Ok(Self { fs, root: root.into(), _lock: lock })
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Who the directory belongs to; `None` if it is not formatted.
    pub fn meta_properties(&self) -> Result<Option<MetaProperties>, Error> {
        MetaProperties::read(&*self.fs, &self.root)
    }

    /// Formats the directory, or names it anew.
    pub fn write_meta_properties(&self, meta: &MetaProperties) -> Result<(), Error> {
        let MetaProperties { cluster_id, node_id, directory_id } = meta;
        let text =
            format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n");
        self.replace(META_PROPERTIES, &text)
    }

    /// The voters with whom this node began to found a cluster; `None` once that is done.
    pub fn founding(&self) -> Result<Option<String>, Error> {
        checkpoint::read(&*self.fs, &self.root.join(FOUNDING))
    }

    /// Notes with whom a cluster is being founded, or that it is done: a crash in between must not change the list.
    pub fn write_founding(&self, voters: Option<&str>) -> Result<(), Error> {
        match voters {
            Some(voters) => self.replace(FOUNDING, voters),
            None => self.remove_if_there(FOUNDING),
        }
    }

    /// How the last run ended.
    ///
    /// The clean marker is removed for good before this returns: whatever is written from now on is not covered
    /// by it. A crash of the process alone loses nothing from then on, as there is nothing to recover. After an unclean
    /// end another one counts as unclean until [`LogDir::mark_running`], as recovery may be half done.
    pub fn begin(&self) -> Result<LastRun, Error> {
        let path = self.root.join(CLEAN_SHUTDOWN);
        if let Some(text) = checkpoint::read(&*self.fs, &path)? {
            // Old brokers wrote an empty file: clean all the same.
            let content: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            let epoch = content.and_then(|content| content.get("brokerEpoch")?.as_i64());
            if let Some(epoch) = epoch
                && let Err(error) = self.mark_running(epoch)
            {
                tracing::warn!(%error, "a crash before this broker is registered will count as unclean");
            }
            self.fs.remove_file(&path).map_err(Error::io("remove", &path))?;
            self.fs.sync_dir(&self.root).map_err(Error::io("sync", &self.root))?;
            let shutdown = LastShutdown::Clean;
            return Ok(LastRun { shutdown, broker_epoch: epoch, registering: Vec::new() });
        }
        let text = checkpoint::read(&*self.fs, &self.root.join(RUNNING))?.unwrap_or_default();
        let values = |key: &'static str| {
            text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let same_boot = self.fs.boot_id().is_ok_and(|id| values("boot.id").next() == Some(&*id));
        Ok(LastRun {
            shutdown: if same_boot { LastShutdown::ProcessCrash } else { LastShutdown::Unclean },
            broker_epoch: values("broker.epoch").next().and_then(|epoch| epoch.parse().ok()),
            registering: values(REGISTERING).map(str::to_owned).collect(),
        })
    }

    /// A process with the id `incarnation` is about to ask for a broker epoch. It may be given one and die before it
    /// hears of it; the next one must be able to tell that nothing was lost in between.
    ///
    /// Without a mark of the last run there is nothing that this could be added to: that run lost something, or nobody
    /// knows.
    pub fn mark_registering(&self, incarnation: &str) -> Result<(), Error> {
        let Some(text) = checkpoint::read(&*self.fs, &self.root.join(RUNNING))? else { return Ok(()) };
        let (before, last): (Vec<_>, Vec<_>) = text.lines().partition(|line| !line.starts_with(REGISTERING));
        // One that is forgotten counts as one that lost its tail: safe.
        let kept = &last[(last.len() + 1).saturating_sub(MAX_REGISTERING)..];
        let own = format!("{REGISTERING}={incarnation}");
        let lines: Vec<&str> = before.iter().chain(kept).copied().chain([&*own]).collect();
        self.replace(RUNNING, &(lines.join("\n") + "\n"))
    }

    /// All logs are open and recovered: from now on a crash of the process alone loses no completed write.
    pub fn mark_running(&self, broker_epoch: i64) -> Result<(), Error> {
        let boot_id = self.fs.boot_id().map_err(Error::io("find the boot id for", &self.root))?;
        self.replace(RUNNING, &format!("broker.epoch={broker_epoch}\nboot.id={boot_id}\n"))
    }

    /// After an I/O error: a crash from now on counts as unclean, whatever the kernel still has.
    pub fn mark_suspect(&self) -> Result<(), Error> {
        self.remove_if_there(RUNNING)
    }

    /// All logs are closed and checkpoints written: the next start may trust the files.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), Error> {
        self.remove_if_there(RUNNING)?;
        let content = serde_json::json!({"version": 0, "brokerEpoch": broker_epoch});
        self.replace(CLEAN_SHUTDOWN, &content.to_string())
    }

    /// Offsets of a checkpoint; none if there is no file yet.
    pub fn read_checkpoint(&self, kind: Checkpoint) -> Result<Vec<CheckpointEntry>, Error> {
        let path = self.root.join(kind.file());
        let text = checkpoint::read(&*self.fs, &path)?.unwrap_or_default();
        // Kafka creates the files empty and fills them later.
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            words.next().is_none().then_some(())?;
            Some(CheckpointEntry { topic: topic.into(), partition, offset: parse_offset(offset)? })
        };
        decode_lines(&text, entry).map_err(|why| damaged(&path, why))
    }

    /// Replaces a checkpoint as a whole; durable on return.
    pub fn write_checkpoint(&self, kind: Checkpoint, entries: &[CheckpointEntry]) -> Result<(), Error> {
        let text = encode_lines(entries, |text, entry| {
            text.push_str(&format!("{} {} {}", entry.topic, entry.partition, entry.offset.0));
        });
        self.replace(kind.file(), &text)
    }

    /// All directories of partitions, in order of their names.
    ///
    /// Those whose creation was cut short, with neither a topic id nor a record, are removed and left out.
    pub fn partitions(&self) -> Result<Vec<PartitionDir>, Error> {
        let entries = self.fs.list(&self.root).map_err(Error::io("list", &self.root))?;
        let mut dirs = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.stat.is_dir) {
            let Some(kind) = parse_dir(&entry.name) else { continue };
            let path = self.root.join(entry.name);
            if matches!(kind, DirEntryKind::Partition { .. }) && self.is_unfinished(&path)? {
                tracing::info!(path = %path.display(), "removing a partition whose creation was cut short");
                self.remove(&path)?;
                continue;
            }
            dirs.push(PartitionDir { path, kind });
        }
        dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(dirs)
    }

    /// Whether a crash interrupted the creation of a partition: its topic id is made durable before its first
    /// record, so there is none to lose.
    fn is_unfinished(&self, dir: &Path) -> Result<bool, Error> {
        if self.fs.stat(&dir.join(PARTITION_METADATA)).is_ok_and(|metadata| metadata.len > 0) {
            return Ok(false);
        }
        let entries = self.fs.list(dir).map_err(Error::io("list", dir))?;
        let is_log = |name: &str| names::parse(name).is_some_and(|(_, suffix)| suffix == names::LOG);
        Ok(!entries.iter().any(|entry| is_log(&entry.name) && entry.stat.len > 0))
    }

    /// Where a partition's files are or will be.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.root.join(format!("{topic}-{partition}"))
    }

    /// Renames a partition's directory so that its name is free again and [`LogDir::remove`] can follow later.
    /// The log must have been dropped. `unique` keeps names apart when a topic is deleted repeatedly.
    pub fn rename_deleted(&self, topic: &str, partition: i32, unique: u128) -> Result<PathBuf, Error> {
        self.rename_away(&format!("{topic}-{partition}"), unique, DELETE_SUFFIX)
    }

    /// Sets a directory aside that no topic claims. Nothing removes it but an operator.
    pub fn rename_stray(&self, topic: &str, partition: i32, unique: u128) -> Result<PathBuf, Error> {
        self.rename_away(&format!("{topic}-{partition}"), unique, STRAY_SUFFIX)
    }

    /// Sets a damaged log aside. Its name is free then; nothing looks at it again, or removes it, but an operator.
    pub fn rename_damaged(&self, topic: &str, partition: i32, unique: u128) -> Result<PathBuf, Error> {
        self.rename_away(&format!("{topic}-{partition}"), unique, DAMAGED_SUFFIX)
    }

    /// Makes everything in the directory durable with one call, for when many logs have been created or closed.
    ///
    /// It waits for all that was written to this file system, which may take long: not for a data thread.
    pub fn sync_all(&self) -> Result<Synced, Error> {
        self.fs.sync_all(&self.root).map_err(Error::io("sync", &self.root))?;
        Ok(Synced { _by_sync_all: () })
    }

    /// Removes a directory that was renamed for deletion. May take long.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        self.fs.remove_dir_all(path).map_err(Error::io("remove", path))
    }

    fn rename_away(&self, name: &str, unique: u128, suffix: &str) -> Result<PathBuf, Error> {
        let ending = format!(".{unique:032x}{suffix}");
        // Topic names are ASCII, so any place will do to cut one that would grow too long.
        let kept = name.len().min(MAX_NAME - ending.len());
        let to = self.root.join(format!("{}{ending}", &name[..kept]));
        let from = self.root.join(name);
        self.fs.rename(&from, &to).map_err(Error::io("rename", &from))?;
        Ok(to)
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), Error> {
        checkpoint::replace(&*self.fs, &self.root.join(name), text.as_bytes(), Durability::Synced)
    }

    fn remove_if_there(&self, name: &str) -> Result<(), Error> {
        let path = self.root.join(name);
        match self.fs.remove_file(&path) {
            Ok(()) => self.fs.sync_dir(&self.root).map_err(Error::io("sync", &self.root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("remove", &path)(error)),
        }
    }
}

fn create_dir_all(fs: &dyn FileSystem, dir: &Path) -> Result<(), Error> {
    match fs.stat(dir) {
        Ok(stat) if stat.is_dir => return Ok(()),
        Ok(_) => return Err(Error::io("create", dir)(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("look at", dir)(error)),
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir_all(fs, parent)?;
    }
    fs.create_dir(dir).map_err(Error::io("create", dir))
}

fn parse_dir(name: &str) -> Option<DirEntryKind> {
    for (suffix, kind) in [
        (DELETE_SUFFIX, DirEntryKind::Deleted),
        (STRAY_SUFFIX, DirEntryKind::Stray),
        (FUTURE_SUFFIX, DirEntryKind::Future),
    ] {
        let unique = name.strip_suffix(suffix).and_then(|name| name.rsplit_once('.'));
        if unique
            .is_some_and(|(_, unique)| unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Some(kind);
        }
    }
    let (topic, partition) = name.rsplit_once('-')?;
    let canonical = partition == "0" || !partition.starts_with(['0', '+']);
    let partition = partition.parse().ok().filter(|_| canonical && !topic.is_empty())?;
    Some(DirEntryKind::Partition { topic: topic.into(), partition })
}
