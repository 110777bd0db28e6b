//! Several brokers in one process form a cluster, each with runtimes and a directory of its own.

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use common::{Broker, Connection, PATIENCE, PAUSE, batch, bytes};
use milena_broker::StartError;
use milena_wire::add_raft_voter::AddRaftVoterRequest;
use milena_wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use milena_wire::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData, RequestTopicData, ResponsePartitionData,
};
use milena_wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use milena_wire::remove_raft_voter::RemoveRaftVoterRequest;
use milena_wire::{ErrorCode, Uuid};
use tempfile::TempDir;

/// Ports at which nobody listens, and which nobody gets by chance before the brokers are there: each process of tests
/// has a loopback address of its own.
fn free_ports<const N: usize>() -> [SocketAddr; N] {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 100 + high, middle, low);
    std::array::from_fn(|_| (own, NEXT.fetch_add(1, Ordering::Relaxed)).into())
}

/// Settings of node `id`, the peer listener of node n being at `ports[n - 1]`.
fn settings(id: usize, ports: &[SocketAddr], voters: &[usize]) -> Vec<String> {
    let voters: Vec<_> = voters.iter().map(|id| format!("{id}@{}", ports[id - 1])).collect();
    vec![
        format!("node.id={id}"),
        format!("milena.peer.listener={}", ports[id - 1]),
        format!("controller.quorum.voters={}", voters.join(",")),
        format!("broker.rack=r{id}"),
        // Busy machines must not be taken for dead ones.
        "controller.quorum.election.timeout.ms=600".to_owned(),
        "milena.http.listener=".to_owned(),
    ]
}

fn try_start(dir: &Path, settings: &[String], cluster_id: Option<&str>) -> Result<Broker, StartError> {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Broker::try_start(dir, &settings, cluster_id)
}

/// Starts nodes 1, 2, .. at the same time: none is ready before the others are there.
fn start_together(dirs: &[TempDir], ports: &[SocketAddr], voters: &[usize]) -> Vec<Broker> {
    std::thread::scope(|threads| {
        let started: Vec<_> = (1..=dirs.len())
            .map(|id| {
                let (dir, settings) = (dirs[id - 1].path(), settings(id, ports, voters));
                threads.spawn(move || try_start(dir, &settings, None).unwrap())
            })
            .collect();
        started.into_iter().map(|broker| broker.join().unwrap()).collect()
    })
}

fn stop_together(brokers: Vec<Broker>) {
    std::thread::scope(|threads| {
        brokers.into_iter().for_each(|broker| drop(threads.spawn(|| broker.stop())))
    });
}

fn metadata(connection: &mut Connection, topic: &str) -> MetadataResponse {
    let topic = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    connection.call(&MetadataRequest { topics: Some(vec![topic]), ..Default::default() }, 12)
}

fn quorum(connection: &mut Connection) -> ResponsePartitionData {
    let topic = RequestTopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![RequestPartitionData::default()],
    };
    let answer = connection.call(&DescribeQuorumRequest { topics: vec![topic] }, 2);
    answer.topics[0].partitions[0].clone()
}

/// Ids of voters and of observers.
fn members(connection: &mut Connection) -> (Vec<i32>, Vec<i32>) {
    let quorum = quorum(connection);
    let ids = |states: &[milena_wire::describe_quorum::ReplicaState]| {
        let ids: BTreeSet<i32> = states.iter().map(|state| state.replica_id).collect();
        ids.into_iter().collect()
    };
    (ids(&quorum.current_voters), ids(&quorum.observers))
}

