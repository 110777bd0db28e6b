//! A consumer against a broker of few words: positions, resets, leaders that move, and a group's life.

mod fake;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fake::{Fake, Reply, Request, metadata, versions};
use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Error, GroupOptions, OffsetReset, OffsetSpec,
};
use milena_records::{BatchBuilder, Compression, LeaderEpoch, Offset};
use milena_wire::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use milena_wire::find_coordinator::{Coordinator, FindCoordinatorResponse};
use milena_wire::heartbeat::HeartbeatResponse;
use milena_wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use milena_wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use milena_wire::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use milena_wire::offset_fetch::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use milena_wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use milena_wire::{ApiKey, ErrorCode, Message};

/// Offsets that the log of partition 0 of topic `t` has.
const LOG: std::ops::Range<i64> = 5..9;

/// What the broker was told, in order, without the fetches.
type Told = Arc<Mutex<Vec<String>>>;

struct Broker {
    port: u16,
    told: Told,
    /// Codes for the next fetches, instead of data.
    refusals: Vec<ErrorCode>,
    committed: i64,
    generation: i32,
    rebalance: bool,
}

impl Broker {
    fn reply(&mut self, (header, mut body): Request<'_>) -> Reply {
        let version = header.api_version;
        let tell = |what: String| self.told.lock().unwrap().push(what);
        match header.api().unwrap() {
            ApiKey::ApiVersions => Reply::to(header, &versions(|_| None)),
            ApiKey::Metadata => Reply::to(header, &metadata(self.port, &[("t", 1)])),
            ApiKey::ListOffsets => {
                let request = ListOffsetsRequest::decode(&mut body, version).unwrap();
                let timestamp = request.topics[0].partitions[0].timestamp;
                tell(format!("offset at {timestamp}"));
                let offset = match timestamp {
                    -2 => LOG.start,
                    -1 => LOG.end,
                    _ => -1,
                };
                let partition = ListOffsetsPartitionResponse { offset, ..Default::default() };
                let topic = ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] };
                Reply::to(header, &ListOffsetsResponse { topics: vec![topic], ..Default::default() })
            }
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut body, version).unwrap();
                let offset = request.topics[0].partitions[0].fetch_offset;
                let refusal = self.refusals.pop();
                let data = match refusal {
                    Some(code) => PartitionData { error_code: code.code(), ..Default::default() },
                    None => data(offset),
                };
                let topic = FetchableTopicResponse {
                    topic: "t".into(),
                    partitions: vec![data],
                    ..Default::default()
                };
                Reply::to(header, &FetchResponse { responses: vec![topic], ..Default::default() })
            }
            ApiKey::FindCoordinator => {
                let host = "127.0.0.1".into();
                let coordinator = Coordinator {
                    key: "g".into(),
                    node_id: 1,
                    host,
                    port: self.port.into(),
                    ..Default::default()
                };
                Reply::to(
                    header,
                    &FindCoordinatorResponse { coordinators: vec![coordinator], ..Default::default() },
                )
            }
            ApiKey::JoinGroup => {
                let request = JoinGroupRequest::decode(&mut body, version).unwrap();
                tell(format!("join as {:?}", request.member_id));
                let mut answer = JoinGroupResponse { member_id: "m".into(), ..Default::default() };
                if request.member_id.is_empty() {
                    answer.error_code = ErrorCode::MemberIdRequired.code();
                } else {
                    self.generation += 1;
                    self.rebalance = false;
                    answer.generation_id = self.generation;
                    answer.leader = "m".into();
                    answer.protocol_name = Some("range".into());
                    let metadata = request.protocols[0].metadata.clone();
                    answer.members = vec![JoinGroupResponseMember {
                        member_id: "m".into(),
                        metadata,
                        ..Default::default()
                    }];
                }
                Reply::to(header, &answer)
            }
            ApiKey::SyncGroup => {
                let request = SyncGroupRequest::decode(&mut body, version).unwrap();
                tell(format!("sync generation {}", request.generation_id));
                let assignment = request.assignments[0].assignment.clone();
                Reply::to(header, &SyncGroupResponse { assignment, ..Default::default() })
            }
            ApiKey::Heartbeat => {
                let code = if self.rebalance { ErrorCode::RebalanceInProgress } else { ErrorCode::None };
                Reply::to(header, &HeartbeatResponse { error_code: code.code(), ..Default::default() })
            }
            ApiKey::OffsetFetch => {
                let partition = OffsetFetchResponsePartitions {
                    partition_index: 0,
                    committed_offset: self.committed,
                    ..Default::default()
                };
                let topic = OffsetFetchResponseTopics {
                    name: "t".into(),
                    partitions: vec![partition],
                    ..Default::default()
                };
                let group = OffsetFetchResponseGroup {
                    group_id: "g".into(),
                    topics: vec![topic],
                    ..Default::default()
                };
                Reply::to(header, &OffsetFetchResponse { groups: vec![group], ..Default::default() })
            }
            ApiKey::OffsetCommit => {
                let request = OffsetCommitRequest::decode(&mut body, version).unwrap();
                self.committed = request.topics[0].partitions[0].committed_offset;
                let generation = request.generation_id_or_member_epoch;
                tell(format!("commit {} in generation {generation}", self.committed));
                let topic = OffsetCommitResponseTopic {
                    name: "t".into(),
                    partitions: vec![OffsetCommitResponsePartition::default()],
                    ..Default::default()
                };
                Reply::to(header, &OffsetCommitResponse { topics: vec![topic], ..Default::default() })
            }
            ApiKey::LeaveGroup => {
                let request = LeaveGroupRequest::decode(&mut body, version).unwrap();
                tell(format!("leave as {:?}", request.members[0].member_id));
                Reply::to(header, &LeaveGroupResponse::default())
            }
            other => panic!("a consumer does not need {other}"),
        }
    }
}

