//! From a frame to the handler that answers it: header, version, body, then one line per API.
//!
//! What the API table does not know, or this broker does not serve, closes the connection without an
//! answer, as Kafka does: any short error body would be misread. The exception is ApiVersions (AV-1).

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use milena_wire::{AnyRequest, ApiKey, Reader, RequestHeader, Response, Text, frame};
use tracing::debug;

use crate::api;
use crate::connection::{Outcome, Prompt, Started};
use crate::services::Services;

/// APIs in the table that no handler answers yet; they are absent from ApiVersions, so that clients do
/// not wait for them (lessons: an API that is not served is left out).
const NOT_SERVED: &[ApiKey] = &[
    ApiKey::SaslHandshake,
    ApiKey::SaslAuthenticate,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::AlterUserScramCredentials,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
];

/// The APIs that this broker answers, in the table's order.
pub(crate) fn served() -> impl Iterator<Item = ApiKey> {
    ApiKey::ALL.iter().copied().filter(|key| !NOT_SERVED.contains(key))
}

/// Who asks, and how: what of a request's surroundings its handler may need.
pub(crate) struct Context {
    /// Version of the request's body. Handlers turn it into named facts, once.
    pub(crate) version: i16,
    /// What the client calls itself; empty if it does not.
    pub(crate) client_id: Text,
    /// Name of the listener it came in by: its endpoints are the ones to answer with (MD-6).
    pub(crate) listener: Arc<str>,
    /// Its address.
    pub(crate) peer: SocketAddr,
}

/// Starts the requests of one connection.
pub(crate) struct Dispatcher {
    services: Arc<Services>,
    listener: Arc<str>,
    peer: SocketAddr,
}

impl Dispatcher {
    /// For a client at `peer` on the listener of this name.
    pub(crate) fn new(services: Arc<Services>, listener: Arc<str>, peer: SocketAddr) -> Self {
        Self { services, listener, peer }
    }

