//! Transactions: list, describe, end by force; producers of partitions, and those whose transaction hangs.

use std::collections::{BTreeMap, BTreeSet};

use milena_client::{Client, Error, Target};
use milena_wire::ErrorCode;
use milena_wire::describe_producers::{DescribeProducersRequest, ProducerState, TopicRequest};
use milena_wire::describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use milena_wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use milena_wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use milena_wire::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};

use super::{TopicPartition, by_topic, check};

/// Time-out of the transactional id while it is ended by force, in milliseconds; Kafka's request time-out.
const FENCING_TIMEOUT_MS: i32 = 30_000;

/// A transactional id as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Transactional id.
    pub id: String,
    /// Broker that coordinates it.
    pub coordinator: i32,
    /// Producer id.
    pub producer_id: i64,
    /// Kafka's name of the state, such as `Ongoing`.
    pub state: String,
}

/// Which transactional ids are listed; what is empty or `None` lets all through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Any of these states.
    pub states: Vec<String>,
    /// Any of these producer ids.
    pub producer_ids: Vec<i64>,
    /// Transactions that began longer ago, in milliseconds.
    pub longer_than_ms: Option<i64>,
    /// A regular expression that the whole id matches.
    pub pattern: Option<String>,
}

/// A transactional id and its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Transactional id.
    pub id: String,
    /// Broker that coordinates it.
    pub coordinator: i32,
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Kafka's name of the state.
    pub state: String,
    /// Longest that a transaction may be open, in milliseconds.
    pub timeout_ms: i32,
    /// When the transaction began, in milliseconds since 1970.
    pub start_time_ms: Option<i64>,
    /// Partitions it writes to.
    pub partitions: Vec<TopicPartition>,
}

/// A transaction that is open in a partition and that no coordinator will end.
#[derive(Debug, Clone, PartialEq)]
pub struct Hanging {
    /// The partition.
    pub partition: TopicPartition,
    /// Its producer.
    pub producer: ProducerState,
}

/// Transactional ids on all brokers that the filter lets through.
pub async fn list(client: &Client, filter: &Filter) -> Result<Vec<Listing>, Error> {
    let request = ListTransactionsRequest {
        state_filters: filter.states.iter().map(Into::into).collect(),
        producer_id_filters: filter.producer_ids.clone(),
        duration_filter: filter.longer_than_ms.unwrap_or(-1),
        transactional_id_pattern: filter.pattern.as_ref().map(Into::into),
    };
    let mut found = Vec::new();
    for broker in super::live_brokers(client) {
        let code_of = |it: &ListTransactionsResponse| it.error_code;
        let answer = client.send_retrying(Target::Broker(broker), request.clone(), i16::MAX, code_of).await?;
        check(|| format!("list the transactions of broker {broker}"), answer.error_code, None)?;
        found.extend(answer.transaction_states.into_iter().map(|it| Listing {
            id: it.transactional_id.to_string(),
            coordinator: broker,
            producer_id: it.producer_id,
            state: it.transaction_state.to_string(),
        }));
    }
    Ok(found)
}

/// One transactional id.
pub async fn describe(client: &Client, id: &str) -> Result<Description, Error> {
    let target = Target::Transaction(id);
    let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()] };
    let code_of =
        |it: &DescribeTransactionsResponse| it.transaction_states.first().map_or(0, |it| it.error_code);
    let answer = client.send_retrying(target, request, i16::MAX, code_of).await?;
    let what = || format!("describe transactional id {id}");
    let found = answer.transaction_states.into_iter().next();
    let it = found.ok_or_else(|| Error::refused(what(), ErrorCode::TransactionalIdNotFound.code(), None))?;
    check(what, it.error_code, None)?;
    let coordinator = client.coordinator(target).await?;
    let partitions = it.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|index| TopicPartition::new(topic.topic.as_str(), *index))
    });
    Ok(Description {
        id: id.to_owned(),
        coordinator,
        producer_id: it.producer_id,
        producer_epoch: it.producer_epoch,
        state: it.transaction_state.to_string(),
        timeout_ms: it.transaction_timeout_ms,
        start_time_ms: Some(it.transaction_start_time_ms).filter(|at| *at >= 0),
        partitions: partitions.collect(),
    })
}

