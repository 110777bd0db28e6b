//! Fetch (1), versions 4 to 18, for consumers.
//!
//! Answers at once when there is enough, an error, or nothing to wait for; else parks until the partitions
//! it asked for wake it or its time is over (FE-1). With version 11 the client's rack comes along: the leader may
//! name a nearer replica, and followers answer, too (KIP-392). The first partition with data gives at least one whole
//! batch whatever the limits say (FE-2). Version 7 brings sessions (KIP-227), 9 the leader epoch, 10 zstd,
//! 12 the last fetched epoch (KIP-595), 13 topic ids (KIP-516). Replicas fetch over the peer channel, so a
//! replica id is refused here (FE-16).

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_metadata::BrokerId;
use milena_wire::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use milena_wire::{ErrorCode, Records, Text, Uuid};

use crate::connection::Started;
use crate::dispatch::{Answer, Context};
use crate::hosted::{FetchFrom, FetchRefusal, Fetched, Hosted};
use crate::parked::Parked;
use crate::partitions::{Partitions, TopicRef};
use crate::services::Services;

/// The only `replica.selector.class` besides Kafka's default, without its package.
const RACK_AWARE: &str = "RackAwareReplicaSelector";

/// What one request wants, with the partitions looked up.
struct Plan {
    topics: Vec<TopicPlan>,
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
    /// Below version 10 a client does not know zstd. It is told so of topics whose `compression.type` is zstd;
    /// of others it gets what their producers sent, as in Kafka (FE-15).
    knows_zstd: bool,
    /// Brokers in the client's rack, if it may be sent to one of them (KIP-392).
    nearby: Vec<i32>,
    partitions: Arc<Partitions>,
    listener: Arc<str>,
}

struct TopicPlan {
    name: Text,
    id: Uuid,
    partitions: Vec<PartitionPlan>,
}

struct PartitionPlan {
    index: i32,
    hosted: Result<Arc<Hosted>, ErrorCode>,
    from: FetchFrom,
}

/// What one pass over the partitions gave.
struct Collected {
    response: FetchResponse,
    bytes: usize,
    /// Something in it must be told now, whatever the minimum says.
    urgent: bool,
}

/// Answers at once if it may, else when woken.
pub(crate) fn start(services: &Services, context: Context, answer: Answer, request: FetchRequest) -> Started {
    if let Err(code) = check_request(&context, &request) {
        return answer.now(FetchResponse { error_code: code.code(), ..Default::default() });
    }
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let plan = Plan::new(services, &context, request);
    let collected = plan.collect();
    if max_wait.is_zero() || plan.is_satisfied_by(&collected) {
        plan.count(&collected.response);
        return answer.now(collected.response);
    }
    answer.later(async move {
        let response = wait(&plan, Instant::now() + max_wait).await;
        plan.count(&response);
        response
    })
}