/// Asks until what comes back is wanted; says what came last when it never does.
fn eventually<T: PartialEq + std::fmt::Debug>(want: &T, mut ask: impl FnMut() -> T) {
    let began = Instant::now();
    loop {
        let got = ask();
        if got == *want {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "wanted {want:?}, got {got:?}");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn three_brokers_are_one_cluster_also_after_a_restart_of_all() {
    let dirs: [TempDir; 3] = std::array::from_fn(|_| TempDir::new().unwrap());
    let ports = free_ports::<3>();
    let brokers = start_together(&dirs, &ports, &[1, 2, 3]);
    let mut second = brokers[1].connect();
    // Two clients ask two brokers for the same name: one of them is told that it exists, and nobody of a controller.
    let topic = CreatableTopic {
        name: "orders".into(),
        num_partitions: 3,
        replication_factor: -1,
        ..Default::default()
    };
    let created = second
        .call(&CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() }, 7);
    assert_eq!(created.topics[0].error_code, 0, "{:?}", created.topics[0].error_message);
    assert_eq!(created.topics[0].replication_factor, 3);
    for broker in &brokers {
        // All are there, and leaderships are spread: again after a broker that was silent for too long is back.
        let all = BTreeSet::from([1, 2, 3]);
        eventually(&(all.clone(), all), || {
            let answer = metadata(&mut broker.connect(), "orders");
            let partitions = &answer.topics[0].partitions;
            let leaders = partitions.iter().map(|partition| partition.leader_id).collect();
            (answer.brokers.iter().map(|broker| broker.node_id).collect(), leaders)
        });
        eventually(&(vec![1, 2, 3], vec![]), || members(&mut broker.connect()));
    }
    eventually(&0, || with_leader(&brokers, |leader| produce(leader, "kept")));
    stop_together(brokers);

    let brokers = start_together(&dirs, &ports, &[1, 2, 3]);
    let mut second = brokers[1].connect();
    eventually(&true, || {
        metadata(&mut second, "orders").topics[0].partitions.iter().all(|it| it.leader_id > 0)
    });
    eventually(&(vec![1, 2, 3], vec![]), || members(&mut second));
    // Leaderships may move while brokers come back, and a record that is refused for that may be there all the same: the
    // value says that the first one is, not the offset of the next.
    eventually(&true, || with_leader(&brokers, first_is_kept));
    eventually(&0, || with_leader(&brokers, |leader| produce(leader, "more")));
    stop_together(brokers);
}

/// What `ask` says of the leader of the first partition of `orders`; of another broker while it has none.
fn with_leader<T>(brokers: &[Broker], ask: impl FnOnce(&mut Connection) -> T) -> T {
    let leader = metadata(&mut brokers[1].connect(), "orders").topics[0].partitions[0].leader_id;
    let leader = brokers.iter().find(|broker| broker.id() == leader).unwrap_or(&brokers[1]);
    ask(&mut leader.connect())
}

/// The code of the answer.
fn produce(leader: &mut Connection, value: &str) -> i16 {
    leader.produce("orders", bytes(batch(&[value]))).error_code
}

fn first_is_kept(leader: &mut Connection) -> bool {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
    let records = leader.call(&request, 11).responses[0].partitions[0].records.clone().unwrap_or_default();
    let records = records.into_bytes();
    let Some(first) = milena_records::batches(&records).next() else { return false };
    let (header, batch) = first.unwrap();
    header.base_offset.0 == 0 && batch.windows(4).any(|word| word == b"kept")
}

#[test]
fn fourth_broker_observes_and_can_be_made_a_voter_and_back() {
    let dirs: [TempDir; 2] = std::array::from_fn(|_| TempDir::new().unwrap());
    let ports = free_ports::<2>();
    let first = try_start(dirs[0].path(), &settings(1, &ports, &[1]), None).unwrap();
    let second = try_start(dirs[1].path(), &settings(2, &ports, &[1]), None).unwrap();
    let mut connection = second.connect();
    eventually(&(vec![1], vec![2]), || members(&mut connection));
    let directory = quorum(&mut connection).observers[0].replica_directory_id;

    let add = |voter_directory_id| AddRaftVoterRequest {
        cluster_id: None,
        timeout_ms: 30_000,
        voter_id: 2,
        voter_directory_id,
        ..Default::default()
    };
    let refused = connection.call(&add(Uuid([9; 16])), 1);
    assert_eq!(refused.error_code, ErrorCode::InvalidVoterKey.code());
    let added = connection.call(&add(directory), 1);
    assert_eq!(added.error_code, 0, "{:?}", added.error_message);
    eventually(&(vec![1, 2], vec![]), || members(&mut connection));
    assert_eq!(connection.call(&add(directory), 1).error_code, ErrorCode::DuplicateVoter.code());

    let other = AddRaftVoterRequest { cluster_id: Some("another".into()), ..add(directory) };
    assert_eq!(connection.call(&other, 1).error_code, ErrorCode::InconsistentClusterId.code());
    let remove = RemoveRaftVoterRequest { cluster_id: None, voter_id: 2, voter_directory_id: directory };
    let removed = connection.call(&remove, 0);
    assert_eq!(removed.error_code, 0, "{:?}", removed.error_message);
    eventually(&(vec![1], vec![2]), || members(&mut connection));
    assert_eq!(connection.call(&remove, 0).error_code, ErrorCode::VoterNotFound.code());
    second.stop();
    first.stop();
}

#[test]
fn node_that_is_no_controller_is_not_made_a_voter() {
    let dirs: [TempDir; 2] = std::array::from_fn(|_| TempDir::new().unwrap());
    let ports = free_ports::<2>();
    let first = try_start(dirs[0].path(), &settings(1, &ports, &[1]), None).unwrap();
    let with = |roles: &str| {
        let mut settings = settings(2, &ports, &[1]);
        settings.push(format!("process.roles={roles}"));
        try_start(dirs[1].path(), &settings, None).unwrap()
    };
    let add = |broker: &Broker| {
        let mut connection = broker.connect();
        eventually(&(vec![1], vec![2]), || members(&mut connection));
        let voter_directory_id = quorum(&mut connection).observers[0].replica_directory_id;
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 30_000,
            voter_id: 2,
            voter_directory_id,
            ..Default::default()
        };
        connection.call(&request, 1)
    };
    let second = with("broker");
    let refused = add(&second);
    assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code());
    let text = refused.error_message.unwrap();
    assert!(text.contains("Restart it with process.roles=broker,controller"), "{text}");
    assert_eq!(members(&mut first.connect()), (vec![1], vec![2]));
    second.stop();

    // It may when it comes back as one.
    let second = with("broker,controller");
    let added = add(&second);
    assert_eq!(added.error_code, 0, "{:?}", added.error_message);
    second.stop();
    first.stop();
}

