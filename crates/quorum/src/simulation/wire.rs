//! The network of a simulated cluster: what nodes send lies here until the world delivers it.

use crate::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::{Network, NodeId, Unreachable};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// What is on its way.
#[derive(Debug)]
pub(super) enum Packet {
    Vote {
        call: u64,
        request: VoteRequest,
    },
    Voted {
        call: u64,
        answer: Result<VoteResponse, String>,
    },
    Transfer {
        call: u64,
        request: TransferLeaderRequest,
    },
    Transferred {
        call: u64,
        answer: Result<TransferLeaderResponse, String>,
    },
    Snapshot {
        call: u64,
        chunks: Vec<SnapshotChunk>,
    },
    Installed {
        call: u64,
        answer: Result<SnapshotResponse, String>,
    },
    Append {
        stream: u64,
        request: AppendRequest,
    },
    Appended {
        stream: u64,
        answer: Result<AppendResponse, String>,
    },
    /// The caller has no more requests.
    Finished {
        stream: u64,
    },
    /// The other end has no more answers.
    Closed {
        stream: u64,
    },
}

impl Packet {
    /// The stream that it belongs to.
    pub(super) fn stream(&self) -> Option<u64> {
        match *self {
            Self::Append { stream, .. }
            | Self::Appended { stream, .. }
            | Self::Finished { stream }
            | Self::Closed { stream } => Some(stream),
            _ => None,
        }
    }
}

/// A packet with its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) packet: Packet,
}

/// Somebody waits for the answer to a call.
pub(super) enum Caller {
    Vote(oneshot::Sender<Result<VoteResponse, Unreachable>>),
    Transfer(oneshot::Sender<Result<TransferLeaderResponse, Unreachable>>),
    Snapshot(oneshot::Sender<Result<SnapshotResponse, Unreachable>>),
}

/// An open stream of appends.
pub(super) struct Stream {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) answers: mpsc::UnboundedSender<Result<AppendResponse, Unreachable>>,
    /// The server's end, once the first request has arrived.
    pub(super) requests: Option<mpsc::UnboundedSender<AppendRequest>>,
    /// Something of it is lost: nothing more arrives, and in time its ends are told.
    pub(super) broken: bool,
}

/// All that is sent and waited for.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) sent: Vec<Sent>,
    pub(super) callers: BTreeMap<u64, (usize, usize, Caller)>,
    pub(super) streams: BTreeMap<u64, Stream>,
    numbers: BTreeMap<(usize, usize), u64>,
}

impl Wire {
    /// A number for a call or stream. tokio wakes those who watch one thing in an order that nobody can seed, so it
    /// must not depend on who of a node's tasks calls first.
    fn number(&mut self, from: usize, to: usize) -> u64 {
        let count = self.numbers.entry((from, to)).or_default();
        *count += 1;
        ((from as u64) << 56) + ((to as u64) << 48) + *count
    }
}

/// Clones are the same network.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Wire>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }

    pub(super) fn send(&self, from: usize, to: usize, packet: Packet) {
        self.lock().sent.push(Sent { from, to, packet });
    }

    /// The network as `node` sees it.
    pub(super) fn port(&self, node: usize) -> Arc<dyn Network> {
        Arc::new(Port { from: node, wire: self.clone() })
    }
}

pub(super) fn lost(node: usize, reason: &str) -> Unreachable {
    Unreachable { node: NodeId(node as u64), reason: reason.to_owned() }
}

struct Port {
    from: usize,
    wire: Shared,
}

impl Port {
    fn call<T: Send + 'static>(
        &self,
        to: NodeId,
        caller: impl FnOnce(oneshot::Sender<Result<T, Unreachable>>) -> Caller,
        packet: impl FnOnce(u64) -> Packet,
    ) -> BoxFuture<'static, Result<T, Unreachable>> {
        let (told, answer) = oneshot::channel();
        let to = to.0 as usize;
        let mut wire = self.wire.lock();
        let call = wire.number(self.from, to);
        wire.callers.insert(call, (self.from, to, caller(told)));
        wire.sent.push(Sent { from: self.from, to, packet: packet(call) });
        async move { answer.await.unwrap_or_else(|_| Err(lost(to, "nobody answers"))) }.boxed()
    }
}

/// Ends the task that forwards requests when nobody wants their answers.
struct Forwarding(AbortHandle);

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Network for Port {
    fn append(
        &self,
        to: NodeId,
        _heartbeats: bool,
        mut requests: BoxStream<'static, AppendRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<AppendResponse, Unreachable>>, Unreachable>>
    {
        let (wire, from, to) = (self.wire.clone(), self.from, to.0 as usize);
        async move {
            let (answers, received) = mpsc::unbounded_channel();
            let stream = {
                let mut wire = wire.lock();
                let number = wire.number(from, to);
                wire.streams.insert(
                    number,
                    Stream { client: from, server: to, answers, requests: None, broken: false },
                );
                number
            };
            let forwarding = tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    wire.send(from, to, Packet::Append { stream, request });
                }
                wire.send(from, to, Packet::Finished { stream });
            });
            let forwarding = Forwarding(forwarding.abort_handle());
            let answers = stream::unfold((received, forwarding), |(mut received, forwarding)| async move {
                received.recv().await.map(|answer| (answer, (received, forwarding)))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(
        &self,
        to: NodeId,
        request: VoteRequest,
    ) -> BoxFuture<'static, Result<VoteResponse, Unreachable>> {
        self.call(to, Caller::Vote, |call| Packet::Vote { call, request })
    }

    fn transfer_leader(
        &self,
        to: NodeId,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Unreachable>> {
        self.call(to, Caller::Transfer, |call| Packet::Transfer { call, request })
    }

    fn snapshot(
        &self,
        to: NodeId,
        chunks: BoxStream<'static, SnapshotChunk>,
    ) -> BoxFuture<'static, Result<SnapshotResponse, Unreachable>> {
        let port = Port { from: self.from, wire: self.wire.clone() };
        async move {
            let chunks = chunks.collect().await;
            port.call(to, Caller::Snapshot, |call| Packet::Snapshot { call, chunks }).await
        }
        .boxed()
    }
}
