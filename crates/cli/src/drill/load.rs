//! The load of a round: a producer that sends one record per partition and tick, a consumer that reads them as they
//! come, a group that shares them, and a committer whose offsets are asked for again and again.

use std::sync::Arc;
use std::time::Duration;

use milena_check::{Assigned, Commit, Event, FetchedCommit, Isolation, Micros, Outcome, Poll, Send};
use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Delivery, Error, GroupOptions, OffsetReset, OffsetSpec,
    Producer, ProducerOptions, ProducerRecord, Target,
};
use milena_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use milena_wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::recorder::Recorder;

/// Number of the load's producer in the history; probes have others.
pub const PRODUCER: u32 = 1;
/// Number of the consumer that reads everything as it comes.
const READER: u32 = 1;
/// Numbers of the group's members.
const MEMBERS: [u32; 2] = [11, 12];
/// Pause between two commits, and between two questions for the committed offset.
const COMMIT_PAUSE: Duration = Duration::from_millis(5);
/// Longest that a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// Sends whose outcome may be waited for, for each partition.
const MAX_WAITING: usize = 1 << 20;
/// The last versions that name topics by name.
const COMMIT_BY_NAME: i16 = 9;
const FETCH_BY_NAME: i16 = 9;

/// What a load is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Time between two records of a partition.
    pub every: Duration,
    /// Bytes of a record's value.
    pub record_size: usize,
    /// Longest that the load's clients wait for an answer.
    pub request_timeout: Duration,
}

/// A load that runs.
pub struct Load {
    writers: JoinSet<()>,
    readers: JoinSet<()>,
    settlers: JoinSet<()>,
    writing: watch::Sender<bool>,
    reading: watch::Sender<bool>,
    patient: watch::Sender<bool>,
    producer: Arc<Producer>,
    recorder: Arc<Recorder>,
}

/// A record that was sent and is waited for.
struct Sent {
    began: Micros,
    number: u64,
    value: u64,
    delivery: Delivery,
}

/// Options of clients that behave as Kafka's own: the same back-offs.
fn options(shape: &Shape) -> ClientOptions {
    ClientOptions {
        client_id: "milena-drill-load".into(),
        connect_timeout: shape.request_timeout,
        request_timeout: shape.request_timeout,
        deadline: Duration::from_secs(120),
        ..ClientOptions::default()
    }
}

/// The value that a record carries, as text with a tail that makes it as long as it shall be.
pub fn payload(value: u64, size: usize) -> String {
    let text = format!("{value} ");
    let tail = size.saturating_sub(text.len());
    text + &"x".repeat(tail)
}

