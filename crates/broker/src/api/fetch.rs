//! Fetch (1), versions 4 to 18, for consumers.
//!
//! Answers at once when there is enough, an error, or nothing to wait for; else parks until the partitions
//! it asked for wake it or its time is over (FE-1). The first partition with data gives at least one whole
//! batch whatever the limits say (FE-2). Version 7 brings sessions (KIP-227), 9 the leader epoch, 10 zstd,
//! 12 the last fetched epoch (KIP-595), 13 topic ids (KIP-516). Replicas fetch over the peer channel, so a
//! replica id is refused here (FE-16).

use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_wire::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch, PartitionData,
};
use milena_wire::{ErrorCode, Records, Text, Uuid};

use crate::connection::Started;
use crate::dispatch::{Answer, Context};
use crate::hosted::{FetchFrom, FetchRefusal, Fetched, Hosted};
use crate::partitions::{Partitions, TopicRef};
use crate::waiters::Waiter;

/// What one request wants, with the partitions looked up.
struct Plan {
    topics: Vec<TopicPlan>,
    min_bytes: usize,
    max_bytes: usize,
    read_committed: bool,
    /// Below version 10 a client does not know zstd. It is told so of topics whose `compression.type` is zstd;
    /// of others it gets what their producers sent, as in Kafka (FE-15).
    knows_zstd: bool,
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
pub(crate) fn start(
    partitions: &Arc<Partitions>,
    context: Context,
    answer: Answer,
    request: FetchRequest,
) -> Started {
    if let Err(code) = check_request(&context, &request) {
        return answer.now(FetchResponse { error_code: code.code(), ..Default::default() });
    }
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let plan = Plan::new(partitions, &context, request);
    let collected = plan.collect();
    if max_wait.is_zero() || plan.is_satisfied_by(&collected) {
        plan.count(partitions, &collected.response);
        return answer.now(collected.response);
    }
    let partitions = Arc::clone(partitions);
    answer.later(async move {
        let response = wait(&plan, Instant::now() + max_wait).await;
        plan.count(&partitions, &response);
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

/// Parks until the plan is satisfied or the time is over, then answers with what there is.
async fn wait(plan: &Plan, deadline: Instant) -> FetchResponse {
    let parked = Parked::new(plan);
    loop {
        let collected = plan.collect();
        if plan.is_satisfied_by(&collected) {
            return collected.response;
        }
        let time_over = tokio::time::sleep_until(deadline.into());
        tokio::select! {
            () = parked.waiter.woken() => {}
            () = time_over => return plan.collect().response,
        }
    }
}

/// A registration with every partition of a plan; ends when dropped, also with the connection.
struct Parked {
    waiter: Arc<Waiter>,
    with: Vec<Arc<Hosted>>,
}

impl Parked {
    fn new(plan: &Plan) -> Self {
        let waiter = Arc::new(Waiter::default());
        let with: Vec<_> = plan.hosted().cloned().collect();
        with.iter().for_each(|hosted| hosted.waiters.register(&waiter));
        Self { waiter, with }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.with.iter().for_each(|hosted| hosted.waiters.deregister(&self.waiter));
    }
}

impl Plan {
    fn new(partitions: &Partitions, context: &Context, request: FetchRequest) -> Self {
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
        }
    }

    fn hosted(&self) -> impl Iterator<Item = &Arc<Hosted>> {
        self.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|it| it.hosted.as_ref().ok())
    }

    /// Counts what is sent, for the metrics.
    fn count(&self, partitions: &Partitions, response: &FetchResponse) {
        for (topic, answered) in self.topics.iter().zip(&response.responses) {
            for (plan, data) in topic.partitions.iter().zip(&answered.partitions) {
                let bytes =
                    (data.error_code == 0).then(|| data.records.as_ref().map_or(0, Records::len) as u64);
                partitions.traffic.fetched(bytes);
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
                let data = self.read(plan, self.max_bytes.saturating_sub(bytes), bytes == 0);
                bytes += data.records.as_ref().map_or(0, Records::len);
                urgent |= data.error_code != 0 || data.diverging_epoch.epoch >= 0;
                partitions.push(data);
            }
            responses.push(FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions,
            });
        }
        Collected { response: FetchResponse { responses, ..Default::default() }, bytes, urgent }
    }

    fn read(&self, plan: &PartitionPlan, room: usize, at_least_one: bool) -> PartitionData {
        let hosted = match &plan.hosted {
            Ok(hosted) => hosted,
            Err(code) => return failed(plan.index, *code),
        };
        if !self.knows_zstd && hosted.is_stored_as_zstd() {
            return failed(plan.index, ErrorCode::UnsupportedCompressionType);
        }
        let from = FetchFrom { max_bytes: plan.from.max_bytes.min(room), ..plan.from };
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
            aborted_transactions: self.read_committed.then(Vec::<AbortedTransaction>::new),
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
