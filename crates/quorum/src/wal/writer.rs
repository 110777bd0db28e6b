//! The thread that writes the log.

use super::stream::{Batch, Chunk};
use super::{CACHE_BYTES, Shared, copy};
use crate::disk::DiskFile;
use milena_bugs::{Bug, is_on};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Starts the writer of a log; it ends when the log is closed.
pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("raft-log".to_owned()).stack_size(256 << 10).spawn(move || {
        let mut writer = Writer::new(shared);
        while writer.write_next() {}
    })
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The segment being written, once it was touched.
    file: Option<(u32, Arc<dyn DiskFile>)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Writer { shared, file: None }
    }

    /// Waits for a batch and makes it durable. `false` when the log is closed and empty.
    pub(super) fn write_next(&mut self) -> bool {
        let (batch, end, keep_from, already_failed) = {
            let mut state = self.shared.lock();
            while state.pending.is_empty() {
                if state.closing {
                    return false;
                }
                state = self.shared.wake.wait(state).unwrap();
            }
            while let Some((_, until)) = state.pending.opening {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.shared.wake.wait_timeout(state, left).unwrap().0;
            }
            let end = (state.segment, state.position);
            // What is purged in memory now has its record in this batch or before it: once the
            // batch is durable, these segments may go.
            let oldest = state.groups.values().filter_map(|log| log.oldest_segment()).min();
            let keep_from = oldest.unwrap_or(u32::MAX).min(end.0);
            (std::mem::take(&mut state.pending), end, keep_from, state.failed.clone())
        };
        let Batch { chunks, done, .. } = batch;
        let result = match already_failed {
            Some(reason) => Err(io::Error::other(reason)),
            None => self.write(chunks),
        };
        let mut expired = Vec::new();
        {
            let mut state = self.shared.lock();
            match &result {
                Ok(()) => {
                    state.written = end;
                    for log in state.groups.values_mut() {
                        log.evict(CACHE_BYTES, end);
                    }
                    let kept = state.segments.split_off(&keep_from);
                    expired.extend(std::mem::replace(&mut state.segments, kept).into_keys());
                }
                // A flush that failed once is never simply repeated: the kernel may have dropped the
                // pages and report success the next time.
                Err(error) if state.failed.is_none() => {
                    tracing::error!(dir = %self.shared.dir.display(), %error, "raft log cannot be written, stopping");
                    state.failed = Some(format!("raft log {}: {error}", self.shared.dir.display()));
                }
                Err(_) => {}
            }
        }
        for done in done {
            done(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(copy(error)),
            });
        }
        self.delete(&expired);
        true
    }

    fn write(&mut self, chunks: Vec<Chunk>) -> io::Result<()> {
        let count = chunks.len();
        for (nth, chunk) in chunks.into_iter().enumerate() {
            if chunk.fresh {
                self.create(&chunk)?;
                continue;
            }
            debug_assert!(nth == 0 || count == 1, "only the first chunk continues a segment");
            let file = self.current(chunk.segment)?;
            // A flush that finds no room may have dropped pages: they are written again before the next one. The
            // chunk is all that was not durable before.
            self.shared.disk.again_with_room(&mut || {
                file.write_at(chunk.start, &chunk.bytes)?;
                if is_on(Bug::F16) { Ok(()) } else { file.sync() }
            })?;
        }
        Ok(())
    }

    /// Creates a segment under its name only when all it begins with is durable, so recovery
    /// never sees half a head.
    fn create(&mut self, chunk: &Chunk) -> io::Result<()> {
        let shared = &self.shared;
        let path = shared.path(chunk.segment);
        let temporary = path.with_extension("new");
        let mut created = None;
        shared.disk.again_with_room(&mut || {
            let file = shared.disk.create(&temporary)?;
            file.write_at(0, &chunk.bytes)?;
            file.sync()?;
            created = Some(file);
            Ok(())
        })?;
        let file = created.expect("created, or failed");
        shared.disk.again_with_room(&mut || shared.disk.rename(&temporary, &path))?;
        shared.disk.again_with_room(&mut || shared.disk.sync_dir(&shared.dir))?;
        shared.lock().segments.insert(chunk.segment, Some(file.clone()));
        self.file = Some((chunk.segment, file));
        shared.newest.send_replace(chunk.segment);
        Ok(())
    }

    fn current(&mut self, segment: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some((open, file)) = &self.file
            && *open == segment
        {
            return Ok(file.clone());
        }
        let file = self.shared.disk.open(&self.shared.path(segment))?;
        self.file = Some((segment, file.clone()));
        Ok(file)
    }

    /// Deletes segments, oldest first. A failure costs space, not safety: they are tried again
    /// at the next start.
    fn delete(&self, segments: &[u32]) {
        for segment in segments {
            let path = self.shared.path(*segment);
            match self.shared.disk.remove(&path) {
                Ok(()) => tracing::debug!(segment = %path.display(), "raft log segment deleted"),
                Err(error) => {
                    tracing::warn!(segment = %path.display(), %error, "raft log segment not deleted")
                }
            }
        }
    }
}
