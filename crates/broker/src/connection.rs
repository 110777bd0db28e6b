//! One client connection: requests in, answers out in the order of the requests.
//!
//! Requests that are pipelined are started in order, each as soon as its bytes are complete; those that
//! must wait (a fetch without data, a join, an `acks=all` on replicas) do not hold back the ones behind
//! them, but their answers leave in order. A single task does all of it, so that a request that can be
//! answered at once costs no hand-over between threads.

use std::collections::VecDeque;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::budget::Budget;
use crate::dispatch::Dispatcher;
use crate::frames::{FrameError, FrameReader};

/// Requests of one connection that may be under way. A client with more in flight is read no further
/// until answers have left; librdkafka would otherwise send up to a million.
const IN_FLIGHT: usize = 256;

/// Slices handed to the kernel in one call.
const SLICES: usize = 64;

/// What becomes of a request.
pub(crate) enum Outcome {
    /// This frame is sent, length prefix included.
    Answer(Vec<Bytes>),
    /// Nothing is sent: `acks=0`.
    Silence,
    /// The connection is closed without an answer, after the answers before it: a request that cannot be
    /// understood, or a failed `acks=0` produce (PR-2).
    Close(&'static str),
}

/// A request whose outcome is not known yet.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A request that must come further before the ones behind it may be started.
pub(crate) type Gate = Pin<Box<dyn Future<Output = Started> + Send>>;

/// A started request.
pub(crate) enum Started {
    Done(Outcome),
    Waiting(Pending),
    /// No further request of the connection is started meanwhile, so that none overtakes it: a batch that begins a
    /// transaction waits for the coordinator before it is appended.
    Gated(Gate),
}

impl Started {
    /// Bytes of an answer that waits to be sent.
    fn ready_bytes(&self) -> usize {
        match self {
            Self::Done(Outcome::Answer(slices)) => slices.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }
}

/// Bounds of a connection.
#[derive(Clone)]
pub(crate) struct Limits {
    /// `socket.request.max.bytes`.
    pub(crate) request_max_bytes: usize,
    /// `connections.max.idle.ms`.
    pub(crate) max_idle: Duration,
    /// Bytes of requests in memory, of all connections together.
    pub(crate) budget: Budget,
    /// Bytes of answers that may wait to be sent before further requests are started.
    pub(crate) answer_bytes: usize,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Input(#[from] FrameError),
    #[error("writing to the connection failed: {0}")]
    Output(std::io::Error),
    #[error("{0}")]
    Refused(&'static str),
    #[error("idle for connections.max.idle.ms")]
    Idle,
    #[error("closed by the client")]
    Client,
    #[error("broker shuts down")]
    Shutdown,
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(
    stream: TcpStream,
    dispatcher: Arc<Dispatcher>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let peer = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
    let mut connection = Connection {
        stream,
        frames: FrameReader::new(limits.request_max_bytes, &limits.budget),
        under_way: VecDeque::new(),
        ready_bytes: 0,
        dispatcher,
        limits,
    };
    let end = tokio::select! {
        end = connection.run() => end,
        () = shutdown.cancelled() => End::Shutdown,
    };
    debug!(%peer, reason = %end, "connection ended");
}

struct Connection {
    stream: TcpStream,
    frames: FrameReader,
    under_way: VecDeque<Started>,
    /// Bytes of the answers in `under_way`.
    ready_bytes: usize,
    dispatcher: Arc<Dispatcher>,
    limits: Limits,
}

impl Connection {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Starts what is complete, sends what is ready, then waits for either more input or the oldest answer.
    async fn turn(&mut self) -> Result<(), End> {
        while self.under_way.len() < IN_FLIGHT
            && self.ready_bytes < self.limits.answer_bytes
            && !self.is_gated()
            && let Some(frame) = self.frames.next_frame()?
        {
            let started = self.dispatcher.start(frame);
            self.ready_bytes += started.ready_bytes();
            self.under_way.push_back(started);
        }
        if self.send_ready().await? {
            return Ok(());
        }
        let may_read = self.under_way.len() < IN_FLIGHT && !self.is_gated();
        let (frames, stream) = (&mut self.frames, &mut self.stream);
        let mut under_way = self.under_way.iter_mut();
        match (under_way.next(), under_way.next_back()) {
            (Some(oldest), mut newest) => tokio::select! {
                biased;
                settled = settle(oldest) => *oldest = settled,
                opened = opened(newest.as_deref_mut()) => {
                    if let Some(gated) = newest {
                        *gated = opened;
                    }
                }
                filled = frames.fill(stream), if may_read => if !filled? { return Err(End::Client) },
            },
            (None, _) => match tokio::time::timeout(self.limits.max_idle, frames.fill(stream)).await {
                Ok(filled) => {
                    if !filled? {
                        return Err(End::Client);
                    }
                }
                Err(_) => return Err(End::Idle),
            },
        }
        Ok(())
    }

    /// Whether no further request may be started for now.
    fn is_gated(&self) -> bool {
        matches!(self.under_way.back(), Some(Started::Gated(_)))
    }

    /// Sends the answers at the head of the queue that are ready. Returns whether there were any.
    async fn send_ready(&mut self) -> Result<bool, End> {
        let (mut slices, mut settled) = (VecDeque::new(), false);
        let mut refused = None;
        while let Some(Started::Done(_)) = self.under_way.front() {
            settled = true;
            match self.under_way.pop_front() {
                Some(Started::Done(Outcome::Answer(answer))) => {
                    self.ready_bytes = self.ready_bytes.saturating_sub(answer.iter().map(Bytes::len).sum());
                    slices.extend(answer);
                }
                Some(Started::Done(Outcome::Close(why))) => {
                    refused = Some(why);
                    break;
                }
                _ => {}
            }
        }
        write_all(&mut self.stream, slices).await.map_err(End::Output)?;
        match refused {
            Some(why) => Err(End::Refused(why)),
            None => Ok(settled),
        }
    }
}

/// Waits until a request has come further; one whose outcome is already known never gets here.
async fn settle(started: &mut Started) -> Started {
    match started {
        Started::Waiting(pending) => Started::Done(pending.await),
        Started::Gated(gate) => gate.await,
        Started::Done(_) => std::future::pending().await,
    }
}

/// Waits until the newest request lets others start, if it does not.
async fn opened(newest: Option<&mut Started>) -> Started {
    match newest {
        Some(Started::Gated(gate)) => gate.await,
        _ => std::future::pending().await,
    }
}

/// Writes all slices, as many per call as the kernel takes.
async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut slices: VecDeque<Bytes>,
) -> std::io::Result<()> {
    while let Some(first) = slices.front() {
        let mut written = if slices.len() == 1 {
            stream.write(first).await?
        } else {
            let mut views = [IoSlice::new(&[]); SLICES];
            let count = slices.len().min(SLICES);
            for (view, slice) in views.iter_mut().zip(&slices) {
                *view = IoSlice::new(slice);
            }
            stream.write_vectored(&views[..count]).await?
        };
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(slice) = slices.front_mut() {
            if slice.len() > written {
                slice.advance(written);
                break;
            }
            written -= slice.len();
            slices.pop_front();
        }
    }
    Ok(())
}