/// Sessions are refused by answering session id 0, which every client takes as "send all partitions each
/// time"; a request that believes in a session has lost it (FE-12).
fn check_request(context: &Context, request: &FetchRequest) -> Result<(), ErrorCode> {
    let replica_id =
        if context.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    if replica_id >= 0 {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    if request.session_epoch > 0 {
        return Err(ErrorCode::FetchSessionIdNotFound);
    }
    Ok(())
}

/// The live brokers in the client's rack, if the broker is told to choose by rack.
fn nearby(services: &Services, request: &FetchRequest) -> Vec<i32> {
    let selects = services.settings().replica_selector_class().is_some_and(|it| it.ends_with(RACK_AWARE));
    if !selects || request.rack_id.is_empty() {
        return Vec::new();
    }
    let image = services.view.image();
    let near = image.live_brokers().filter(|it| it.rack.as_deref() == Some(&*request.rack_id));
    near.map(|broker| broker.id.0).collect()
}

/// Parks until the plan is satisfied or the time is over, then answers with what there is.
async fn wait(plan: &Plan, deadline: Instant) -> FetchResponse {
    let parked = Parked::with(plan.hosted().cloned());
    loop {
        let collected = plan.collect();
        if plan.is_satisfied_by(&collected) {
            return collected.response;
        }
        let time_over = tokio::time::sleep_until(deadline.into());
        tokio::select! {
            () = parked.woken() => {}
            () = time_over => return plan.collect().response,
        }
    }
}

impl Plan {
    fn new(services: &Services, context: &Context, request: FetchRequest) -> Self {
        let partitions = &services.partitions;
        let nearby = nearby(services, &request);
        let by_id = context.version >= 13;
        let limit = partitions.fetch_max_bytes();
        let max_bytes = (request.max_bytes.max(0) as usize).min(limit);
        let topics = request.topics.into_iter().map(|topic| {
            let reference =
                if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.topic.clone()) };
            let plans = topic.partitions.into_iter().map(|it| PartitionPlan {
                index: it.partition,
                hosted: partitions.find(&reference, it.partition),
                from: FetchFrom {
                    offset: it.fetch_offset,
                    max_bytes: it.partition_max_bytes.max(0) as usize,
                    current_leader_epoch: it.current_leader_epoch,
                    last_fetched_epoch: it.last_fetched_epoch,
                    from_follower: context.version >= 11,
                },
            });
            TopicPlan { partitions: plans.collect(), name: topic.topic, id: topic.topic_id }
        });
        Self {
            topics: topics.collect(),
            min_bytes: (request.min_bytes.max(0) as usize).min(max_bytes),
            max_bytes,
            read_committed: request.isolation_level == 1,
            knows_zstd: context.version >= 10,
            nearby,
            partitions: Arc::clone(partitions),
            listener: Arc::clone(&context.listener),
        }
    }

    fn hosted(&self) -> impl Iterator<Item = &Arc<Hosted>> {
        self.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|it| it.hosted.as_ref().ok())
    }

    /// Counts what is sent, for the metrics.
    fn count(&self, response: &FetchResponse) {
        for (topic, answered) in self.topics.iter().zip(&response.responses) {
            for (plan, data) in topic.partitions.iter().zip(&answered.partitions) {
                let bytes =
                    (data.error_code == 0).then(|| data.records.as_ref().map_or(0, Records::len) as u64);
                self.partitions.traffic.fetched(bytes);
                if let Ok(hosted) = &plan.hosted {
                    hosted.traffic.fetched(bytes);
                }
            }
        }
    }

    fn is_satisfied_by(&self, collected: &Collected) -> bool {
        collected.urgent || collected.bytes >= self.min_bytes || self.topics.is_empty()
    }

    /// Reads every partition once, in the order of the request (FE-4).
    fn collect(&self) -> Collected {
        let (mut bytes, mut urgent) = (0, false);
        let mut responses = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for plan in &topic.partitions {
                let data = self.read(topic, plan, self.max_bytes.saturating_sub(bytes), bytes == 0);
                bytes += data.records.as_ref().map_or(0, Records::len);
                urgent |= data.error_code != 0
                    || data.diverging_epoch.epoch >= 0
                    || data.preferred_read_replica >= 0;
                partitions.push(data);
            }
            responses.push(FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions,
            });
        }
        let node_endpoints = self.endpoints(&responses);
        let response = FetchResponse { responses, node_endpoints, ..Default::default() };
        Collected { response, bytes, urgent }
    }

    /// Adds who leads instead, if the partition is on other brokers (KIP-951).
    fn elsewhere(&self, topic: &TopicPlan, data: PartitionData) -> PartitionData {
        let reference = match topic.id.is_zero() {
            true => TopicRef::Name(topic.name.clone()),
            false => TopicRef::Id(topic.id),
        };
        let leader = self.partitions.leader(&reference, data.partition_index);
        let leader = leader.filter(|(leader, _)| *leader >= 0);
        let current_leader =
            leader.map(|(leader_id, leader_epoch)| LeaderIdAndEpoch { leader_id, leader_epoch });
        PartitionData { current_leader: current_leader.unwrap_or_default(), ..data }
    }

    /// Where the leaders are that the answer names (KIP-951).
    fn endpoints(&self, topics: &[FetchableTopicResponse]) -> Vec<NodeEndpoint> {
        let named = topics.iter().flat_map(|topic| &topic.partitions);
        let mut leaders: Vec<_> = named.map(|it| it.current_leader.leader_id).filter(|id| *id >= 0).collect();
        leaders.sort_unstable();
        leaders.dedup();
        let view = self.partitions.view();
        let endpoint = |id| {
            let endpoint = view.endpoint(BrokerId(id), &self.listener)?;
            Some(NodeEndpoint {
                node_id: id,
                host: endpoint.host.into(),
                port: endpoint.port.into(),
                rack: view.rack(BrokerId(id)).map(Into::into),
            })
        };
        leaders.into_iter().filter_map(endpoint).collect()
    }

    fn read(
        &self,
        topic: &TopicPlan,
        plan: &PartitionPlan,
        room: usize,
        at_least_one: bool,
    ) -> PartitionData {
        let hosted = match &plan.hosted {
            Ok(hosted) => hosted,
            Err(code) => return self.elsewhere(topic, failed(plan.index, *code)),
        };
        if !self.knows_zstd && hosted.is_stored_as_zstd() {
            return failed(plan.index, ErrorCode::UnsupportedCompressionType);
        }
        let from = FetchFrom { max_bytes: plan.from.max_bytes.min(room), ..plan.from };
        if !self.nearby.is_empty()
            && let Some(replica) = hosted.preferred_read_replica(&self.nearby, from.offset)
        {
            // No records: the client shall read them there.
            let from = FetchFrom { max_bytes: 0, ..from };
            return match hosted.fetch(&from, self.read_committed, false) {
                Ok(fetched) => {
                    PartitionData { preferred_read_replica: replica, ..self.succeeded(plan.index, fetched) }
                }
                Err(refusal) => refused(plan.index, &refusal),
            };
        }
        match hosted.fetch(&from, self.read_committed, at_least_one) {
            Ok(fetched) => self.succeeded(plan.index, fetched),
            Err(refusal) => refused(plan.index, &refusal),
        }
    }

    fn succeeded(&self, index: i32, fetched: Fetched) -> PartitionData {
        PartitionData {
            partition_index: index,
            high_watermark: fetched.high_watermark.0,
            last_stable_offset: fetched.last_stable_offset.0,
            log_start_offset: fetched.log_start.0,
            diverging_epoch: fetched
                .diverging
                .map(|(epoch, end)| EpochEndOffset { epoch: epoch.0, end_offset: end.0 })
                .unwrap_or_default(),
            // Empty and null differ: null tells that nobody looked (FE-7).
            aborted_transactions: self.read_committed.then(|| {
                let aborted = fetched.aborted.iter();
                aborted
                    .map(|it| AbortedTransaction {
                        producer_id: it.producer_id.0,
                        first_offset: it.first_offset.0,
                    })
                    .collect()
            }),
            // Never null: old librdkafka and kafka-python fail on it.
            records: Some(Records::from(fetched.records)),
            ..Default::default()
        }
    }
}

fn failed(index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code: code.code(),
        high_watermark: -1,
        records: Some(Records::empty()),
        ..Default::default()
    }
}

fn refused(index: i32, refusal: &FetchRefusal) -> PartitionData {
    let mut data = failed(index, refusal.code());
    // Kafka tells "nobody looked" of a partition that it has, and an empty list of one that it does not have.
    data.aborted_transactions = None;
    if let Some((leader_id, leader_epoch)) = refusal.current_leader() {
        data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
    }
    data
}
