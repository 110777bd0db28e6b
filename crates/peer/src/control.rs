//! `proto/control.proto`, the way in: hands calls of other nodes to a [`Controlled`].

use crate::MAX_MESSAGE;
use crate::generated::control::control_server::{Control, ControlServer};
use crate::generated::control::{
    ChangeMembersRequest, ChangeMembersResponse, HelloRequest, HelloResponse, ProposeRequest,
    ProposeResponse, ReadIndexRequest, ReadIndexResponse, StatusRequest, StatusResponse,
};
use crate::identity::Identity;
use std::sync::{Arc, OnceLock};
use tonic::{Request, Response, Status, async_trait};

/// A node that other nodes ask.
#[async_trait]
pub trait Controlled: Send + Sync + 'static {
    /// Says who this is. Anybody may ask. `None` while this node does not know itself yet.
    async fn hello(&self, request: HelloRequest) -> Option<HelloResponse>;

    /// Puts a command before a group that this node leads.
    async fn propose(&self, request: ProposeRequest) -> ProposeResponse;

    /// Confirms with a quorum that this node leads the group.
    async fn read_index(&self, request: ReadIndexRequest) -> ReadIndexResponse;

    /// Says how far a group is, as this node sees it.
    async fn status(&self, request: StatusRequest) -> StatusResponse;

    /// Changes the members of the groups.
    async fn change_members(&self, request: ChangeMembersRequest) -> ChangeMembersResponse;
}

/// The service, for [`crate::Routes::add`]. Until `identity` is set, the node knows no cluster and answers
/// nothing but who it is.
pub fn control_service(
    identity: Arc<OnceLock<Identity>>,
    node: Arc<dyn Controlled>,
) -> ControlServer<impl Control> {
    ControlServer::new(Service { identity, node })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

struct Service {
    identity: Arc<OnceLock<Identity>>,
    node: Arc<dyn Controlled>,
}

impl Service {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let nowhere = || Status::failed_precondition("this node is not part of a cluster yet");
        self.identity.get().ok_or_else(nowhere)?.check(request).map(drop)
    }
}

#[async_trait]
impl Control for Service {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let answer = self.node.hello(request.into_inner()).await;
        answer.map(Response::new).ok_or_else(|| Status::unavailable("this node is starting"))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.node.propose(request.into_inner()).await))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.node.read_index(request.into_inner()).await))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.node.status(request.into_inner()).await))
    }

    async fn change_members(
        &self,
        request: Request<ChangeMembersRequest>,
    ) -> Result<Response<ChangeMembersResponse>, Status> {
        self.check(&request)?;
        Ok(Response::new(self.node.change_members(request.into_inner()).await))
    }
}
