//! Brokers that copy one partition from each other over real streams on loopback; who leads is told to them by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_config::{BrokerConfig, Overrides, TopicConfig};
use milena_metadata::{Broker, BrokerEpoch, BrokerId, Command, Record, State};
use milena_partition::{BrokerLife, Leadership, Lives, Patience};
use milena_peer::liveness::Lease;
use milena_peer::replica::replica_service;
use milena_peer::{Identity, Routes, serve};
use milena_quorum::NodeId;
use milena_records::{BatchBuilder, Compression, LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use milena_wire::{ErrorCode, Uuid};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Feeder, FetcherContext, Fetchers, IsrQueue, PartitionKey, ReplicationQuota, Side};
use crate::cluster::Committed;
use crate::data_dir::{DataDir, OnDamage};
use crate::hosted::{Acks, FetchFrom, Hosted};
use crate::partitions::Partitions;
use crate::settings::Settings;
use crate::view::View;

mod deposed;
mod throttled;

const CLUSTER_ID: &str = "bWlsZW5hLXRlc3QtY2x1cw";
const TOPIC: Uuid = Uuid([7; 16]);
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker's data and its part in replication.
struct Node {
    id: i32,
    fetchers: Arc<Fetchers>,
    stop: CancellationToken,
    hosted: Arc<Hosted>,
}

/// The metadata that brokers share, and their directories.
struct Cluster {
    committed: Committed,
    state: State,
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
    leadership: Leadership,
    /// Of all brokers, as altered at run time.
    settings: Overrides,
}

impl Cluster {
    /// `size` brokers, 0 and up; all are replicas, none leads.
    async fn new(size: i32, min_insync_replicas: i32) -> Self {
        Self::with(size, min_insync_replicas, Overrides::new()).await
    }

    async fn with(size: i32, min_insync_replicas: i32, settings: Overrides) -> Self {
        let ids: Vec<i32> = (0..size).collect();
        let mut cluster = Self {
            committed: Committed::new(),
            state: State::default(),
            dirs: ids.iter().map(|_| TempDir::new().unwrap()).collect(),
            nodes: Vec::new(),
            leadership: Leadership {
                leader: -1,
                leader_epoch: LeaderEpoch(0),
                partition_epoch: 0,
                replicas: ids.clone(),
                isr: ids.clone(),
                elr: Vec::new(),
                min_insync_replicas,
                recovering: false,
            },
            settings,
        };
        for id in ids {
            let node = cluster.start(id).await;
            cluster.nodes.push(Some(node));
        }
        cluster
    }

    async fn start(&mut self, id: i32) -> Node {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer_address = listener.local_addr().unwrap().to_string();
        let broker = Broker {
            id: BrokerId(id),
            epoch: BrokerEpoch(0),
            incarnation: Uuid([id as u8; 16]),
            endpoints: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
            peer_address,
            broker_only: false,
        };
        let decided_at = self.state.image().index();
        let command = Command { decided_at, records: vec![Record::BrokerRegistered(broker)] }.encode();
        self.state.apply(decided_at + 1, &command, &mut Vec::new());
        self.committed.publish(self.state.image());
        let epoch = self.state.image().broker(BrokerId(id)).unwrap().epoch.0;
        let partitions = {
            let view = Arc::new(View::new(Arc::default()));
            Arc::new(Partitions::new(1 << 20, view, Arc::new(Lease::always()), Arc::default()))
        };
        let isr = Arc::<IsrQueue>::default();
        let stop = CancellationToken::new();
        let identity = Identity::new(CLUSTER_ID, NodeId(id as u64)).unwrap();
        let settings = BrokerConfig::new(Default::default()).unwrap();
        let settings = Arc::new(Settings::new(settings.with_dynamic(&self.settings, &Overrides::new())));
        let quota = |side| ReplicationQuota::new(Arc::clone(&settings), side);
        let feeder = Feeder::new(Arc::clone(&partitions), Arc::clone(&isr), quota(Side::Leader));
        let routes = Routes::default().with(replica_service(identity.clone(), feeder, stop.clone()));
        tokio::spawn(serve(listener, routes, stop.clone()));
        let data_dir = Arc::new(DataDir::open(self.dirs[id as usize].path(), 64).unwrap());
        let config = Arc::new(TopicConfig::resolve(
            &Default::default(),
            &BrokerConfig::new(Default::default()).unwrap(),
        ));
        let opened = data_dir.open_partition("words", TOPIC, 0, &config, OnDamage::Refuse).unwrap();
        data_dir.mark_running(epoch).unwrap();
        let hosted = Hosted::new(("words".into(), TOPIC, 0), id, config, opened, Arc::clone(&isr));
        let hosted = Arc::new(hosted);
        partitions.insert(Arc::clone(&hosted));
        let context = FetcherContext {
            identity: Some(identity),
            broker: BrokerId(id),
            broker_epoch: epoch,
            committed: self.committed.clone(),
            partitions: Arc::clone(&partitions),
            data_dir,
            quota: quota(Side::Follower),
        };
        let fetchers = Fetchers::new(context, stop.clone());
        Node { id, fetchers, stop, hosted }
    }

