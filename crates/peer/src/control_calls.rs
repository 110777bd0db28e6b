//! `proto/control.proto`, the way out.

use crate::MAX_MESSAGE;
use crate::generated::control::control_client::ControlClient;
use crate::generated::control::{
    ChangeMembersRequest, ChangeMembersResponse, HelloRequest, HelloResponse, ProposeRequest,
    ProposeResponse, ReadIndexRequest, ReadIndexResponse, StatusRequest, StatusResponse,
};
use crate::line::reason;
use crate::network::{Call, Peers, Purpose};
use milena_quorum::{NodeId, Unreachable};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// Asks whoever listens at `address`, a host:port, who it is. The error says why nobody answered.
pub async fn hello(
    address: &str,
    request: HelloRequest,
    patience: Duration,
) -> Result<HelloResponse, String> {
    let asked = async {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
        let channel = endpoint.connect().await.map_err(|error| {
            let status = Status::from_error(Box::new(error));
            reason(&status)
        })?;
        let answer = ControlClient::new(channel).hello(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| reason(&status))
    };
    tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

impl Peers {
    /// Puts a command before a group that `to` leads. An [`Unreachable`] after the call has begun leaves open
    /// whether it took effect.
    pub async fn propose(
        &self,
        to: NodeId,
        request: ProposeRequest,
        patience: Duration,
    ) -> Result<ProposeResponse, Unreachable> {
        let call = self.call(to, Purpose::Control);
        let request = call.request(request);
        call.within(patience, client(&call)?.propose(request)).await
    }

    /// Asks the leader of a group how far a current read must be.
    pub async fn read_index(
        &self,
        to: NodeId,
        request: ReadIndexRequest,
        patience: Duration,
    ) -> Result<ReadIndexResponse, Unreachable> {
        let call = self.call(to, Purpose::Control);
        let request = call.request(request);
        call.within(patience, client(&call)?.read_index(request)).await
    }

    /// Asks a node how far a group is.
    pub async fn status(
        &self,
        to: NodeId,
        request: StatusRequest,
        patience: Duration,
    ) -> Result<StatusResponse, Unreachable> {
        let call = self.call(to, Purpose::Control);
        let request = call.request(request);
        call.within(patience, client(&call)?.status(request)).await
    }

    /// Asks the leader of `cluster` to change the members of the groups.
    pub async fn change_members(
        &self,
        to: NodeId,
        request: ChangeMembersRequest,
        patience: Duration,
    ) -> Result<ChangeMembersResponse, Unreachable> {
        let call = self.call(to, Purpose::Control);
        let request = call.request(request);
        call.within(patience, client(&call)?.change_members(request)).await
    }
}

fn client(call: &Call) -> Result<ControlClient<Channel>, Unreachable> {
    let client = ControlClient::new(call.channel()?);
    Ok(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}
