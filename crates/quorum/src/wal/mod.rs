//! The Raft log on disk: one append-only sequence of records for all groups of the node.
//!
//! Votes, entries, truncations and purges of every group go into one stream of segment files,
//! in the order they were submitted. One thread writes: it takes whatever has been submitted
//! since its last flush, writes it at once and calls `fdatasync` once; then all callbacks of
//! that batch run, in order. So a busy node pays one flush for hundreds of entries, and an idle
//! one nothing.
//!
//! A new segment begins with the votes and positions of all groups, so a segment can be deleted
//! as soon as no group has a live entry in it. What was submitted is readable at once, from
//! memory; entries that memory has let go are read back from their file.

mod group_log;
mod record;
mod recovery;
mod stream;
mod writer;

#[cfg(test)]
mod tests;

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use bytes::Bytes;
use group_log::Slot;
use record::{HEADER, Head, Kind};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use stream::State;
use thiserror::Error;
use tokio::sync::watch;

pub(crate) use group_log::{Position, StoredVote};
pub(crate) use record::Kind as RecordKind;
pub(crate) use record::{RawEntry, crc32c};
pub use recovery::Recovery;

/// Payload bytes of each group that stay in memory once they are in the file. Followers that
/// keep up and the state machine never read a file.
const CACHE_BYTES: usize = 2 << 20;

/// The log cannot be trusted from `position` of `file` on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("raft log {file}: damage at position {position}: {what}", file = file.display())]
pub struct Damage {
    /// The segment file.
    pub file: PathBuf,
    /// Byte in the file where the first bad record starts.
    pub position: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Runs once the operation is durable, or failed.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    identity: [u8; 16],
    state: Mutex<State>,
    wake: Condvar,
    /// Number of the newest segment.
    newest: watch::Sender<u32>,
}

/// The open log. Dropped without [`Wal::close`], it finishes what was submitted, unwatched.
pub(crate) struct Wal {
    shared: Arc<Shared>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Writes when it is told to, where there is no thread.
    #[cfg(any(test, feature = "simulation"))]
    by_hand: Mutex<Option<writer::Writer>>,
}

