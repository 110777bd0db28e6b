//! Putting a cleaned segment in the place of those it replaces, so that a crash at any step leaves all of the old or
//! all of the new (CP-9).
//!
//! The steps are Kafka's, and so are the names: `.cleaned` files are renamed to `.swap`, the old segments to
//! `.deleted`, `.swap` files to their own names. As long as one file is `.cleaned` the old segments are untouched and
//! count; from then on the new one does, and opening finishes what is left. Names change in order, as on every
//! journalling file system; the new files' content is durable before the first step.

use std::collections::BTreeSet;
use std::path::Path;

use milena_records::Offset;

use crate::cleaner::CleanedGroup;
use crate::error::{Damage, Error};
use crate::fs::Open;
use crate::log::Log;
use crate::names::{self, CLEANED, INDEX, LOG, SWAP, TIME_INDEX, TXN_INDEX};
use crate::scan::{Found, Scanner};
use crate::storage::Storage;

impl Log {
    /// Puts a cleaned group in its place. False if the log was truncated or has lost one of the segments since the
    /// cleaning began, or if the records that supersede others are not flushed, so that a power failure could take the
    /// newer after the cleaning took the older: then nothing is changed, and the cleaning is over.
    ///
    /// Readers that hold a replaced segment go on reading it; its files are unlinked by [`Log::purge_deleted`]. The
    /// owner makes the names durable with the next flush.
    pub fn swap(&mut self, mut group: CleanedGroup, now_ms: i64) -> Result<bool, Error> {
        let state = self.online_state()?;
        if state.generation != group.generation || state.recovery_point < group.relies_on {
            return Ok(false);
        }
        drop(state);
        let first = group.replaced[0].base;
        let at = self.segments.partition_point(|segment| segment.base_offset < first);
        let count = group.replaced.len();
        let present = self.segments.get(at..at + count).unwrap_or_default();
        let same = present.iter().zip(&group.replaced).all(|(now, then)| now.key() == then.key);
        if present.len() != count || !same || at + count >= self.segments.len() {
            return Ok(false);
        }
        let result = self
            .forget_snapshots(group.dropped_marker)
            .and_then(|()| self.rename_all(&mut group, at, now_ms));
        if result.is_err() {
            self.offline = true;
        }
        result.map(|()| true)
    }

    /// Whether the segments that a cleaning began with are those of the log still: if not, what it finds wrong with
    /// their files is no fault.
    pub fn is_current(&self, cleaning: &super::Cleaning) -> bool {
        let is_there = |view: &super::View| self.segments.iter().any(|segment| segment.key() == view.key);
        self.online_state().is_ok_and(|state| state.generation == cleaning.generation)
            && cleaning.segments[cleaning.done..].iter().all(is_there)
    }

    /// The section up to `offset` has been cleaned, unless the log was truncated since the cleaning began.
    pub fn cleaned(&mut self, cleaning: &super::Cleaning, offset: Offset) {
        if self.online_state().is_ok_and(|state| state.generation == cleaning.generation) {
            self.cleaned_to = self.cleaned_to.max(offset.min(self.log_end));
        }
    }

    /// A replay from a snapshot that knows a transaction as open would wait for its marker for ever, were that dropped.
    /// Without the snapshot it begins before, where nothing of the transaction is left. Names change in order, so no
    /// crash brings the snapshot back beside the cleaned segment.
    fn forget_snapshots(&mut self, dropped_marker: Option<Offset>) -> Result<(), Error> {
        let Some(marker) = dropped_marker else { return Ok(()) };
        while let Some(at) = self.snapshots.iter().position(|snapshot| *snapshot <= marker) {
            self.remove_snapshot(at)?;
        }
        Ok(())
    }

