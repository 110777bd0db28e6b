//! An idempotent producer against a broker that fails in every way: each record arrives once, in order.

mod fake;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fake::{Fake, Reply, Request, answer_bytes, metadata, versions};
use milena_client::{Client, ClientOptions, Delivered, Producer, ProducerOptions, ProducerRecord};
use milena_records::{BatchRecords, Compression, Rules, validate};
use milena_wire::init_producer_id::InitProducerIdResponse;
use milena_wire::produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse};
use milena_wire::{ApiKey, ErrorCode, Message};

/// One partition's log as a leader keeps it for one producer.
#[derive(Default)]
struct Log {
    values: Vec<String>,
    /// Base sequence and base offset of the batches so far.
    batches: Vec<(i32, i64)>,
    next_sequence: i32,
}

impl Log {
    fn append(&mut self, batch: &Bytes) -> (ErrorCode, i64) {
        let rules = Rules { now: i64::MAX / 2, ..Rules::default() };
        let validated = validate(batch, &rules).expect("producers send valid batches");
        let header = validated.header;
        if let Some((_, offset)) = self.batches.iter().find(|(sequence, _)| *sequence == header.base_sequence)
        {
            return (ErrorCode::None, *offset);
        }
        if header.base_sequence != self.next_sequence {
            return (ErrorCode::OutOfOrderSequenceNumber, -1);
        }
        let offset = self.values.len() as i64;
        self.batches.push((header.base_sequence, offset));
        self.next_sequence += header.record_count;
        let records = BatchRecords::of(header, validated.body, 1 << 20).unwrap();
        for record in &records {
            self.values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
        (ErrorCode::None, offset)
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy)]
enum Fault {
    Nothing,
    /// The partition's leader is said to be elsewhere; nothing is appended.
    Refuse(ErrorCode),
    /// The connection ends before anything is appended.
    LoseRequest,
    /// The connection ends after it was appended.
    LoseAnswer,
}

const FAULTS: [Fault; 8] = [
    Fault::Nothing,
    Fault::Refuse(ErrorCode::NotLeaderOrFollower),
    Fault::Nothing,
    Fault::LoseRequest,
    Fault::LoseAnswer,
    Fault::Nothing,
    Fault::Refuse(ErrorCode::NotEnoughReplicasAfterAppend),
    Fault::Nothing,
];

type Logs = Arc<Mutex<HashMap<i32, Log>>>;

fn produce(logs: &Logs, fault: Fault, (header, mut body): Request<'_>) -> Reply {
    let request = ProduceRequest::decode(&mut body, header.api_version).unwrap();
    let mut answer = ProduceResponse::default();
    for topic in request.topic_data {
        let mut partition_responses = Vec::new();
        for data in topic.partition_data {
            let batch = data.records.unwrap().into_bytes();
            let mut logs = logs.lock().unwrap();
            let log = logs.entry(data.index).or_default();
            let (code, base_offset) = match fault {
                Fault::Nothing | Fault::LoseAnswer => log.append(&batch),
                Fault::Refuse(code) => {
                    // This one is said although the leader has the batch.
                    if code == ErrorCode::NotEnoughReplicasAfterAppend {
                        log.append(&batch);
                    }
                    (code, -1)
                }
                Fault::LoseRequest => (ErrorCode::None, -1),
            };
            partition_responses.push(PartitionProduceResponse {
                index: data.index,
                error_code: code.code(),
                base_offset,
                ..Default::default()
            });
        }
        answer.responses.push(TopicProduceResponse {
            name: topic.name,
            partition_responses,
            ..Default::default()
        });
    }
    match fault {
        Fault::LoseAnswer | Fault::LoseRequest => Reply::Close(vec![]),
        _ => Reply::Bytes(answer_bytes(header, &answer, header.api_version)),
    }
}

/// A leader of all partitions of topic `t`, whose n-th Produce meets the n-th of the faults `of` gives.
async fn leader(partitions: i32, logs: Logs, mut of: impl FnMut() -> Fault + Send + 'static) -> Fake {
    let port = Arc::new(Mutex::new(0));
    let told = port.clone();
    let fake = Fake::start(move |(header, body)| {
        Some(match header.api().unwrap() {
            ApiKey::ApiVersions => Reply::to(header, &versions(|_| None)),
            ApiKey::Metadata => Reply::to(header, &metadata(*told.lock().unwrap(), &[("t", partitions)])),
            ApiKey::InitProducerId => {
                Reply::to(header, &InitProducerIdResponse { producer_id: 5, ..Default::default() })
            }
            ApiKey::Produce => produce(&logs, of(), (header, body)),
            other => panic!("a producer does not need {other}"),
        })
    })
    .await;
    *port.lock().unwrap() = fake.port;
    fake
}

fn client_options() -> ClientOptions {
    let backoff = Duration::from_millis(1);
    ClientOptions { retry_backoff: backoff, retry_backoff_max: backoff, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_record_arrives_once_and_in_order_whatever_the_broker_does() {
    for seed in 1..12_u64 {
        let logs = Logs::default();
        let mut state = seed;
        let fake = leader(3, logs.clone(), move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            FAULTS[(state >> 40) as usize % FAULTS.len()]
        })
        .await;
        let client = Client::connect(&fake.bootstrap(), client_options()).await.unwrap();
        let options = ProducerOptions {
            batch_size: 300,
            linger: Duration::ZERO,
            compression: Compression::ALL[seed as usize % 5],
            ..Default::default()
        };
        let producer = Producer::start(&client, options).await.unwrap();
        let mut sent: HashMap<i32, Vec<String>> = HashMap::new();
        let mut deliveries = Vec::new();
        for index in 0..600 {
            let (partition, value) = (index % 3, format!("value {index}"));
            let record = ProducerRecord {
                topic: "t",
                partition: Some(partition),
                value: Some(value.as_bytes()),
                ..Default::default()
            };
            deliveries.push(producer.send(record).await.unwrap());
            sent.entry(partition).or_default().push(value);
        }
        producer.flush().await.unwrap();
        for (index, delivery) in deliveries.iter().enumerate() {
            let (partition, offset) = ((index % 3) as i32, (index / 3) as i64);
            let result = delivery.result().expect("flushed");
            let placed = result.map(|it| (it.partition, it.offset));
            assert_eq!(placed, Ok((partition, offset)), "seed={seed}");
        }
        let logs = logs.lock().unwrap();
        for (partition, values) in sent {
            assert_eq!(logs[&partition].values, values, "seed={seed}");
        }
    }
}

#[tokio::test]
async fn a_refusal_for_good_fails_the_records_of_that_batch_only() {
    let logs = Logs::default();
    let mut count = 0;
    let fake = leader(1, logs.clone(), move || {
        count += 1;
        if count == 1 { Fault::Refuse(ErrorCode::MessageTooLarge) } else { Fault::Nothing }
    })
    .await;
    let client = Client::connect(&fake.bootstrap(), client_options()).await.unwrap();
    let producer = Producer::start(&client, ProducerOptions::default()).await.unwrap();
    let send = async |value: &str| {
        let record = ProducerRecord { topic: "t", value: Some(value.as_bytes()), ..Default::default() };
        let delivery = producer.send(record).await.unwrap();
        delivery.wait().await
    };
    let refused = send("first").await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    assert_eq!(send("second").await, Ok(Delivered { partition: 0, offset: 0, broker: 1 }));
    assert_eq!(logs.lock().unwrap()[&0].values, ["second"]);
    // The sequence begins anew under an id of its own.
    assert_eq!(fake.asked().iter().filter(|(api, _)| *api == ApiKey::InitProducerId).count(), 2);
}

#[tokio::test]
async fn a_record_that_can_never_be_sent_is_refused_at_once() {
    let fake = leader(1, Logs::default(), || Fault::Nothing).await;
    let client = Client::connect(&fake.bootstrap(), client_options()).await.unwrap();
    let producer = Producer::start(&client, ProducerOptions::default()).await.unwrap();
    let value = vec![0; 2 << 20];
    let record = ProducerRecord { topic: "t", value: Some(&value), ..Default::default() };
    assert_eq!(producer.send(record).await.unwrap_err().code(), Some(ErrorCode::MessageTooLarge));
    let record = ProducerRecord { topic: "t", partition: Some(1), ..Default::default() };
    let refused = producer.send(record).await.unwrap_err();
    assert_eq!(refused.to_string(), "topic t has no partition 1, it has 1");
}

#[tokio::test]
async fn memory_is_given_back_when_batches_are_settled() {
    let logs = Logs::default();
    let fake = leader(1, logs.clone(), || Fault::Nothing).await;
    let client = Client::connect(&fake.bootstrap(), client_options()).await.unwrap();
    // Room for two records, and a linger that nothing but a full memory ends.
    let options =
        ProducerOptions { buffer_memory: 2_200, linger: Duration::from_secs(3600), ..Default::default() };
    let producer = Producer::start(&client, options).await.unwrap();
    let value = vec![b'x'; 1_000];
    for _ in 0..20 {
        let record = ProducerRecord { topic: "t", value: Some(&value), ..Default::default() };
        producer.send(record).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(logs.lock().unwrap()[&0].values.len(), 20);
}
