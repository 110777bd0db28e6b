//! What consensus asks of the network. Crate `peer` implements it over gRPC, tests in memory.

use crate::id::NodeId;
use crate::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use thiserror::Error;

/// The other node did not answer, or not in time. Consensus backs off and tries again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("node {node} is unreachable: {reason}")]
pub struct Unreachable {
    /// Whom we called.
    pub node: NodeId,
    /// What the transport said.
    pub reason: String,
}

/// Carries requests to other nodes; the other end hands them to [`crate::Inbound`].
///
/// A call to a node that is down must fail quickly rather than wait for it. Implementations find
/// addresses themselves: consensus knows nodes by id only.
pub trait Network: Send + Sync + 'static {
    /// Opens a stream of appends. Answers arrive in the order of the requests; the stream ends
    /// with an error when the connection breaks. `heartbeats` marks the stream that proves
    /// liveness: it should not queue behind bulk data.
    fn append(
        &self,
        to: NodeId,
        heartbeats: bool,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<AppendResponse, Unreachable>>, Unreachable>>;

    /// Asks for a vote.
    fn vote(&self, to: NodeId, request: VoteRequest)
    -> BoxFuture<'static, Result<VoteResponse, Unreachable>>;

    /// Tells a node that it may take over the leadership.
    fn transfer_leader(
        &self,
        to: NodeId,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Unreachable>>;

    /// Sends a snapshot; the answer comes when the other node has installed it durably.
    fn snapshot(
        &self,
        to: NodeId,
        chunks: BoxStream<'static, SnapshotChunk>,
    ) -> BoxFuture<'static, Result<SnapshotResponse, Unreachable>>;
}