    /// Starts one request. What can be answered without waiting is answered when this returns.
    pub(crate) fn start(&self, frame: Bytes) -> Started {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return close("malformed request header") };
        let Some(key) = header.api() else { return close("unknown API key") };
        if key == ApiKey::ApiVersions && !key.versions().contains(&header.api_version) {
            return api::api_versions::unsupported(header.correlation_id);
        }
        if NOT_SERVED.contains(&key) || !key.versions().contains(&header.api_version) {
            debug!(api = %key, version = header.api_version, "unsupported API or version");
            return close("unsupported API or version");
        }
        self.services.meters.requested(key);
        let request = match AnyRequest::decode(key, header.api_version, &mut reader) {
            // Bytes behind the body are ignored, as in Kafka: librdkafka 2.16 sends some.
            Ok(request) => request,
            Err(error) => {
                debug!(api = %key, version = header.api_version, %error, "malformed request");
                return close("malformed request");
            }
        };
        let context = Context {
            version: header.api_version,
            client_id: header.client_id.unwrap_or_default(),
            listener: Arc::clone(&self.listener),
            peer: self.peer,
        };
        let answer = Answer { version: header.api_version, correlation_id: header.correlation_id };
        self.route(context, answer, request)
    }

    fn route(&self, context: Context, answer: Answer, request: AnyRequest) -> Started {
        let s = &self.services;
        match request {
            AnyRequest::Produce(it) => api::produce::start(s, context, answer, it),
            AnyRequest::Fetch(it) => api::fetch::start(s, context, answer, it),
            AnyRequest::ListOffsets(it) => answer.now(api::list_offsets::answer(&s.partitions, &context, it)),
            AnyRequest::OffsetForLeaderEpoch(it) => {
                answer.now(api::offset_for_leader_epoch::answer(&s.partitions, it))
            }
            AnyRequest::ApiVersions(it) => answer.now(api::api_versions::answer(&s.view, &context, &it)),
            AnyRequest::Metadata(it) => api::metadata::start(s, context, answer, it),
            AnyRequest::DescribeCluster(it) => answer.now(api::describe_cluster::answer(s, &context, &it)),
            AnyRequest::DescribeTopicPartitions(it) => {
                answer.now(api::describe_topic_partitions::answer(s, &it))
            }
            AnyRequest::InitProducerId(it) => {
                answer.later(api::init_producer_id::answer(Arc::clone(s), context, it))
            }
            AnyRequest::DescribeProducers(it) => {
                answer.now(api::describe_producers::answer(&s.partitions, it))
            }
            AnyRequest::AddPartitionsToTxn(it) => {
                answer.later(api::add_partitions_to_txn::answer(Arc::clone(s), context, it))
            }
            AnyRequest::AddOffsetsToTxn(it) => {
                answer.later(api::add_offsets_to_txn::answer(s.transactions.clone(), context, it))
            }
            AnyRequest::EndTxn(it) => answer.later(api::end_txn::answer(s.transactions.clone(), context, it)),
            AnyRequest::TxnOffsetCommit(it) => {
                answer.later(api::txn_offset_commit::answer(Arc::clone(s), context, it))
            }
            AnyRequest::ListTransactions(it) => {
                answer.later(api::list_transactions::answer(s.transactions.clone(), it))
            }
            AnyRequest::DescribeTransactions(it) => {
                answer.later(api::describe_transactions::answer(s.transactions.clone(), it))
            }
            AnyRequest::FindCoordinator(it) => api::find_coordinator::start(s, context, answer, it),
            AnyRequest::JoinGroup(it) => {
                answer.later(api::join_group::answer(s.coordination.clone(), context, it))
            }
            AnyRequest::SyncGroup(it) => answer.later(api::sync_group::answer(s.coordination.clone(), it)),
            AnyRequest::Heartbeat(it) => answer.later(api::heartbeat::answer(s.coordination.clone(), it)),
            AnyRequest::LeaveGroup(it) => {
                answer.later(api::leave_group::answer(s.coordination.clone(), context, it))
            }
            AnyRequest::OffsetCommit(it) => answer.promptly(api::offset_commit::answer(
                s.coordination.clone(),
                Arc::clone(&s.view),
                context,
                it,
            )),
            AnyRequest::OffsetFetch(it) => answer.later(api::offset_fetch::answer(
                s.coordination.clone(),
                Arc::clone(&s.view),
                context,
                it,
            )),
            AnyRequest::OffsetDelete(it) => {
                answer.later(api::offset_delete::answer(s.coordination.clone(), Arc::clone(&s.view), it))
            }
            AnyRequest::DescribeGroups(it) => {
                answer.later(api::describe_groups::answer(s.coordination.clone(), context, it))
            }
            AnyRequest::ListGroups(it) => answer.later(api::list_groups::answer(s.coordination.clone(), it)),
            AnyRequest::DeleteGroups(it) => {
                answer.later(api::delete_groups::answer(s.coordination.clone(), it))
            }
            AnyRequest::CreateTopics(it) => answer.later(api::create_topics::answer(Arc::clone(s), it)),
            AnyRequest::DeleteTopics(it) => {
                answer.later(api::delete_topics::answer(Arc::clone(s), context, it))
            }
            AnyRequest::CreatePartitions(it) => {
                answer.later(api::create_partitions::answer(Arc::clone(s), it))
            }
            AnyRequest::DeleteRecords(it) => answer.later(api::delete_records::answer(Arc::clone(s), it)),
            AnyRequest::DescribeConfigs(it) => answer.now(api::describe_configs::answer(s, &it)),
            AnyRequest::AlterConfigs(it) => answer.later(api::alter_configs::answer(Arc::clone(s), it)),
            AnyRequest::IncrementalAlterConfigs(it) => {
                answer.later(api::incremental_alter_configs::answer(Arc::clone(s), it))
            }
            AnyRequest::ListConfigResources(it) => {
                answer.now(api::list_config_resources::answer(&s.view, &context, &it))
            }
            AnyRequest::DescribeLogDirs(it) => answer.now(api::describe_log_dirs::answer(s, &it)),
            AnyRequest::ElectLeaders(it) => {
                answer.later(api::elect_leaders::answer(Arc::clone(s), context, it))
            }
            AnyRequest::AlterPartitionReassignments(it) => {
                answer.later(api::alter_partition_reassignments::answer(Arc::clone(s), it))
            }
            AnyRequest::ListPartitionReassignments(it) => {
                answer.now(api::list_partition_reassignments::answer(&s.view, it))
            }
            AnyRequest::DescribeQuorum(it) => {
                answer.later(api::describe_quorum::answer(Arc::clone(s), context, it))
            }
            AnyRequest::AddRaftVoter(it) => answer.later(api::add_raft_voter::answer(Arc::clone(s), it)),
            AnyRequest::RemoveRaftVoter(it) => {
                answer.later(api::remove_raft_voter::answer(Arc::clone(s), it))
            }
            AnyRequest::WriteTxnMarkers(it) => {
                answer.later(api::write_txn_markers::answer(Arc::clone(&s.partitions), it))
            }
            AnyRequest::UnregisterBroker(it) => {
                answer.later(api::unregister_broker::answer(Arc::clone(s), it))
            }
            AnyRequest::DescribeAcls(_) => answer.now(api::acls::describe()),
            AnyRequest::CreateAcls(it) => answer.now(api::acls::create(&it)),
            AnyRequest::DeleteAcls(it) => answer.now(api::acls::delete(&it)),
            AnyRequest::UpdateFeatures(it) => {
                answer.later(api::update_features::answer(Arc::clone(s), context, it))
            }
            AnyRequest::SaslHandshake(_)
            | AnyRequest::SaslAuthenticate(_)
            | AnyRequest::AlterReplicaLogDirs(_)
            | AnyRequest::DescribeClientQuotas(_)
            | AnyRequest::AlterClientQuotas(_)
            | AnyRequest::DescribeUserScramCredentials(_)
            | AnyRequest::AlterUserScramCredentials(_)
            | AnyRequest::ConsumerGroupHeartbeat(_)
            | AnyRequest::ConsumerGroupDescribe(_) => close("API is not served"),
        }
    }
}

/// How the answer to one request is framed.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    version: i16,
    correlation_id: i32,
}

impl Answer {
    /// Answers at once.
    pub(crate) fn now<R: Response>(self, response: R) -> Started {
        Started::Done(self.outcome(&response))
    }

    /// Answers when `response` is ready. It runs on the connection's task and ends with it.
    pub(crate) fn later<R: Response>(self, response: impl Future<Output = R> + Send + 'static) -> Started {
        Started::Waiting(Box::pin(async move { self.outcome(&response.await) }))
    }

    /// As [`Self::later`], but does not wait until those before it are answered: what has an order, `response` does
    /// before it first waits.
    pub(crate) fn promptly<R: Response>(self, response: impl Future<Output = R> + Send + 'static) -> Started {
        Started::Prompt(Prompt::new(Box::pin(async move { self.outcome(&response.await) })))
    }

    /// The framed answer.
    pub(crate) fn outcome<R: Response>(self, response: &R) -> Outcome {
        match frame::encode_response(response, self.version, self.correlation_id) {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => {
                tracing::error!(api = %R::KEY, version = self.version, %error, "answer cannot be encoded");
                Outcome::Close("answer cannot be encoded")
            }
        }
    }
}

/// Ends the connection after the answers before this one.
pub(crate) fn close(why: &'static str) -> Started {
    Started::Done(Outcome::Close(why))
}
