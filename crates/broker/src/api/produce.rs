//! Produce (0), versions 3 to 13, advertised from 0 so that librdkafka compresses (KAFKA-18659).
//!
//! Each partition takes one batch and is answered for itself (PR-3). `acks=0` gets no answer, and a closed
//! connection if anything failed (PR-2). `acks=all` waits until the high watermark has passed the batch, in
//! the leader epoch that wrote it. Version 7 allows zstd (KIP-110), 8 tells which records were refused
//! (KIP-467), 10 names the new leader (KIP-951), 12 adds partitions to transactions (KIP-890), 13 names topics by id (KIP-516).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_disk::Level;
use milena_metadata::BrokerId;
use milena_partition::Guard;
use milena_wire::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use milena_wire::{ErrorCode, Records};

use crate::connection::{Outcome, Started};
use crate::dispatch::{Answer, Context};
use crate::grants::{self, Grants, Question};
use crate::hosted::{Acks, Appended, Hosted, ProduceRefusal, Unsettled, settle};
use crate::partitions::{Partitions, TopicRef};
use crate::services::Services;
use crate::transactions::Support;

/// The client id that may write to internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// What producers are told when there is no room for their records.
const DISK_FULL: &str = "the disk of this broker is full (see milena.disk.reserve.bytes); records are refused until \
                         some are deleted or room is made";
/// How long producers are asked to wait between requests while the disk is nearly full (KIP-219).
const SLOWED_MS: i32 = 100;

/// Batches that are written but not yet on enough replicas.
#[derive(Default)]
struct Parked {
    /// Where in the response each is.
    places: Vec<Place>,
    batches: Vec<Unsettled>,
}

/// A partition of a response: the numbers of its topic and of itself among the topic's.
type Place = (usize, usize);

/// Appends at once, unless the coordinator must be asked first: then nothing behind this request is appended before
/// it. Answers at once too unless replicas must be waited for.
pub(crate) fn start(
    services: &Services,
    context: Context,
    answer: Answer,
    request: ProduceRequest,
) -> Started {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let partitions = &services.partitions;
    let question = match grants::transaction(&request) {
        Ok(None) => None,
        Ok(Some(_)) if is_trusted(services, context.version) => {
            return append(partitions, context, answer, request, &Grants::waived(), deadline);
        }
        Ok(Some(producer)) => Question::of(partitions, &request, &producer, context.version),
        Err(code) => return answer_all(answer, request, code),
    };
    let Some(question) = question else {
        return append(partitions, context, answer, request, &Grants::default(), deadline);
    };
    let (partitions, enlister) = (Arc::clone(partitions), services.enlister.clone());
    Started::Gated(Box::pin(async move {
        let grants = question.ask(&enlister).await;
        append(&partitions, context, answer, request, &grants, deadline)
    }))
}

/// Whether transactional batches are appended without asking. Clients that add partitions by writing to them cannot be
/// spared the question: it is what adds them.
fn is_trusted(services: &Services, version: i16) -> bool {
    Support::of_produce(version).verifies_only()
        && !services.settings().transaction_partition_verification_enable()
}

/// The same answer for every partition.
fn answer_all(answer: Answer, request: ProduceRequest, code: ErrorCode) -> Started {
    let acks = request.acks;
    let responses = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        partition_responses: topic.partition_data.iter().map(|it| failed(it.index, code, None)).collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    });
    let response = ProduceResponse { responses: responses.collect(), ..Default::default() };
    match Acks::from_wire(acks) {
        Some(Acks::None) => Started::Done(silence(&response)),
        _ => answer.now(response),
    }
}