/// The number in a record's value; 0, which nobody sends, if there is none.
fn value_of(bytes: Option<&[u8]>) -> u64 {
    let text = bytes.and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default();
    text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// Topic and partition as the history names them.
pub fn name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

impl Load {
    /// Starts all clients.
    pub async fn start(bootstrap: &[String], shape: &Shape, recorder: &Arc<Recorder>) -> Result<Self, Error> {
        let client = Client::connect(bootstrap, options(shape)).await?;
        let how = ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::default() };
        let producer = Arc::new(Producer::start(&client, how).await?);
        let mut load = Self {
            writers: JoinSet::new(),
            readers: JoinSet::new(),
            settlers: JoinSet::new(),
            writing: watch::Sender::new(true),
            reading: watch::Sender::new(true),
            patient: watch::Sender::new(true),
            producer,
            recorder: recorder.clone(),
        };
        for partition in 0..shape.partitions {
            let (sent, settled) = mpsc::channel(MAX_WAITING);
            let writer = write(load.producer.clone(), shape.clone(), partition, recorder.clone(), sent);
            load.writers.spawn(while_true(load.writing.subscribe(), writer));
            let partition = name(&shape.topic, partition);
            load.settlers.spawn(settle(recorder.clone(), partition, settled, load.patient.subscribe()));
        }
        let reading = |load: &Self| load.reading.subscribe();
        let reader = Client::connect(bootstrap, options(shape)).await?;
        let signal = reading(&load);
        load.readers.spawn(while_true(signal, read(reader, shape.clone(), recorder.clone())));
        for member in MEMBERS {
            let client = Client::connect(bootstrap, options(shape)).await?;
            let signal = reading(&load);
            load.readers.spawn(while_true(signal, share(client, shape.clone(), member, recorder.clone())));
        }
        for work in [false, true] {
            let client = Client::connect(bootstrap, options(shape)).await?;
            let (signal, shape, recorder) = (reading(&load), shape.clone(), recorder.clone());
            match work {
                // A commit that was sent is waited for: the signal ends the work between two.
                true => load.readers.spawn(commit(client, shape, recorder, signal)),
                false => load.readers.spawn(ask_committed(client, shape, recorder, signal)),
            };
        }
        Ok(load)
    }

    /// Stops sending, waits for what is under way at most `patience`, and stops everything else.
    pub async fn stop(mut self, patience: Duration) {
        self.writing.send_replace(false);
        while self.writers.join_next().await.is_some() {}
        let producer = self.producer.clone();
        let _ = tokio::time::timeout(patience, producer.flush()).await;
        self.patient.send_replace(false);
        while self.settlers.join_next().await.is_some() {}
        for (name, count) in producer.refusals() {
            self.recorder.errors("producer", name, count);
        }
        self.reading.send_replace(false);
        let ended = async { while self.readers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, ended).await;
    }
}

/// Does `work` until `signal` turns false.
async fn while_true(mut signal: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = signal.wait_for(|on| !on) => {}
        () = work => {}
    }
}

