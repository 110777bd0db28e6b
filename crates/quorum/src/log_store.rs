//! openraft's log storage on top of one group's part of the [`Wal`].

use crate::candidacy::Candidacy;
use crate::convert::{entry_from_raw, entry_to_raw, log_id_of, position, stored_vote, vote_of};
use crate::id::{GroupId, NodeId};
use crate::types::{Entry, LogId, Types, Vote};
use crate::wal::{RawEntry, RecordKind, Wal};
use futures_util::Stream;
use futures_util::stream;
use milena_bugs::{Bug, is_on};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Most bytes of entries in one read: also the size of a message to a follower.
const READ_BYTES: usize = 1 << 20;

/// Bytes that may wait for the disk, in KiB. Beyond it, appends wait.
pub(crate) const QUEUED_KIB: usize = 32 << 10;

/// One group's log. Clones read the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Arc<Wal>,
    group: u8,
    /// Shared by all groups: a KiB each.
    queue: Arc<Semaphore>,
    /// Who this is, and what becomes of its votes for itself.
    node: u64,
    candidacy: Candidacy,
}

impl LogStore {
    pub(crate) fn new(
        wal: Arc<Wal>,
        group: GroupId,
        queue: Arc<Semaphore>,
        node: NodeId,
        candidacy: Candidacy,
    ) -> Self {
        LogStore { wal, group: group.0, queue, node: node.0, candidacy }
    }

    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        self.wal.read(self.group, start, end, max_bytes)?.into_iter().map(entry_from_raw).collect()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES)
    }

    /// The entries a part at a time, so that catching up does not hold the whole log in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.clone();
        let mut next = start;
        let mut part = Vec::new().into_iter();
        stream::iter(std::iter::from_fn(move || {
            if part.len() == 0 && next < end {
                part = match log.read(next, end, READ_BYTES) {
                    Ok(entries) => entries.into_iter(),
                    Err(error) => {
                        next = end;
                        return Some(Err(error));
                    }
                };
                next = if part.len() == 0 { end } else { next + part.len() as u64 };
            }
            part.next().map(Ok)
        }))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.wal.positions(self.group).vote.map(vote_of))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let at = self.wal.positions(self.group);
        Ok(LogState { last_purged_log_id: at.purged.map(log_id_of), last_log_id: at.last.map(log_id_of) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    /// A vote that somebody has won need not be waited for: what is told to anybody on the strength of it is an
    /// entry that comes behind it in the log. Nor need a candidate's own, see [`Candidacy`].
    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = stored_vote(vote);
        if vote.committed {
            return self.wal.note_vote(self.group, vote);
        }
        let candidacy = (vote.node == self.node).then(|| self.candidacy.clone());
        let needs_others = candidacy.as_ref().is_some_and(Candidacy::needs_others);
        let (done, durable) = oneshot::channel();
        let done = Box::new(move |result: io::Result<()>| {
            if let Some(candidacy) = candidacy.filter(|_| result.is_ok()) {
                candidacy.is_durable(vote.term);
            }
            // The waiting side is gone if nobody waits, or when the group is being stopped.
            let _ = done.send(result);
        });
        self.wal.save_vote(self.group, vote, done)?;
        if needs_others || is_on(Bug::F15) {
            return Ok(());
        }
        durable.await.map_err(|_| io::Error::other("the log is closed"))?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.wal.save_committed(self.group, committed.map(position))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        // What is committed is in the log; should the note of it ever be ahead, the log counts.
        let at = self.wal.positions(self.group);
        Ok(at.committed.min(at.last).map(log_id_of))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RawEntry> = entries.into_iter().map(entry_to_raw).collect();
        let membership = entries.iter().rfind(|entry| entry.kind == RecordKind::Membership);
        membership.inspect(|entry| self.candidacy.appended_membership(entry.index));
        let bytes: usize = entries.iter().map(|entry| entry.payload.len() + 64).sum();
        let permits = (bytes / 1024 + 1).min(QUEUED_KIB) as u32;
        let room = self.queue.clone().acquire_many_owned(permits).await.map_err(io::Error::other)?;
        if is_on(Bug::F9) {
            callback.io_completed(Ok(()));
            return self.wal.append(self.group, entries, Box::new(move |_| drop(room)));
        }
        let done = Box::new(move |result| {
            drop(room);
            callback.io_completed(result);
        });
        self.wal.append(self.group, entries, done)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.candidacy.truncated(last.map_or(0, |last| last.index()));
        self.wal.truncate_after(self.group, last.map(position))
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.wal.purge(self.group, position(upto))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::SimDisk;
    use bytes::Bytes;
    use std::path::Path;

    const OTHER: NodeId = NodeId(2);

    fn store(disk: &SimDisk, candidacy: &Candidacy) -> LogStore {
        let (wal, _) = Wal::open(Arc::new(disk.clone()), Path::new("/raft"), 1 << 20).unwrap();
        let queue = Arc::new(Semaphore::new(QUEUED_KIB));
        LogStore::new(Arc::new(wal), GroupId::CLUSTER, queue, NodeId(1), candidacy.clone())
    }

    /// The vote that a loss of power would leave now.
    async fn left(disk: &SimDisk) -> Option<Vote> {
        store(&disk.after_power_loss(|| false), &Candidacy::new()).read_vote().await.unwrap()
    }

    #[tokio::test]
    async fn vote_that_may_decide_an_election_is_durable_before_it_counts() {
        let (disk, candidacy) = (SimDisk::default(), Candidacy::new());
        let mut log = store(&disk, &candidacy);
        // For another, and for itself by a node that may be alone.
        for vote in [Vote::new(1, OTHER), Vote::new(2, NodeId(1))] {
            log.save_vote(&vote).await.unwrap();
            assert_eq!(left(&disk).await, Some(vote));
        }
        // The others' answers are let through when this is over.
        candidacy.in_force(0, true);
        let own = Vote::new(3, NodeId(1));
        log.save_vote(&own).await.unwrap();
        candidacy.durable(&own).await;
        assert_eq!(left(&disk).await, Some(own));
        // Also where others are needed.
        let granted = Vote::new(4, OTHER);
        log.save_vote(&granted).await.unwrap();
        assert_eq!(left(&disk).await, Some(granted));
    }

    #[tokio::test]
    async fn vote_that_was_won_is_durable_with_the_first_entry_behind_it() {
        let disk = SimDisk::default();
        let mut log = store(&disk, &Candidacy::new());
        let won = Vote::new_committed(5, OTHER);
        log.save_vote(&won).await.unwrap();
        assert_eq!(log.read_vote().await.unwrap(), Some(won));
        let (done, durable) = oneshot::channel();
        let entry = RawEntry { kind: RecordKind::Blank, index: 0, term: 5, payload: Bytes::new() };
        let done = Box::new(move |result: io::Result<()>| done.send(result.is_ok()).unwrap());
        log.wal.append(log.group, vec![entry], done).unwrap();
        assert!(durable.await.unwrap());
        assert_eq!(left(&disk).await, Some(won));
    }
}
