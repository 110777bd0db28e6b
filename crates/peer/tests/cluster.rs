//! Nodes that talk gRPC over loopback: each has its own runtime, directory and listener, as three
//! processes would.

use bytes::Bytes;
use milena_peer::{Addresses, Identity, PeerConfig, Peers, Routes, raft_service, serve};
use milena_quorum::{
    ChangeError, Changes, GroupHandle, GroupId, Network, Node, NodeConfig, NodeId, ProposeError,
    StateMachine, Timers,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const GROUPS: [GroupId; 2] = [GroupId::CLUSTER, GroupId::COORDINATION];
const CLUSTER_ID: &str = "bWlsZW5hLXRlc3QtY2x1cw";

/// Remembers the commands it saw.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<BTreeSet<Bytes>>>);

impl StateMachine for Words {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        *self.0.lock().unwrap() = pairs.map(|(key, _)| key).collect();
    }

    fn apply(&mut self, _index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        changes.put(command.clone(), Bytes::new());
        self.0.lock().unwrap().insert(command.clone());
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

/// A node with a runtime of its own; dropping that ends it as abruptly as a kill does.
struct Process {
    runtime: Option<Runtime>,
    groups: Vec<GroupHandle>,
    words: Vec<Words>,
    stop: CancellationToken,
    node: Node,
}

impl Process {
    fn start(id: NodeId, dir: &Path, voters: BTreeSet<NodeId>, addresses: &Addresses) -> Process {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = Identity::new(CLUSTER_ID, id).unwrap();
        let peers = Peers::new(identity.clone(), addresses.clone(), PeerConfig::default());
        let config = NodeConfig {
            initial_voters: voters,
            network: Some(Arc::new(peers)),
            // Slow, as a busy machine must not be taken for a dead one.
            timers: Timers { heartbeat_ms: 50, election_min_ms: 300, election_max_ms: 600 },
            segment_bytes: 16 << 10,
            snapshot_entries: 100,
            keep_entries: 10,
            ..NodeConfig::single(dir, id)
        };
        let stop = CancellationToken::new();
        let words = vec![Words::default(), Words::default()];
        let (node, groups) = runtime.block_on(async {
            let node = Node::open(config).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.set(id, listener.local_addr().unwrap().to_string());
            let routes = Routes::default();
            routes.add(raft_service(identity, node.inbound(), stop.clone()));
            tokio::spawn(serve(listener, routes, stop.clone()));
            let mut groups = Vec::new();
            for (group, words) in GROUPS.iter().zip(&words) {
                groups.push(node.start(*group, words.clone()).await.unwrap());
            }
            (node, groups)
        });
        Process { runtime: Some(runtime), groups, words, stop, node }
    }

    fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    fn shut_down(mut self) {
        self.stop.cancel();
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(self.node.shutdown());
        runtime.shutdown_background();
    }
}

/// Everything that is running, the runtime of the test, and the directories.
struct Cluster {
    runtime: Runtime,
    addresses: Addresses,
    dirs: BTreeMap<NodeId, TempDir>,
    processes: BTreeMap<NodeId, Process>,
}

impl Cluster {
    fn new(voters: impl IntoIterator<Item = u64> + Clone) -> Cluster {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut cluster = Cluster {
            runtime,
            addresses: Addresses::default(),
            dirs: BTreeMap::new(),
            processes: BTreeMap::new(),
        };
        let voters: BTreeSet<NodeId> = voters.into_iter().map(NodeId).collect();
        for id in &voters {
            cluster.start(*id, voters.clone());
        }
        cluster
    }

    fn start(&mut self, id: NodeId, voters: BTreeSet<NodeId>) {
        let dir = self.dirs.entry(id).or_insert_with(|| TempDir::new().unwrap());
        let process = Process::start(id, dir.path(), voters, &self.addresses);
        self.processes.insert(id, process);
    }

    /// Nothing here takes more than a few seconds; a hang fails instead of lasting.
    fn run<T>(&self, what: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(Duration::from_secs(60), what).await };
        self.runtime.block_on(limited).expect("finished in time")
    }

    async fn leader(&self, nth: usize) -> NodeId {
        loop {
            let groups = self.processes.iter().map(|(id, process)| (*id, &process.groups[nth]));
            let mut watched = Vec::new();
            for (id, group) in groups {
                let mut leader = group.leader();
                if leader.borrow_and_update().is_self {
                    return id;
                }
                watched.push(leader);
            }
            let changes = watched.iter_mut().map(|leader| Box::pin(leader.changed()));
            futures_util::future::select_all(changes).await.0.unwrap();
        }
    }

    /// Proposes words to a group, again where leadership was lost on the way; answers the index
    /// after which all are applied.
    async fn say(&self, nth: usize, range: std::ops::Range<u32>) -> u64 {
        loop {
            let leader = self.leader(nth).await;
            let words = range.clone().map(|n| Bytes::from(format!("word {n} {:0>200}", ""))).collect();
            let answers = self.processes[&leader].groups[nth].propose_many(words).await;
            let indices: Result<Vec<_>, _> =
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

    async fn everybody_knows(&self, nth: usize, index: u64, count: usize) {
        for process in self.processes.values() {
            assert!(process.groups[nth].wait_applied(index).await);
            assert_eq!(process.words[nth].0.lock().unwrap().len(), count);
        }
    }
}

#[test]
fn three_nodes_survive_a_killed_leader_and_take_it_back() {
    let mut cluster = Cluster::new(1..=3);
    for nth in 0..2 {
        cluster.run(async {
            let last = cluster.say(nth, 0..50).await;
            cluster.everybody_knows(nth, last, 50).await;
        });
    }
    let dead = cluster.run(cluster.leader(0));
    cluster.processes.remove(&dead).unwrap().kill();
    let heir = cluster.run(async {
        cluster.say(0, 50..80).await;
        cluster.leader(0).await
    });
    assert_ne!(heir, dead);
    // It comes back with another port, and the others find it.
    cluster.start(dead, (1..=3).map(NodeId).collect());
    cluster.run(async {
        let last = cluster.say(0, 80..90).await;
        cluster.everybody_knows(0, last, 90).await;
    });
    for process in std::mem::take(&mut cluster.processes).into_values() {
        process.shut_down();
    }
}

#[test]
fn late_learner_gets_a_snapshot_and_becomes_a_voter() {
    let mut cluster = Cluster::new([1]);
    let one = NodeId(1);
    let mut said = 0;
    cluster.run(async {
        while cluster.processes[&one].groups[0].status().snapshot_index < Some(500) {
            cluster.say(0, said..said + 50).await;
            said += 50;
        }
    });
    for id in [2, 3].map(NodeId) {
        cluster.start(id, BTreeSet::new());
        cluster.run(cluster.processes[&one].groups[0].add_learner(id)).unwrap();
    }
    cluster.run(async {
        let last = cluster.say(0, said..said + 1).await;
        cluster.everybody_knows(0, last, said as usize + 1).await;
        let status = cluster.processes[&NodeId(2)].groups[0].status();
        assert!(status.snapshot_index >= Some(500), "{status:?}");
        let voters: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
        // Again where the first of them lost the leadership to the new ones on the way.
        loop {
            let leader = &cluster.processes[&cluster.leader(0).await].groups[0];
            match leader.change_voters(voters.clone()).await {
                Ok(()) => break assert_eq!(leader.status().voters, voters),
                Err(ChangeError::NotLeader { .. } | ChangeError::Indeterminate) => {
                    tokio::task::yield_now().await
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    cluster.processes.remove(&one).unwrap().kill();
    cluster.run(cluster.say(0, said + 1..said + 2));
    for process in std::mem::take(&mut cluster.processes).into_values() {
        process.shut_down();
    }
}

#[test]
fn calls_for_another_node_or_cluster_are_refused() {
    let mut cluster = Cluster::new([1]);
    let address = cluster.addresses.get(NodeId(1)).unwrap();
    for (cluster_id, to, want) in [
        ("another-cluster", 1, "this node belongs to cluster bWlsZW5hLXRlc3QtY2x1cw"),
        (CLUSTER_ID, 5, "this is node 1"),
        (CLUSTER_ID, 6, "its address is not known"),
    ] {
        let addresses = Addresses::from_iter([(NodeId(1), address.clone()), (NodeId(5), address.clone())]);
        let peers =
            Peers::new(Identity::new(cluster_id, NodeId(9)).unwrap(), addresses, PeerConfig::default());
        let refused = cluster.run(peers.vote(NodeId(to), Default::default())).unwrap_err();
        assert_eq!((refused.node, refused.reason.as_str()), (NodeId(to), want));
    }
    cluster.processes.remove(&NodeId(1)).unwrap().shut_down();
}

#[test]
fn dead_node_is_reported_at_once_and_not_dialled_by_every_caller() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // A port on which nobody listens, nor will while it is held.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap();
    let addresses = Addresses::from_iter([(NodeId(2), port.to_string())]);
    let identity = Identity::new(CLUSTER_ID, NodeId(1)).unwrap();
    let config = PeerConfig { longest_backoff: Duration::from_secs(3600), ..PeerConfig::default() };
    let peers = Peers::new(identity, addresses.clone(), config);
    let call = || runtime.block_on(peers.vote(NodeId(2), Default::default())).unwrap_err().reason;
    let mut reasons = Vec::new();
    // The pauses grow: after a few refusals a call finds the line closed for the moment.
    while !reasons.contains(&"it failed a moment ago".to_owned()) {
        reasons.push(call());
    }
    assert!(reasons[0].contains("onnection refused"), "{reasons:?}");
    // A new address is tried at once.
    addresses.set(NodeId(2), port.to_string().replace("127.0.0.1", "localhost"));
    assert!(call().contains("onnection refused"));
}
