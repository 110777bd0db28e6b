//! One client connection: requests in, answers out in the order of the requests.
//!
//! Requests that are pipelined are started in order, each as soon as its bytes are complete; those that
//! must wait (a fetch without data, a join, an `acks=all` on replicas) do not hold back the ones behind
//! them, but their answers leave in order. What only begins when its turn to be answered comes is marked as
//! [`Started::Waiting`]: most of what changes something, so that one connection's changes follow each other. Offset
//! commits are [`Started::Prompt`]: their order is kept by the coordinator's queue, and a client that sends eight at
//! once should not pay eight round trips of the quorum. A single task does all of it, so that a request that can be
//! answered at once costs no hand-over between threads.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
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
    /// Begins when all before it are done.
    Waiting(Pending),
    /// No further request of the connection is started meanwhile, so that none overtakes it: a batch that begins a
    /// transaction waits for the coordinator before it is appended.
    Gated(Gate),
    /// Begins when all before it have begun. What it has to do in order, it does when it is first polled.
    Prompt(Prompt),
}

/// See [`Started::Prompt`].
pub(crate) struct Prompt {
    pending: Pending,
    has_begun: bool,
}

impl Prompt {
    /// Not yet begun.
    pub(crate) fn new(pending: Pending) -> Self {
        Self { pending, has_begun: false }
    }
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
        let (under_way, ready_bytes) = (&mut self.under_way, &mut self.ready_bytes);
        let is_idle = under_way.is_empty();
        let settled = poll_fn(|context| settle(under_way, ready_bytes, context));
        match is_idle {
            false => tokio::select! {
                biased;
                () = settled => {}
                filled = frames.fill(stream), if may_read => if !filled? { return Err(End::Client) },
            },
            true => match tokio::time::timeout(self.limits.max_idle, frames.fill(stream)).await {
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

/// Takes the oldest requests as far as they are done, and lets those begin whose turn it is. Ready when the oldest is
/// done, and what is ready together leaves together; or when the newest lets others start. The answers' bytes are added
/// to `ready_bytes`.
fn settle(
    under_way: &mut VecDeque<Started>,
    ready_bytes: &mut usize,
    context: &mut TaskContext<'_>,
) -> Poll<()> {
    let (mut done, mut is_open) = (0, false);
    if let Some(newest) = under_way.back_mut()
        && let Started::Gated(gate) = newest
        && let Poll::Ready(opened) = gate.as_mut().poll(context)
    {
        *newest = opened;
        *ready_bytes += newest.ready_bytes();
        is_open = true;
    }
    while let Some(started) = under_way.get_mut(done) {
        let pending = match started {
            Started::Gated(_) => break,
            Started::Done(_) => {
                done += 1;
                continue;
            }
            Started::Waiting(pending) => pending,
            Started::Prompt(prompt) => {
                prompt.has_begun = true;
                &mut prompt.pending
            }
        };
        let Poll::Ready(outcome) = pending.as_mut().poll(context) else { break };
        *started = Started::Done(outcome);
        *ready_bytes += started.ready_bytes();
    }
    for started in under_way.range_mut(done..) {
        match started {
            Started::Prompt(prompt) if prompt.has_begun => {}
            Started::Prompt(prompt) => {
                prompt.has_begun = true;
                if let Poll::Ready(outcome) = prompt.pending.as_mut().poll(context) {
                    *started = Started::Done(outcome);
                    *ready_bytes += started.ready_bytes();
                }
            }
            Started::Done(_) => {}
            Started::Waiting(_) | Started::Gated(_) => break,
        }
    }
    if done > 0 || is_open { Poll::Ready(()) } else { Poll::Pending }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    /// Requests that note when they begin, and are done when told.
    #[derive(Default)]
    struct Desk {
        begun: Arc<Mutex<Vec<usize>>>,
        tell: Vec<Option<oneshot::Sender<()>>>,
        under_way: VecDeque<Started>,
    }

    impl Desk {
        fn request(&mut self) -> Pending {
            let (tell, told) = oneshot::channel();
            let (begun, me) = (Arc::clone(&self.begun), self.tell.len());
            self.tell.push(Some(tell));
            Box::pin(async move {
                begun.lock().unwrap().push(me);
                told.await.expect("every request is done some time");
                Outcome::Answer(vec![Bytes::from(vec![0; 10])])
            })
        }

        fn prompt(&mut self) {
            let request = self.request();
            self.under_way.push_back(Started::Prompt(Prompt::new(request)));
        }

        fn waiting(&mut self) {
            let request = self.request();
            self.under_way.push_back(Started::Waiting(request));
        }

        /// Finishes `these`; what has begun by then, how many of the oldest are done, and their bytes.
        fn settle(&mut self, these: &[usize]) -> (Vec<usize>, usize, usize) {
            for it in these {
                self.tell[*it].take().expect("done once").send(()).expect("is under way");
            }
            let (mut bytes, mut context) = (0, TaskContext::from_waker(Waker::noop()));
            let settled = settle(&mut self.under_way, &mut bytes, &mut context);
            let done = self.under_way.iter().take_while(|it| matches!(it, Started::Done(_))).count();
            assert_eq!(settled.is_ready(), done > 0);
            (self.begun.lock().unwrap().clone(), done, bytes)
        }
    }

    #[test]
    fn prompt_requests_begin_behind_each_other_and_others_when_all_before_them_are_done() {
        let mut desk = Desk::default();
        desk.prompt();
        desk.prompt();
        desk.waiting();
        desk.waiting();
        desk.prompt();
        assert_eq!(desk.settle(&[]), (vec![0, 1], 0, 0));
        // The second is done, and its answer must not leave before the first one's.
        assert_eq!(desk.settle(&[1]), (vec![0, 1], 0, 0));
        assert_eq!(desk.settle(&[0]), (vec![0, 1, 2], 2, 20));
        assert_eq!(desk.settle(&[2]), (vec![0, 1, 2, 3], 3, 10));
        assert_eq!(desk.settle(&[3]), (vec![0, 1, 2, 3, 4], 4, 10));
    }
}
