//! Offsets of topics that were deleted while nobody was there to take the offsets along (OF-4).
//!
//! A coordinator hears of deletions as they are applied. What was deleted before its term, and not yet told by its
//! predecessor, it finds here: topics with offsets that the cluster's metadata does not know. Metadata that is behind
//! does not know new topics either, so it is first brought up to date: whatever had an offset before that was then
//! created before, too.

use std::time::Duration;

use milena_group::TopicId;
use milena_wire::Uuid;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Coordination;
use crate::cluster::{Committed, Controller};

/// For one attempt to learn how far the metadata is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Topics told at once.
const TOPICS_AT_ONCE: usize = 1_000;

/// Looks for them at the beginning of each term that this broker coordinates, until `shutdown`.
pub(crate) async fn run(
    coordination: Coordination,
    controller: Controller,
    committed: Committed,
    shutdown: CancellationToken,
) {
    let mut leader = coordination.raft.leader();
    leader.mark_changed();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = leader.changed() => if changed.is_err() { return },
        }
        let now = *leader.borrow_and_update();
        if !now.is_self {
            continue;
        }
        // Given up as soon as somebody else leads: that one looks for itself.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = remove(&coordination, &controller, &committed) => {}
            changed = over(leader.clone(), now.term) => if !changed { return },
        }
    }
}

/// Waits until another term has begun or another leads; `false` if the group has stopped.
async fn over(mut leader: tokio::sync::watch::Receiver<milena_quorum::LeaderInfo>, term: u64) -> bool {
    leader.wait_for(|now| !now.is_self || now.term != term).await.is_ok()
}

async fn remove(coordination: &Coordination, controller: &Controller, committed: &Committed) {
    let is_known = |id: &TopicId| committed.image().topic_by_id(Uuid(id.0)).is_some();
    let mut unknown = coordination.topics_except(is_known);
    while !unknown.is_empty() {
        match controller.catch_up(Instant::now() + PATIENCE).await {
            Ok(()) => break,
            Err(reason) => warn!(%reason, "offsets of deleted topics are not looked for yet"),
        }
    }
    unknown.retain(|id| !is_known(id));
    if unknown.is_empty() {
        return;
    }
    info!(topics = unknown.len(), "offsets of deleted topics are removed");
    for topics in unknown.chunks(TOPICS_AT_ONCE) {
        coordination.topics_deleted(topics.to_vec()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use milena_group::{CommitOffsets, OffsetToCommit, Settings};
    use milena_metadata::Record;
    use milena_metadata::decide::Decision;
    use milena_quorum::{GroupId, Node, NodeConfig, NodeId};

    use super::*;
    use crate::cluster::ClusterMachine;
    use crate::coordination::{self, CoordinationMachine, CoordinationState};

    const KEPT: [u8; 16] = [1; 16];
    const GONE: [u8; 16] = [2; 16];

    fn commit() -> CommitOffsets {
        let offsets = [(KEPT, "kept"), (GONE, "gone")].map(|(id, name)| OffsetToCommit {
            topic_id: TopicId(id),
            topic: name.to_owned(),
            partition: 0,
            offset: 5,
            leader_epoch: -1,
            metadata: String::new(),
        });
        CommitOffsets {
            group: "g".to_owned(),
            member_id: String::new(),
            instance_id: None,
            generation: -1,
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets: offsets.into(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_coordinator_removes_offsets_of_topics_that_are_gone_and_of_no_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = Node::open(NodeConfig::single(dir.path(), NodeId(1))).await.expect("opens");
        let (committed, state) = (Committed::new(), CoordinationState::default());
        let cluster = node.start(GroupId::CLUSTER, ClusterMachine::new(committed.clone())).await;
        let raft = node.start(GroupId::COORDINATION, CoordinationMachine::new(state.clone())).await;
        let raft = raft.expect("starts");
        let controller = Controller::new(cluster.expect("starts"), None, committed.clone());
        let created = Record::TopicCreated { id: Uuid(KEPT), name: "kept".to_owned() };
        let decide = |_: &milena_metadata::Image| {
            Ok::<_, Infallible>(Decision { records: vec![created.clone()], answer: () })
        };
        controller.change(decide).await.expect("is agreed on");

        let stop = CancellationToken::new();
        let (coordination, calls) =
            Coordination::new(state.groups.clone(), raft.clone(), Duration::from_secs(5));
        let (groups, answers) = (state.groups.clone(), state.answers.clone());
        tokio::spawn(coordination::run(
            calls,
            raft.clone(),
            groups,
            answers,
            Settings::default(),
            stop.clone(),
        ));
        // Refused until the task has noticed that it leads.
        while coordination.commit(commit()).await.is_err() {
            tokio::task::yield_now().await;
        }
        let before = raft.applied_index();
        tokio::spawn(run(coordination, controller, committed, stop.clone()));
        let removed = tokio::time::timeout(Duration::from_secs(30), raft.wait_applied(before + 1)).await;
        assert_eq!(removed, Ok(true));
        assert_eq!(state.groups.read().unwrap().topic_ids(), BTreeSet::from([TopicId(KEPT)]));
        stop.cancel();
        node.shutdown().await;
    }
}
