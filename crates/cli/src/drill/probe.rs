//! The server's side of unavailability: from the fault to the first record that can be acknowledged.
//!
//! Kafka's clients wait 100 ms between two tries, which would hide a fast failover. A probe asks a broker directly
//! every few milliseconds, over a connection of its own that was opened before the fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_check::{Event, Micros, Outcome, Send};
use milena_client::{Client, ClientOptions, Error, Target};
use milena_records::{BatchBuilder, Compression};
use milena_wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_wire::{ErrorCode, Records};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::record;
use super::recorder::Recorder;

/// Pause between two tries: short at first, longer when it is clear that this takes time.
const PAUSES: [(Duration, Duration); 3] = [
    (Duration::from_secs(1), Duration::from_millis(2)),
    (Duration::from_secs(5), Duration::from_millis(10)),
    (Duration::MAX, Duration::from_millis(50)),
];
/// Longest that one try may take.
pub const TRY: Duration = Duration::from_millis(500);
/// Longest wait for the answer of a broker that is stopped.
pub const ZOMBIE_PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two records to a broker that may be deposed.
const POKE: Duration = Duration::from_millis(20);
/// The last version that names topics by name.
const PRODUCE_BY_NAME: i16 = 12;
/// The kind of a topic among resources.
const TOPIC: i8 = 2;

/// A connection to one broker, to try one partition on.
pub struct Probe {
    client: Client,
    broker: i32,
    topic: String,
    partition: i32,
    /// Its number among the producers of the history.
    producer: u32,
    recorder: Arc<Recorder>,
}

fn options(patience: Duration) -> ClientOptions {
    ClientOptions {
        client_id: "milena-drill-probe".into(),
        connect_timeout: TRY,
        request_timeout: patience,
        deadline: patience,
        // More than are ever sent to a broker that is paused.
        max_in_flight: 1024,
        ..ClientOptions::default()
    }
}

impl Probe {
    /// Opens the connection. [`TRY`] suits a probe that is to find out when the partition is back, [`ZOMBIE_PATIENCE`]
    /// one that is to wait for whatever a zombie says when it wakes up.
    pub async fn open(
        bootstrap: &[String],
        broker: i32,
        (topic, partition): (&str, i32),
        producer: u32,
        recorder: &Arc<Recorder>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let client = Client::connect(bootstrap, options(patience)).await?;
        client.versions(Target::Broker(broker)).await?;
        Ok(Self { client, broker, topic: topic.into(), partition, producer, recorder: recorder.clone() })
    }

    /// The partition that it tries.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Tries until the broker acknowledges a record; returns when.
    pub async fn first_ack(self) -> Micros {
        let began = Instant::now();
        for number in 1.. {
            if let Some(at) = self.attempt(number).await {
                return at;
            }
            let pause = PAUSES.iter().find(|(until, _)| began.elapsed() < *until).map(|(_, pause)| *pause);
            sleep(pause.unwrap_or(TRY)).await;
        }
        unreachable!("there are more numbers than tries")
    }

    /// Sends to a broker that may be deposed without knowing it, without waiting for answers in between, until it is
    /// dropped. What it acknowledges is in the history.
    pub async fn poke(self) {
        let this = Arc::new(self);
        let mut under_way = JoinSet::new();
        for number in 1.. {
            let probe = this.clone();
            // Answers are awaited side by side: behind a paused broker they come all at once.
            under_way.spawn(async move { probe.attempt(number).await });
            while under_way.try_join_next().is_some() {}
            sleep(POKE).await;
        }
    }

    /// One record, without a second try. Returns when it was acknowledged.
    async fn attempt(&self, number: u64) -> Option<Micros> {
        let value = u64::from(self.producer) << 48 | (self.partition as u64) << 40 | number;
        let mut sent = Attempt {
            probe: self,
            began: self.recorder.now(),
            number,
            value,
            outcome: Some(Outcome::Unknown { why: "given up".into() }),
        };
        let request = request(&self.topic, self.partition, value);
        let answer = self.client.send_once(Target::Broker(self.broker), request, PRODUCE_BY_NAME).await;
        let ended = self.recorder.now();
        let answer = answer.map(|it| {
            let topic = it.responses.into_iter().next();
            topic.and_then(|it| it.partition_responses.into_iter().next())
        });
        let (outcome, error) = match answer {
            Ok(Some(it)) if it.error_code == 0 => {
                let (offset, broker) = (Some(it.base_offset), Some(self.broker));
                (Some(Outcome::Acked { offset, broker }), None)
            }
            Ok(Some(it)) => {
                let code = ErrorCode::from_code(it.error_code).unwrap_or(ErrorCode::UnknownServerError);
                let why = code.name().into();
                match code {
                    // Refused before anything was written; other codes may come after that.
                    ErrorCode::NotEnoughReplicas => (Some(Outcome::Refused { code: why }), Some(code.name())),
                    _ => (Some(Outcome::Unknown { why }), Some(code.name())),
                }
            }
            Ok(None) => (Some(Outcome::Unknown { why: "an empty answer".into() }), Some("empty")),
            // Nothing left this process.
            Err(Error::Unreachable { .. }) => (None, Some("unreachable")),
            Err(error) => (Some(Outcome::Unknown { why: error.name().into() }), Some(error.name())),
        };
        sent.outcome = outcome;
        if let Some(error) = error {
            self.recorder.errors("probe", error, 1);
        }
        error.is_none().then_some(ended)
    }
}

/// A try, which is in the history even if nobody waits for its answer any more.
struct Attempt<'a> {
    probe: &'a Probe,
    began: Micros,
    number: u64,
    value: u64,
    /// None if nothing was sent.
    outcome: Option<Outcome>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else { return };
        let probe = self.probe;
        probe.recorder.record(Event::Send(Send {
            began: self.began,
            ended: probe.recorder.now(),
            producer: probe.producer,
            number: self.number,
            partition: record::name(&probe.topic, probe.partition),
            value: self.value,
            transaction: None,
            outcome,
        }));
    }
}

fn request(topic: &str, partition: i32, value: u64) -> ProduceRequest {
    let text = record::payload(value, 0);
    let now = crate::time::now_ms();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(now, None, Some(text.as_bytes()), &[]);
    let built = builder.build();
    let records: Records = vec![bytes::Bytes::copy_from_slice(&built.header_bytes), built.body].into();
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TRY.as_millis() as i32,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: partition, records: Some(records) }],
            ..Default::default()
        }],
    }
}

/// Changes a setting of the topic until somebody has done it; returns when. So long no topic can be created, and
/// no other broker's death is acted upon.
pub async fn first_change(client: Client, topic: String, recorder: Arc<Recorder>) -> Micros {
    loop {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: topic.as_str().into(),
                configs: vec![AlterableConfig {
                    name: "retention.ms".into(),
                    config_operation: 0,
                    value: Some("86400000".into()),
                }],
            }],
            validate_only: false,
        };
        match client.send_once(Target::Any, request, i16::MAX).await {
            Ok(answer) if answer.responses.iter().all(|it| it.error_code == 0) => return recorder.now(),
            Ok(answer) => {
                let code = answer.responses.first().and_then(|it| ErrorCode::from_code(it.error_code));
                recorder.errors("admin", code.map_or("unknown", ErrorCode::name), 1);
            }
            Err(error) => recorder.errors("admin", error.name(), 1),
        }
        sleep(Duration::from_millis(5)).await;
    }
}