/// The log from `offset` on, in a batch that begins with its start.
fn data(offset: i64) -> PartitionData {
    if !(LOG.start..=LOG.end).contains(&offset) {
        return PartitionData { error_code: ErrorCode::OffsetOutOfRange.code(), ..Default::default() };
    }
    let mut batch = BatchBuilder::new(Compression::Zstd);
    LOG.for_each(|it| batch.push(it, None, Some(format!("{it}").as_bytes()), &[]));
    let mut batch = batch.build();
    batch.stamp(Offset(LOG.start), LeaderEpoch(0));
    let records = if offset < LOG.end { batch.to_bytes() } else { Bytes::new() };
    PartitionData { high_watermark: LOG.end, records: Some(records.into()), ..Default::default() }
}

async fn start(refusals: Vec<ErrorCode>) -> (Fake, Client, Told, Arc<Mutex<Broker>>) {
    let told = Told::default();
    let broker =
        Broker { port: 0, told: told.clone(), refusals, committed: -1, generation: 0, rebalance: false };
    let broker = Arc::new(Mutex::new(broker));
    let answering = broker.clone();
    let fake = Fake::start(move |request| Some(answering.lock().unwrap().reply(request))).await;
    broker.lock().unwrap().port = fake.port;
    let backoff = Duration::from_millis(1);
    let options = ClientOptions { retry_backoff: backoff, retry_backoff_max: backoff, ..Default::default() };
    let client = Client::connect(&fake.bootstrap(), options).await.unwrap();
    (fake, client, told, broker)
}

const LONG: Duration = Duration::from_secs(20);

/// Offsets of the next records.
async fn poll(consumer: &mut Consumer) -> Result<Vec<i64>, Error> {
    let fetched = consumer.poll(LONG).await?;
    fetched.iter().flat_map(|it| it.iter()).map(|it| it.map(|record| record.offset.0)).collect()
}

fn place(spec: OffsetSpec) -> [((String, i32), OffsetSpec); 1] {
    [(("t".into(), 0), spec)]
}

#[tokio::test]
async fn reading_starts_where_it_is_told_to() {
    for (spec, want, asked) in [
        (OffsetSpec::Earliest, vec![5, 6, 7, 8], &["offset at -2"][..]),
        (OffsetSpec::At(7), vec![7, 8], &[]),
        // Nothing is that young: the end, and there is nothing yet.
        (OffsetSpec::Timestamp(1_000), vec![], &["offset at 1000", "offset at -1"]),
        (OffsetSpec::Latest, vec![], &["offset at -1"]),
    ] {
        let (fake, client, told, _) = start(vec![]).await;
        let mut consumer = Consumer::assign(&client, ConsumerOptions::default(), place(spec));
        // The second fetch says that the first brought nothing.
        let asked_again = async {
            while fake.asked().iter().filter(|(api, _)| *api == ApiKey::Fetch).count() < 2 {
                tokio::task::yield_now().await;
            }
        };
        let fetched = tokio::select! {
            fetched = consumer.poll(LONG) => fetched.unwrap(),
            () = asked_again, if want.is_empty() => Vec::new(),
        };
        let read: Vec<_> = fetched.iter().flat_map(|it| it.iter()).map(|it| it.unwrap().offset.0).collect();
        assert_eq!(read, want, "{spec:?}");
        assert_eq!(*told.lock().unwrap(), asked, "{spec:?}");
        assert_eq!(consumer.positions().into_values().collect::<Vec<_>>(), [9], "{spec:?}");
    }
}

