//! The stream to one peer: dialled, beaten on, read all the time, and dialled again the moment it ends.

use super::board::Board;
use super::detector::{Path, Sign};
use super::socket::{End, Socket};
use crate::addresses::Addresses;
use crate::generated::liveness::liveness_client::LivenessClient;
use crate::identity::Identity;
use futures_util::stream;
use hyper_util::rt::TokioIo;
use milena_quorum::NodeId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::Status;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

/// A connection must be made within this time; a cut network makes none.
const CONNECT: Duration = Duration::from_millis(250);
/// The answer to the call, without which no beat is answered.
const OPEN: Duration = Duration::from_secs(1);
/// What was sent must be acknowledged by the other machine within this time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts: at once after an end, as "refused" is told only while the other's network is there.
const PAUSES_MS: [u64; 6] = [0, 1, 5, 20, 50, 100];
/// Beats that may wait for the socket; more are left out, as the next says all that they would have said.
const WAITING: usize = 4;

/// Keeps a stream to `node` until the task is dropped.
pub(super) async fn attend(board: Arc<Board>, identity: Identity, addresses: Addresses, node: NodeId) {
    let mut attempt = 0;
    let mut known: Option<(String, SocketAddr)> = None;
    loop {
        let pause = PAUSES_MS[attempt.min(PAUSES_MS.len() - 1)];
        sleep(Duration::from_millis(pause)).await;
        attempt += 1;
        let Some(address) = addresses.get(node) else { continue };
        // The name of a container goes away with it: the first attempts go where the connection was.
        let last = known.take().filter(|(name, _)| *name == address && attempt <= PAUSES_MS.len());
        let target = match last {
            Some((_, target)) => Some(target),
            None => resolve(&address).await,
        };
        let Some(target) = target else { continue };
        known = Some((address, target));
        match timeout(CONNECT, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => {
                if let Some(has_lived) = converse(&board, &identity, node, stream).await
                    && has_lived
                {
                    attempt = 0;
                }
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                board.saw(node, Sign::Refused)
            }
            // Unreachable, or no answer: that may be the network.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

async fn resolve(address: &str) -> Option<SocketAddr> {
    let found = timeout(OPEN, tokio::net::lookup_host(address)).await;
    found.ok()?.ok()?.next()
}

/// Beats on a connection until it ends. Whether anything was heard on it; `None` if it could not be used.
async fn converse(board: &Arc<Board>, identity: &Identity, node: NodeId, stream: TcpStream) -> Option<bool> {
    let socket = Socket::new(stream, PATIENCE).ok()?;
    let mut ended = socket.ended();
    let mut has_lived = false;
    let talk = talk(board, identity, node, socket, &mut has_lived);
    let result = tokio::select! {
        biased;
        _ = ended.wait_for(Option::is_some) => Ok(()),
        result = talk => result,
    };
    tracing::debug!(%node, reason = ?result.err(), "liveness stream ended");
    // The stream may be over a moment before the socket is read to its end.
    let _ = timeout(Duration::from_millis(10), ended.wait_for(Option::is_some)).await;
    if *ended.borrow() == Some(End::ByPeer) {
        board.saw(node, Sign::Closed);
    }
    Some(has_lived)
}

async fn talk(
    board: &Arc<Board>,
    identity: &Identity,
    node: NodeId,
    socket: Socket,
    has_lived: &mut bool,
) -> Result<(), Status> {
    let channel = channel(socket).await.map_err(|error| Status::from_error(Box::new(error)))?;
    let (beats, mut queue) = mpsc::channel(WAITING);
    let outgoing = stream::poll_fn(move |context| queue.poll_recv(context));
    let mut news = board.news.subscribe();
    let mut times = interval(board.expect.beat);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A full queue: what waits there is said first.
    let _ = beats.try_send(board.compose(node));
    let mut client = LivenessClient::new(channel);
    let call = timeout(OPEN, client.beat(identity.call(node, outgoing))).await;
    let mut answers = call.map_err(|_| Status::deadline_exceeded("not answered"))??.into_inner();
    loop {
        tokio::select! {
            answer = answers.message() => match answer? {
                Some(beat) => {
                    *has_lived = true;
                    board.received(node, Path::Dialled, beat);
                }
                None => return Ok(()),
            },
            _ = times.tick() => drop(beats.try_send(board.compose(node))),
            // The board lives as long as this task.
            Ok(()) = news.changed() => {
                drop(beats.try_send(board.compose(node)));
                times.reset();
            }
        }
    }
}

async fn channel(socket: Socket) -> Result<Channel, tonic::transport::Error> {
    // The name is of no account: the connection is made.
    Endpoint::from_static("http://peer").connect_with_connector(Made(Some(socket))).await
}

/// Hands out a connection that is made already; there is no second one.
struct Made(Option<Socket>);

impl Service<Uri> for Made {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<Socket>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _to: Uri) -> Self::Future {
        let socket = self.0.take().map(TokioIo::new);
        std::future::ready(socket.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
