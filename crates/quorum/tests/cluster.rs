//! Three nodes in one process, over a network in memory.

#[path = "support/net.rs"]
mod net;
mod support;

use milena_quorum::{
    ChangeError, GroupHandle, GroupId, Node, NodeConfig, NodeId, ProposeError, ReadError, Timers,
};
use net::Switch;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::{Map, put};
use tempfile::TempDir;

const GROUP: GroupId = GroupId::CLUSTER;

struct Member {
    dir: TempDir,
    node: Node,
    group: GroupHandle,
    map: Map,
}

/// A cluster under test.
struct Cluster {
    switch: Switch,
    voters: BTreeSet<NodeId>,
    timers: Timers,
    members: BTreeMap<NodeId, Member>,
}

impl Cluster {
    async fn new(voters: impl IntoIterator<Item = u64>) -> Cluster {
        // Slow, as a busy machine must not be taken for a dead one.
        Cluster::with_timers(voters, Timers { heartbeat_ms: 40, election_min_ms: 200, election_max_ms: 400 })
            .await
    }

    async fn with_timers(voters: impl IntoIterator<Item = u64>, timers: Timers) -> Cluster {
        let voters: BTreeSet<NodeId> = voters.into_iter().map(NodeId).collect();
        let (switch, members) = (Switch::default(), BTreeMap::new());
        let mut cluster = Cluster { switch, voters: voters.clone(), timers, members };
        for id in voters {
            cluster.start(id, TempDir::new().unwrap(), true).await;
        }
        cluster
    }

    async fn start(&mut self, id: NodeId, dir: TempDir, forms: bool) {
        let initial_voters = if forms { self.voters.clone() } else { BTreeSet::new() };
        let node = Node::open(NodeConfig {
            initial_voters,
            network: Some(self.switch.port(id)),
            timers: self.timers,
            segment_bytes: 16 << 10,
            snapshot_entries: 100,
            keep_entries: 10,
            ..NodeConfig::single(dir.path(), id)
        });
        let node = node.await.unwrap();
        self.switch.connect(id, node.inbound());
        let map = Map::default();
        let group = node.start(GROUP, map.clone()).await.unwrap();
        self.members.insert(id, Member { dir, node, group, map });
    }

    /// The leader among the nodes that are not cut off, once there is one.
    async fn leader(&self) -> NodeId {
        loop {
            for (id, member) in &self.members {
                if !self.switch.is_cut(*id) && member.group.leader().borrow().is_self {
                    return *id;
                }
            }
            let mut any = self.members.values().map(|member| member.group.leader()).collect::<Vec<_>>();
            let changes = any.iter_mut().map(|leader| Box::pin(leader.changed()));
            futures_util::future::select_all(changes).await.0.unwrap();
        }
    }

    fn group(&self, id: NodeId) -> &GroupHandle {
        &self.members[&id].group
    }

    /// Ends a node as a crash would: cut off first, so that it cannot say goodbye.
    async fn kill(&mut self, id: NodeId) -> TempDir {
        self.switch.cut(id);
        let member = self.members.remove(&id).unwrap();
        member.node.shutdown().await;
        member.dir
    }

