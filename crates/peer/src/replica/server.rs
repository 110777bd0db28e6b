//! The leader's end: hands each follower's stream to the broker.
//!
//! tonic's generated server would copy all records once more into the buffer of a message, so the answers are framed
//! here, by [`super::encode`].

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use milena_quorum::NodeId;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::Codec;
use tonic::codegen::Service;
use tonic::codegen::http::{self, HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Extensions, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::LONGEST_MESSAGE;
use super::encode::encode;
use super::message::{Batches, Positions};
use crate::identity::{Identity, check_protocol, say_protocol};

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
) -> ReplicaService {
    ReplicaService { identity, leader, closing }
}

/// See [`replica_service`].
#[derive(Clone)]
pub struct ReplicaService {
    identity: Identity,
    leader: Arc<dyn Leader>,
    closing: CancellationToken,
}

impl NamedService for ReplicaService {
    const NAME: &'static str = "milena.replica.Replica";
}

impl ReplicaService {
    /// The service has one method, so its name is not looked at.
    fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let decoder = ProstCodec::<Batches, Positions>::default().decoder();
        let positions = Streaming::new_request(decoder, body, None, Some(LONGEST_MESSAGE));
        let metadata = MetadataMap::from_headers(parts.headers);
        let request = Request::from_parts(metadata, Extensions::default(), positions);
        let follower = self.identity.check(&request)?;
        check_protocol(request.metadata(), follower).map_err(Status::failed_precondition)?;
        let positions = request.into_inner().scan((), |(), positions| ready(positions.ok()));
        let batches = self.leader.feed(follower, positions.boxed());
        let batches = batches.take_until(Box::pin(self.closing.clone().cancelled_owned()));
        let pieces = batches.flat_map(|batches| stream::iter(encode(batches)));
        let frames = pieces.map(Frame::data).chain(stream::once(ready(Frame::trailers(all_is_well()))));
        let body = StreamBody::new(frames.map(Ok::<Frame<Bytes>, Status>));
        let mut response = http::Response::new(Body::new(UnsyncBoxBody::new(body)));
        let content_type = HeaderValue::from_static("application/grpc");
        let mut said = MetadataMap::new();
        say_protocol(&mut said);
        response.headers_mut().extend(said.into_headers());
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

impl Service<http::Request<Body>> for ReplicaService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(self.fetch(request).unwrap_or_else(Status::into_http)))
    }
}

/// The end of a stream as gRPC says it.
fn all_is_well() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}
