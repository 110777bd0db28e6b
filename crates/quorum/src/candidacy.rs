//! A candidate's own vote: on its way to the disk while the others are asked for theirs.
//!
//! openraft saves the vote, waits for the disk, and asks then: two flushes one after the other, of 10 ms and more
//! each where the disk has other work. Raft only wants that no candidate wins on a vote of its own that a crash may
//! take back. So a candidate that needs another's vote is told at once that its own is saved, and the others'
//! answers reach it when that is true.

use crate::types::Vote;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Until another membership is appended, none vouches that others are needed.
const NEVER: u64 = u64::MAX;

/// One group's candidacies on this node. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Candidacy {
    shared: Arc<Shared>,
}

struct Shared {
    /// Terms up to this one in which this node's vote for itself is durable.
    durable: watch::Sender<u64>,
    /// Index of the newest membership that was appended here since the start.
    membership: AtomicU64,
    /// Index of the newest membership that names another voter than this node, one more than it; 0 if the newest
    /// known names none.
    with_others: AtomicU64,
}

impl Candidacy {
    /// Of a node that may be alone.
    pub(crate) fn new() -> Self {
        let shared = Shared {
            durable: watch::Sender::new(0),
            membership: AtomicU64::new(0),
            with_others: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A membership was appended at `index`: it is in force at once. Until it is known whom it names, this node may
    /// be alone.
    pub(crate) fn appended_membership(&self, index: u64) {
        self.shared.membership.store(index, Ordering::SeqCst);
    }

    /// Entries above `last` were taken back. If a membership was among them, it is not known which one is in force.
    pub(crate) fn truncated(&self, last: u64) {
        let appended = self.shared.membership.load(Ordering::SeqCst);
        if appended > last || self.shared.with_others.load(Ordering::SeqCst) > last + 1 {
            self.shared.membership.store(NEVER, Ordering::SeqCst);
        }
    }

    /// The membership at `index` is in force; it names other voters, or none.
    pub(crate) fn in_force(&self, index: u64, others_vote: bool) {
        let known = if others_vote { index + 1 } else { 0 };
        self.shared.with_others.store(known, Ordering::SeqCst);
    }

    /// Whether no candidate on this node wins by its own vote.
    pub(crate) fn needs_others(&self) -> bool {
        self.shared.with_others.load(Ordering::SeqCst) > self.shared.membership.load(Ordering::SeqCst)
    }

    /// What runs when the vote for itself in `term` is on disk.
    pub(crate) fn is_durable(&self, term: u64) {
        self.shared.durable.send_if_modified(|durable| {
            let is_newer = *durable < term;
            *durable = term.max(*durable);
            is_newer
        });
    }

    /// Waits until `vote`, this node's for itself, is durable. Never if the disk has failed: openraft has a time-out.
    pub(crate) async fn durable(&self, vote: &Vote) {
        let term = vote.leader_id().term;
        let mut durable = self.shared.durable.subscribe();
        // The sender lives as long as `self`.
        let _ = durable.wait_for(|durable| *durable >= term).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn others_are_needed_only_while_the_membership_in_force_is_known_to_name_some() {
        let candidacy = Candidacy::new();
        assert!(!candidacy.needs_others());
        candidacy.in_force(3, true);
        assert!(candidacy.needs_others());
        // It may leave this node alone.
        candidacy.appended_membership(9);
        assert!(!candidacy.needs_others());
        candidacy.in_force(3, true);
        assert!(!candidacy.needs_others());
        candidacy.in_force(9, true);
        assert!(candidacy.needs_others());
        candidacy.in_force(12, false);
        assert!(!candidacy.needs_others());
        candidacy.in_force(13, true);
        candidacy.truncated(13);
        assert!(candidacy.needs_others());
        candidacy.truncated(12);
        candidacy.in_force(13, true);
        assert!(!candidacy.needs_others());
        candidacy.appended_membership(14);
        candidacy.in_force(14, true);
        assert!(candidacy.needs_others());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_wait_for_the_candidates_own_vote() {
        let candidacy = Candidacy::new();
        let vote = Vote::new(4, NodeId(1));
        candidacy.is_durable(3);
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(9), candidacy.durable(&vote)).await;
        assert!(waiting.is_err());
        candidacy.is_durable(4);
        candidacy.durable(&vote).await;
        // A vote of an earlier term that is reported late takes nothing back.
        candidacy.is_durable(2);
        candidacy.durable(&vote).await;
    }
}
