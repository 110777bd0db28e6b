//! The services of a node, by name; they share one listener.
//!
//! tonic's own router brings a web framework along. This one compares a name.

use futures_util::future::{BoxFuture, FutureExt};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

type Answer = BoxFuture<'static, http::Response<Body>>;
type Handler = Arc<dyn Fn(http::Request<Body>) -> Answer + Send + Sync>;

/// What a listener serves. Clones share the services, and one may be added while the listener runs:
/// a node answers who it is before it knows its cluster, and takes part later.
#[derive(Clone, Default)]
pub struct Routes {
    services: Arc<RwLock<BTreeMap<&'static str, Handler>>>,
}

impl Routes {
    /// Serves `service`, which tonic generated, from now on.
    pub fn add<S>(&self, service: S)
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let handler = move |request| {
            let answer = service.clone().call(request);
            answer.map(|answer| answer.unwrap_or_else(|never| match never {})).boxed()
        };
        self.services.write().unwrap().insert(S::NAME, Arc::new(handler));
    }

    /// The same, for a chain of them.
    pub fn with<S>(self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.add(service);
        self
    }
}

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The path is /package.Service/Method.
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        let handler = self.services.read().unwrap().get(name).cloned();
        match handler {
            Some(handler) => handler(request).map(Ok).boxed(),
            None => {
                let status = Status::not_found(format!("service {name} is not served by this node yet"));
                std::future::ready(Ok(status.into_http())).boxed()
            }
        }
    }
}
