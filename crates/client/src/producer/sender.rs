//! The task behind a producer: takes batches out of the accumulator, sends them, settles them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use milena_records::{BatchBuilder, Compression, ProducerEpoch, ProducerId};
use milena_wire::init_producer_id::InitProducerIdRequest;
use milena_wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use milena_wire::{ErrorCode, Records};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::accumulator::Drained;
use super::options::{Acks, ProducerOptions};
use super::record::{Batch, Content};
use crate::{Client, Error, Target};

/// The last version of Produce that names topics by name; with ids, a re-created topic would take records
/// that were meant for the old one only after a look-up here.
const PRODUCE_BY_NAME: i16 = 12;

/// An idempotent producer's name for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
}

pub(super) async fn new_identity(client: &Client) -> Result<Identity, Error> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let answer = client.send_retrying(Target::Any, request, i16::MAX, |it| it.error_code).await?;
    match answer.error_code {
        0 => Ok(Identity { id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) }),
        code => Err(Error::refused("get a producer id", code, None)),
    }
}

/// A request that has come back.
struct Finished {
    broker: i32,
    batches: Vec<(String, i32, Batch)>,
    answer: Result<Option<ProduceResponse>, Error>,
}

/// Runs until the producer is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut identity: Option<Identity>) {
    let mut requests = JoinSet::new();
    let mut lookups = JoinSet::new();
    let mut outdated = BTreeSet::new();
    // Ends when the last request to a broker was sent.
    let mut turns = HashMap::new();
    loop {
        let wake_at = start_requests(&shared, identity, &mut requests, &mut outdated, &mut turns);
        if lookups.is_empty() {
            for topic in std::mem::take(&mut outdated) {
                lookups.spawn(look_up(shared.client.clone(), topic));
            }
        }
        let timer = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.look.notified() => {}
            () = timer => {}
            Some(finished) = requests.join_next() => {
                settle(&shared, finished.expect("a request's task does not panic"), &mut outdated);
            }
            Some(_) = lookups.join_next() => {}
        }
        if let Err(error) = renew_identity(&shared, &mut identity).await {
            return shared.end(error);
        }
    }
}

/// Asks for the leaders of a topic, once. What is known of it stays in use meanwhile: other partitions go on.
async fn look_up(client: Client, topic: String) {
    let metadata = client.ask_metadata(&[&topic], false).await;
    // Failing is no news: the batches wait, and expire in time.
    if !metadata.is_ok_and(|it| it.topic(&topic).is_some_and(|it| it.is_led())) {
        sleep(client.options().retry_backoff).await;
    }
}

/// Sends whatever can be sent; returns when to look again.
fn start_requests(
    shared: &Arc<Shared>,
    identity: Option<Identity>,
    requests: &mut JoinSet<Finished>,
    outdated: &mut BTreeSet<String>,
    turns: &mut HashMap<i32, oneshot::Receiver<()>>,
) -> Option<Instant> {
    loop {
        let metadata = shared.client.metadata();
        let leader = |topic: &str, partition| metadata.topic(topic)?.partition(partition)?.leader;
        let round = shared.accumulator.lock().unwrap().drain(Instant::now(), &shared.options, leader);
        for batch in round.expired {
            let last = Error::RequestTimedOut {
                api: milena_wire::ApiKey::Produce,
                address: "the leader".into(),
                after: shared.options.delivery_timeout,
            };
            let error =
                Error::DeadlinePassed { after: shared.options.delivery_timeout, last: Box::new(last) };
            shared.fail_waiting(&batch, error);
        }
        outdated.extend(round.leaderless);
        if round.drained.is_empty() {
            return round.wake_at;
        }
        for drained in round.drained {
            let (next, sent) = oneshot::channel();
            let turn = Turn { before: turns.insert(drained.broker, sent), next };
            requests.spawn(send(shared.client.clone(), shared.options.clone(), identity, drained, turn));
        }
    }
}

/// A request's place among those to the same broker.
struct Turn {
    /// Ends when the request before was sent.
    before: Option<oneshot::Receiver<()>>,
    /// Dropped when this one is sent.
    next: oneshot::Sender<()>,
}

/// Builds the batches that were not built yet, and sends them in one request. Requests are built side by side,
/// but each is sent in its turn.
async fn send(
    client: Client,
    options: ProducerOptions,
    identity: Option<Identity>,
    drained: Drained,
    turn: Turn,
) -> Finished {
    let Drained { broker, mut batches } = drained;
    let mut topics: HashMap<&str, Vec<PartitionProduceData>> = HashMap::new();
    for (topic, partition, batch) in &mut batches {
        let records = records(batch, identity);
        let data = PartitionProduceData { index: *partition, records: Some(records) };
        topics.entry(topic).or_default().push(data);
    }
    let topic_data = topics
        .into_iter()
        .map(|(name, partition_data)| TopicProduceData {
            name: name.into(),
            partition_data,
            ..Default::default()
        })
        .collect();
    let request = ProduceRequest {
        transactional_id: None,
        acks: options.acks.code(),
        timeout_ms: options.replication_timeout.as_millis().try_into().unwrap_or(i32::MAX),
        topic_data,
    };
    if let Some(before) = turn.before {
        let _ = before.await;
    }
    let answer = match options.acks {
        Acks::None => {
            client.send_unanswered(Target::Broker(broker), request, PRODUCE_BY_NAME).await.map(|()| None)
        }
        _ => match client.start(broker, request, PRODUCE_BY_NAME).await {
            Ok(pending) => {
                drop(turn.next);
                pending.answer().await.map(Some)
            }
            Err(error) => Err(error),
        },
    };
    Finished { broker, batches, answer }
}

