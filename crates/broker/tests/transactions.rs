//! Transactional batches through a broker's front door: who may write them, who sees them, and in what order they are
//! appended.

mod common;

use std::time::Instant;

use bytes::Bytes;
use common::{Broker, Connection, PATIENCE, PAUSE, batch, bytes, produce_request};
use milena_records::{BatchHeader, ControlRecord, ProducerEpoch, ProducerId, TransactionResult};
use milena_wire::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use milena_wire::end_txn::EndTxnRequest;
use milena_wire::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use milena_wire::init_producer_id::InitProducerIdRequest;
use milena_wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use milena_wire::produce::ProduceRequest;
use milena_wire::{ErrorCode, Request};

/// Produce from which on partitions are added by writing to them.
const IMPLICIT: i16 = 12;
const ID: &str = "cashier";

/// A producer as far as transactions go.
struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
}

impl Producer {
    fn init(connection: &mut Connection) -> Self {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID.into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = until_ready(|| {
            let answer = connection.call(&request, 5);
            (answer.error_code, answer)
        });
        Self { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) }
    }

    fn batch(&self, first_sequence: i32, values: &[&str]) -> Bytes {
        bytes(batch(values).producer(self.id, self.epoch, first_sequence).transactional())
    }

    fn end(&mut self, connection: &mut Connection, committed: bool) {
        let request = EndTxnRequest {
            transactional_id: ID.into(),
            producer_id: self.id.0,
            producer_epoch: self.epoch.0,
            committed,
        };
        let answer = until_ready(|| {
            let answer = connection.call(&request, 5);
            (answer.error_code, answer)
        });
        (self.id, self.epoch) = (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch));
    }
}

/// Asks until the coordinator is there and the transaction before is done.
#[track_caller]
fn until_ready<T>(mut ask: impl FnMut() -> (i16, T)) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (code, answer) = ask();
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return answer,
            Some(
                ErrorCode::ConcurrentTransactions
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorLoadInProgress,
            ) => {}
            other => panic!("{other:?}"),
        }
        std::thread::sleep(PAUSE);
    }
    panic!("the coordinator is never ready");
}

fn transactional(batch: Bytes) -> ProduceRequest {
    ProduceRequest { transactional_id: Some(ID.into()), ..produce_request("t", batch) }
}

/// Code and base offset.
fn produce(connection: &mut Connection, request: &ProduceRequest) -> (ErrorCode, i64) {
    let answer = connection.call(request, IMPLICIT);
    outcome(&answer)
}

fn outcome(answer: &<ProduceRequest as Request>::Response) -> (ErrorCode, i64) {
    let partition = &answer.responses[0].partition_responses[0];
    (ErrorCode::from_code(partition.error_code).unwrap(), partition.base_offset)
}

fn fetch(connection: &mut Connection, isolation_level: i8, offset: i64) -> PartitionData {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        isolation_level,
        topics: vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    connection.call(&request, 11).responses[0].partitions[0].clone()
}

/// Base offsets of the batches that a consumer gets, and the last stable offset that it is told.
fn seen(connection: &mut Connection, isolation_level: i8) -> (Vec<i64>, i64) {
    let data = fetch(connection, isolation_level, 0);
    let records = data.records.unwrap().into_bytes();
    let bases = milena_records::batches(&records).map(|batch| batch.unwrap().0.base_offset.0).collect();
    (bases, data.last_stable_offset)
}

fn latest(connection: &mut Connection, isolation_level: i8) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }],
        }],
        ..Default::default()
    };
    connection.call(&request, 5).topics[0].partitions[0].offset
}

#[test]
fn readers_of_committed_records_stop_at_an_open_transaction_and_learn_of_aborted_ones() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let mut producer = Producer::init(&mut connection);
    assert_eq!(produce(&mut connection, &transactional(producer.batch(0, &["a", "b"]))).0, ErrorCode::None);
    connection.produce("t", bytes(batch(&["outside"])));
    assert_eq!(seen(&mut connection, 1), (vec![], 0));
    assert_eq!(seen(&mut connection, 0), (vec![0, 2], 0));
    assert_eq!((latest(&mut connection, 1), latest(&mut connection, 0)), (0, 3));

    producer.end(&mut connection, false);
    let data = until_ready(|| {
        let data = fetch(&mut connection, 1, 0);
        let code =
            if data.last_stable_offset == 4 { ErrorCode::None } else { ErrorCode::ConcurrentTransactions };
        (code.code(), data)
    });
    let aborted: Vec<_> =
        data.aborted_transactions.unwrap().iter().map(|it| (it.producer_id, it.first_offset)).collect();
    assert_eq!(aborted, [(producer.id.0, 0)]);
    let records = data.records.unwrap().into_bytes();
    let (marker, bytes) = milena_records::batches(&records).last().unwrap().unwrap();
    let control = ControlRecord::of(&marker, &bytes.slice(BatchHeader::SIZE..));
    assert!(
        matches!(control, Some(ControlRecord::EndTransaction { result: TransactionResult::Abort, .. })),
        "{control:?}"
    );
    assert_eq!(fetch(&mut connection, 0, 0).aborted_transactions, None, "nobody looked");
    assert_eq!(fetch(&mut connection, 1, 4).aborted_transactions, Some(vec![]));
    // The marker says what the next epoch is: the old one is fenced without a question.
    let late = bytes_of_old(&producer);
    assert_eq!(produce(&mut connection, &transactional(late)).0, ErrorCode::InvalidProducerEpoch);
}

/// A batch in the epoch before.
fn bytes_of_old(producer: &Producer) -> Bytes {
    let old = Producer { id: producer.id, epoch: ProducerEpoch(producer.epoch.0 - 1) };
    old.batch(2, &["late"])
}