impl Wal {
    /// Opens the log in `dir`, or prepares a new one there; nothing is written before the first
    /// record. Damage is reported, never repaired by forgetting.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
    ) -> Result<(Wal, Recovery), OpenError> {
        let found = recovery::recover(&*disk, dir)?;
        let report = found.report.clone();
        let shared = Arc::new(Shared {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            identity: found.identity,
            newest: watch::channel(found.segment).0,
            state: Mutex::new(State::new(found)),
            wake: Condvar::new(),
        });
        #[cfg(any(test, feature = "simulation"))]
        if !shared.disk.has_threads() {
            let by_hand = Mutex::new(Some(writer::Writer::new(shared.clone())));
            return Ok((Wal { shared, writer: Mutex::default(), by_hand }, report));
        }
        let writer = writer::spawn(shared.clone()).map_err(OpenError::io("start the writer of", dir))?;
        let wal = Wal {
            shared,
            writer: Mutex::new(Some(writer)),
            #[cfg(any(test, feature = "simulation"))]
            by_hand: Mutex::default(),
        };
        Ok((wal, report))
    }

    /// Whether something waits for the writer.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_work(&self) -> bool {
        !self.shared.lock().pending.is_empty()
    }

    /// Does the writer's work where it has no thread: makes durable what was submitted.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn pump(&self) {
        let mut writer = self.by_hand.lock().unwrap();
        while self.has_work() {
            self.shared.lock().pending.opening = None;
            writer.as_mut().expect("there is no thread").write_next();
        }
    }

    /// A number made up when the log was created; other files are tied to the log by it.
    pub(crate) fn identity(&self) -> [u8; 16] {
        self.shared.identity
    }

    /// Appends entries; they are readable at once. `done` runs when they are durable.
    pub(crate) fn append(&self, group: u8, entries: Vec<RawEntry>, done: Done) -> io::Result<()> {
        let mut state = match self.shared.writable() {
            Ok(state) => state,
            Err(error) => {
                done(Err(copy(&error)));
                return Err(error);
            }
        };
        state.record_committed(&self.shared, group);
        for entry in entries {
            state.pending.await_company(group, entry.kind);
            let head = Head { kind: entry.kind, group, index: entry.index, term: entry.term };
            let (segment, position) = state.record(&self.shared, head, &entry.payload);
            let slot = Slot {
                term: entry.term,
                segment,
                position: position as u32,
                payload_len: entry.payload.len() as u32,
                kind: entry.kind,
                payload: Some(entry.payload),
            };
            if let Err(what) = state.group(group).push(entry.index, slot) {
                // The file now holds what recovery would refuse: nothing more may be written.
                let error = io::Error::new(io::ErrorKind::InvalidInput, what);
                state.failed = Some(error.to_string());
                done(Err(copy(&error)));
                return Err(error);
            }
        }
        state.pending.done.push(done);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Stores a vote. `done` runs when it is durable, after everything submitted before it.
    pub(crate) fn save_vote(&self, group: u8, vote: StoredVote, done: Done) -> io::Result<()> {
        let mut state = self.shared.writable()?;
        state.group(group).vote = Some(vote);
        state.record_vote(&self.shared, group, vote);
        state.pending.opening = None;
        state.pending.done.push(done);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Notes a vote. It reaches the file along with the next record, before it, or at the close.
    pub(crate) fn note_vote(&self, group: u8, vote: StoredVote) -> io::Result<()> {
        let mut state = self.shared.writable()?;
        state.group(group).vote = Some(vote);
        state.record_vote(&self.shared, group, vote);
        Ok(())
    }

    /// Notes the commit index. It reaches the file along with the next record, or at the close.
    pub(crate) fn save_committed(&self, group: u8, committed: Option<Position>) -> io::Result<()> {
        self.shared.writable()?.group(group).committed = committed;
        Ok(())
    }

    /// Voids the entries above `last`, all of them with `None`. Durable with whatever follows.
    pub(crate) fn truncate_after(&self, group: u8, last: Option<Position>) -> io::Result<()> {
        let mut state = self.shared.writable()?;
        let head = Head {
            kind: Kind::Truncate,
            group,
            index: last.map_or(0, |last| last.index),
            term: last.map_or(0, |last| last.term),
        };
        state.record(&self.shared, head, &[u8::from(last.is_none())]);
        state.group(group).truncate_after(last.map(|last| last.index));
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Gives up the entries up to `upto`. Segments without live entries are deleted after that
    /// is durable.
    pub(crate) fn purge(&self, group: u8, upto: Position) -> io::Result<()> {
        let mut state = self.shared.writable()?;
        let head = Head { kind: Kind::Purge, group, index: upto.index, term: upto.term };
        state.record(&self.shared, head, &[]);
        state.group(group).purge(upto);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Where a group's log stands.
    pub(crate) fn positions(&self, group: u8) -> Positions {
        let mut state = self.shared.lock();
        let log = state.group(group);
        Positions {
            vote: log.vote,
            committed: log.committed,
            purged: log.purged,
            last: log.last(),
            first: log.first(),
            len: log.len(),
        }
    }

    /// Segments from the oldest with a live entry of the group to the one being written.
    pub(crate) fn segments_held(&self, group: u8) -> u32 {
        let mut state = self.shared.lock();
        let newest = state.segment;
        state.group(group).oldest_segment().map_or(0, |oldest| newest - oldest + 1)
    }

    /// Entries from `start` to before `end`, as far as they exist, and no more than fit into
    /// `max_bytes` (but at least one).
    pub(crate) fn read(
        &self,
        group: u8,
        start: u64,
        end: u64,
        max_bytes: usize,
    ) -> io::Result<Vec<RawEntry>> {
        enum Source {
            Memory(Bytes),
            File(Arc<dyn DiskFile>, u32),
        }
        let mut wanted = Vec::new();
        {
            let mut guard = self.shared.lock();
            let state = &mut *guard;
            let log = state.groups.entry(group).or_default();
            let mut bytes = 0;
            for index in start.max(log.first())..end.min(log.end()) {
                let slot = log.slot(index).expect("within the live entries");
                bytes += slot.payload_len as usize;
                if bytes > max_bytes && !wanted.is_empty() {
                    break;
                }
                let source = match &slot.payload {
                    Some(payload) => Source::Memory(payload.clone()),
                    None => {
                        let handle =
                            state.segments.get_mut(&slot.segment).expect("segments of live entries are kept");
                        Source::File(self.shared.handle(slot.segment, handle)?, slot.position)
                    }
                };
                wanted.push((index, slot.term, slot.kind, slot.payload_len, source));
            }
        }
        let mut entries = Vec::with_capacity(wanted.len());
        for (index, term, kind, payload_len, source) in wanted {
            let payload = match source {
                Source::Memory(payload) => payload,
                Source::File(file, position) => {
                    let mut bytes = vec![0; HEADER + payload_len as usize];
                    file.read_at(u64::from(position), &mut bytes)?;
                    let sound = record::decode(&bytes)
                        .is_some_and(|found| found.head == Head { kind, group, index, term });
                    if !sound {
                        let what =
                            format!("entry {index} of group {group} at position {position} is damaged");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                    Bytes::from(bytes).slice(HEADER..)
                }
            };
            entries.push(RawEntry { kind, index, term, payload });
        }
        Ok(entries)
    }

    /// Changes whenever a segment is begun.
    pub(crate) fn segment_watch(&self) -> watch::Receiver<u32> {
        self.shared.newest.subscribe()
    }

    /// Why the log stopped, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.lock().failed.clone()
    }

    /// Writes and flushes what is left and ends the writer. Blocks for that long.
    pub(crate) fn close(&self) {
        {
            let mut state = self.shared.lock();
            if state.failed.is_none() {
                let groups: Vec<u8> = state.groups.keys().copied().collect();
                for group in groups {
                    state.record_committed(&self.shared, group);
                }
            }
            state.closing = true;
            state.pending.opening = None;
            self.shared.wake.notify_one();
        }
        if let Some(writer) = self.writer.lock().unwrap().take() {
            // It panics only if a callback did; the log itself is then as after a crash.
            let _ = writer.join();
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

/// Where a group's log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    pub vote: Option<StoredVote>,
    pub committed: Option<Position>,
    pub purged: Option<Position>,
    pub last: Option<Position>,
    /// Index of the first live entry.
    pub first: u64,
    /// Number of live entries.
    pub len: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        match &state.failed {
            Some(reason) => Err(io::Error::other(reason.clone())),
            None if state.closing => Err(io::Error::other("the log is closed")),
            None => Ok(state),
        }
    }

    fn path(&self, segment: u32) -> PathBuf {
        segment_path(&self.dir, segment)
    }

    fn handle(&self, segment: u32, slot: &mut Option<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        if slot.is_none() {
            *slot = Some(self.disk.open(&self.path(segment))?);
        }
        Ok(slot.clone().expect("just opened"))
    }
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:010}.log"))
}

/// An error with the same kind and words: `io::Error` does not clone.
fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
