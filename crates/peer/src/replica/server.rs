//! The leader's end: hands each follower's stream to the broker.

use futures_util::future;
use futures_util::stream::{BoxStream, StreamExt};
use milena_quorum::NodeId;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::LONGEST_MESSAGE;
use super::message::{Batches, Positions};
use crate::generated::replica::replica_server::{Replica, ReplicaServer};
use crate::identity::Identity;

/// Who answers followers.
pub trait Leader: Send + Sync + 'static {
    /// Serves one stream: `positions` ends when the follower is gone, the answer may end earlier.
    fn feed(&self, follower: NodeId, positions: BoxStream<'static, Positions>)
    -> BoxStream<'static, Batches>;
}

/// The service by which other brokers copy partitions from this one, for [`crate::Routes::add`]. Streams end at
/// `closing`.
pub fn replica_service(
    identity: Identity,
    leader: Arc<dyn Leader>,
    closing: CancellationToken,
) -> ReplicaServer<impl Replica> {
    ReplicaServer::new(Service { identity, leader, closing })
        .max_decoding_message_size(LONGEST_MESSAGE)
        .max_encoding_message_size(LONGEST_MESSAGE)
}

struct Service {
    identity: Identity,
    leader: Arc<dyn Leader>,
    closing: CancellationToken,
}

#[async_trait]
impl Replica for Service {
    type FetchStream = BoxStream<'static, Result<Batches, Status>>;

    async fn fetch(
        &self,
        request: Request<Streaming<Positions>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let follower = self.identity.check(&request)?;
        let positions = request.into_inner().scan((), |(), positions| future::ready(positions.ok()));
        let batches = self.leader.feed(follower, positions.boxed());
        let closed = self.closing.clone().cancelled_owned();
        Ok(Response::new(batches.map(Ok).take_until(Box::pin(closed)).boxed()))
    }
}