/// F11, F12.
#[test]
fn nodes_that_would_split_or_corrupt_the_quorum_do_not_start() {
    let mut dirs: [TempDir; 4] = std::array::from_fn(|_| TempDir::new().unwrap());
    let ports = free_ports::<4>();
    let mut brokers = start_together(&dirs[..3], &ports, &[1, 2, 3]);
    let refusal = |dir: &TempDir, id, cluster_id| {
        try_start(dir.path(), &settings(id, &ports, &[1, 2, 3]), cluster_id).err().unwrap().to_string()
    };
    let text = refusal(&dirs[3], 4, Some("anotherClusterIdOfOurs"));
    assert!(text.contains("this node is to be part of anotherClusterIdOfOurs"), "{text}");

    // The third loses its disk. It may not vote with an empty log, but come back when it is no voter any more.
    brokers.pop().unwrap().stop();
    dirs[2] = TempDir::new().unwrap();
    let text = refusal(&dirs[2], 3, None);
    assert!(text.contains("a voter without its log could vote twice"), "{text}");
    let mut connection = brokers[0].connect();
    let voter = quorum(&mut connection).current_voters.into_iter().find(|it| it.replica_id == 3).unwrap();
    let remove = RemoveRaftVoterRequest {
        cluster_id: None,
        voter_id: 3,
        voter_directory_id: voter.replica_directory_id,
    };
    let removed = connection.call(&remove, 0);
    assert_eq!(removed.error_code, 0, "{:?}", removed.error_message);
    let third = try_start(dirs[2].path(), &settings(3, &ports, &[1, 2, 3]), None).unwrap();
    eventually(&(vec![1, 2], vec![3]), || members(&mut connection));
    brokers.push(third);
    stop_together(brokers);
}