fn records(batch: &mut Batch, identity: Option<Identity>) -> Records {
    let content = std::mem::replace(&mut batch.content, Content::Open(BatchBuilder::new(Compression::None)));
    let built = match content {
        Content::Built(built) => built,
        Content::Open(builder) => match (identity, batch.sequence) {
            (Some(it), Some(sequence)) => builder.producer(it.id, it.epoch, sequence).build(),
            _ => builder.build(),
        },
    };
    let records = vec![Bytes::copy_from_slice(&built.header_bytes), built.body.clone()].into();
    batch.content = Content::Built(built);
    records
}

fn settle(shared: &Shared, finished: Finished, outdated: &mut BTreeSet<String>) {
    let Finished { broker, batches, answer } = finished;
    shared.accumulator.lock().unwrap().request_done(broker);
    for (topic, partition, batch) in batches {
        let result = match &answer {
            Ok(None) => Ok((-1, -1)),
            Ok(Some(answer)) => match partition_answer(answer, &topic, partition) {
                Some(it) if it.error_code == 0 => Ok((it.base_offset, broker)),
                // The broker has it, and no longer knows where.
                Some(it) if it.error_code == ErrorCode::DuplicateSequenceNumber.code() => Ok((-1, broker)),
                Some(it) => Err(refusal(&topic, partition, it)),
                None => Err(Error::refused(
                    format!("send to {topic}-{partition}: the answer leaves the partition out"),
                    ErrorCode::UnknownServerError.code(),
                    None,
                )),
            },
            Err(error) => Err(error.clone()),
        };
        if shared.settle_batch(&topic, partition, batch, result) {
            outdated.insert(topic);
        }
    }
    shared.settled.notify_waiters();
}

fn partition_answer<'a>(
    answer: &'a ProduceResponse,
    topic: &str,
    partition: i32,
) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|it| it.name == *topic)?;
    topic.partition_responses.iter().find(|it| it.index == partition)
}

fn refusal(topic: &str, partition: i32, answer: &PartitionProduceResponse) -> Error {
    let named = answer.record_errors.first().and_then(|it| {
        Some(format!("record {}: {}", it.batch_index, it.batch_index_error_message.as_deref()?))
    });
    let message = answer.error_message.as_ref().map(|it| it.to_string());
    Error::refused(format!("send to {topic}-{partition}"), answer.error_code, named.or(message))
}

impl Shared {
    /// Returns whether what is known of the topic's leaders is to be asked for anew.
    fn settle_batch(
        &self,
        topic: &str,
        partition: i32,
        batch: Batch,
        result: Result<(i64, i32), Error>,
    ) -> bool {
        if let Err(error) = &result {
            *self.refusals.lock().unwrap().entry(error.name()).or_default() += 1;
        }
        let mut accumulator = self.accumulator.lock().unwrap();
        let again = match &result {
            Ok(_) => false,
            // An earlier batch of the partition is still to come, and this one is only early.
            Err(error) if error.code() == Some(ErrorCode::OutOfOrderSequenceNumber) => {
                batch.sequence.is_some() && accumulator.has_earlier(topic, partition, &batch)
            }
            Err(error) => error.is_retriable() && self.options.acks != Acks::None,
        };
        if again {
            let not_before = Instant::now() + self.client.options().retry_backoff;
            accumulator.batch_failed(topic, partition, batch, not_before);
            // Most retriable refusals say that what is known of the leaders is old.
            return true;
        }
        accumulator.batch_done(topic, partition, &batch);
        accumulator.needs_producer_id |= result.is_err() && batch.sequence.is_some();
        accumulator.pressed &= self.memory.available_permits() < self.options.buffer_memory / 2;
        drop(accumulator);
        self.memory.add_permits(batch.memory);
        batch.outcome.set(result);
        false
    }

    /// Fails a batch that is not in flight.
    fn fail_waiting(&self, batch: &Batch, error: Error) {
        let mut accumulator = self.accumulator.lock().unwrap();
        accumulator.forget(batch);
        accumulator.needs_producer_id |= batch.sequence.is_some();
        drop(accumulator);
        self.memory.add_permits(batch.memory);
        batch.outcome.set(Err(error));
        self.settled.notify_waiters();
    }
}

/// After a batch was lost for good, the broker would take its successors for out of order: they go out under
/// a new producer id, once nothing is in flight under the old one.
async fn renew_identity(shared: &Shared, identity: &mut Option<Identity>) -> Result<(), Error> {
    let due = {
        let accumulator = shared.accumulator.lock().unwrap();
        accumulator.needs_producer_id && accumulator.is_quiet()
    };
    if !due || identity.is_none() {
        return Ok(());
    }
    *identity = Some(new_identity(&shared.client).await?);
    let doubtful = shared.accumulator.lock().unwrap().restart_sequences();
    for batch in doubtful {
        let error = Error::refused(
            "send after an earlier batch was lost",
            ErrorCode::OutOfOrderSequenceNumber.code(),
            Some("whether the broker has it is not known".into()),
        );
        shared.fail_waiting(&batch, error);
    }
    shared.accumulator.lock().unwrap().needs_producer_id = false;
    Ok(())
}