fn append(
    partitions: &Arc<Partitions>,
    context: Context,
    answer: Answer,
    request: ProduceRequest,
    grants: &Grants,
    deadline: Instant,
) -> Started {
    let acks = Acks::from_wire(request.acks);
    let mut parked = Parked::default();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let at = responses.len();
        let granted = |partition| grants.of(at, partition);
        responses.push(append_topic(partitions, &context, acks, topic, granted, |partition, batch| {
            parked.places.push((at, partition));
            parked.batches.push(batch);
        }));
    }
    let throttle_time_ms = if partitions.room() == Level::Scarce { SLOWED_MS } else { 0 };
    let mut response = ProduceResponse { responses, throttle_time_ms, ..Default::default() };
    if !partitions.may_lead() {
        revoke(&mut response, &BTreeSet::new());
    }
    name_leaders(partitions, &context, &mut response);
    match acks {
        Some(Acks::None) => {
            // Nobody waits, but `flush.messages` holds all the same.
            for it in parked.batches {
                tokio::spawn(async move { it.hosted.flushed(&it.appended).await });
            }
            Started::Done(silence(&response))
        }
        _ if parked.batches.is_empty() => answer.now(response),
        _ => {
            let partitions = Arc::clone(partitions);
            answer.later(async move {
                let Parked { places, batches } = parked;
                let codes = settle(&batches, deadline, partitions.deposed()).await;
                let mut replicated = BTreeSet::new();
                for ((place, batch), code) in places.into_iter().zip(&batches).zip(codes) {
                    let slot = &mut response.responses[place.0].partition_responses[place.1];
                    match code {
                        ErrorCode::None if batch.needs_replicas() => drop(replicated.insert(place)),
                        ErrorCode::None => {}
                        code => *slot = failed(slot.index, code, None),
                    }
                }
                if !partitions.may_lead() {
                    revoke(&mut response, &replicated);
                }
                response
            })
        }
    }
}

/// Takes back what was about to be acknowledged: this broker was paused or cut off, and others may lead by now. They
/// have what is `replicated`.
fn revoke(response: &mut ProduceResponse, replicated: &BTreeSet<Place>) {
    for (topic, responses) in response.responses.iter_mut().enumerate() {
        for (place, partition) in responses.partition_responses.iter_mut().enumerate() {
            if partition.error_code == 0 && !replicated.contains(&(topic, place)) {
                *partition = failed(partition.index, ErrorCode::NotLeaderOrFollower, None);
            }
        }
    }
}

/// Says where the leaders are that the response names (KIP-951).
fn name_leaders(partitions: &Partitions, context: &Context, response: &mut ProduceResponse) {
    let named = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let mut leaders: Vec<_> = named.map(|it| it.current_leader.leader_id).filter(|id| *id >= 0).collect();
    leaders.sort_unstable();
    leaders.dedup();
    response.node_endpoints = leaders
        .into_iter()
        .filter_map(|id| {
            let endpoint = partitions.view().endpoint(BrokerId(id), &context.listener)?;
            Some(NodeEndpoint {
                node_id: id,
                host: endpoint.host.into(),
                port: endpoint.port.into(),
                rack: partitions.view().rack(BrokerId(id)).map(Into::into),
            })
        })
        .collect();
}

/// The outcome of an `acks=0` request: a client that gets no answers learns of a failure by the close.
fn silence(response: &ProduceResponse) -> Outcome {
    let failed =
        response.responses.iter().flat_map(|topic| &topic.partition_responses).any(|it| it.error_code != 0);
    if failed { Outcome::Close("acks=0 produce failed") } else { Outcome::Silence }
}

/// Whether a client sends a batch again that its transaction's coordinator did not admit.
fn comes_again(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotEnoughReplicas
            | ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator
    )
}

