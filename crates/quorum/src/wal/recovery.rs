//! Reads the log back after a restart.
//!
//! Every record is checked. Where the last segment ends in something that is no record, the
//! question is whether it had ever been durable. A record that was written later says so: its
//! durable position lies beyond. Then the log is damaged and the node must not start. Otherwise
//! the write never completed, nobody was told that it had, and it is cut off.

use super::group_log::{GroupLog, Position, Slot, StoredVote};
use super::record::{self, Found, HEADER, Kind, MAGIC, SegmentHead};
use super::{Damage, segment_path};
use crate::disk::{Disk, DiskFile, read_all};
use crate::error::OpenError;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// What was found in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segment files read.
    pub segments: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Records replayed.
    pub records: u64,
    /// Bytes cut from the end: a write that a crash interrupted before it was acknowledged.
    pub torn_bytes: u64,
}

pub(super) struct Recovered {
    pub identity: [u8; 16],
    pub groups: BTreeMap<u8, GroupLog>,
    pub segments: BTreeMap<u32, Option<Arc<dyn DiskFile>>>,
    pub segment: u32,
    pub position: u64,
    pub crc: u32,
    pub report: Recovery,
}

pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, OpenError> {
    let numbers = find_segments(disk, dir)?;
    if numbers.is_empty() {
        let mut identity = [0; 16];
        getrandom::fill(&mut identity).expect("the system has randomness");
        return Ok(Recovered {
            identity,
            groups: BTreeMap::new(),
            segments: BTreeMap::new(),
            segment: 1,
            position: 0,
            crc: 0,
            report: Recovery::default(),
        });
    }
    let mut replay = Replay::default();
    let mut segments = BTreeMap::new();
    let mut window = Window::default();
    for (nth, number) in numbers.iter().enumerate() {
        let path = segment_path(dir, *number);
        let file = disk.open(&path).map_err(OpenError::io("open", &path))?;
        let len = file.len().map_err(OpenError::io("read", &path))? as usize;
        let is_last = nth + 1 == numbers.len();
        replay.report.segments += 1;
        replay.report.bytes += len as u64;
        window.open(file.clone());
        let end = replay.segment(*number, nth == 0, &path, &mut window)?;
        if is_last && end < len {
            let bytes = read_all(&*file).map_err(OpenError::io("read", &path))?;
            replay.check_torn(&path, &bytes, end)?;
            replay.report.torn_bytes = (len - end) as u64;
            tracing::warn!(
                segment = %path.display(),
                position = end,
                bytes = len - end,
                "cut an unfinished write from the end of the raft log"
            );
            file.set_len(end as u64).map_err(OpenError::io("cut", &path))?;
            file.sync().map_err(OpenError::io("flush", &path))?;
        }
        if !is_last && end < len {
            return Err(damage(&path, end, "no record, but the log goes on in the next segment"));
        }
        segments.insert(*number, Some(file));
    }
    replay.finish(dir, *numbers.last().expect("not empty"), segments)
}

/// The newest unbroken run of segments. Leftovers are deleted: segments being created, and those
/// before a gap, which a crash left while they were being deleted.
fn find_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u32>, OpenError> {
    let mut numbers = Vec::new();
    for path in disk.list(dir).map_err(OpenError::io("list", dir))? {
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match (path.extension().and_then(|extension| extension.to_str()), number) {
            (Some("log"), Some(number)) => numbers.push(number),
            (Some("new"), Some(_)) => disk.remove(&path).map_err(OpenError::io("delete", &path))?,
            _ => {}
        }
    }
    numbers.sort_unstable();
    let gap = (1..numbers.len()).rev().find(|at| numbers[at - 1] + 1 != numbers[*at]).unwrap_or(0);
    for stale in numbers.drain(..gap) {
        let path = segment_path(dir, stale);
        disk.remove(&path).map_err(OpenError::io("delete", &path))?;
    }
    Ok(numbers)
}

/// Reads a file from front to back through a buffer that is smaller than the file: touching
/// memory for the first time costs more than reading what is in the page cache.
#[derive(Default)]
struct Window {
    file: Option<Arc<dyn DiskFile>>,
    start: usize,
    buffer: Vec<u8>,
    filled: usize,
}

impl Window {
    fn open(&mut self, file: Arc<dyn DiskFile>) {
        (self.file, self.start, self.filled) = (Some(file), 0, 0);
    }

    /// What is left of the file from `at` on, at least as much as the record there claims to be.
    fn record_at(&mut self, at: usize) -> io::Result<&[u8]> {
        self.fill(at, HEADER)?;
        let claimed = record::claimed_size(&self.buffer[at - self.start..self.filled]);
        self.fill(at, claimed)?;
        Ok(&self.buffer[at - self.start..self.filled])
    }

