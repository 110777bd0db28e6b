//! How long the hot messages take to decode and encode: `cargo bench -p milena-wire`.
//!
//! Each line is the best of several runs, as the neighbours' load only ever adds. The marks are
//! what the fastest other codec in Rust took on the same kind of machine.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use milena_wire::{
    AnyRequest, ApiKey, Message, Reader, Records, Request, Uuid, Writer,
    fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData},
    frame,
    metadata::{MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
};

/// Prints the time of one call of `f`, the best of 20 runs of some milliseconds each.
fn measure<T>(what: &str, mark: Option<Duration>, mut f: impl FnMut() -> T) {
    let started = Instant::now();
    let mut warm_up = 0u32;
    while started.elapsed() < Duration::from_millis(5) {
        black_box(f());
        warm_up += 1;
    }
    let best = (0..20)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..warm_up {
                black_box(f());
            }
            started.elapsed() / warm_up
        })
        .min()
        .unwrap();
    let mark = mark.map_or_else(String::new, |mark| format!("mark {mark:?}"));
    println!("{what:<60} {best:>12?}  {mark}");
}

/// The body's bytes as they follow a request header.
fn body(message: &impl Message, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version).unwrap();
    w.into_bytes()
}

fn produce(size: usize) -> ProduceRequest {
    let records = Some(Records::from(Bytes::from(vec![7; size])));
    let partition = PartitionProduceData { index: 3, records };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "orders".into(),
            topic_id: Uuid::ZERO,
            partition_data: vec![partition],
        }],
        ..Default::default()
    }
}

fn fetch(partitions: i32) -> FetchRequest {
    let partitions = (0..partitions)
        .map(|partition| FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() })
        .collect();
    FetchRequest {
        max_wait_ms: 500,
        topics: vec![FetchTopic { topic: "orders".into(), topic_id: Uuid([7; 16]), partitions }],
        ..Default::default()
    }
}

fn fetched(partitions: i32, records: &Bytes) -> FetchResponse {
    let partitions = (0..partitions)
        .map(|partition_index| PartitionData {
            partition_index,
            high_watermark: 1_000,
            records: Some(Records::from(records.clone())),
            ..Default::default()
        })
        .collect();
    let topic = FetchableTopicResponse { topic: "orders".into(), topic_id: Uuid([7; 16]), partitions };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn metadata(topics: usize, partitions: i32) -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        leader_id: 1,
        leader_epoch: 4,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = |n| MetadataResponseTopic {
        name: Some(format!("topic-{n}").into()),
        topic_id: Uuid([n as u8; 16]),
        partitions: (0..partitions).map(partition).collect(),
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id: 1, host: "broker-1".into(), port: 9092, rack: None }],
        topics: (0..topics).map(topic).collect(),
        ..Default::default()
    }
}

fn decode<R: Request>(what: &str, mark: Option<u64>, request: &R, version: i16) {
    let bytes = body(request, version);
    measure(what, mark.map(Duration::from_nanos), || {
        R::decode(&mut Reader::new(bytes.clone()), version).unwrap()
    });
}

fn main() {
    let (produce, fetch) = (produce(1 << 20), fetch(100));
    decode("decode Produce v9, batch of 1 MiB", Some(135), &produce, 9);
    decode("decode Produce v13, batch of 1 MiB", Some(135), &produce, 13);
    let bytes = body(&produce, 13);
    measure("decode Produce v13 as AnyRequest", None, || {
        AnyRequest::decode(ApiKey::Produce, 13, &mut Reader::new(bytes.clone())).unwrap()
    });
    decode("decode Fetch v12, 100 partitions", Some(2_900), &fetch, 12);
    decode("decode Fetch v18, 100 partitions", Some(2_900), &fetch, 18);

    let mark = Some(Duration::from_micros(61));
    for (what, topics, partitions) in
        [("encode Metadata v12 answer, 1 x 1,000 partitions", 1, 1_000), ("same, 1,000 x 1", 1_000, 1)]
    {
        let metadata = metadata(topics, partitions);
        measure(what, mark, || frame::encode_response(&metadata, 12, 7).unwrap());
        let bytes = body(&metadata, 12);
        measure("  decode", None, || MetadataResponse::decode(&mut Reader::new(bytes.clone()), 12).unwrap());
    }

    let records = Bytes::from(vec![7; 1 << 20]);
    for (what, partitions) in
        [("encode Fetch v18 answer, 1 x 1 MiB", 1), ("encode Fetch v18 answer, 100 x 1 MiB", 100)]
    {
        let fetched = fetched(partitions, &records);
        measure(what, None, || frame::encode_response(&fetched, 18, 7).unwrap());
    }
    let empty = fetched(100, &Bytes::new());
    measure("encode Fetch v18 answer, 100 empty partitions", None, || {
        frame::encode_response(&empty, 18, 7).unwrap()
    });
}
