//! OffsetCommit: many requests in one entry of the log.
//!
//! A lone commit waits for nobody. While batches are on their way, the next one goes out when it carries as
//! many commits as all of them together: so a few batches overlap the flush and the round trip of each other,
//! and none is so small that its fixed cost counts.
//!
//! Each member's commits are applied in the order of their arrival: batches are proposed in order, the log keeps
//! it, and one that is lost with its term takes those behind it along. The order also holds when a client gives
//! up and retries on another connection, because both attempts pass this queue.

use std::collections::VecDeque;

use prost::Message;

use super::desk::{Target, Turn, Waiter};
use super::live::LiveGroup;
use crate::GroupState;
use crate::effect::Reply;
use crate::event::{CommitOffsets, RequestId};
use crate::fence::{Claim, check_commit};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::stored::{self, command::Kind};

/// Commits that wait for the batches before them.
#[derive(Debug, Default)]
pub(super) struct CommitQueue {
    queued: VecDeque<Queued>,
    queued_bytes: usize,
    /// Batches without an outcome, and the commits in them.
    batches_in_flight: usize,
    commits_in_flight: usize,
}

#[derive(Debug)]
struct Queued {
    commit: Commit,
    item: stored::CommitItem,
    bytes: usize,
}

/// Who waits for the verdict on one item.
#[derive(Debug)]
struct Commit {
    request: RequestId,
    knows_group_id_not_found: bool,
    /// Per offset of the request: refused already, or as the item fares.
    refused: Vec<Option<Refusal>>,
}

/// The commits of one proposal, in the order of its items.
#[derive(Debug)]
pub(super) struct Batch(Vec<Commit>);

impl CommitQueue {
    /// Checks a commit against the group as it is now, and queues it. It is checked again when it is applied.
    pub fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        group: Option<&mut LiveGroup>,
        request: RequestId,
        commit: CommitOffsets,
    ) {
        if !turn.admit(request, Waiter::CommitOffsets) {
            return;
        }
        if let Err(refusal) = turn.check_commit(group, &commit) {
            return turn.refuse(request, translate(refusal, commit.knows_group_id_not_found));
        }
        let most = turn.desk.settings.max_offset_metadata;
        let (commit, item) = to_item(request, commit, most);
        if item.offsets.is_empty() {
            return turn.reply(request, commit.reply(Ok(())));
        }
        let bytes = item.encoded_len();
        if self.queued_bytes.saturating_add(bytes) > turn.desk.settings.max_queued_commit_bytes {
            return turn.refuse(request, Refusal::Busy);
        }
        self.queued_bytes += bytes;
        self.queued.push_back(Queued { commit, item, bytes });
    }

    /// Proposes what is queued, unless it is worth waiting for more.
    pub fn pump(&mut self, turn: &mut Turn<'_>) {
        while self.is_worth_a_batch(&turn.desk.settings) {
            self.propose_batch(turn);
        }
    }

    /// Proposes all that is queued: something else is about to be proposed that must not overtake it.
    pub fn flush(&mut self, turn: &mut Turn<'_>) {
        while !self.queued.is_empty() {
            self.propose_batch(turn);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    fn is_worth_a_batch(&self, settings: &Settings) -> bool {
        let is_full =
            self.queued.len() >= settings.max_batch_commits || self.queued_bytes >= settings.max_batch_bytes;
        !self.queued.is_empty()
            && self.batches_in_flight < settings.max_batches_in_flight.max(1)
            && (is_full || self.queued.len() >= self.commits_in_flight)
    }

    fn propose_batch(&mut self, turn: &mut Turn<'_>) {
        let (most, most_bytes) = (turn.desk.settings.max_batch_commits, turn.desk.settings.max_batch_bytes);
        let mut batch = Vec::new();
        let mut items = Vec::new();
        let mut total = 0;
        while batch.len() < most.max(1)
            && total < most_bytes.max(1)
            && let Some(Queued { commit, item, bytes }) = self.queued.pop_front()
        {
            self.queued_bytes -= bytes;
            total += bytes;
            batch.push(commit);
            items.push(item);
        }
        self.batches_in_flight += 1;
        self.commits_in_flight += batch.len();
        let command = stored::CommitBatch { leader_time_ms: turn.now.unix_ms, items };
        turn.propose(Target::Commits(Batch(batch)), Kind::CommitBatch(command));
    }

    /// The batch was applied.
    pub fn applied(&mut self, turn: &mut Turn<'_>, batch: Batch, verdicts: Vec<Result<(), Refusal>>) {
        assert_eq!(batch.0.len(), verdicts.len(), "one verdict per commit");
        self.is_back(&batch);
        for (commit, verdict) in batch.0.into_iter().zip(verdicts) {
            turn.reply(commit.request, commit.reply(verdict));
        }
    }

    /// The batch came to nothing, or nobody knows.
    pub fn failed(&mut self, turn: &mut Turn<'_>, batch: Batch, refusal: Refusal) {
        self.is_back(&batch);
        for commit in batch.0 {
            turn.refuse(commit.request, refusal);
        }
    }

    fn is_back(&mut self, batch: &Batch) {
        self.batches_in_flight -= 1;
        self.commits_in_flight -= batch.0.len();
    }
}

impl Turn<'_> {
    fn check_commit(&mut self, group: Option<&mut LiveGroup>, commit: &CommitOffsets) -> Result<(), Refusal> {
        let claim = Claim {
            member_id: &commit.member_id,
            instance_id: commit.instance_id.as_deref(),
            generation: commit.generation,
        };
        let Some(group) = group else {
            return match self.groups.record(&commit.group) {
                Some(record) => check_commit(record, record.state(), record.generation, &claim),
                None if commit.generation < 0 => Ok(()),
                None => Err(Refusal::GroupIdNotFound),
            };
        };
        check_commit(group, group.state, group.generation, &claim)?;
        if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance)
            && let Some(member) = group.members.get_mut(commit.member_id.as_str())
        {
            self.extend_session(&group.id, member);
        }
        Ok(())
    }
}

