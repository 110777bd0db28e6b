//! The next leader of a Raft group, when the last one is held for dead.
//!
//! Every survivor stops honouring the dead leader's lease and names the same successor, so that one campaigns and
//! the others vote: milliseconds instead of an election time-out. They agree because each tells the others where
//! its log ended when it learnt of the death, and all choose by these figures.
//!
//! Evidence is acted on at once. A silent leader is replaced when a majority finds it silent, each by its own
//! session, which follows what is usual on this machine; Raft's fixed time-outs are longer and come last. Votes are
//! counted as ever.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_peer::liveness::{Health, Liveness, LogEnd, Sighting, Verdict};
use milena_quorum::{GroupHandle, NodeId};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long the others' figures are waited for when the death is evident.
const FIGURES: Duration = Duration::from_millis(5);
/// How long a successor has to win before the next one is named. Votes are flushed before they count, which takes
/// 60 to 100 ms on a disk that is busy with other things, and two who campaign at once split them: then only
/// Raft's own time-out helps. Short of that time-out (150 ms at least), for a successor that does hang.
const TURN: Duration = Duration::from_millis(120);

/// Watches a group's leader until `shutdown`.
pub(super) async fn replace_dead_leaders(peers: Liveness, group: GroupHandle, shutdown: CancellationToken) {
    let mut health = peers.health();
    let mut leader = group.leader();
    loop {
        let dead = leader.borrow_and_update().leader.filter(|leader| {
            let verdict = health.borrow_and_update().get(leader).map(|peer| peer.verdict);
            verdict.is_some_and(Verdict::is_dead)
        });
        if let Some(dead) = dead {
            replace(&peers, &group, dead).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
            changed = leader.changed() => if changed.is_err() { return },
        }
    }
}

async fn replace(peers: &Liveness, group: &GroupHandle, dead: NodeId) {
    let candidates = candidates(peers, group, dead).await;
    let mut leader = group.leader();
    for successor in candidates {
        if leader.borrow_and_update().leader != Some(dead) {
            return;
        }
        info!(group = %group.id(), %dead, %successor, "leader is dead, naming a successor");
        if let Err(error) = group.leader_died(dead, successor).await {
            warn!(group = %group.id(), %successor, %error, "no election");
        }
        let turn = Instant::now() + TURN;
        let elected = leader.wait_for(|now| now.leader.is_some_and(|leader| leader != dead));
        if matches!(timeout_at(turn, elected).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// The survivors that vote, the one to campaign first at the front.
async fn candidates(peers: &Liveness, group: &GroupHandle, dead: NodeId) -> Vec<NodeId> {
    let me = group.node_id();
    let voters = group.status().voters;
    let mut health = peers.health();
    let mut leader = group.leader();
    let deadline = Instant::now() + FIGURES;
    loop {
        let verdict = health.borrow_and_update().get(&dead).map(|peer| peer.verdict).unwrap_or_default();
        if !verdict.is_dead() || leader.borrow_and_update().leader != Some(dead) {
            return Vec::new();
        }
        let mut ends: BTreeMap<NodeId, Option<Option<LogEnd>>> = BTreeMap::new();
        {
            // Not borrowed: what is asked of the peers below waits for whoever is changing it.
            let health = Health::clone(&health.borrow());
            let incarnation = health.get(&dead).and_then(|peer| peer.incarnation);
            let of_it = |sighting: &&Sighting| sighting.incarnation == incarnation;
            for node in voters.iter().filter(|node| **node != dead) {
                let peer = health.get(node);
                if *node != me && !peer.is_some_and(|peer| peer.verdict == Verdict::Alive) {
                    continue;
                }
                let told = peer
                    .and_then(|peer| peer.sightings.get(&dead).filter(of_it).map(|it| end(&it.ends, group)));
                let own = || peers.sighting(dead).map(|it| end(&it.ends, group));
                ends.insert(*node, if *node == me { own() } else { told });
            }
        }
        let agreed = ends.values().filter(|told| told.is_some()).count();
        let majority = voters.len() / 2 + 1;
        // A minority cannot elect; by trying it would only disturb the others later.
        let is_time = match verdict.is_evident() {
            true => ends.len() >= majority && (agreed == ends.len() || Instant::now() >= deadline),
            false => agreed >= majority,
        };
        if is_time {
            if !verdict.is_evident() {
                ends.retain(|_, told| told.is_some());
            }
            let known = |(node, told): (NodeId, Option<Option<LogEnd>>)| {
                (node, told.unwrap_or_else(|| end(&peers.ends(node), group)))
            };
            return rank(ends.into_iter().map(known).collect());
        }
        tokio::select! {
            () = sleep_until(deadline), if verdict.is_evident() => {}
            changed = health.changed() => if changed.is_err() { return Vec::new() },
            changed = leader.changed() => if changed.is_err() { return Vec::new() },
        }
    }
}

fn end(ends: &[LogEnd], group: &GroupHandle) -> Option<LogEnd> {
    ends.iter().copied().find(|end| end.group == group.id())
}

/// The longest log first; others cannot win. Among equals the lowest id.
fn rank(mut nodes: Vec<(NodeId, Option<LogEnd>)>) -> Vec<NodeId> {
    nodes.sort_by_key(|(node, end)| (std::cmp::Reverse(end.map(|end| (end.term, end.index))), *node));
    nodes.into_iter().map(|(node, _)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_quorum::GroupId;

    #[test]
    fn longest_log_campaigns_first_and_the_lowest_id_among_equals() {
        let at = |term, index| Some(LogEnd { group: GroupId::CLUSTER, term, index });
        for (nodes, want) in [
            (vec![(1, at(2, 7)), (3, at(2, 7))], vec![1, 3]),
            (vec![(1, at(2, 7)), (3, at(2, 8))], vec![3, 1]),
            // The later term wins, however short.
            (vec![(1, at(2, 70)), (2, at(3, 8)), (3, None)], vec![2, 1, 3]),
        ] {
            let nodes = nodes.into_iter().map(|(node, end)| (NodeId(node), end)).collect();
            assert_eq!(rank(nodes), want.into_iter().map(NodeId).collect::<Vec<_>>());
        }
    }
}