    /// Ends a broker without a word; its files stay.
    async fn kill(&mut self, id: i32) {
        let node = self.nodes[id as usize].take().unwrap();
        node.stop.cancel();
        // Its log is closed without a flush when the last task lets go of it.
        node.hosted.abandon();
        drop(node);
        tokio::time::timeout(PATIENCE, async {
            while DataDir::open(self.dirs[id as usize].path(), 64).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the directory is let go of");
    }

    async fn restart(&mut self, id: i32) {
        let node = self.start(id).await;
        self.nodes[id as usize] = Some(node);
        self.tell();
    }

    fn node(&self, id: i32) -> &Node {
        self.nodes[id as usize].as_ref().unwrap()
    }

    /// A new leader epoch, led by `leader`; the ISR is as given.
    fn elect(&mut self, leader: i32, isr: &[i32]) {
        self.leadership.leader = leader;
        self.leadership.isr = isr.to_vec();
        self.leadership.leader_epoch = LeaderEpoch(self.leadership.leader_epoch.0 + 1);
        self.leadership.partition_epoch += 1;
        self.tell();
    }

    /// Tells all brokers what the metadata is.
    fn tell(&self) {
        for node in self.nodes.iter().flatten() {
            self.tell_one(node.id);
        }
    }

    fn tell_one(&self, id: i32) {
        let node = self.node(id);
        let lives = self.state.image().brokers().map(|it| {
            let active = self.nodes.get(it.id.0 as usize).is_some_and(Option::is_some);
            (it.id.0, BrokerLife { epoch: it.epoch.0, active })
        });
        let lives: Lives = Arc::new(lives.collect());
        node.hosted.see_brokers(&lives);
        let leader = self.leadership.leader;
        if leader == id {
            node.fetchers.stop(PartitionKey::of(&node.hosted));
        }
        let transition = node.hosted.lead(self.leadership.clone());
        if leader != id && leader >= 0 {
            node.fetchers.follow(&node.hosted, BrokerId(leader), transition);
        }
    }

    /// Waits until all brokers that run have the same log, and know that it is committed.
    async fn settle(&self) {
        let settled = async {
            loop {
                let mut logs: Vec<_> = self.nodes.iter().flatten().map(|it| (it.log(), it.ends())).collect();
                logs.dedup();
                if logs.len() == 1 && logs[0].1.0 == logs[0].1.1 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            let ends: Vec<_> =
                self.nodes.iter().flatten().map(|it| (it.id, it.ends(), it.log().len())).collect();
            panic!("not settled: {ends:?}");
        }
    }
}

impl Node {
    async fn produce(&self, batch: Bytes) -> ErrorCode {
        match self.hosted.append(batch, Acks::All, true, None) {
            Ok(appended) if appended.replicated => ErrorCode::None,
            Ok(appended) => self.hosted.replicated(&appended, Instant::now() + PATIENCE).await,
            Err(refusal) => self.hosted.code_for(&refusal),
        }
    }

    /// Appends without waiting.
    fn write(&self, batch: Bytes) -> Offset {
        self.hosted.append(batch, Acks::Leader, true, None).unwrap().end
    }

    /// High watermark and log end.
    fn ends(&self) -> (Offset, Offset) {
        let position = self.hosted.checkpointed().unwrap();
        (position.high_watermark, self.hosted.log_end())
    }

    /// All bytes of the log, committed or not.
    fn log(&self) -> Bytes {
        self.hosted.everything()
    }

    /// The batches before `end`.
    fn log_to(&self, end: i64) -> Bytes {
        let all = self.log();
        let before = milena_records::batches(&all)
            .map(Result::unwrap)
            .filter(|(header, _)| header.base_offset.0 < end);
        let len: usize = before.map(|(_, batch)| batch.len()).sum();
        all.slice(..len)
    }
}

fn batch(words: &[&str]) -> Bytes {
    sequenced(words, None)
}

fn sequenced(words: &[&str], producer: Option<(i64, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, sequence)) = producer {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence);
    }
    for word in words {
        builder.push(crate::clock::unix_ms(), None, Some(word.as_bytes()), &[]);
    }
    builder.build().to_bytes()
}

#[tokio::test]
async fn a_batch_is_acknowledged_when_all_in_sync_replicas_have_it() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.elect(0, &[0, 1, 2]);
    for at in 0..50 {
        let word = at.to_string();
        assert_eq!(cluster.node(0).produce(batch(&[&word])).await, ErrorCode::None);
        // Acknowledged means there, on each of them.
        assert!(cluster.nodes.iter().flatten().all(|node| node.ends().1 == Offset(at + 1)));
    }
    cluster.settle().await;
    assert_eq!(cluster.node(2).ends(), (Offset(50), Offset(50)));
}

