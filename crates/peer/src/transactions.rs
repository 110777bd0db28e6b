//! `proto/transactions.proto`, both ends: what partition leaders and the transaction coordinator ask of each other.
//!
//! It has a connection of its own on the control side: markers neither wait behind copies of partitions nor make
//! Raft wait. Deciding is the broker's.

use std::sync::Arc;
use std::time::Duration;

use milena_quorum::{NodeId, Unreachable};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, async_trait};

use crate::MAX_MESSAGE;
use crate::generated::transactions::transactions_client::TransactionsClient;
use crate::generated::transactions::transactions_server::{Transactions, TransactionsServer};
use crate::identity::Identity;
use crate::network::{Call, Peers, Purpose};

/// The messages of the service.
pub mod message {
    pub use crate::generated::transactions::{
        EnlistRequest, EnlistResponse, EnlistedPartition, Marker, MarkerResult, Partition,
        WriteMarkersRequest, WriteMarkersResponse,
    };
}

use message::{EnlistRequest, EnlistResponse, WriteMarkersRequest, WriteMarkersResponse};

/// A broker that leads partitions and may coordinate transactions.
#[async_trait]
pub trait Transactional: Send + Sync + 'static {
    /// Writes markers to partitions that this broker leads; one result per marker, one code per partition.
    async fn write_markers(&self, request: WriteMarkersRequest) -> WriteMarkersResponse;

    /// Adds partitions to a transaction that this broker coordinates, or looks whether they belong to it; one code
    /// per partition.
    async fn enlist(&self, request: EnlistRequest) -> EnlistResponse;
}

/// The service, for [`crate::Routes::add`].
pub fn transactions_service(
    identity: Identity,
    broker: Arc<dyn Transactional>,
) -> TransactionsServer<impl Transactions> {
    TransactionsServer::new(Service { identity, broker })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

struct Service {
    identity: Identity,
    broker: Arc<dyn Transactional>,
}

#[async_trait]
impl Transactions for Service {
    async fn write_markers(
        &self,
        request: Request<WriteMarkersRequest>,
    ) -> Result<Response<WriteMarkersResponse>, Status> {
        self.identity.check(&request)?;
        Ok(Response::new(self.broker.write_markers(request.into_inner()).await))
    }

    async fn enlist(&self, request: Request<EnlistRequest>) -> Result<Response<EnlistResponse>, Status> {
        self.identity.check(&request)?;
        Ok(Response::new(self.broker.enlist(request.into_inner()).await))
    }
}

impl Peers {
    /// Has `to` write markers. After an [`Unreachable`] they may be written or not: they are sent again.
    pub async fn write_markers(
        &self,
        to: NodeId,
        request: WriteMarkersRequest,
        patience: Duration,
    ) -> Result<WriteMarkersResponse, Unreachable> {
        let call = self.call(to, Purpose::Transactions);
        let request = call.request(request);
        call.within(patience, client(&call)?.write_markers(request)).await
    }

    /// Has the coordinator `to` add partitions to a transaction. After an [`Unreachable`] they may be added or not:
    /// adding them again changes nothing.
    pub async fn enlist(
        &self,
        to: NodeId,
        request: EnlistRequest,
        patience: Duration,
    ) -> Result<EnlistResponse, Unreachable> {
        let call = self.call(to, Purpose::Transactions);
        let request = call.request(request);
        call.within(patience, client(&call)?.enlist(request)).await
    }
}

fn client(call: &Call) -> Result<TransactionsClient<Channel>, Unreachable> {
    let client = TransactionsClient::new(call.channel()?);
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}