async fn write(
    producer: Arc<Producer>,
    shape: Shape,
    partition: i32,
    recorder: Arc<Recorder>,
    sent: mpsc::Sender<Sent>,
) {
    let mut ticks = interval(shape.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 1.. {
        ticks.tick().await;
        let value = u64::from(PRODUCER) << 48 | (partition as u64) << 40 | number;
        let text = payload(value, shape.record_size);
        let record = ProducerRecord {
            topic: &shape.topic,
            partition: Some(partition),
            value: Some(text.as_bytes()),
            ..ProducerRecord::default()
        };
        let began = recorder.now();
        match producer.send(record).await {
            Ok(delivery) => {
                // The settler lives as long as this channel.
                let _ = sent.send(Sent { began, number, value, delivery }).await;
            }
            // It was not taken: nothing was sent.
            Err(error) => {
                recorder.errors("producer", error.name(), 1);
                sleep(POLL).await;
            }
        }
    }
}

async fn settle(
    recorder: Arc<Recorder>,
    partition: String,
    mut sent: mpsc::Receiver<Sent>,
    mut patient: watch::Receiver<bool>,
) {
    while let Some(Sent { began, number, value, delivery }) = sent.recv().await {
        let result = tokio::select! {
            biased;
            result = delivery.wait() => result,
            _ = patient.wait_for(|on| !on) => Err(Error::Closed),
        };
        let outcome = match result {
            Ok(it) => Outcome::Acked {
                offset: (it.offset >= 0).then_some(it.offset),
                broker: (it.broker >= 0).then_some(it.broker),
            },
            // Earlier tries may have been appended, whatever the last one said.
            Err(error) => Outcome::Unknown { why: error.name().into() },
        };
        let ended = recorder.now();
        let partition = partition.clone();
        let producer = PRODUCER;
        let transaction = None;
        recorder.record(Event::Send(Send {
            began,
            ended,
            producer,
            number,
            partition,
            value,
            transaction,
            outcome,
        }));
    }
}

/// How readers read: nothing is passed over silently.
pub fn reading() -> ConsumerOptions {
    ConsumerOptions { reset: OffsetReset::None, max_wait: POLL, ..ConsumerOptions::default() }
}

/// Reads every partition from its start, and begins anew where it was when something fails.
async fn read(client: Client, shape: Shape, recorder: Arc<Recorder>) {
    let mut positions: Vec<i64> = vec![0; shape.partitions as usize];
    loop {
        let start = positions
            .iter()
            .zip(0..)
            .map(|(at, partition)| ((shape.topic.clone(), partition), OffsetSpec::At(*at)));
        let mut consumer = Consumer::assign(&client, reading(), start);
        let error = loop {
            match poll(&mut consumer, READER, &recorder).await {
                Ok(read) => {
                    read.into_iter().for_each(|(partition, next)| positions[partition as usize] = next)
                }
                Err(error) => break error,
            }
        };
        recorder.errors("consumer", error.name(), 1);
        sleep(client.options().retry_backoff).await;
    }
}

/// Polls once and takes note of it; returns the positions behind what was read.
pub async fn poll(
    consumer: &mut Consumer,
    number: u32,
    recorder: &Recorder,
) -> Result<Vec<(i32, i64)>, Error> {
    let began = recorder.now();
    let fetched = consumer.poll(POLL).await?;
    let ended = recorder.now();
    let mut positions = Vec::new();
    for batch in fetched {
        let mut records = Vec::new();
        for record in batch.iter() {
            let record = record?;
            records.push((record.offset.0, value_of(record.value)));
        }
        if let Some((last, _)) = records.last() {
            positions.push((batch.partition, last + 1));
        }
        let partition = name(&batch.topic, batch.partition);
        let isolation = Isolation::Uncommitted;
        recorder.record(Event::Poll(Poll { began, ended, consumer: number, partition, records, isolation }));
    }
    Ok(positions)
}

/// A member of a group: reads its share and commits each time it has read something.
async fn share(client: Client, shape: Shape, number: u32, recorder: Arc<Recorder>) {
    let group = format!("{}-group", shape.topic);
    loop {
        let how = GroupOptions { auto_commit: None, ..GroupOptions::new(group.clone()) };
        let options = ConsumerOptions { reset: OffsetReset::Earliest, ..reading() };
        let mut consumer = Consumer::subscribe(&client, options, how, [shape.topic.clone()]);
        let mut generation = -1;
        let error = loop {
            let began = recorder.now();
            let fetched = match consumer.poll(POLL).await {
                Ok(fetched) => fetched,
                Err(error) => break error,
            };
            let ended = recorder.now();
            if let Some((now, member)) = consumer.generation().filter(|(now, _)| *now != generation) {
                generation = now;
                let partitions = consumer.assignment();
                recorder.record(Event::Assigned(Assigned {
                    at: began,
                    consumer: number,
                    membership: Some((group.clone(), now, member.to_owned())),
                    partitions: partitions.iter().map(|(topic, partition)| name(topic, *partition)).collect(),
                }));
            }
            for batch in &fetched {
                let records = batch.iter().filter_map(Result::ok);
                let records = records.map(|it| (it.offset.0, value_of(it.value))).collect();
                let partition = name(&batch.topic, batch.partition);
                let isolation = Isolation::Uncommitted;
                recorder.record(Event::Poll(Poll {
                    began,
                    ended,
                    consumer: number,
                    partition,
                    records,
                    isolation,
                }));
            }
            if fetched.is_empty() {
                continue;
            }
            let positions = consumer.positions();
            let began = recorder.now();
            let committed = consumer.commit().await;
            let outcome = outcome(&committed);
            for ((topic, partition), offset) in positions {
                recorder.record(Event::Commit(Commit {
                    began,
                    ended: recorder.now(),
                    group: group.clone(),
                    partition: name(&topic, partition),
                    committer: number,
                    offset,
                    outcome: outcome.clone(),
                }));
            }
            if let Err(error) = committed {
                recorder.errors("group", error.name(), 1);
            }
        };
        recorder.errors("group", error.name(), 1);
        sleep(client.options().retry_backoff).await;
    }
}

fn outcome(result: &Result<(), Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Acked { offset: None, broker: None },
        Err(error) => Outcome::Unknown { why: error.name().into() },
    }
}