#[tokio::test]
async fn a_new_leaders_log_replaces_what_only_the_old_one_had() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.elect(0, &[0, 1, 2]);
    assert_eq!(cluster.node(0).produce(batch(&["both"])).await, ErrorCode::None);
    // Nobody fetches from broker 0 while it believes to lead, as after a partition of the network.
    for id in [1, 2] {
        cluster.node(id).fetchers.stop(PartitionKey::of(&cluster.node(id).hosted));
    }
    let (old, zombie) = (cluster.leadership.clone(), cluster.node(0));
    let parked = zombie.hosted.append(batch(&["lost"]), Acks::All, true, None).unwrap();
    zombie.write(batch(&["lost", "too"]));
    assert_eq!(old.leader_epoch, parked.leader_epoch);
    let hosted = Arc::clone(&zombie.hosted);
    let waiting = tokio::spawn(async move { hosted.replicated(&parked, Instant::now() + PATIENCE).await });
    cluster.elect(1, &[1, 2]);
    assert_eq!(waiting.await.unwrap(), ErrorCode::NotLeaderOrFollower);
    assert_eq!(cluster.node(1).produce(batch(&["kept"])).await, ErrorCode::None);
    cluster.settle().await;
    assert_eq!(cluster.node(0).ends(), (Offset(2), Offset(2)));
}

#[tokio::test]
async fn logs_that_parted_over_several_epochs_become_one() {
    let mut cluster = Cluster::new(2, 1).await;
    // Each leads alone in turn, as after unclean elections, and writes what the other never sees.
    for round in 0..4 {
        let leader = round % 2;
        for node in cluster.nodes.iter().flatten() {
            node.fetchers.stop(PartitionKey::of(&node.hosted));
        }
        cluster.leadership.leader = leader;
        cluster.leadership.isr = vec![leader];
        cluster.leadership.leader_epoch = LeaderEpoch(round + 1);
        cluster.leadership.partition_epoch += 1;
        let alone = cluster.node(leader);
        alone.hosted.lead(cluster.leadership.clone());
        for at in 0..=round {
            alone.write(batch(&[&format!("{round}-{at}"), "x"]));
        }
    }
    cluster.elect(0, &[0]);
    let kept = cluster.node(0).log();
    cluster.settle().await;
    assert_eq!(cluster.node(1).log(), kept);
}

#[tokio::test]
async fn a_follower_that_was_killed_goes_on_where_it_was() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.elect(0, &[0, 1, 2]);
    for at in 0..10 {
        let sent = sequenced(&["a", "b"], Some((9, 2 * at)));
        assert_eq!(cluster.node(0).produce(sent).await, ErrorCode::None);
    }
    cluster.kill(2).await;
    // Out of the ISR, as the controller does when it fences.
    cluster.leadership.isr = vec![0, 1];
    cluster.leadership.partition_epoch += 1;
    cluster.tell();
    for at in 10..20 {
        let sent = sequenced(&["a", "b"], Some((9, 2 * at)));
        assert_eq!(cluster.node(0).produce(sent).await, ErrorCode::None);
    }
    cluster.restart(2).await;
    cluster.settle().await;
    let change = loop {
        if let Some(change) = cluster.node(0).hosted.next_isr_change(&Patience::default()) {
            break change;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(change.isr.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2]);
    // The producer is known on every replica: leading next, each would refuse a repeat of an old batch.
    let producers = |id| cluster.node(id).hosted.producers();
    assert_eq!(producers(2), producers(0));
}

