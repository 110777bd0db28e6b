//! Making a log durable without holding the partition's lock meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use milena_bugs::{Bug, is_on};
use milena_records::Offset;

use crate::error::Error;
use crate::fs::{File, Open};
use crate::log::{EPOCHS, Log, PARTITION_METADATA};
use crate::names::{LOG, TXN_INDEX};
use crate::segment::Place;
use crate::storage::Storage;

/// What of a log is not on disk yet; shared by the log and its handles.
#[derive(Debug)]
pub(crate) struct FlushState {
    /// Everything below is durable.
    pub recovery_point: Offset,
    /// Grows when the log is truncated: a flush that began before proves nothing about what came after.
    pub generation: u64,
    /// A sync failed. The kernel may have dropped the pages, and a second sync would not tell.
    pub failed: bool,
    /// The directory and its topic id were created without a sync.
    pub created: bool,
    /// Files were created, renamed or removed.
    pub names_changed: bool,
    /// The epochs' file was replaced without a sync.
    pub epochs_unsynced: bool,
    /// Segments closed since the last flush, whose indexes have got their last entries.
    pub sealed: Vec<Offset>,
}

impl FlushState {
    pub fn new(recovery_point: Offset, created: bool) -> Self {
        Self {
            recovery_point,
            generation: 0,
            failed: false,
            created,
            names_changed: false,
            epochs_unsynced: false,
            sealed: Vec::new(),
        }
    }

    /// Whether a flush up to `end` would have anything to do.
    pub fn needs_sync(&self, end: Offset) -> bool {
        self.recovery_point < end
            || self.created
            || self.names_changed
            || self.epochs_unsynced
            || !self.sealed.is_empty()
    }
}

/// A flush that has been decided on and can run on any thread.
///
/// [`FlushHandle::run`] may take seconds on a busy disk. Dropping the handle instead leaves everything as
/// unsynced as it was.
#[derive(Debug)]
pub struct FlushHandle {
    storage: Arc<Storage>,
    dir: PathBuf,
    state: Arc<Mutex<FlushState>>,
    generation: u64,
    target: Offset,
    files: Vec<(PathBuf, Arc<dyn File>)>,
    taken: Taken,
}

/// Debts that the handle has taken over from the state.
#[derive(Debug, Default)]
struct Taken {
    names_changed: bool,
    epochs_unsynced: bool,
    sealed: Vec<Offset>,
}

impl Log {
    /// Prepares to make durable what is in the log now: batches, indexes of closed segments, epochs, names.
    ///
    /// Cheap, and does nothing by itself. Several handles of a log may run at once.
    pub fn flush_handle(&mut self) -> Result<FlushHandle, Error> {
        self.check_online()?;
        self.save_epochs(crate::checkpoint::Durability::Later)?;
        self.write_aborted()?;
        let place = self.place();
        let mut state = lock(&self.flush);
        let mut files = Vec::new();
        if state.recovery_point < self.log_end {
            for segment in &self.segments[self.segment_of(state.recovery_point)..] {
                files.push((place.path(segment.base_offset, LOG), segment.log_file(place)?));
                if segment.aborted.len() > 0 {
                    let path = place.path(segment.base_offset, TXN_INDEX);
                    let file = segment.aborted_file(place).map_err(Error::io("open", &path))?;
                    files.push((path, file));
                }
            }
        }
        for segment in self.segments.iter().filter(|segment| state.sealed.contains(&segment.base_offset)) {
            let path = place.path(segment.base_offset, LOG);
            let index = segment.index_file(place).map_err(Error::io("open the index of", &path))?;
            let times = segment.time_file(place).map_err(Error::io("open the time index of", &path))?;
            files.extend([(path.clone(), index), (path, times)]);
        }
        let taken = Taken {
            names_changed: std::mem::take(&mut state.names_changed),
            epochs_unsynced: std::mem::take(&mut state.epochs_unsynced) && !is_on(Bug::R6),
            sealed: std::mem::take(&mut state.sealed),
        };
        Ok(FlushHandle {
            storage: Arc::clone(&self.storage),
            dir: self.dir.to_path_buf(),
            state: Arc::clone(&self.flush),
            generation: state.generation,
            target: self.log_end,
            files,
            taken,
        })
    }

    /// Makes everything durable, here and now. Returns the new recovery point.
    pub fn flush(&mut self) -> Result<Offset, Error> {
        self.flush_handle()?.run()
    }

    /// Whether a flush would have anything to do.
    pub fn needs_flush(&self) -> bool {
        self.epochs_changed || lock(&self.flush).needs_sync(self.log_end)
    }
}

impl FlushHandle {
    /// Syncs, then moves the recovery point. Returns the recovery point: the offset below which all is
    /// durable, which is lower than planned if the log was truncated meanwhile.
    ///
    /// After an error the log is offline for good: a sync that failed must not be tried again (ATC'20,
    /// Rebello et al.).
    pub fn run(mut self) -> Result<Offset, Error> {
        let result = self.sync();
        let mut state = lock(&self.state);
        self.taken = Taken::default();
        match result {
            Ok(()) => {
                if state.generation == self.generation {
                    state.recovery_point = state.recovery_point.max(self.target);
                }
                Ok(state.recovery_point)
            }
            Err(error) => {
                state.failed = true;
                Err(error)
            }
        }
    }

    /// The recovery point that a successful run arrives at.
    pub fn target(&self) -> Offset {
        self.target
    }

    fn sync(&self) -> Result<(), Error> {
        make_creation_durable(Place { storage: &self.storage, dir: &self.dir }, &self.state)?;
        for (path, file) in &self.files {
            file.sync().map_err(Error::io("sync", path))?;
        }
        if self.taken.epochs_unsynced {
            let path = self.dir.join(EPOCHS);
            let sync = || self.storage.fs.open(&path, Open::Existing)?.sync();
            sync().map_err(Error::io("sync", &path))?;
        }
        if self.taken.names_changed || self.taken.epochs_unsynced {
            self.storage.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        }
        Ok(())
    }
}

impl Drop for FlushHandle {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.names_changed |= self.taken.names_changed;
        state.epochs_unsynced |= self.taken.epochs_unsynced;
        state.sealed.append(&mut self.taken.sealed);
    }
}

/// Syncs directory and topic id of a partition just created: before its first record (KIP-516), so that no
/// record can ever be found without knowing its topic.
pub(crate) fn make_creation_durable(place: Place<'_>, state: &Mutex<FlushState>) -> Result<(), Error> {
    if !lock(state).created {
        return Ok(());
    }
    let fs = &place.storage.fs;
    let sync = || -> io::Result<()> {
        fs.open(&place.dir.join(PARTITION_METADATA), Open::Existing)?.sync()?;
        fs.sync_dir(place.dir)?;
        place.dir.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))
    };
    match sync() {
        Ok(()) => {
            lock(state).created = false;
            Ok(())
        }
        Err(error) => {
            lock(state).failed = true;
            Err(Error::io("sync", place.dir)(error))
        }
    }
}

fn lock(state: &Mutex<FlushState>) -> std::sync::MutexGuard<'_, FlushState> {
    state.lock().expect("no panic while the lock is held")
}
