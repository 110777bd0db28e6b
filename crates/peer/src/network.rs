//! The way out: [`Network`] over gRPC.

use crate::MAX_MESSAGE;
use crate::addresses::Addresses;
use crate::generated::raft::raft_client::RaftClient;
use crate::identity::Identity;
use crate::line::{Line, reason};
use futures_util::Stream;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{BoxStream, StreamExt};
use milena_quorum::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use milena_quorum::{Network, NodeId, Unreachable};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// How patient connections are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Longest time for a connection to be made.
    pub connect_timeout: Duration,
    /// Longest time for a vote to be answered.
    pub call_timeout: Duration,
    /// A connection on which nothing arrives for this long is probed; without an answer in the
    /// same time again it is given up.
    pub keep_alive: Duration,
    /// Longest wait before a node that does not answer is called again. Bounds how late a node
    /// that came back is noticed.
    pub longest_backoff: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        PeerConfig {
            connect_timeout: Duration::from_millis(500),
            call_timeout: Duration::from_millis(500),
            keep_alive: Duration::from_secs(1),
            longest_backoff: Duration::from_millis(200),
        }
    }
}

/// What a connection is for. Heartbeats must not queue behind entries, nor both behind a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Liveness,
    Entries,
    Snapshots,
    Control,
    Transactions,
}

/// Connections to all other nodes. Clones share them.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    addresses: Addresses,
    config: PeerConfig,
    lines: Mutex<BTreeMap<(NodeId, Purpose), Arc<Line>>>,
}

/// A line, with what is needed to call on it.
#[derive(Clone)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    line: Arc<Line>,
    to: NodeId,
    purpose: Purpose,
}

impl Peers {
    /// Nothing is connected before the first call.
    pub fn new(identity: Identity, addresses: Addresses, config: PeerConfig) -> Peers {
        Peers { shared: Arc::new(Shared { identity, addresses, config, lines: Mutex::default() }) }
    }

    /// Closes the connections to a node that has left.
    pub fn forget(&self, node: NodeId) {
        self.shared.lines.lock().unwrap().retain(|(id, _), _| *id != node);
    }

    pub(crate) fn call(&self, to: NodeId, purpose: Purpose) -> Call {
        let mut lines = self.shared.lines.lock().unwrap();
        let line = lines.entry((to, purpose)).or_insert_with(|| Arc::new(Line::new(to))).clone();
        Call { shared: self.shared.clone(), line, to, purpose }
    }
}

impl Call {
    /// The connection; made at the first call on it.
    pub(crate) fn channel(&self) -> Result<Channel, Unreachable> {
        self.line.channel(self.shared.addresses.get(self.to), &self.shared.config)
    }

    /// A request that says from whom and to whom it is.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.shared.identity.call(self.to, message)
    }

    fn client(&self) -> Result<RaftClient<Channel>, Unreachable> {
        Ok(RaftClient::new(self.channel()?)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE))
    }

    fn outcome<T>(&self, result: Result<Response<T>, Status>) -> Result<T, Unreachable> {
        match result {
            Ok(response) => {
                self.line.worked();
                Ok(response.into_inner())
            }
            // The node answered, though it would not do it: no reason to dial less often.
            Err(status) if answered(&status) => Err(self.line.unreachable(&reason(&status))),
            Err(status) => Err(self.line.failed(&status, &self.shared.config)),
        }
    }

    async fn within_call_timeout<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Unreachable> {
        self.within(self.shared.config.call_timeout, call).await
    }

    /// The outcome of a call that may take as long as `patience`.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Unreachable> {
        let late = || Err(Status::deadline_exceeded("no answer in time"));
        let result = tokio::time::timeout(patience, call).await;
        self.outcome(result.unwrap_or_else(|_| late()))
    }
}

/// A stream of a named type: with the boxed one, the compiler cannot prove the call's future `Send`.
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

fn answered(status: &Status) -> bool {
    use tonic::Code;
    matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument | Code::NotFound | Code::Aborted)
}

impl Network for Peers {
    fn append(
        &self,
        to: NodeId,
        heartbeats: bool,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<AppendResponse, Unreachable>>, Unreachable>>
    {
        let call = self.call(to, if heartbeats { Purpose::Liveness } else { Purpose::Entries });
        async move {
            let request = call.request(Outgoing(requests));
            let answers = call.outcome(call.client()?.append(request).await)?;
            let answers =
                answers.map(move |answer| answer.map_err(|status| call.line.unreachable(&reason(&status))));
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(
        &self,
        to: NodeId,
        request: VoteRequest,
    ) -> BoxFuture<'static, Result<VoteResponse, Unreachable>> {
        let call = self.call(to, Purpose::Liveness);
        async move {
            let mut client = call.client()?;
            call.within_call_timeout(client.vote(call.request(request))).await
        }
        .boxed()
    }

    fn transfer_leader(
        &self,
        to: NodeId,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Unreachable>> {
        let call = self.call(to, Purpose::Liveness);
        async move {
            let mut client = call.client()?;
            call.within_call_timeout(client.transfer_leader(call.request(request))).await
        }
        .boxed()
    }

    fn snapshot(
        &self,
        to: NodeId,
        chunks: BoxStream<'static, SnapshotChunk>,
    ) -> BoxFuture<'static, Result<SnapshotResponse, Unreachable>> {
        let call = self.call(to, Purpose::Snapshots);
        async move {
            tracing::info!(node = %to, purpose = ?call.purpose, "sending a snapshot");
            let request = call.request(Outgoing(chunks));
            call.outcome(call.client()?.snapshot(request).await)
        }
        .boxed()
    }
}
