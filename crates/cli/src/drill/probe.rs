//! The server's side of unavailability: from the fault to the first record that can be acknowledged.
//!
//! Kafka's clients wait 100 ms between two tries, which would hide a fast failover. A probe asks a broker directly
//! every few milliseconds, over a connection of its own that was opened before the fault.

use std::collections::BTreeMap;
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
use tokio::sync::mpsc;
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
/// Longest that a probe takes to connect, before the fault.
const OPENING: Duration = Duration::from_secs(20);
/// Longest wait for the answer of a broker that is stopped.
pub const ZOMBIE_PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two records to a broker that may be deposed.
const POKE: Duration = Duration::from_millis(20);
/// The last version that names topics by name.
const PRODUCE_BY_NAME: i16 = 12;
/// The kind of a topic among resources.
const TOPIC: i8 = 2;

/// Partitions that one probe tries: so many that a thousand need few connections, so few that one partition which is
/// away for long keeps few others from being told apart.
pub const PARTITIONS: usize = 50;

/// A connection to one broker, to try some partitions of a topic on.
pub struct Probe {
    client: Client,
    broker: i32,
    topic: String,
    partitions: Vec<i32>,
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
        topic: &str,
        partitions: &[i32],
        producer: u32,
        recorder: &Arc<Recorder>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let connect = || async {
            let client = Client::connect(bootstrap, options(patience)).await?;
            client.versions(Target::Broker(broker)).await.map(|_| client)
        };
        // A broker that has just got a thousand partitions may be slow: that is not what the drill is about.
        let began = Instant::now();
        let client = loop {
            match connect().await {
                Err(error) if error.is_retriable() && began.elapsed() < OPENING => {}
                opened => break opened?,
            }
        };
        let (topic, partitions) = (topic.into(), partitions.to_vec());
        Ok(Self { client, broker, topic, partitions, producer, recorder: recorder.clone() })
    }

    /// Tries until the broker has acknowledged a record of every partition; says when each was.
    pub async fn first_acks(mut self, found: mpsc::Sender<(i32, Micros)>) {
        let began = Instant::now();
        for number in 1.. {
            let acked = self.attempt(number).await;
            self.partitions.retain(|it| !acked.iter().any(|(partition, _)| partition == it));
            for ack in acked {
                // Nobody waits any more.
                let Ok(()) = found.send(ack).await else { return };
            }
            if self.partitions.is_empty() {
                return;
            }
            let pause = PAUSES.iter().find(|(until, _)| began.elapsed() < *until).map(|(_, pause)| *pause);
            sleep(pause.unwrap_or(TRY)).await;
        }
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

    /// A record to each partition, without a second try. Returns which were acknowledged, and when.
    async fn attempt(&self, number: u64) -> Vec<(i32, Micros)> {
        let mut sent = Attempt { probe: self, began: self.recorder.now(), number, outcomes: BTreeMap::new() };
        let given_up = || Outcome::Unknown { why: "given up".into() };
        sent.outcomes.extend(self.partitions.iter().map(|it| (*it, given_up())));
        let answer =
            self.client.send_once(Target::Broker(self.broker), self.request(number), PRODUCE_BY_NAME).await;
        let ended = self.recorder.now();
        let mut acked = Vec::new();
        match answer {
            Ok(answer) => {
                for it in answer.responses.iter().flat_map(|topic| &topic.partition_responses) {
                    let (outcome, error) = self.outcome(it.error_code, it.base_offset);
                    sent.outcomes.insert(it.index, outcome);
                    match error {
                        None => acked.push((it.index, ended)),
                        Some(error) => self.recorder.errors("probe", error, 1),
                    }
                }
            }
            // Nothing left this process.
            Err(error @ Error::Unreachable { .. }) => {
                sent.outcomes.clear();
                self.recorder.errors("probe", error.name(), 1);
            }
            Err(error) => {
                let unknown = || Outcome::Unknown { why: error.name().into() };
                sent.outcomes.values_mut().for_each(|it| *it = unknown());
                self.recorder.errors("probe", error.name(), 1);
            }
        }
        acked
    }

    /// What an answer means for one record, and the error's name if it is one.
    fn outcome(&self, code: i16, offset: i64) -> (Outcome, Option<&'static str>) {
        if code == 0 {
            return (Outcome::Acked { offset: Some(offset), broker: Some(self.broker) }, None);
        }
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        let why = code.name().into();
        match code {
            // Refused before anything was written; other codes may come after that.
            ErrorCode::NotEnoughReplicas => (Outcome::Refused { code: why }, Some(code.name())),
            _ => (Outcome::Unknown { why }, Some(code.name())),
        }
    }

    fn request(&self, number: u64) -> ProduceRequest {
        let now = crate::time::now_ms();
        let records = |partition: i32| -> Records {
            let text = record::payload(record::value(self.producer, partition, number), 0);
            let mut builder = BatchBuilder::new(Compression::None);
            builder.push(now, None, Some(text.as_bytes()), &[]);
            builder.build().to_bytes().into()
        };
        let data = |it: &i32| PartitionProduceData { index: *it, records: Some(records(*it)) };
        ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: TRY.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: self.topic.as_str().into(),
                partition_data: self.partitions.iter().map(data).collect(),
                ..Default::default()
            }],
        }
    }
}

/// A try, which is in the history even if nobody waits for its answer any more.
struct Attempt<'a> {
    probe: &'a Probe,
    began: Micros,
    number: u64,
    /// By partition; those to which nothing was sent are not there.
    outcomes: BTreeMap<i32, Outcome>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let probe = self.probe;
        for (partition, outcome) in std::mem::take(&mut self.outcomes) {
            probe.recorder.record(Event::Send(Send {
                began: self.began,
                ended: probe.recorder.now(),
                producer: probe.producer,
                number: self.number,
                partition: record::name(&probe.topic, partition),
                value: record::value(probe.producer, partition, self.number),
                transaction: None,
                outcome,
            }));
        }
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