#[tokio::test]
async fn out_of_range_resets_as_it_is_told_to() {
    let place = || place(OffsetSpec::At(1_000));
    let (_fake, client, told, _) = start(vec![]).await;
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..Default::default() };
    let mut consumer = Consumer::assign(&client, options, place());
    assert_eq!(poll(&mut consumer).await, Ok(vec![5, 6, 7, 8]));
    assert_eq!(*told.lock().unwrap(), ["offset at -2"]);

    let options = ConsumerOptions { reset: OffsetReset::None, ..Default::default() };
    let mut consumer = Consumer::assign(&client, options, place());
    let code = ErrorCode::OffsetOutOfRange.code();
    assert_eq!(poll(&mut consumer).await, Err(Error::refused("fetch t-0 from offset 1000", code, None)));
}

#[tokio::test]
async fn a_leader_that_moves_is_looked_for_and_other_refusals_are_told() {
    let moved =
        [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch, ErrorCode::UnknownTopicOrPartition];
    let (fake, client, _, _) = start(moved.to_vec()).await;
    let asked = |fake: &Fake| fake.asked().iter().filter(|(api, _)| *api == ApiKey::Metadata).count();
    let before = asked(&fake);
    let mut consumer = Consumer::assign(&client, ConsumerOptions::default(), place(OffsetSpec::At(8)));
    assert_eq!(poll(&mut consumer).await, Ok(vec![8]));
    // Connecting told of the topic already; each refusal asks again.
    assert_eq!(asked(&fake) - before, 3);

    let (_fake, client, _, _) = start(vec![ErrorCode::TopicAuthorizationFailed]).await;
    let mut consumer = Consumer::assign(&client, ConsumerOptions::default(), place(OffsetSpec::At(8)));
    let code = ErrorCode::TopicAuthorizationFailed.code();
    assert_eq!(poll(&mut consumer).await, Err(Error::refused("fetch t-0 from offset 8", code, None)));
}

#[tokio::test]
async fn seeking_goes_back_and_only_where_the_consumer_reads() {
    let (_fake, client, _, _) = start(vec![]).await;
    let mut consumer = Consumer::assign(&client, ConsumerOptions::default(), place(OffsetSpec::At(6)));
    assert_eq!(poll(&mut consumer).await, Ok(vec![6, 7, 8]));
    consumer.seek(&("t".into(), 0), OffsetSpec::At(8)).unwrap();
    assert_eq!(poll(&mut consumer).await, Ok(vec![8]));
    let elsewhere = consumer.seek(&("t".into(), 1), OffsetSpec::Earliest);
    assert_eq!(elsewhere, Err(Error::NotAssigned { topic: "t".into(), partition: 1 }));
}

#[tokio::test]
async fn a_member_joins_commits_rejoins_and_leaves() {
    let (_fake, client, told, broker) = start(vec![]).await;
    let options = ConsumerOptions { reset: OffsetReset::Earliest, ..Default::default() };
    let group = GroupOptions { heartbeat_interval: Duration::from_millis(5), ..GroupOptions::new("g") };
    let mut consumer = Consumer::subscribe(&client, options, group, ["t".to_owned()]);
    assert_eq!(poll(&mut consumer).await, Ok(vec![5, 6, 7, 8]));
    assert_eq!(consumer.assignment(), [("t".into(), 0)]);
    assert_eq!(*told.lock().unwrap(), ["join as \"\"", "join as \"m\"", "sync generation 1", "offset at -2"]);
    told.lock().unwrap().clear();

    // Somebody else joins: the heartbeat tells, what was read is committed, and reading goes on from there.
    broker.lock().unwrap().rebalance = true;
    let patience = Duration::from_millis(100);
    while broker.lock().unwrap().generation < 2 {
        assert!(consumer.poll(patience).await.unwrap().is_empty());
    }
    assert_eq!(*told.lock().unwrap(), ["commit 9 in generation 1", "join as \"m\"", "sync generation 2"]);
    told.lock().unwrap().clear();

    consumer.seek(&("t".into(), 0), OffsetSpec::At(7)).unwrap();
    consumer.close().await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["commit 7 in generation 2", "leave as \"m\""]);
}