    /// Puts `key n` for every n through whoever leads, again where leadership was lost on the
    /// way. Answers the index after which all of them are applied.
    async fn put_all(&self, range: std::ops::Range<u32>) -> u64 {
        loop {
            let commands = range.clone().map(|n| put(&format!("key {n}"), &n.to_string())).collect();
            let answers = self.group(self.leader().await).propose_many(commands).await;
            let indices: Result<Vec<u64>, _> =
                answers.into_iter().map(|answer| answer.map(|done| done.index)).collect();
            match indices {
                Ok(indices) => return indices.into_iter().max().unwrap(),
                Err(ProposeError::NotLeader { .. } | ProposeError::Indeterminate) => {
                    tokio::task::yield_now().await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Makes these the voters, again where the first of them lost the leadership to the new ones on the way.
    async fn make_voters(&self, voters: BTreeSet<NodeId>) {
        loop {
            match self.group(self.leader().await).change_voters(voters.clone()).await {
                Ok(()) => return,
                Err(ChangeError::NotLeader { .. } | ChangeError::Indeterminate) => {
                    tokio::task::yield_now().await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn everybody_has(&self, index: u64) {
        let mut states = Vec::new();
        for member in self.members.values() {
            assert!(member.group.wait_applied(index).await);
            states.push(member.map.pairs());
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

/// Nothing here takes more than a second or two; a hang fails instead of lasting.
async fn within_a_minute(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), test).await.expect("finished in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leader_is_replaced_and_catches_up_when_it_returns() {
    within_a_minute(async {
        let mut cluster = Cluster::new(1..=3).await;
        cluster.put_all(0..50).await;
        let first = cluster.leader().await;
        let term = cluster.group(first).leader().borrow().term;
        let dir = cluster.kill(first).await;
        let second = cluster.leader().await;
        assert_ne!(second, first);
        assert!(cluster.group(second).leader().borrow().term > term);
        let last = cluster.put_all(50..80).await;
        cluster.start(first, dir, true).await;
        cluster.everybody_has(last).await;
        assert_eq!(cluster.members[&first].map.pairs().len(), 80);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_behind_the_purged_log_gets_a_snapshot() {
    within_a_minute(async {
        let mut cluster = Cluster::new(1..=3).await;
        let leader = cluster.leader().await;
        let lagging = *cluster.voters.iter().find(|id| **id != leader).unwrap();
        let dir = cluster.kill(lagging).await;
        // Snapshots are written in the background, and entries deleted when nobody is being sent them: go on until then.
        let mut next = 0;
        while cluster.group(leader).status().purged_index < Some(100) {
            cluster.put_all(next..next + 50).await;
            next += 50;
        }
        cluster.start(lagging, dir, true).await;
        let last = cluster.put_all(next..next + 1).await;
        cluster.everybody_has(last).await;
        assert!(cluster.switch.snapshots() > 0);
        // What arrived as a snapshot is there after a restart as well.
        let dir = cluster.kill(lagging).await;
        cluster.start(lagging, dir, true).await;
        cluster.everybody_has(last).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learner_is_added_promoted_and_counts() {
    within_a_minute(async {
        let mut cluster = Cluster::new([1]).await;
        let one = NodeId(1);
        assert_eq!(cluster.leader().await, one);
        cluster.put_all(0..300).await;
        for id in [2, 3].map(NodeId) {
            cluster.start(id, TempDir::new().unwrap(), false).await;
            cluster.group(one).add_learner(id).await.unwrap();
        }
        let status = cluster.group(one).status();
        assert_eq!(
            (status.voters, status.learners),
            (BTreeSet::from([one]), BTreeSet::from([2, 3].map(NodeId)))
        );
        cluster.make_voters(BTreeSet::from([1, 2, 3].map(NodeId))).await;
        let last = cluster.put_all(300..301).await;
        cluster.everybody_has(last).await;
        cluster.kill(one).await;
        let next = cluster.leader().await;
        assert_eq!(cluster.members[&next].map.pairs().len(), 301);
        cluster.put_all(301..302).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_cut_off_serves_no_reads_and_loses_what_was_not_committed() {
    within_a_minute(async {
        let cluster = Cluster::new(1..=3).await;
        let old = cluster.leader().await;
        cluster.put_all(0..1).await;
        cluster.switch.cut(old);
        let stale = cluster.group(old).clone();
        let lost = tokio::spawn(async move { stale.propose(put("lost", "x")).await });
        let read = cluster.group(old).read_index().await;
        assert!(matches!(read, Err(ReadError::NoQuorum | ReadError::NotLeader { .. })), "{read:?}");
        let new = cluster.leader().await;
        let last = cluster.put_all(1..2).await;
        cluster.switch.heal(old);
        cluster.everybody_has(last).await;
        let lost = lost.await.unwrap();
        assert!(
            matches!(lost, Err(ProposeError::Indeterminate | ProposeError::NotLeader { .. })),
            "{lost:?}"
        );
        assert_eq!(cluster.members[&old].map.pairs().get(&b"lost"[..]), None);
        // On a busy machine another one may lead meanwhile, or nobody: compared with who leads before and after.
        let zombie = cluster.group(old);
        let (refused, read, leader) = loop {
            let before = *zombie.leader().borrow();
            let (refused, read) = (zombie.propose(put("a", "b")).await, zombie.read_index().await);
            if *zombie.leader().borrow() == before && before.leader.is_some_and(|leader| leader != old) {
                break (refused, read, before.leader);
            }
            if before.is_self {
                zombie.transfer_leadership(new).await.unwrap();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused, Err(ProposeError::NotLeader { leader }));
        assert_eq!(read, Err(ReadError::NotLeader { leader }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_confirm_a_leader_that_writes_nothing() {
    within_a_minute(async {
        let timers = Timers { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1000 };
        let cluster = Cluster::with_timers(1..=3, timers).await;
        // Again where the machine itself stood still for longer than a lease.
        for attempt in 0.. {
            let leader = cluster.group(cluster.leader().await);
            let before = *leader.leader().borrow();
            let last = leader.status().last_index;
            // Each read needs a round of heartbeats: together they last longer than any lease.
            let begin = tokio::time::Instant::now();
            let mut read = Ok(0);
            while read.is_ok() && begin.elapsed() < Duration::from_millis(2500) {
                read = leader.read_index().await;
            }
            if read.is_ok() && (*leader.leader().borrow(), leader.status().last_index) == (before, last) {
                break;
            }
            assert!(attempt < 5, "{read:?} {before:?} {last:?} {:?}", leader.status());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_of_death_elects_the_chosen_successor() {
    within_a_minute(async {
        // So slow that only the evidence can have brought about the election.
        let timers = Timers { heartbeat_ms: 100, election_min_ms: 2000, election_max_ms: 4000 };
        let cluster = Cluster::with_timers(1..=3, timers).await;
        let dead = cluster.leader().await;
        let last = cluster.put_all(0..10).await;
        cluster.everybody_has(last).await;
        cluster.switch.cut(dead);
        let survivors: Vec<NodeId> = cluster.voters.iter().copied().filter(|id| *id != dead).collect();
        let successor = survivors[0];
        // The successor last: the others let go of the old leader before it asks for their votes.
        for id in survivors.into_iter().rev() {
            cluster.group(id).leader_died(dead, successor).await.unwrap();
        }
        assert_eq!(cluster.leader().await, successor);
        cluster.put_all(10..11).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request() {
    within_a_minute(async {
        let cluster = Cluster::new(1..=3).await;
        let last = cluster.put_all(0..10).await;
        cluster.everybody_has(last).await;
        let old = cluster.leader().await;
        let to = *cluster.voters.iter().rfind(|id| **id != old).unwrap();
        cluster.group(old).transfer_leadership(to).await.unwrap();
        let mut leader = cluster.group(to).leader();
        leader.wait_for(|info| info.is_self).await.unwrap();
        cluster.put_all(10..20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founder_returns_as_a_follower_of_the_cluster_it_founded_alone() {
    within_a_minute(async {
        let mut cluster = Cluster::new([1]).await;
        let founder = NodeId(1);
        let founders = std::mem::take(&mut cluster.voters);
        for id in [2, 3].map(NodeId) {
            cluster.start(id, TempDir::new().unwrap(), false).await;
            cluster.group(founder).add_learner(id).await.unwrap();
        }
        cluster.make_voters(BTreeSet::from([1, 2, 3].map(NodeId))).await;
        let dir = cluster.kill(founder).await;
        cluster.put_all(0..10).await;
        // Still configured to be alone: the log knows better.
        cluster.voters = founders;
        cluster.start(founder, dir, true).await;
        let last = cluster.put_all(10..11).await;
        cluster.everybody_has(last).await;
    })
    .await;
}
