//! A producer in transactions, beside the load: each writes to some partitions and is committed, every eighth is
//! aborted. It speaks as Kafka's clients do since KIP-890: partitions become part of a transaction by being written
//! to, and each end gives the next epoch.

use std::sync::Arc;
use std::time::Duration;

use milena_check::{Event, Outcome, Send, Settled, Transaction};
use milena_client::{Client, Error, Target};
use milena_records::{BatchBuilder, Compression, ProducerEpoch, ProducerId};
use milena_wire::ErrorCode;
use milena_wire::end_txn::{EndTxnRequest, EndTxnResponse};
use milena_wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use milena_wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::load::Shape;
use super::record::{self, name, payload};
use super::recorder::Recorder;

/// Its number among the producers of the history.
pub const TRANSACTOR: u32 = 2;
/// Partitions that one transaction writes to.
const PARTITIONS: i32 = 3;
/// Records to each of them, one after the other.
const RECORDS: i32 = 2;
/// One of so many transactions is aborted.
const ABORTED: u64 = 8;
/// Pause between two tries, and between two transactions.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest that a record is tried for; its transaction is given up then.
const PATIENCE: Duration = Duration::from_secs(60);
/// The versions of KIP-890: without AddPartitionsToTxn, and topics by name.
const PRODUCE: i16 = 12;
const END: i16 = 5;
const INIT: i16 = 5;

/// A producer with an identity.
struct Transactor {
    client: Client,
    shape: Shape,
    recorder: Arc<Recorder>,
    transactional_id: String,
    id: ProducerId,
    epoch: ProducerEpoch,
    /// Numbers of records, and of transactions.
    sent: u64,
    begun: u64,
}

/// Goes from transaction to transaction until `signal`; the last one is ended, too.
pub async fn transact(client: Client, shape: Shape, recorder: Arc<Recorder>, signal: watch::Receiver<bool>) {
    let transactional_id = format!("{}-transactor", shape.topic);
    let mut it = Transactor {
        client,
        shape,
        recorder,
        transactional_id,
        id: ProducerId(-1),
        epoch: ProducerEpoch(-1),
        sent: 0,
        begun: 0,
    };
    let mut is_known = false;
    while *signal.borrow() || !is_known {
        if !is_known && let Err(error) = it.begin_anew().await {
            it.recorder.errors("transactor", error.name(), 1);
            // What it left open keeps the last reader from the end, which is told then.
            if !*signal.borrow() {
                return;
            }
            sleep(PAUSE).await;
            continue;
        }
        is_known = it.transaction().await;
        sleep(PAUSE).await;
    }
}

