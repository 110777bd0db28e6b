//! As much as a broker takes: the same produce request again and again, made before the clock starts.
//!
//! A client that gathers, compresses and sums costs several times what a broker costs for the same bytes; where both share
//! the cores, it is the client that is measured. Here a request costs the client a write and a read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_records::{BatchBuilder, Compression};
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use serde_json::json;

use crate::connection::{leaders, request, Connection};
use crate::frames::fill;
use crate::{on_threads, own_cpu_seconds, Options, Outcome};

/// With topics by name; Kafka 4 answers it as it does the newest.
const VERSION: i16 = 7;
/// Requests under way on a connection: what Java's producer has (`max.in.flight.requests.per.connection`).
const IN_FLIGHT: usize = 5;

/// The time that records are given.
pub fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |it| it.as_millis() as i64)
}

/// A batch of about `bytes` before compression, and the number of its records.
fn batch(codec: Compression, size: usize, bytes: usize) -> (Bytes, usize) {
    let mut builder = BatchBuilder::new(codec);
    fill(&mut builder, size, bytes, u64::MAX);
    let count = builder.record_count();
    (builder.build().to_bytes(), count)
}

/// One partition's share of the load: the same frame, `requests` times.
struct Load<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    partition: usize,
    frame: Vec<u8>,
}

impl Load<'_> {
    /// Sends until `requests` were acknowledged. Where leadership moves meanwhile, what was under way is sent again.
    fn run(&self, requests: usize) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut answered = 0;
        while answered < requests {
            let leader = &leaders(self.bootstrap, self.topic)?[self.partition];
            let mut connection = Connection::open(leader)?;
            let refusal = self.until_refused(&mut connection, requests, &mut answered)?;
            if refusal.is_some() && Instant::now() > deadline {
                return Err(format!("partition {}: {refusal:?}", self.partition).into());
            }
        }
        Ok(())
    }

    fn until_refused(
        &self,
        connection: &mut Connection,
        requests: usize,
        answered: &mut usize,
    ) -> Result<Option<i16>, Box<dyn std::error::Error + Send + Sync>> {
        let mut sent = *answered;
        while *answered < requests {
            while sent < requests && sent - *answered < IN_FLIGHT {
                connection.send(&self.frame)?;
                sent += 1;
            }
            let answer = connection.receive::<ProduceRequest>(VERSION)?;
            match i16::from(answer.responses[0].partition_responses[0].error_code) {
                0 => *answered += 1,
                // No leader here (any more): unknown partition, leader not available, not the leader, time-out, too few in sync.
                refused @ (3 | 5 | 6 | 7 | 19 | 20) => {
                    std::thread::sleep(Duration::from_millis(20));
                    return Ok(Some(refused));
                }
                error => return Err(format!("partition {}: error {error}", self.partition).into()),
            }
        }
        Ok(None)
    }
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
    let partitions = leaders(bootstrap, topic)?.len();
    let requests = options.number("count", 100_000_usize)?.div_ceil(in_batch * partitions);
    let load = |partition| {
        let data = PartitionProduceData {
            index: partition as i32,
            records: Some(records.clone().into()),
            ..Default::default()
        };
        let data = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let produce =
            ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![data], ..Default::default() };
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Load {
            bootstrap,
            topic,
            partition,
            frame: request(&produce, VERSION)?,
        })
    };
    let loads = (0..partitions).map(load).collect::<Result<Vec<_>, _>>()?;
    // A broker may hear later than its controller that it leads a new partition.
    on_threads(partitions, |partition| loads[partition].run(1))?;
    let (began, cpu) = (Instant::now(), own_cpu_seconds());
    on_threads(partitions, |partition| loads[partition].run(requests))?;
    let seconds = began.elapsed().as_secs_f64();
    let count = requests * partitions * in_batch;
    Ok(json!({ "records": count, "seconds": seconds, "client_cpu_seconds": own_cpu_seconds() - cpu }))
}
