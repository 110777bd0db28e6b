//! As much as a broker takes: the same produce request again and again, made before the clock starts.
//!
//! A client that gathers, compresses and sums costs several times what a broker costs for the same bytes; where both share
//! the cores, it is the client that is measured. Here a request costs the client a write and a read.

use std::time::Instant;

use bytes::Bytes;
use milena_records::{BatchBuilder, Compression};
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use serde_json::json;

use crate::connection::{leaders, request, Connection};
use crate::load::payloads;
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

/// With topics by name; Kafka 4 answers it as it does the newest.
const VERSION: i16 = 7;
/// Requests under way on a connection: what Java's producer has (`max.in.flight.requests.per.connection`).
const IN_FLIGHT: usize = 5;

/// A batch of about `bytes` before compression, and the number of its records.
fn batch(codec: Compression, size: usize, bytes: usize) -> (Bytes, usize) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |it| it.as_millis() as i64);
    let mut builder = BatchBuilder::new(codec);
    for payload in payloads(size).iter().cycle() {
        builder.push(now, None, Some(payload), &[]);
        if builder.estimated_size() + size > bytes {
            break;
        }
    }
    let count = builder.record_count();
    (builder.build().to_bytes(), count)
}

pub fn produce(bootstrap: &str, topic: &str, options: &Options) -> Outcome {
    let name = options.text("codec", "none");
    let codec = Compression::ALL.into_iter().find(|it| it.name() == name).ok_or("no such codec")?;
    let (records, in_batch) =
        batch(codec, options.number("size", 1024)?, options.number("batch", 64 * 1024)?);
    let acks = match options.text("acks", "1") {
        "all" => -1,
        word => word.parse()?,
    };
    let leaders = leaders(bootstrap, topic)?;
    let requests = options.number("count", 100_000_usize)?.div_ceil(in_batch * leaders.len());
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    on_threads(leaders.len(), |partition| {
        let data = PartitionProduceData {
            index: partition as i32,
            records: Some(records.clone().into()),
            ..Default::default()
        };
        let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let produce =
            ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let frame = request(&produce, VERSION)?;
        let mut connection = Connection::open(&leaders[partition])?;
        let mut sent = 0;
        for answered in 0..requests {
            while sent < requests && sent - answered < IN_FLIGHT {
                connection.send(&frame)?;
                sent += 1;
            }
            let answer = connection.receive::<ProduceRequest>(VERSION)?;
            let error = answer.responses[0].partition_responses[0].error_code;
            if i16::from(error) != 0 {
                return Err(format!("partition {partition}: {error:?}").into());
            }
        }
        Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let count = requests * leaders.len() * in_batch;
    Ok(json!({ "records": count, "seconds": seconds, "client_cpu_seconds": own_cpu_seconds() - cpu }))
}
