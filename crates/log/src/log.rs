//! One partition's log: its segments in order, its bounds, and what other files of this crate add to it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use milena_partition::{EpochCache, EpochEnd, ProducerEntry};
use milena_records::{LeaderEpoch, Offset};

use crate::checkpoint::{self, Durability};
use crate::config::LogConfig;
use crate::epochs;
use crate::error::Error;
use crate::flush::FlushState;
use crate::log_dir::Synced;
use crate::names::{self, SNAPSHOT, TopicId};
use crate::read::Hints;
use crate::segment::{Place, Segment};
use crate::snapshot;
use crate::storage::Storage;

/// File of the topic id in a partition's directory.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
/// File of the leader epochs.
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
/// Producer snapshots kept at least.
const SNAPSHOTS_KEPT: usize = 2;

/// The log of one partition. Idle, it holds no descriptor, no thread and about a kilobyte.
///
/// Offsets below `log_start` are gone, those from `log_end` on do not exist yet. How far readers may see
/// (high watermark, last stable offset) is the owner's knowledge and comes as an argument.
#[derive(Debug)]
pub struct Log {
    pub(crate) storage: Arc<Storage>,
    pub(crate) dir: Box<Path>,
    pub(crate) topic_id: TopicId,
    pub(crate) config: Arc<LogConfig>,
    /// Never empty; the last one is active. Bases grow strictly.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) epochs: EpochCache,
    /// The epochs differ from their file.
    pub(crate) epochs_changed: bool,
    /// The latest epoch in their file.
    pub(crate) latest_saved_epoch: LeaderEpoch,
    /// Offsets of the producer snapshots on disk, oldest first.
    pub(crate) snapshots: Vec<Offset>,
    /// Bases of segments renamed to `.deleted`, with the time of it.
    pub(crate) deleted: Vec<(Offset, i64)>,
    pub(crate) flush: Arc<Mutex<FlushState>>,
    pub(crate) hints: Arc<Mutex<Hints>>,
    /// Everything below has been cleaned (`cleanup.policy=compact`).
    pub(crate) cleaned_to: Offset,
    /// Segments replaced by cleaned ones so far.
    pub(crate) swaps: u64,
    /// A fault left files and memory apart.
    pub(crate) offline: bool,
}

impl Log {
    /// Makes the directory of a new partition and its first, empty segment at offset 0.
    ///
    /// Nothing is synced here, so that a thousand partitions are created in well under a second. The topic id
    /// becomes durable before the first record is written, or earlier by [`Log::flush_handle`].
    pub fn create(
        storage: &Arc<Storage>,
        dir: &Path,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Self, Error> {
        storage.fs.create_dir(dir).map_err(Error::io("create", dir))?;
        let place = Place { storage, dir };
        let fill = || {
            let segment = fill_directory(place, topic_id, now_ms)?;
            if config.preallocate {
                segment.reserve(place, config.segment_bytes)?;
            }
            Ok(segment)
        };
        let segment = fill().inspect_err(|_| {
            // Or the next attempt would find it there. What cannot be removed is known by its missing id.
            let _ = storage.fs.remove_dir_all(dir);
        })?;
        Ok(Self {
            storage: Arc::clone(storage),
            dir: dir.into(),
            topic_id,
            config,
            segments: vec![segment],
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            epochs: EpochCache::default(),
            epochs_changed: false,
            latest_saved_epoch: LeaderEpoch::NONE,
            snapshots: Vec::new(),
            deleted: Vec::new(),
            flush: Arc::new(Mutex::new(FlushState::new(Offset::ZERO, true))),
            hints: Arc::default(),
            cleaned_to: Offset::ZERO,
            swaps: 0,
            offline: false,
        })
    }

    /// The topic this partition belongs to, as its directory says.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// First offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Offset of the next record to be appended.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Everything below this offset is durable.
    pub fn recovery_point(&self) -> Offset {
        self.flush.lock().expect("no panic while the lock is held").recovery_point
    }

    /// Bytes of batches on disk, removed segments not counted.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Number of segments, the active one included.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How often a cleaned segment has replaced others: who reads batches and their aborted transactions one after the
    /// other compares, as cleaning removes the records of aborted transactions and forgets them.
    pub fn swaps(&self) -> u64 {
        self.swaps
    }

    /// Settings in force.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// New settings; they apply from the next call on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The leader epochs of this log.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Where `epoch` ends here (LE-1); see [`EpochCache::end_offset_of`].
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_offset_of(epoch, self.log_end)
    }