/// Aborts the open transaction of a transactional id, if there is one, and fences its producer.
pub async fn force_terminate(client: &Client, id: &str) -> Result<(), Error> {
    let request = InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: FENCING_TIMEOUT_MS,
        ..Default::default()
    };
    let code_of = |it: &InitProducerIdResponse| it.error_code;
    let answer = client.send_retrying(Target::Transaction(id), request, i16::MAX, code_of).await?;
    check(|| format!("end the transaction of {id}"), answer.error_code, None)
}

/// The producers of partitions: on `broker`, or on each partition's leader.
pub async fn producers(
    client: &Client,
    partitions: &[TopicPartition],
    broker: Option<i32>,
) -> Result<Vec<(TopicPartition, Vec<ProducerState>)>, Error> {
    let mut by_broker: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    for partition in partitions {
        let asked = match broker {
            Some(broker) => broker,
            None => leader(client, partition).await?,
        };
        by_broker.entry(asked).or_default().push(partition.clone());
    }
    let mut found = Vec::new();
    for (broker, partitions) in by_broker {
        let topics = by_topic(partitions.into_iter().map(|it| (it, ()))).into_iter();
        let topics = topics.map(|(name, indexes)| TopicRequest {
            name: name.into(),
            partition_indexes: indexes.into_iter().map(|(index, ())| index).collect(),
        });
        let request = DescribeProducersRequest { topics: topics.collect() };
        let answer = client.send_to(Target::Broker(broker), request).await?;
        for topic in answer.topics {
            for it in topic.partitions {
                let partition = TopicPartition::new(topic.name.as_str(), it.partition_index);
                check(
                    || format!("describe the producers of {partition}"),
                    it.error_code,
                    it.error_message.as_deref(),
                )?;
                found.push((partition, it.active_producers));
            }
        }
    }
    Ok(found)
}

/// Writes an abort marker to one partition, whatever the coordinator knows.
pub async fn abort(
    client: &Client,
    partition: &TopicPartition,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
) -> Result<(), Error> {
    let marker = WritableTxnMarker {
        producer_id,
        producer_epoch,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic {
            name: partition.topic.as_str().into(),
            partition_indexes: vec![partition.partition],
        }],
        coordinator_epoch,
        ..Default::default()
    };
    let broker = leader(client, partition).await?;
    let request = WriteTxnMarkersRequest { markers: vec![marker] };
    let answer = client.send_to(Target::Broker(broker), request).await?;
    let results = answer.markers.iter().flat_map(|it| &it.topics).flat_map(|it| &it.partitions);
    let mut codes = results.map(|it| it.error_code);
    codes.try_for_each(|code| check(|| format!("abort a transaction of {partition}"), code, None))
}

/// Transactions that are open in `partitions` for longer than `longest_ms` without a coordinator that will end them:
/// none knows the producer, or its transaction does not have the partition.
pub async fn find_hanging(
    client: &Client,
    partitions: &[TopicPartition],
    broker: Option<i32>,
    longest_ms: i64,
    now_ms: i64,
) -> Result<Vec<Hanging>, Error> {
    let mut open = Vec::new();
    for (partition, states) in producers(client, partitions, broker).await? {
        let old = |it: &ProducerState| {
            it.current_txn_start_offset >= 0 && now_ms.saturating_sub(it.last_timestamp) > longest_ms
        };
        let states = states.into_iter().filter(old);
        open.extend(states.map(|producer| Hanging { partition: partition.clone(), producer }));
    }
    if open.is_empty() {
        return Ok(open);
    }
    let producer_ids: BTreeSet<i64> = open.iter().map(|it| it.producer.producer_id).collect();
    let filter = Filter { producer_ids: producer_ids.into_iter().collect(), ..Filter::default() };
    let mut expected: BTreeSet<(i64, TopicPartition)> = BTreeSet::new();
    for listed in list(client, &filter).await? {
        match describe(client, &listed.id).await {
            Ok(it) => {
                expected.extend(it.partitions.into_iter().map(|partition| (listed.producer_id, partition)));
            }
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    open.retain(|it| !expected.contains(&(it.producer.producer_id, it.partition.clone())));
    Ok(open)
}

async fn leader(client: &Client, partition: &TopicPartition) -> Result<i32, Error> {
    let topic = client.topic(&partition.topic, false).await?;
    let refused =
        |code: ErrorCode| Error::refused(format!("find the leader of {partition}"), code.code(), None);
    let known = topic.partition(partition.partition);
    let known = known.ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
    known.leader.ok_or_else(|| refused(ErrorCode::LeaderNotAvailable))
}