#[test]
fn no_request_overtakes_one_that_begins_a_transaction() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let mut producer = Producer::init(&mut connection);
    let mut end = 0;
    for round in 0..10 {
        // The first of these waits for the coordinator; all are on their way at once.
        let requests: Vec<_> = (0..5)
            .map(|at| match at {
                4 => produce_request("t", bytes(batch(&["outside"]))),
                at => transactional(producer.batch(at, &["within"])),
            })
            .collect();
        let sent: Vec<_> = requests.iter().map(|request| connection.send(request, IMPLICIT)).collect();
        for (at, sent) in sent.into_iter().enumerate() {
            let answer = connection.receive::<ProduceRequest>(IMPLICIT, sent);
            assert_eq!(outcome(&answer), (ErrorCode::None, end), "round {round} request {at}");
            end += 1;
        }
        producer.end(&mut connection, round % 2 == 0);
        end = until_ready(|| {
            let stable = fetch(&mut connection, 1, end).last_stable_offset;
            let code = if stable == end + 1 { ErrorCode::None } else { ErrorCode::ConcurrentTransactions };
            (code.code(), stable)
        });
    }
}

#[test]
fn transactional_batches_need_a_transaction() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let producer = Producer::init(&mut connection);
    let first = producer.batch(0, &["a"]);
    let without_id = produce_request("t", first.clone());
    assert_eq!(produce(&mut connection, &without_id).0, ErrorCode::TransactionalIdAuthorizationFailed);
    // An older client must have added the partition itself.
    let answer = connection.call(&transactional(first.clone()), 10);
    assert_eq!(outcome(&answer).0, ErrorCode::InvalidTxnState);
    let stranger = Producer { id: ProducerId(producer.id.0 + 1), epoch: producer.epoch };
    assert_eq!(
        produce(&mut connection, &transactional(stranger.batch(0, &["a"]))).0,
        ErrorCode::InvalidProducerIdMapping
    );
    let marker = bytes(batch(&["a"]).producer(producer.id, producer.epoch, 0).transactional().control());
    assert_eq!(produce(&mut connection, &transactional(marker)).0, ErrorCode::InvalidRecord);
    assert_eq!(produce(&mut connection, &transactional(first)), (ErrorCode::None, 0));
    let outside = bytes(batch(&["b"]).producer(producer.id, producer.epoch, 1));
    assert_eq!(produce(&mut connection, &produce_request("t", outside)).0, ErrorCode::InvalidTxnState);
}

#[test]
fn older_clients_need_none_where_nobody_is_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &["transaction.partition.verification.enable=false"]);
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let producer = Producer::init(&mut connection);
    let old = connection.call(&transactional(producer.batch(0, &["a"])), 11);
    assert_eq!(outcome(&old), (ErrorCode::None, 0));
    // A client that adds partitions by writing to them is refused as ever.
    let stranger = Producer { id: ProducerId(producer.id.0 + 1), epoch: producer.epoch };
    assert_eq!(
        produce(&mut connection, &transactional(stranger.batch(0, &["a"]))).0,
        ErrorCode::InvalidProducerIdMapping
    );
}

/// More than go in one call to their leader.
const MANY: i32 = 1_100;

#[test]
fn a_transaction_of_many_partitions_ends_in_all_of_them() {
    let (_dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", MANY);
    let mut producer = Producer::init(&mut connection);
    let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: (0..MANY).collect() };
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: producer.id.0,
        v3_and_below_producer_epoch: producer.epoch.0,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let results = connection.call(&add, 3).results_by_topic_v3_and_below;
    let codes: Vec<_> = results[0].results_by_partition.iter().map(|it| it.partition_error_code).collect();
    assert_eq!(codes, vec![0; MANY as usize]);
    assert_eq!(produce(&mut connection, &transactional(producer.batch(0, &["a"]))), (ErrorCode::None, 0));
    producer.end(&mut connection, true);
    // Answered when the transaction is over.
    Producer::init(&mut connection);
    let partition =
        |index| ListOffsetsPartition { partition_index: index, timestamp: -1, ..Default::default() };
    let asked = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 1,
        topics: vec![ListOffsetsTopic { name: "t".into(), partitions: (0..MANY).map(partition).collect() }],
        ..Default::default()
    };
    let answer = connection.call(&asked, 7);
    let ends: Vec<_> = answer.topics[0].partitions.iter().map(|it| it.offset).collect();
    // One marker in each, and a record before it in the first.
    let mut expected = vec![1; MANY as usize];
    expected[0] = 2;
    assert_eq!(ends, expected);
}

#[test]
fn an_open_transaction_is_still_open_after_a_restart() {
    let (dir, broker) = Broker::fresh();
    let mut connection = broker.connect();
    connection.create_topic("t", 1);
    let mut producer = Producer::init(&mut connection);
    assert_eq!(produce(&mut connection, &transactional(producer.batch(0, &["a"]))), (ErrorCode::None, 0));
    broker.stop();

    let broker = Broker::start(dir.path(), &[]);
    let mut connection = broker.connect();
    assert_eq!(seen(&mut connection, 1), (vec![], 0));
    assert_eq!(produce(&mut connection, &transactional(producer.batch(1, &["b"]))), (ErrorCode::None, 1));
    producer.end(&mut connection, true);
    let stable = until_ready(|| {
        let (bases, stable) = seen(&mut connection, 1);
        let code = if stable == 3 { ErrorCode::None } else { ErrorCode::ConcurrentTransactions };
        (code.code(), bases)
    });
    assert_eq!(stable, [0, 1, 2]);
}