fn append_topic(
    partitions: &Partitions,
    context: &Context,
    acks: Option<Acks>,
    topic: TopicProduceData,
    granted: impl Fn(usize) -> Result<Option<Guard>, ErrorCode>,
    mut park: impl FnMut(usize, Unsettled),
) -> TopicProduceResponse {
    let reference =
        if context.version >= 13 { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.name.clone()) };
    let zstd_allowed = context.version >= 7;
    let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
    for (place, data) in topic.partition_data.into_iter().enumerate() {
        let index = data.index;
        let response = match acks {
            None => failed(index, ErrorCode::InvalidRequiredAcks, None),
            Some(acks) => match (find(partitions, context, &reference, index), granted(place)) {
                (Err(code), _) => elsewhere(partitions, &reference, failed(index, code, None)),
                (Ok(hosted), _) if partitions.room() == Level::Full => {
                    hosted.refused_for_now();
                    failed(index, ErrorCode::KafkaStorageError, Some(DISK_FULL.to_owned()))
                }
                (Ok(hosted), _) if !partitions.may_lead() => {
                    hosted.refused_for_now();
                    let response = failed(index, ErrorCode::NotLeaderOrFollower, None);
                    // As long as the metadata names this broker, nobody knows who leads.
                    match hosted.is_leader() {
                        true => response,
                        false => elsewhere(partitions, &reference, response),
                    }
                }
                (Ok(hosted), Err(code)) => {
                    if comes_again(code) {
                        hosted.refused_for_now();
                    }
                    failed(index, code, None)
                }
                (Ok(hosted), Ok(guard)) => {
                    let batch = data.records.map(Records::into_bytes).unwrap_or_default();
                    let bytes = batch.len() as u64;
                    // A transaction is only as durable as its least durable batch (T7).
                    let acks = if milena_records::looks_transactional(&batch) { Acks::All } else { acks };
                    let outcome = hosted.append(batch, acks, zstd_allowed, guard);
                    let appended = outcome.as_ref().ok().map(|it| (it.records(), bytes));
                    partitions.traffic.produced(appended);
                    hosted.traffic.produced(appended);
                    match outcome {
                        Ok(appended) => {
                            let response = succeeded(index, &appended);
                            if appended.must_flush || (acks == Acks::All && !appended.replicated) {
                                park(place, Unsettled { hosted, appended, acks });
                            }
                            response
                        }
                        Err(refusal) => refused(index, &hosted, refusal),
                    }
                }
            },
        };
        partition_responses.push(response);
    }
    TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, partition_responses }
}

/// The partition, unless it is of a topic that only brokers write to (PR-10).
fn find(
    partitions: &Partitions,
    context: &Context,
    topic: &TopicRef,
    index: i32,
) -> Result<Arc<Hosted>, ErrorCode> {
    let hosted = partitions.find(topic, index)?;
    if milena_metadata::names::is_internal(&hosted.topic) && *context.client_id != *ADMIN_CLIENT {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(hosted)
}

/// Adds who leads instead, if the partition is on other brokers (KIP-951).
fn elsewhere(
    partitions: &Partitions,
    topic: &TopicRef,
    response: PartitionProduceResponse,
) -> PartitionProduceResponse {
    let leader = partitions.leader(topic, response.index).filter(|(leader, _)| *leader >= 0);
    let current_leader = leader.map(|(leader_id, leader_epoch)| LeaderIdAndEpoch { leader_id, leader_epoch });
    PartitionProduceResponse { current_leader: current_leader.unwrap_or_default(), ..response }
}

fn succeeded(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset.0,
        log_append_time_ms: appended.log_append_time,
        log_start_offset: appended.log_start.0,
        ..Default::default()
    }
}

fn failed(index: i32, code: ErrorCode, message: Option<String>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        error_message: message.map(Into::into),
        ..Default::default()
    }
}

fn refused(index: i32, hosted: &Hosted, refusal: ProduceRefusal) -> PartitionProduceResponse {
    let mut response = failed(index, hosted.code_for(&refusal), refusal.message());
    if refusal.is_about_content() {
        response.log_start_offset = hosted.log_start().0;
    }
    response.record_errors = refusal
        .record_errors()
        .iter()
        .map(|error| BatchIndexAndErrorMessage {
            batch_index: error.batch_index,
            batch_index_error_message: Some(error.reason.to_string().into()),
        })
        .collect();
    // Absent rather than -1 while there is no leader: librdkafka 2.12 stops for good on -1.
    if let Some((leader_id, leader_epoch)) = refusal.current_leader() {
        response.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
    }
    response
}