    fn fill(&mut self, at: usize, need: usize) -> io::Result<()> {
        if at >= self.start && at + need <= self.start + self.filled {
            return Ok(());
        }
        if self.buffer.len() < need.max(READ_BYTES) {
            self.buffer.resize(need.max(READ_BYTES), 0);
        }
        let file = self.file.as_ref().expect("a file was opened");
        self.filled = file.read_at(at as u64, &mut self.buffer)?;
        self.start = at;
        Ok(())
    }
}

#[derive(Default)]
struct Replay {
    identity: Option<[u8; 16]>,
    groups: BTreeMap<u8, GroupLog>,
    crc: u32,
    end: u64,
    report: Recovery,
}

impl Replay {
    /// Replays one segment and returns where its sound records end.
    fn segment(
        &mut self,
        number: u32,
        first: bool,
        path: &Path,
        window: &mut Window,
    ) -> Result<usize, OpenError> {
        let mut at = 0;
        loop {
            let bytes = window.record_at(at).map_err(OpenError::io("read", path))?;
            let Some(found) = record::decode(bytes) else { break };
            let payload = &bytes[HEADER..found.size()];
            let chained = found.previous == self.crc || (first && at == 0);
            if !chained {
                return Err(damage(path, at, "a record is missing before this one"));
            }
            let taken = if at == 0 {
                self.head(number, first, &found, payload)
            } else {
                self.record(number, at as u32, &found, payload)
            };
            taken.map_err(|what| damage(path, at, &what))?;
            self.crc = found.crc;
            self.report.records += 1;
            at += found.size();
        }
        if at == 0 {
            return Err(damage(path, 0, "the segment does not start with a sound record"));
        }
        self.end = at as u64;
        Ok(at)
    }

    fn head(&mut self, number: u32, first: bool, found: &Found, payload: &[u8]) -> Result<(), String> {
        let head = match (found.head.kind, SegmentHead::decode(payload)) {
            (Kind::Segment, Some(head)) if found.head.index == u64::from(number) => head,
            _ => return Err("the segment does not start with its own head".to_owned()),
        };
        if *self.identity.get_or_insert(head.identity) != head.identity {
            return Err("the segment belongs to another log".to_owned());
        }
        if !first && head.previous_len != self.end {
            return Err(format!("the segment before ends at {}, expected {}", self.end, head.previous_len));
        }
        Ok(())
    }

    fn record(&mut self, segment: u32, position: u32, found: &Found, payload: &[u8]) -> Result<(), String> {
        let head = found.head;
        let log = self.groups.entry(head.group).or_default();
        let at = Position { term: head.term, index: head.index };
        match head.kind {
            Kind::Segment => return Err("a segment head within a segment".to_owned()),
            kind if kind.is_entry() => {
                let payload_len = found.payload_len as u32;
                let slot = Slot { term: head.term, segment, position, payload_len, kind, payload: None };
                log.push(head.index, slot)?;
            }
            Kind::Vote => {
                log.vote = Some(StoredVote { term: head.term, node: head.index, committed: payload == [1] });
            }
            Kind::Committed => (log.committed, log.committed_recorded) = (Some(at), Some(at)),
            Kind::Truncate if payload == [1] => log.truncate_after(None),
            Kind::Truncate => log.truncate_after(Some(head.index)),
            _ => log.purge(at),
        }
        Ok(())
    }

    /// Refuses to cut at `end` if anything behind it shows that the place had been durable.
    fn check_torn(&self, path: &Path, bytes: &[u8], end: usize) -> Result<(), OpenError> {
        let magic = MAGIC.to_le_bytes();
        for at in end + 1..bytes.len().saturating_sub(HEADER - 1) {
            if bytes[at + 16..at + 18] == magic
                && let Some(later) = record::decode(&bytes[at..])
                && later.durable as usize > end
            {
                let what =
                    format!("no sound record, though one at position {at} was written after it was durable");
                return Err(damage(path, end, &what));
            }
        }
        Ok(())
    }

    fn finish(
        self,
        dir: &Path,
        segment: u32,
        segments: BTreeMap<u32, Option<Arc<dyn DiskFile>>>,
    ) -> Result<Recovered, OpenError> {
        for (group, log) in &self.groups {
            let next = log.purged.map_or(0, |purged| purged.index + 1);
            if log.len() > 0 && log.first() > next {
                let what = format!("group {group}: entries {next} to {} are missing", log.first() - 1);
                return Err(damage(
                    &segment_path(dir, *segments.keys().next().expect("not empty")),
                    0,
                    &what,
                ));
            }
        }
        Ok(Recovered {
            identity: self.identity.expect("every segment has a head"),
            groups: self.groups,
            segments,
            segment,
            position: self.end,
            crc: self.crc,
            report: self.report,
        })
    }
}

fn damage(path: &Path, position: usize, what: &str) -> OpenError {
    OpenError::Damaged(Damage { file: PathBuf::from(path), position: position as u64, what: what.to_owned() })
}