    /// Notes that this replica leads from its log end on in `epoch`, even if nothing gets written (KAFKA-7415).
    ///
    /// The file follows with the next append, flush or close: until then no record depends on it. Batches
    /// that carry a new epoch are noted by [`Log::append`] itself.
    ///
    /// Not durable at once, unlike Kafka's: a failover would wait for a sync of each partition. What a loss of power
    /// takes is the epoch of a leader that wrote nothing durable in it. Batches below the recovery point had theirs
    /// synced with them, those above are walked at the start and tell their own; and epochs come from the metadata
    /// quorum, which gives none out twice. Without the entry the replica says of itself that it ends in the epoch
    /// before, which is what its log shows. The simulator's disk forgets such epochs with every loss of power.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs_changed |= self.epochs.assign(epoch, self.log_end);
    }

    /// Writes the producers as of `offset` to a `.snapshot` file; the newest two are kept, and
    /// those that a recovery may need.
    ///
    /// Wanted after an append that rolled (its `offset` is the log end then) and on a clean stop, which is
    /// [`Log::close`]. Not synced: a snapshot that a power failure destroys only means a longer replay.
    pub fn take_snapshot(&mut self, entries: &[ProducerEntry], offset: Offset) -> Result<(), Error> {
        // Opening trusts what the epochs and the index of aborted transactions say of offsets below a snapshot.
        self.save_epochs(Durability::Later)?;
        self.write_aborted()?;
        let path = names::file(&self.dir, offset, SNAPSHOT);
        checkpoint::replace(&*self.storage.fs, &path, &snapshot::encode(entries), Durability::Later)?;
        self.snapshots.retain(|known| *known != offset);
        self.snapshots.push(offset);
        self.snapshots.sort_unstable();
        // After a power failure what lies behind the recovery point is derived from the log again, open transactions
        // included: the newest snapshot below it stays.
        let recovery_point = self.recovery_point();
        while self.snapshots.len() > SNAPSHOTS_KEPT && self.snapshots[1] <= recovery_point {
            self.remove_snapshot(0)?;
        }
        Ok(())
    }

    /// Closes the active segment and begins a new one at the log end; nothing if the active one is empty.
    pub fn roll(&mut self, now_ms: i64) -> Result<bool, Error> {
        self.check_online()?;
        if self.active().size == 0 {
            return Ok(false);
        }
        self.roll_at(self.log_end, now_ms)?;
        Ok(true)
    }

    /// Ends the life of this log in good order: everything durable, indexes complete, a producer snapshot
    /// at the log end, so that the next open reads next to nothing. Returns the recovery point, the log end.
    pub fn close(mut self, entries: &[ProducerEntry]) -> Result<Offset, Error> {
        self.complete(entries)?;
        if self.needs_flush() {
            self.flush()?;
        }
        Ok(self.log_end)
    }

    /// Like [`Log::close`], but leaves it to the owner to make everything durable by one
    /// [`crate::LogDir::sync_all`] for all logs, before it writes recovery points and the clean marker: a
    /// thousand partitions are closed in the time that a few would take one by one.
    pub fn close_unsynced(mut self, entries: &[ProducerEntry]) -> Result<Offset, Error> {
        self.complete(entries)?;
        Ok(self.log_end)
    }

    /// Writes what memory holds back: producers, index entries, epochs.
    fn complete(&mut self, entries: &[ProducerEntry]) -> Result<(), Error> {
        self.check_online()?;
        let end = self.log_end;
        if !self.snapshots.contains(&end) && (end > self.log_start || !entries.is_empty()) {
            self.take_snapshot(entries, end)?;
        }
        self.save_epochs(Durability::Later)?;
        let place = Place { storage: &self.storage, dir: &self.dir };
        let active = self.segments.last_mut().expect("never empty");
        if self.config.preallocate {
            active.give_back(place)?;
        }
        if active.seal(place)? {
            self.flush.lock().expect("no panic while the lock is held").sealed.push(active.base_offset);
        }
        Ok(())
    }

    /// The directory was created before everything was made durable: the first append need not see to it.
    pub fn creation_is_durable(&mut self, _synced: &Synced) {
        self.flush.lock().expect("no panic while the lock is held").created = false;
    }

    pub(crate) fn remove_snapshot(&mut self, at: usize) -> Result<(), Error> {
        let path = names::file(&self.dir, self.snapshots.remove(at), SNAPSHOT);
        match self.storage.fs.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn roll_at(&mut self, base: Offset, now_ms: i64) -> Result<(), Error> {
        self.save_epochs(Durability::Later)?;
        let place = Place { storage: &self.storage, dir: &self.dir };
        let active = self.segments.last_mut().expect("never empty");
        active.seal(place)?;
        let sealed = active.base_offset;
        let segment = Segment::create(place, base, now_ms)?;
        if self.config.preallocate {
            active.give_back(place)?;
            segment.reserve(place, self.config.segment_bytes)?;
        }
        self.segments.push(segment);
        let mut flush = self.flush.lock().expect("no panic while the lock is held");
        if !flush.sealed.contains(&sealed) {
            flush.sealed.push(sealed);
        }
        flush.names_changed = true;
        Ok(())
    }

    /// Writes the epochs if they differ from their file, durable or not as asked.
    pub(crate) fn save_epochs(&mut self, durability: Durability) -> Result<(), Error> {
        if self.epochs_changed {
            let path = self.dir.join(EPOCHS);
            checkpoint::replace(
                &*self.storage.fs,
                &path,
                epochs::encode(&self.epochs).as_bytes(),
                durability,
            )?;
            self.epochs_changed = false;
            self.latest_saved_epoch = self.epochs.latest();
            let mut flush = self.flush.lock().expect("no panic while the lock is held");
            flush.epochs_unsynced = durability == Durability::Later;
        }
        Ok(())
    }

    pub(crate) fn check_online(&self) -> Result<(), Error> {
        self.online_state().map(|_| ())
    }

    /// The flush state, unless a fault has ended this log.
    pub(crate) fn online_state(&self) -> Result<MutexGuard<'_, FlushState>, Error> {
        let flush = self.flush.lock().expect("no panic while the lock is held");
        if self.offline || flush.failed {
            return Err(Error::Offline { dir: self.dir.to_path_buf() });
        }
        Ok(flush)
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place { storage: &self.storage, dir: &self.dir }
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("never empty")
    }

    /// Index of the segment that holds `offset` or would: the last one that does not begin behind it.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// Offset behind the last that segment number `at` may hold.
    pub(crate) fn segment_end(&self, at: usize) -> Offset {
        self.segments.get(at + 1).map_or(self.log_end, |next| next.base_offset)
    }
}

/// Writes the files of a new partition; the topic id first, as a directory without it counts as not there.
fn fill_directory(place: Place<'_>, topic_id: TopicId, now_ms: i64) -> Result<Segment, Error> {
    let metadata = format!("version: 0\ntopic_id: {topic_id}");
    let path = place.dir.join(PARTITION_METADATA);
    checkpoint::replace(&*place.storage.fs, &path, metadata.as_bytes(), Durability::Later)?;
    Segment::create(place, Offset::ZERO, now_ms)
}

impl Drop for Log {
    fn drop(&mut self) {
        for segment in &self.segments {
            segment.forget(&self.storage);
        }
    }
}