impl Transactor {
    /// Takes the next epoch, which aborts what an earlier one has left open.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.as_str().into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let target = Target::Transaction(&self.transactional_id);
        let code = |it: &InitProducerIdResponse| it.error_code;
        let answer = self.client.send_retrying(target, request, INIT, code).await?;
        match answer.error_code {
            0 => {
                (self.id, self.epoch) =
                    (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch));
                Ok(())
            }
            code => Err(Error::refused("begin anew", code, None)),
        }
    }

    /// One transaction. False if another epoch must be taken before the next.
    async fn transaction(&mut self) -> bool {
        self.begun += 1;
        let number = self.begun;
        let mut is_whole = true;
        let first = number as i32 % self.shape.partitions;
        for partition in 0..PARTITIONS.min(self.shape.partitions) {
            let partition = (first + partition) % self.shape.partitions;
            for sequence in 0..RECORDS {
                is_whole = is_whole && self.record(number, partition, sequence).await;
            }
        }
        let began = self.recorder.now();
        // What could not be written is never committed: the next epoch ends it.
        let (settled, goes_on) = match (is_whole, number.is_multiple_of(ABORTED)) {
            (false, _) => (Settled::Aborted, false),
            (true, true) => (Settled::Aborted, self.end(false).await),
            (true, false) => match self.end(true).await {
                true => (Settled::Committed, true),
                false => (Settled::Unknown, false),
            },
        };
        let ended = self.recorder.now();
        self.recorder.record(Event::Transaction(Transaction { began, ended, transaction: number, settled }));
        goes_on
    }

    /// One record, until it is acknowledged; false if it cannot be.
    async fn record(&mut self, transaction: u64, partition: i32, sequence: i32) -> bool {
        self.sent += 1;
        let (number, began) = (self.sent, self.recorder.now());
        let value = record::value(TRANSACTOR, partition, number);
        let outcome = self.acknowledged(partition, sequence, value).await;
        let is_acked = matches!(outcome, Outcome::Acked { .. });
        self.recorder.record(Event::Send(Send {
            began,
            ended: self.recorder.now(),
            producer: TRANSACTOR,
            number,
            partition: name(&self.shape.topic, partition),
            value,
            transaction: Some(transaction),
            outcome,
        }));
        is_acked
    }

    async fn acknowledged(&self, partition: i32, sequence: i32, value: u64) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.attempt(partition, sequence, value).await {
                Ok(acked) => return acked,
                Err(error) => error,
            };
            self.recorder.errors("transactor", error.name(), 1);
            if !error.is_retriable() || Instant::now() > deadline {
                return Outcome::Unknown { why: error.name().into() };
            }
            sleep(PAUSE).await;
            // Of topics that are not there just now the next try tells.
            let _ = self.client.refresh(&[&self.shape.topic]).await;
        }
    }

    async fn attempt(&self, partition: i32, sequence: i32, value: u64) -> Result<Outcome, Error> {
        let refused = |code: ErrorCode| Error::refused("send a record", code.code(), None);
        let metadata = self.client.metadata();
        let topic = metadata.topic(&self.shape.topic);
        let leader = topic.and_then(|it| it.partition(partition)).and_then(|it| it.leader);
        let leader = leader.ok_or_else(|| refused(ErrorCode::LeaderNotAvailable))?;
        let answer =
            self.client.send_once(Target::Broker(leader), self.produce(partition, sequence, value), PRODUCE);
        let answer = answer.await?.responses.into_iter().next();
        let answer = answer.and_then(|it| it.partition_responses.into_iter().next());
        let answer = answer.ok_or_else(|| refused(ErrorCode::UnknownServerError))?;
        match answer.error_code {
            0 => Ok(Outcome::Acked {
                offset: (answer.base_offset >= 0).then_some(answer.base_offset),
                broker: Some(leader),
            }),
            code => Err(Error::refused("send a record", code, None)),
        }
    }

    fn produce(&self, partition: i32, sequence: i32, value: u64) -> ProduceRequest {
        let text = payload(value, self.shape.record_size);
        let mut builder =
            BatchBuilder::new(Compression::None).producer(self.id, self.epoch, sequence).transactional();
        builder.push(crate::time::now_ms(), None, Some(text.as_bytes()), &[]);
        let records = Some(builder.build().to_bytes().into());
        ProduceRequest {
            transactional_id: Some(self.transactional_id.as_str().into()),
            acks: -1,
            timeout_ms: self.shape.request_timeout.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: self.shape.topic.as_str().into(),
                partition_data: vec![PartitionProduceData { index: partition, records }],
                ..Default::default()
            }],
        }
    }

    /// Ends the transaction, and takes the epoch that the answer gives. False if nobody knows how it ended.
    async fn end(&mut self, commit: bool) -> bool {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.as_str().into(),
            producer_id: self.id.0,
            producer_epoch: self.epoch.0,
            committed: commit,
        };
        let target = Target::Transaction(&self.transactional_id);
        let code = |it: &EndTxnResponse| it.error_code;
        let answer = self.client.send_retrying(target, request, END, code).await;
        let ended = answer.and_then(|it| match it.error_code {
            0 => Ok((ProducerId(it.producer_id), ProducerEpoch(it.producer_epoch))),
            code => Err(Error::refused("end a transaction", code, None)),
        });
        match ended {
            Ok(next) => {
                (self.id, self.epoch) = next;
                true
            }
            Err(error) => {
                self.recorder.errors("transactor", error.name(), 1);
                false
            }
        }
    }
}