    fn rename_all(&mut self, group: &mut CleanedGroup, at: usize, now_ms: i64) -> Result<(), Error> {
        let (first, count) = (group.replaced[0].base, group.replaced.len());
        let rename = |from: &str, to: &str| {
            let (from, to) = (names::file(&self.dir, first, from), names::file(&self.dir, first, to));
            self.storage.fs.rename(&from, &to).map_err(Error::io("rename", &from))
        };
        group.cleaned.taken = true;
        let suffixes = group.cleaned.suffixes();
        for suffix in &suffixes {
            rename(&format!("{suffix}{CLEANED}"), &format!("{suffix}.{SWAP}"))?;
        }
        self.hints.lock().expect("no panic while the lock is held").clear();
        for segment in self.segments[at..at + count].iter().rev() {
            segment.rename_deleted(self.place())?;
            self.deleted.push((segment.base_offset, now_ms));
        }
        for suffix in &suffixes {
            rename(&format!("{suffix}.{SWAP}"), suffix)?;
        }
        let place = self.place();
        let empty = crate::segment::Segment::new(place, first, now_ms);
        let cleaned = std::mem::replace(&mut group.cleaned.segment, empty);
        self.segments.splice(at..at + count, [cleaned]);
        self.swaps += 1;
        self.flush.lock().expect("no panic while the lock is held").names_changed = true;
        Ok(())
    }
}

/// Finishes or undoes the swaps that a crash interrupted, ours or Kafka's; the directory is as after either.
pub(crate) fn finish_swaps(storage: &Storage, dir: &Path) -> Result<(), Error> {
    let (mut cleaned, mut swapped, mut bases) = (None, BTreeSet::new(), Vec::new());
    for entry in storage.fs.list(dir).map_err(Error::io("list", dir))? {
        if entry.name.ends_with(CLEANED) {
            let base = names::parse(&entry.name).map(|(base, _)| base);
            cleaned = cleaned.into_iter().chain(base).min();
            remove(storage, &dir.join(&entry.name))?;
        }
        let Some((base, suffix)) = names::parse(&entry.name) else { continue };
        if let Some((file, SWAP)) = suffix.rsplit_once('.') {
            swapped.insert((base, file.to_owned()));
        } else if suffix == LOG {
            bases.push(base);
        }
    }
    if swapped.is_empty() {
        return Ok(());
    }
    // A swap does not count before all of its files are `.swap`.
    let undone = |base: Offset| cleaned.is_some_and(|least| base >= least);
    for (base, suffix) in &swapped {
        let path = names::file(dir, *base, &format!("{suffix}.{SWAP}"));
        if undone(*base) {
            remove(storage, &path)?;
        } else if suffix == LOG {
            let end = end_of(storage, &path, *base)?;
            for old in bases.iter().filter(|old| *old == base || (*base..end).contains(*old)) {
                for suffix in [INDEX, TIME_INDEX, TXN_INDEX, LOG] {
                    remove(storage, &names::file(dir, *old, suffix))?;
                }
            }
        }
    }
    let mut counting: Vec<_> = swapped.iter().filter(|(base, _)| !undone(*base)).collect();
    // Batches first: as long as they are `.swap`, all files of that name are taken for the old ones.
    counting.sort_by_key(|(base, suffix)| (*base, suffix != LOG));
    for (base, suffix) in counting {
        let from = names::file(dir, *base, &format!("{suffix}.{SWAP}"));
        storage.fs.rename(&from, &names::file(dir, *base, suffix)).map_err(Error::io("rename", &from))?;
    }
    storage.fs.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// Offset behind the last batch of a segment's file.
fn end_of(storage: &Storage, path: &Path, base: Offset) -> Result<Offset, Error> {
    let file = storage.fs.open(path, Open::Existing).map_err(Error::io("open", path))?;
    let size = file.len().map_err(Error::io("look at", path))?;
    let mut scanner = Scanner::new(&*file, 0, size, base);
    loop {
        match scanner.next(|_, _| false).map_err(Error::io("read", path))? {
            Found::Batch { .. } => {}
            Found::End => return Ok(scanner.expected()),
            Found::Bad(damage) => return Err(damaged(path, scanner.position(), damage)),
        }
    }
}

fn damaged(path: &Path, position: u64, damage: Damage) -> Error {
    Error::Damaged { path: path.into(), position, damage }
}

fn remove(storage: &Storage, path: &Path) -> Result<(), Error> {
    match storage.fs.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
