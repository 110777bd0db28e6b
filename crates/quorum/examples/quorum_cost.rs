//! Prints what a single node costs: start, memory, idle CPU, latency and throughput.
//!
//! `cargo run --release -p milena-quorum --example quorum_cost -- <directory> [idle seconds]`

use bytes::Bytes;
use milena_quorum::{Changes, GroupHandle, GroupId, Node, NodeConfig, NodeId, StateMachine};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Counts and overwrites one of 10,000 keys, as committed offsets do.
#[derive(Default)]
struct Counter {
    count: u64,
    latest: BTreeMap<u64, u64>,
}

impl StateMachine for Counter {
    fn restore(&mut self, pairs: &mut dyn Iterator<Item = (Bytes, Bytes)>) {
        self.count = pairs.count() as u64;
    }

    fn apply(&mut self, index: u64, command: &Bytes, changes: &mut Changes) -> Bytes {
        self.count += 1;
        let key = self.count % 10_000;
        self.latest.insert(key, index);
        changes.put(key.to_be_bytes().to_vec(), command.clone());
        Bytes::new()
    }

    fn applied(&mut self, _index: u64) {}
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("usage: measure <directory> [idle seconds]");
    let idle = arguments.next().map_or(5, |seconds| seconds.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(dir, Duration::from_secs(idle)));
}

async fn measure(dir: String, idle: Duration) {
    tokio::spawn(async {}).await.expect("a task");
    println!("resident, bare runtime   {:>10} KiB", resident_kib());
    let begin = Instant::now();
    let node = Node::open(NodeConfig::single(dir, NodeId(1))).await.expect("open");
    println!("open                     {:>10.2?}  {:?}", begin.elapsed(), node.recovery());
    println!("resident, open           {:>10} KiB", resident_kib());
    let (cluster, coordination) = tokio::join!(
        node.start(GroupId::CLUSTER, Counter::default()),
        node.start(GroupId::COORDINATION, Counter::default())
    );
    let (_cluster, group) = (cluster.expect("start"), coordination.expect("start"));
    println!("both groups lead after   {:>10.2?}", begin.elapsed());
    println!("resident, both groups    {:>10} KiB", resident_kib());
    let (cpu, begin) = (cpu_time(), Instant::now());
    tokio::time::sleep(idle).await;
    let percent = 100.0 * cpu_time().saturating_sub(cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("idle for {:.1?}: {percent:.3} % of a core, resident {} KiB", idle, resident_kib());
    for proposers in [1, 16, 256] {
        propose(&group, proposers, Duration::from_secs(2)).await;
    }
    read(&group).await;
    println!("resident after the load  {:>10} KiB", resident_kib());
    let begin = Instant::now();
    node.shutdown().await;
    println!("shutdown                 {:>10.2?}", begin.elapsed());
}

async fn propose(group: &GroupHandle, proposers: usize, time: Duration) {
    let begin = Instant::now();
    let cpu = cpu_time();
    let tasks: Vec<_> = (0..proposers)
        .map(|_| {
            let group = group.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begin.elapsed() < time {
                    let at = Instant::now();
                    group.propose(vec![7; 200].into()).await.expect("a sole voter leads");
                    took.push(at.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("no panic"));
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let (rate, cpu) = (took.len() as f64 / begin.elapsed().as_secs_f64(), cpu_time().saturating_sub(cpu));
    println!(
        "{proposers:>4} proposers: {rate:>8.0}/s  p50 {:>9.2?}  p99 {:>9.2?}  max {:>9.2?}  {:.1} us CPU each",
        at(0.5),
        at(0.99),
        at(1.0),
        cpu.as_secs_f64() * 1e6 / took.len() as f64
    );
}

async fn read(group: &GroupHandle) {
    let begin = Instant::now();
    for _ in 0..10_000 {
        group.read_index().await.expect("a sole voter leads");
    }
    println!("read index               {:>10.2?} each", begin.elapsed() / 10_000);
}

/// From `/proc`: resident set of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
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
