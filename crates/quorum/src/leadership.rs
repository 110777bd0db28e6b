//! Watches who leads a group, and keeps a node that is alone from ticking.

use crate::candidacy::Candidacy;
use crate::id::{GroupId, NodeId};
use crate::status::LeaderInfo;
use crate::types::{LogId, Membership, Raft};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::vote::RaftLeaderId;
use tokio::sync::watch;

/// Follows a group until it stops.
///
/// A leader is announced as `is_self` only when the first entry of its own term is applied: then
/// its state holds everything that was committed before, and it may act on what it reads there.
pub(crate) async fn follow(
    group: GroupId,
    me: NodeId,
    raft: Raft,
    candidacy: Candidacy,
    mut applied: watch::Receiver<Option<LogId>>,
    told: watch::Sender<LeaderInfo>,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let (leader, term, leads, idle, alone) = {
            let now = metrics.borrow_and_update();
            let term = now.vote.leader_id().term();
            let leads = now.state == ServerState::Leader && now.current_leader == Some(me);
            let idle = now.state == ServerState::Follower;
            let membership = now.membership_config.membership();
            let in_force = now.membership_config.log_id().map_or(0, |at| at.index());
            candidacy.in_force(in_force, membership.voter_ids().any(|voter| voter != me));
            (now.current_leader, term, leads, idle, is_alone(me, membership))
        };
        // Nobody to send heartbeats to, nobody to wait for.
        raft.runtime_config().tick(!alone);
        if alone && idle && raft.trigger().elect(false).await.is_err() {
            break;
        }
        let ready = |applied: &Option<LogId>| applied.is_some_and(|at| at.committed_leader_id().term >= term);
        if leads && !ready(&applied.borrow()) {
            announce(group, &told, LeaderInfo { leader, term, is_self: false });
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { break },
                waited = applied.wait_for(ready) => if waited.is_err() { break },
            }
            continue;
        }
        announce(group, &told, LeaderInfo { leader, term, is_self: leads });
        if metrics.changed().await.is_err() {
            break;
        }
    }
    told.send_modify(|info| *info = LeaderInfo { leader: None, term: info.term, is_self: false });
}

fn announce(group: GroupId, told: &watch::Sender<LeaderInfo>, info: LeaderInfo) {
    let changed = told.send_if_modified(|told| std::mem::replace(told, info) != info);
    if changed {
        tracing::info!(%group, leader = ?info.leader, term = info.term, is_self = info.is_self, "group leader");
    }
}

/// Whether `me` is the only member of the group.
pub(crate) fn is_alone(me: NodeId, membership: &Membership) -> bool {
    membership.nodes().map(|(id, ())| *id).eq([me]) && membership.voter_ids().eq([me])
}
