//! Prints what three nodes cost that talk over loopback: throughput, idle CPU, failover.
//!
//! `cargo run --release -p milena-peer --example peer_cost -- [idle seconds]`

use bytes::Bytes;
use milena_peer::{Addresses, Identity, PeerConfig, Peers, Routes, raft_service, serve};
use milena_quorum::{Changes, GroupHandle, GroupId, Node, NodeConfig, NodeId, StateMachine};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Overwrites one of 10,000 keys, as committed offsets do.
#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.0 = pairs.count() as u64;
    }

    fn apply(&mut self, _index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        self.0 += 1;
        changes.put((self.0 % 10_000).to_be_bytes().to_vec(), command.clone());
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

struct Process {
    runtime: Runtime,
    groups: Vec<GroupHandle>,
    _dir: TempDir,
}

fn start(id: NodeId, voters: BTreeSet<NodeId>, addresses: Addresses) -> Process {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = TempDir::new().expect("a directory");
    let identity = Identity::new("measure", id).expect("plain letters");
    let peers = Peers::new(identity.clone(), addresses.clone(), PeerConfig::default());
    let single = NodeConfig::single(dir.path(), id);
    let config = NodeConfig { initial_voters: voters, network: Some(Arc::new(peers)), ..single };
    let groups = runtime.block_on(async {
        let node = Node::open(config).await.expect("open");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.set(id, listener.local_addr().expect("bound").to_string());
        let never = CancellationToken::new();
        let routes = Routes::default();
        routes.add(raft_service(identity, node.inbound(), never.clone()));
        tokio::spawn(serve(listener, routes, never));
        let mut groups = Vec::new();
        for group in [GroupId::CLUSTER, GroupId::COORDINATION] {
            groups.push(node.start(group, Counter::default()).await.expect("start"));
        }
        groups
    });
    Process { runtime, groups, _dir: dir }
}

fn main() {
    let idle = std::env::args().nth(1).map_or(5, |seconds| seconds.parse().expect("seconds"));
    let client = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let voters: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
    for by_evidence in [true, false] {
        let addresses = Addresses::default();
        let nodes = voters.iter().map(|id| (*id, start(*id, voters.clone(), addresses.clone())));
        let mut nodes: BTreeMap<NodeId, Process> = nodes.collect();
        let leader = client.block_on(find_leader(&nodes));
        if by_evidence {
            let (cpu, begin) = (cpu_time(), Instant::now());
            client.block_on(async { tokio::time::sleep(Duration::from_secs(idle)).await });
            let share = cpu_time().saturating_sub(cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
            println!("idle, three nodes together: {:.2} % of a core", share * 100.0);
            for proposers in [1, 16, 512] {
                client.block_on(propose(&nodes[&leader].groups[0], proposers));
            }
        }
        failover(&client, &mut nodes, leader, by_evidence);
    }
}

fn failover(client: &Runtime, nodes: &mut BTreeMap<NodeId, Process>, dead: NodeId, by_evidence: bool) {
    let process = nodes.remove(&dead).expect("it runs");
    let begin = Instant::now();
    process.runtime.shutdown_background();
    client.block_on(async {
        if by_evidence {
            let longest = nodes.iter().max_by_key(|(_, process)| process.groups[0].status().last_index);
            let successor = *longest.expect("two are left").0;
            for process in nodes.values() {
                process.groups[0].leader_died(dead, successor).await.expect("still running");
            }
        }
        loop {
            let leader = find_leader(nodes).await;
            if nodes[&leader].groups[0].propose(Bytes::from_static(b"after")).await.is_ok() {
                break;
            }
        }
    });
    let how = if by_evidence { "on evidence" } else { "by time-out" };
    println!("leader killed, first write committed {how}: {:.1?}", begin.elapsed());
}

async fn find_leader(nodes: &BTreeMap<NodeId, Process>) -> NodeId {
    loop {
        for (id, process) in nodes {
            if process.groups[0].leader().borrow().is_self {
                return *id;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn propose(group: &GroupHandle, proposers: usize) {
    let (begin, cpu) = (Instant::now(), cpu_time());
    let task = |group: GroupHandle| async move {
        let mut took = Vec::new();
        while begin.elapsed() < Duration::from_secs(2) {
            let at = Instant::now();
            if let Err(error) = group.propose(vec![7; 200].into()).await {
                println!("proposal failed: {error}");
                break;
            }
            took.push(at.elapsed());
        }
        took
    };
    let tasks: Vec<_> = (0..proposers).map(|_| tokio::spawn(task(group.clone()))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("no panic"));
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{proposers:>4} proposers: {:>8.0}/s  p50 {:>9.2?}  p99 {:>9.2?}  {:.1} us CPU each, all three nodes",
        took.len() as f64 / begin.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu_time().saturating_sub(cpu).as_secs_f64() * 1e6 / took.len() as f64
    );
}

/// From `/proc`: time on a CPU, of all threads.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| -> Option<u64> {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse().ok()
    });
    Duration::from_nanos(spent.sum())
}