#[tokio::test]
async fn too_few_in_sync_replicas_refuse_a_batch_before_it_is_written() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.elect(0, &[0]);
    assert_eq!(cluster.node(0).produce(batch(&["never"])).await, ErrorCode::NotEnoughReplicas);
    assert_eq!(cluster.node(0).ends().1, Offset(0));
    // Without acks=all it is written, copied, and yet not committed.
    cluster.node(0).write(batch(&["uncommitted"]));
    let copied = async {
        while cluster.node(1).ends().1 < Offset(1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, copied).await.unwrap();
    assert_eq!(cluster.node(0).ends().0, Offset(0));
}

/// OUT_OF_ORDER_SEQUENCE_NUMBER would make librdkafka repeat what is in the logs of other partitions (P5).
#[tokio::test]
async fn what_was_sent_behind_a_batch_that_was_turned_away_is_turned_away_too() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.elect(0, &[0, 1, 2]);
    assert_eq!(cluster.node(0).produce(sequenced(&["first"], Some((7, 0)))).await, ErrorCode::None);
    let gap = cluster.node(0).produce(sequenced(&["gap"], Some((7, 2)))).await;
    assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber, "nothing was turned away");
    cluster.elect(0, &[0]);
    assert_eq!(
        cluster.node(0).produce(sequenced(&["second"], Some((7, 1)))).await,
        ErrorCode::NotEnoughReplicas
    );
    cluster.elect(0, &[0, 1, 2]);
    assert_eq!(
        cluster.node(0).produce(sequenced(&["third"], Some((7, 2)))).await,
        ErrorCode::NotEnoughReplicas
    );
    for (word, sequence) in [("second", 1), ("third", 2)] {
        let code = cluster.node(0).produce(sequenced(&[word], Some((7, sequence)))).await;
        assert_eq!(code, ErrorCode::None, "{word}");
    }
    let old = cluster.node(0).produce(sequenced(&["old", "er"], Some((7, 0)))).await;
    assert_eq!(old, ErrorCode::OutOfOrderSequenceNumber, "no gap, but behind");
}

#[tokio::test]
async fn an_isr_that_shrinks_after_the_append_fails_the_producer_that_waits() {
    let mut cluster = Cluster::new(2, 2).await;
    cluster.elect(0, &[0, 1]);
    cluster.node(1).fetchers.stop(PartitionKey::of(&cluster.node(1).hosted));
    let leader = cluster.node(0);
    let appended = leader.hosted.append(batch(&["alone"]), Acks::All, true, None).unwrap();
    assert!(!appended.replicated);
    let waiting = leader.hosted.replicated(&appended, Instant::now() + Duration::from_millis(50)).await;
    assert_eq!(waiting, ErrorCode::RequestTimedOut);
    let lagging = leader.hosted.is_isr_restless();
    assert!(lagging, "a member of the ISR lags, so time matters");
}

#[tokio::test]
async fn consumers_of_a_follower_read_up_to_its_high_watermark_only() {
    let mut cluster = Cluster::new(2, 2).await;
    cluster.elect(0, &[0, 1]);
    assert_eq!(cluster.node(0).produce(batch(&["seen"])).await, ErrorCode::None);
    cluster.settle().await;
    cluster.elect(0, &[0]);
    cluster.node(0).write(batch(&["copied, not committed"]));
    while cluster.node(1).ends().1 < Offset(2) {
        tokio::task::yield_now().await;
    }
    let from = |offset, from_follower| FetchFrom {
        offset,
        max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        from_follower,
    };
    let follower = &cluster.node(1).hosted;
    let Err(refusal) = follower.fetch(&from(0, false), false, true) else { panic!("a follower answered") };
    assert_eq!(refusal.code(), ErrorCode::NotLeaderOrFollower);
    assert_eq!(follower.fetch(&from(0, true), false, true).unwrap().records, cluster.node(0).log_to(1));
    assert_eq!(follower.fetch(&from(1, true), false, true).unwrap().records, Bytes::new());
    // Who is near to both brokers stays with the leader; who is near to the follower goes there.
    let leader = &cluster.node(0).hosted;
    assert_eq!(leader.preferred_read_replica(&[0, 1], 1), None);
    assert_eq!(leader.preferred_read_replica(&[1], 1), Some(1));
    assert_eq!(leader.preferred_read_replica(&[1], 3), None);
}
