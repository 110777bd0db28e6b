//! The stream of records in memory: what was submitted, encoded in order, and where the next goes.

use super::group_log::{GroupLog, StoredVote};
use super::record::{self, HEADER, Head, Kind, SegmentHead};
use super::recovery::Recovered;
use super::{Done, Shared};
use crate::disk::DiskFile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the first entry of a term waits for a command of its group: a new controller has one at hand, which
/// fences whoever led before it, and both then take one flush.
const COMPANY: Duration = Duration::from_millis(3);

/// Bytes for one segment file, in order.
pub(super) struct Chunk {
    pub segment: u32,
    pub start: u64,
    pub bytes: Vec<u8>,
    /// The segment does not exist yet; the chunk is all it will hold at first.
    pub fresh: bool,
}

/// What was submitted since the writer last looked.
#[derive(Default)]
pub(super) struct Batch {
    pub chunks: Vec<Chunk>,
    pub done: Vec<Done>,
    /// The group that began a term in this batch, and until when it may wait for company.
    pub opening: Option<(u8, Instant)>,
}

impl Batch {
    /// Nothing is to be written, and nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.done.is_empty()
    }

    /// Notes that an entry of this kind joins the batch.
    pub(super) fn await_company(&mut self, group: u8, kind: Kind) {
        self.opening = match kind {
            Kind::Blank => Some((group, Instant::now() + COMPANY)),
            _ => self.opening.filter(|(waits, _)| *waits != group),
        };
    }
}

/// All that changes when something is submitted or written; one lock guards it.
pub(super) struct State {
    pub groups: BTreeMap<u8, GroupLog>,
    pub pending: Batch,
    /// Where the next record goes, and the CRC it is chained to.
    pub segment: u32,
    pub position: u64,
    pub crc: u32,
    /// Segments that exist, with a handle where one is open.
    pub segments: BTreeMap<u32, Option<Arc<dyn DiskFile>>>,
    /// Segment and position up to which the files hold what was submitted.
    pub written: (u32, u64),
    pub failed: Option<String>,
    pub closing: bool,
}

impl State {
    /// What recovery found, with nothing submitted yet.
    pub(super) fn new(found: Recovered) -> State {
        State {
            groups: found.groups,
            pending: Batch::default(),
            segment: found.segment,
            position: found.position,
            crc: found.crc,
            written: (found.segment, found.position),
            segments: found.segments,
            failed: None,
            closing: false,
        }
    }

    pub(super) fn group(&mut self, group: u8) -> &mut GroupLog {
        self.groups.entry(group).or_default()
    }

    /// Encodes one record into the pending batch and says where it will stand.
    pub(super) fn record(&mut self, shared: &Shared, head: Head, payload: &[u8]) -> (u32, u64) {
        let size = (HEADER + payload.len()) as u64;
        if self.position == 0 {
            self.begin_segment(shared, 0);
        } else if self.position + size > shared.segment_bytes {
            let previous_len = self.position;
            self.segment += 1;
            self.begin_segment(shared, previous_len);
        }
        self.encode(head, payload)
    }

    fn begin_segment(&mut self, shared: &Shared, previous_len: u64) {
        self.position = 0;
        self.pending.chunks.push(Chunk { segment: self.segment, start: 0, bytes: Vec::new(), fresh: true });
        let head = Head { kind: Kind::Segment, group: 0, index: u64::from(self.segment), term: 0 };
        self.encode(head, &SegmentHead { identity: shared.identity, previous_len }.encode());
        let standing: Vec<_> =
            self.groups.iter().map(|(id, log)| (*id, log.vote, log.committed, log.purged)).collect();
        for (group, vote, committed, purged) in standing {
            if let Some(vote) = vote {
                self.encode_vote(group, vote);
            }
            if let Some(at) = purged {
                self.encode(Head { kind: Kind::Purge, group, index: at.index, term: at.term }, &[]);
            }
            if let Some(at) = committed {
                self.encode(Head { kind: Kind::Committed, group, index: at.index, term: at.term }, &[]);
                self.group(group).committed_recorded = committed;
            }
        }
    }

    fn encode(&mut self, head: Head, payload: &[u8]) -> (u32, u64) {
        if self.pending.chunks.is_empty() {
            self.pending.chunks.push(Chunk {
                segment: self.segment,
                start: self.position,
                bytes: Vec::new(),
                fresh: false,
            });
        }
        let chunk = self.pending.chunks.last_mut().expect("there is one now");
        let at = (self.segment, self.position);
        let before = chunk.bytes.len();
        self.crc = record::encode(&mut chunk.bytes, head, payload, self.crc, chunk.start as u32);
        self.position += (chunk.bytes.len() - before) as u64;
        at
    }

    fn encode_vote(&mut self, group: u8, vote: StoredVote) {
        let head = Head { kind: Kind::Vote, group, index: vote.node, term: vote.term };
        self.encode(head, &[u8::from(vote.committed)]);
    }

    pub(super) fn record_vote(&mut self, shared: &Shared, group: u8, vote: StoredVote) {
        let head = Head { kind: Kind::Vote, group, index: vote.node, term: vote.term };
        self.record(shared, head, &[u8::from(vote.committed)]);
    }

    pub(super) fn record_committed(&mut self, shared: &Shared, group: u8) {
        let log = self.group(group);
        if log.committed == log.committed_recorded {
            return;
        }
        log.committed_recorded = log.committed;
        if let Some(at) = log.committed {
            self.record(shared, Head { kind: Kind::Committed, group, index: at.index, term: at.term }, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_entry_of_a_term_waits_for_a_command_of_its_group() {
        let mut batch = Batch::default();
        batch.await_company(1, Kind::Command);
        assert!(batch.opening.is_none());
        batch.await_company(1, Kind::Blank);
        batch.await_company(2, Kind::Command);
        assert!(batch.opening.is_some_and(|(group, _)| group == 1));
        batch.await_company(1, Kind::Command);
        assert!(batch.opening.is_none());
    }
}
