//! What operators and their machines read over HTTP: `/livez`, `/readyz`, `/safe-to-stop` and `/metrics` (`milena.http.listener`).
//!
//! Only reads, only `GET` and `HEAD`; answers are put together when they are asked for, so that nobody pays for them
//! otherwise. A broker whose setting nobody touched goes on without the listener if its port is taken: several on one
//! machine are common, and none of them should need one more setting.

mod exposition;
mod metrics;
mod probe;
mod readiness;

use std::convert::Infallible;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use milena_config::BrokerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::listeners::ListenError;

pub(crate) use probe::{ControllerProbe, Probed};

/// Connections served at once; scrapers and probes are few, and each has its own.
const CONNECTIONS: usize = 64;
/// Longest wait for a request's head, and so between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the listener of the settings; `None` if it is switched off, or taken while nobody asked for it.
pub(crate) fn bind(config: &BrokerConfig) -> Result<Option<std::net::TcpListener>, ListenError> {
    let address = config.http_listener().trim().to_owned();
    if address.is_empty() {
        return Ok(None);
    }
    let opened = address
        .to_socket_addrs()
        .and_then(|addresses| std::net::TcpListener::bind(&addresses.collect::<Vec<_>>()[..]))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    match opened {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if !config.is_set("milena.http.listener") => {
            info!(address, %error, "no metrics and probes over HTTP: milena.http.listener can be set to another address");
            Ok(None)
        }
        Err(source) => Err(ListenError::Http { address, source }),
    }
}

/// Answers until `shutdown`.
pub(crate) async fn serve(
    socket: std::net::TcpListener,
    subject: Arc<dyn Probed>,
    shutdown: CancellationToken,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return warn!(%error, "milena.http.listener failed"),
    };
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < CONNECTIONS;
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = socket.accept(), if has_room => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve_one(stream, Arc::clone(&subject)))),
            Err(error) => {
                debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, subject: Arc<dyn Probed>) {
    let answering = service_fn(|request: Request<_>| {
        let response = answer(&*subject, request.method(), request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answering);
    if let Err(error) = serving.await {
        debug!(%error, "HTTP connection ended");
    }
}

fn answer(subject: &dyn Probed, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let readiness = subject.readiness();
            let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(code, readiness.to_string())
        }
        "/safe-to-stop" => {
            let readiness = subject.readiness();
            let code = if readiness.may_stop() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text(code, readiness.to_string())
        }
        "/metrics" => {
            let mut response = text(StatusCode::OK, subject.metrics());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
            response
        }
        "/" => text(StatusCode::OK, "/livez\n/readyz\n/safe-to-stop\n/metrics\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /safe-to-stop and /metrics\n"),
    }
}

fn text(code: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