/// Commits ascending offsets for a group without members, each when the one before is answered.
async fn commit(client: Client, shape: Shape, recorder: Arc<Recorder>, signal: watch::Receiver<bool>) {
    let group = committers_group(&shape.topic);
    for offset in 1.. {
        if !*signal.borrow() {
            return;
        }
        let request = OffsetCommitRequest {
            group_id: group.as_str().into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: shape.topic.as_str().into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let code = |it: &OffsetCommitResponse| {
            it.topics
                .iter()
                .flat_map(|it| &it.partitions)
                .map(|it| it.error_code)
                .find(|it| *it != 0)
                .unwrap_or(0)
        };
        let began = recorder.now();
        let answer = client.send_retrying(Target::Group(&group), request, COMMIT_BY_NAME, code).await;
        let result = answer.and_then(|it| match code(&it) {
            0 => Ok(()),
            code => Err(Error::refused("commit", code, None)),
        });
        if let Err(error) = &result {
            recorder.errors("committer", error.name(), 1);
        }
        recorder.record(Event::Commit(Commit {
            began,
            ended: recorder.now(),
            group: group.clone(),
            partition: name(&shape.topic, 0),
            committer: 1,
            offset,
            outcome: outcome(&result),
        }));
        sleep(COMMIT_PAUSE).await;
    }
}

fn committers_group(topic: &str) -> String {
    format!("{topic}-committer")
}

/// Asks for the committer's offset until the signal.
async fn ask_committed(client: Client, shape: Shape, recorder: Arc<Recorder>, signal: watch::Receiver<bool>) {
    while *signal.borrow() {
        if let Err(error) = fetch_committed(&client, &shape.topic, &recorder).await {
            recorder.errors("committer", error.name(), 1);
        }
        sleep(COMMIT_PAUSE).await;
    }
}

/// Asks once for the committer's offset and takes note of the answer.
pub async fn fetch_committed(client: &Client, topic: &str, recorder: &Recorder) -> Result<(), Error> {
    let group = committers_group(topic);
    let asked =
        OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
    let request = OffsetFetchRequest {
        group_id: group.as_str().into(),
        topics: Some(vec![OffsetFetchRequestTopic { name: topic.into(), partition_indexes: vec![0] }]),
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.as_str().into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![asked]),
        }],
        require_stable: false,
    };
    let began = recorder.now();
    let answer = client.send_retrying(Target::Group(&group), request, FETCH_BY_NAME, code_of).await?;
    match code_of(&answer) {
        0 => {}
        code => return Err(Error::refused("fetch the committed offset", code, None)),
    }
    let old = answer.topics.iter().flat_map(|it| &it.partitions).map(|it| it.committed_offset);
    let groups = answer.groups.iter().flat_map(|it| &it.topics).flat_map(|it| &it.partitions);
    let offset = old.chain(groups.map(|it| it.committed_offset)).next().filter(|it| *it >= 0);
    recorder.record(Event::FetchedCommit(FetchedCommit {
        began,
        ended: recorder.now(),
        group,
        partition: name(topic, 0),
        offset,
    }));
    Ok(())
}

fn code_of(answer: &OffsetFetchResponse) -> i16 {
    let old = answer.topics.iter().flat_map(|it| &it.partitions).map(|it| it.error_code);
    let groups = answer.groups.iter().flat_map(|group| {
        let partitions = group.topics.iter().flat_map(|it| &it.partitions).map(|it| it.error_code);
        std::iter::once(group.error_code).chain(partitions)
    });
    std::iter::once(answer.error_code).chain(old).chain(groups).find(|it| *it != 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_payloads() {
        for (value, size) in [(1, 100), (u64::MAX, 1), (42, 0)] {
            assert_eq!(value_of(Some(payload(value, size).as_bytes())), value);
        }
        assert_eq!(payload(7, 10).len(), 10);
        assert_eq!(value_of(Some(b"torn")), 0);
        assert_eq!(value_of(None), 0);
    }
}