impl Commit {
    fn reply(&self, verdict: Result<(), Refusal>) -> Reply {
        match verdict {
            Err(refusal) => Reply::CommitOffsets(Err(translate(refusal, self.knows_group_id_not_found))),
            Ok(()) => {
                let outcome = |it: &Option<Refusal>| it.map_or(Ok(()), Err);
                Reply::CommitOffsets(Ok(self.refused.iter().map(outcome).collect()))
            }
        }
    }
}

/// Clients that do not know GROUP_ID_NOT_FOUND here get what they know (OC-2).
fn translate(refusal: Refusal, knows_group_id_not_found: bool) -> Refusal {
    match refusal {
        Refusal::GroupIdNotFound if !knows_group_id_not_found => Refusal::IllegalGeneration,
        other => other,
    }
}

/// The item to propose, without the offsets whose metadata is too long (OC-3).
fn to_item(
    request: RequestId,
    commit: CommitOffsets,
    max_offset_metadata: usize,
) -> (Commit, stored::CommitItem) {
    let mut refused = Vec::with_capacity(commit.offsets.len());
    let mut offsets = Vec::with_capacity(commit.offsets.len());
    for it in commit.offsets {
        if is_longer(&it.metadata, max_offset_metadata) {
            refused.push(Some(Refusal::OffsetMetadataTooLarge));
            continue;
        }
        refused.push(None);
        offsets.push(it.into());
    }
    let item = stored::CommitItem {
        group: commit.group,
        member_id: commit.member_id,
        instance_id: commit.instance_id,
        generation: commit.generation,
        retention_ms: commit.retention_ms,
        offsets,
    };
    let knows_group_id_not_found = commit.knows_group_id_not_found;
    (Commit { request, knows_group_id_not_found, refused }, item)
}

/// Longer than so many UTF-16 units; bytes are the upper bound, so most texts are not walked.
pub(crate) fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.encode_utf16().count() > most
}
