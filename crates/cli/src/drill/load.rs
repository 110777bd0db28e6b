//! The load of a round: a producer that sends one record per partition and tick, a consumer that reads them as they
//! come, a group that shares them, and a committer whose offsets are asked for again and again.

use std::sync::Arc;
use std::time::Duration;

use milena_check::Isolation;
use milena_client::{Client, ClientOptions, Error, Producer, ProducerOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::committer::{ask_committed, commit};
use super::member::share;
use super::reader::read;
use super::record::name;
use super::recorder::Recorder;
use super::transactor::transact;
use super::writer::{MAX_WAITING, settle, write};

/// Numbers of the group's members.
const MEMBERS: [u32; 2] = [11, 12];

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
    /// Whether there are transactions beside it, and a reader of what is committed.
    pub transactional: bool,
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
        let all = [Isolation::Uncommitted, Isolation::Committed];
        for isolation in all.into_iter().take(if shape.transactional { 2 } else { 1 }) {
            let reader = Client::connect(bootstrap, options(shape)).await?;
            let signal = reading(&load);
            load.readers.spawn(while_true(signal, read(reader, shape.clone(), isolation, recorder.clone())));
        }
        if shape.transactional {
            let client = Client::connect(bootstrap, options(shape)).await?;
            let signal = load.writing.subscribe();
            // It ends its last transaction before it stops.
            load.writers.spawn(transact(client, shape.clone(), recorder.clone(), signal));
        }
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
