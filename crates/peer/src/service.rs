//! The way in: a listener that hands requests of other nodes to this one.

use crate::MAX_MESSAGE;
use crate::descriptor::closed_first;
use crate::generated::raft::raft_server::{Raft, RaftServer};
use crate::identity::Identity;
use crate::purpose::is_bulk;
use crate::routes::Routes;
use futures_util::future;
use futures_util::stream::{self, BoxStream, StreamExt};
use milena_quorum::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use milena_quorum::{Inbound, Refused};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// The listener broke.
#[derive(Debug, Error)]
#[error("peer listener: {0}")]
pub enum ServeError {
    /// Its socket cannot be used.
    Socket(#[from] io::Error),
    /// Its connections cannot be served.
    Transport(#[from] tonic::transport::Error),
}

/// Serves other nodes until `closing`, all on the present runtime; see [`serve_on`].
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    closing: CancellationToken,
) -> Result<(), ServeError> {
    serve_on(listener, routes, &Handle::current(), closing).await
}

/// Serves other nodes until `closing`; this returns when the connections are closed, for which services end
/// their streams at the same signal. Connections on which nothing arrives are probed every second and closed
/// when that is not answered. Those for bulk data are served by the runtime `bulk`, the others by the present one.
pub async fn serve_on(
    listener: TcpListener,
    routes: Routes,
    bulk: &Handle,
    closing: CancellationToken,
) -> Result<(), ServeError> {
    let (to_bulk, for_bulk) = mpsc::channel(ACCEPTED);
    let (to_control, for_control) = mpsc::channel(ACCEPTED);
    let listener = TcpListener::from_std(closed_first(listener.into_std()?))?;
    let accepting = accept(listener, to_bulk, to_control);
    let accepting = tokio::spawn(closing.clone().run_until_cancelled_owned(accepting));
    let bulk = bulk.spawn(serve_streams(for_bulk, routes.clone(), closing.clone()));
    let served = serve_streams(for_control, routes, closing).await;
    accepting.abort();
    // Whether it ended well or with its runtime, there is nobody left to serve.
    bulk.await.unwrap_or(Ok(())).and(served)
}

/// Accepted connections that wait to be served.
const ACCEPTED: usize = 64;

/// Accepts connections for ever and sorts them.
async fn accept(
    listener: TcpListener,
    bulk: mpsc::Sender<std::net::TcpStream>,
    control: mpsc::Sender<std::net::TcpStream>,
) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of descriptors, or a connection that was gone at once.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (bulk, control) = (bulk.clone(), control.clone());
        tokio::spawn(async move {
            let to = match is_bulk(&mut stream).await {
                Ok(true) => bulk,
                Ok(false) => control,
                Err(_) => return,
            };
            if stream.set_nodelay(true).is_ok()
                && let Ok(stream) = stream.into_std()
            {
                let _ = to.send(closed_first(stream)).await;
            }
        });
    }
}

/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

async fn serve_streams(
    streams: mpsc::Receiver<std::net::TcpStream>,
    routes: Routes,
    closing: CancellationToken,
) -> Result<(), ServeError> {
    let second = Some(Duration::from_secs(1));
    let server = Server::builder()
        .http2_keepalive_interval(second)
        .http2_keepalive_timeout(second)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20)
        // Per connection: one stream of entries and one of heartbeats for each group, and votes.
        .max_concurrent_streams(1024)
        // Calls that had queued up behind a partition and were given up; peers are not attackers.
        .http2_max_pending_accept_reset_streams(Some(1024));
    let incoming = stream::unfold(streams, |mut streams| async {
        let stream = streams.recv().await?;
        Some((TcpStream::from_std(stream), streams))
    });
    let signal = async move { closing.cancelled().await };
    Ok(server.serve_with_incoming_shutdown(routes, incoming, signal).await?)
}

/// The Raft groups of this node, for [`Routes::add`]. Streams end at `closing`.
pub fn raft_service(
    identity: Identity,
    inbound: Inbound,
    closing: CancellationToken,
) -> RaftServer<impl Raft> {
    RaftServer::new(Service { identity, inbound, closing })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

struct Service {
    identity: Identity,
    inbound: Inbound,
    closing: CancellationToken,
}

#[async_trait]
impl Raft for Service {
    type AppendStream = BoxStream<'static, Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.identity.check(&request)?;
        // A stream that breaks ends; what arrived before it stands.
        let requests = request.into_inner().scan((), |(), request| future::ready(request.ok()));
        let answers = self.inbound.append(requests.boxed()).await.map_err(status)?;
        // Streams of entries and heartbeats never end by themselves.
        let closed = self.closing.clone().cancelled_owned();
        let answers = answers.map(|answer| answer.map_err(status)).take_until(Box::pin(closed));
        Ok(Response::new(answers.boxed()))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteResponse>, Status> {
        self.identity.check(&request)?;
        self.inbound.vote(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        self.identity.check(&request)?;
        self.inbound.transfer_leader(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        let from = self.identity.check(&request)?;
        tracing::info!(node = %from, "receiving a snapshot");
        // A broken stream leaves the file shorter than announced, which is refused.
        let chunks = request.into_inner().scan((), |(), chunk| future::ready(chunk.ok()));
        self.inbound.snapshot(chunks.boxed()).await.map(Response::new).map_err(status)
    }
}

fn status(refused: Refused) -> Status {
    match refused {
        Refused::UnknownGroup(_) => Status::not_found(refused.to_string()),
        Refused::Malformed(_) => Status::invalid_argument(refused.to_string()),
        Refused::Snapshot(_) => Status::aborted(refused.to_string()),
        Refused::Stopped(_) => Status::unavailable(refused.to_string()),
    }
}
