//! The network of a simulated cluster: what nodes send lies here until the world delivers it.

use crate::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use crate::{Inbound, Network, NodeId, Unreachable};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// What is asked for once.
#[derive(Debug)]
pub(super) enum Request {
    Vote(VoteRequest),
    Transfer(TransferLeaderRequest),
    Snapshot(Vec<SnapshotChunk>),
}

/// Its answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// To whoever only wants to know whether it would be voted for.
    PreVote(VoteResponse),
    Vote(VoteResponse),
    Transfer(TransferLeaderResponse),
    Snapshot(SnapshotResponse),
}

/// What is on its way.
#[derive(Debug)]
pub(super) enum Packet {
    Asked {
        call: u64,
        request: Request,
    },
    Answered {
        call: u64,
        answer: Result<Answer, String>,
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
    fn broken(&self) -> Broken {
        Broken(match *self {
            Self::Asked { call, .. } | Self::Answered { call, .. } => Connection::Call(call),
            Self::Append { stream, .. }
            | Self::Appended { stream, .. }
            | Self::Finished { stream }
            | Self::Closed { stream } => Connection::Stream(stream),
        })
    }
}

/// A packet with its way.
pub struct Sent {
    /// Who has sent it.
    pub from: usize,
    /// To whom.
    pub to: usize,
    pub(super) packet: Packet,
}

impl Sent {
    /// Whether it gives a candidate a vote.
    pub fn gives_vote(&self) -> bool {
        matches!(&self.packet, Packet::Answered { answer: Ok(Answer::Vote(vote)), .. } if vote.granted)
    }

    /// Whether a follower has taken a snapshot.
    pub fn took_snapshot(&self) -> bool {
        matches!(&self.packet, Packet::Answered { answer: Ok(Answer::Snapshot(_)), .. })
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {:?}", self.from, self.to, self.packet)
    }
}

#[derive(Debug, Clone, Copy)]
enum Connection {
    Call(u64),
    Stream(u64),
}

/// A connection that carries nothing any more, which its ends do not know yet.
#[derive(Debug)]
pub struct Broken(Connection);

type Told = oneshot::Sender<Result<Answer, Unreachable>>;

/// Somebody waits for the answer to a call.
struct Call {
    client: usize,
    server: usize,
    told: Told,
}

/// An open stream of appends.
struct Stream {
    client: usize,
    server: usize,
    answers: mpsc::UnboundedSender<Result<AppendResponse, Unreachable>>,
    /// The server's end, once the first request has arrived.
    requests: Option<mpsc::UnboundedSender<AppendRequest>>,
    /// Something of it is lost: nothing more arrives.
    is_broken: bool,
}

/// All that is sent and waited for.
#[derive(Default)]
struct Shared {
    sent: Vec<Sent>,
    calls: BTreeMap<u64, Call>,
    streams: BTreeMap<u64, Stream>,
    numbers: BTreeMap<(usize, usize), u64>,
}

impl Shared {
    /// A number for a call or stream.
    fn number(&mut self, from: usize, to: usize) -> u64 {
        let count = self.numbers.entry((from, to)).or_default();
        *count += 1;
        ((from as u64) << 56) + ((to as u64) << 48) + *count
    }
}

/// The network. Clones are the same.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Shared>>);

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    pub(super) fn send(&self, from: usize, to: usize, packet: Packet) {
        self.lock().sent.push(Sent { from, to, packet });
    }

    /// The network as `node` sees it.
    pub(super) fn port(&self, node: usize) -> Arc<dyn Network> {
        Arc::new(Port { from: node, wire: self.clone() })
    }

    /// Takes what was sent, in its order for each receiver.
    pub fn take_sent(&self) -> Vec<Sent> {
        let mut sent = std::mem::take(&mut self.lock().sent);
        sent.sort_by_key(|sent| sent.to);
        sent
    }

    /// Whether it comes after something of the same connection that is lost, and so cannot arrive.
    pub fn is_cut_off(&self, sent: &Sent) -> bool {
        match sent.packet.broken().0 {
            Connection::Call(_) => false,
            Connection::Stream(stream) => self.lock().streams.get(&stream).is_none_or(|it| it.is_broken),
        }
    }

    /// The packet is lost, and with it its connection.
    pub fn lose(&self, sent: &Sent) -> Broken {
        let broken = sent.packet.broken();
        if let Connection::Stream(stream) = broken.0
            && let Some(stream) = self.lock().streams.get_mut(&stream)
        {
            stream.is_broken = true;
        }
        broken
    }

    /// The ends of a connection learn that it is broken; answers who they are.
    pub fn give_up(&self, broken: &Broken) -> Vec<usize> {
        match broken.0 {
            Connection::Call(call) => {
                // Whoever waits is told that nobody answers.
                let call = self.lock().calls.remove(&call);
                call.map(|call| call.client).into_iter().collect()
            }
            Connection::Stream(stream) => {
                let Some(stream) = self.lock().streams.remove(&stream) else { return Vec::new() };
                let _ = stream.answers.send(Err(lost(stream.server, "the connection broke")));
                vec![stream.client, stream.server]
            }
        }
    }

    /// A process has ended; answers the connections that others have to it, with these others.
    pub fn disconnect(&self, node: usize) -> Vec<(usize, Broken)> {
        let mut shared = self.lock();
        shared.calls.retain(|_, call| call.client != node);
        shared.streams.retain(|_, stream| stream.client != node);
        let streams = shared.streams.iter().filter(|(_, stream)| stream.server == node);
        let calls = shared.calls.iter().filter(|(_, call)| call.server == node);
        let streams = streams.map(|(number, it)| (it.client, Broken(Connection::Stream(*number))));
        streams.chain(calls.map(|(number, it)| (it.client, Broken(Connection::Call(*number))))).collect()
    }

    /// An answer, or an end, arrives where somebody waits for it.
    pub(super) fn arrive(&self, from: usize, packet: Packet) {
        match packet {
            Packet::Answered { call, answer } => {
                if let Some(call) = self.lock().calls.remove(&call) {
                    let _ = call.told.send(answer.map_err(|reason| lost(from, &reason)));
                }
            }
            Packet::Appended { stream, answer } => {
                let mut shared = self.lock();
                let Some(known) = shared.streams.get(&stream) else { return };
                if known.answers.send(answer.map_err(|reason| lost(from, &reason))).is_err() {
                    shared.streams.remove(&stream);
                }
            }
            Packet::Finished { stream } => {
                let mut shared = self.lock();
                shared.streams.get_mut(&stream).and_then(|known| known.requests.take());
            }
            Packet::Closed { stream } => drop(self.lock().streams.remove(&stream)),
            Packet::Asked { .. } | Packet::Append { .. } => unreachable!("these are for a process"),
        }
    }

    /// Hands an append to the server's end of its stream; the first opens that, and gets it back to be served.
    pub(super) fn append(
        &self,
        stream: u64,
        request: AppendRequest,
    ) -> Option<mpsc::UnboundedReceiver<AppendRequest>> {
        let mut shared = self.lock();
        let known = shared.streams.get_mut(&stream)?;
        let mut opened = None;
        let requests = known.requests.get_or_insert_with(|| {
            let (requests, received) = mpsc::unbounded_channel();
            opened = Some(received);
            requests
        });
        let _ = requests.send(request);
        opened
    }
}

/// What a node answers.
pub(super) async fn answer(inbound: Inbound, request: Request) -> Result<Answer, String> {
    let answer = match request {
        Request::Vote(request) => {
            let answer = if request.pre_vote { Answer::PreVote } else { Answer::Vote };
            inbound.vote(request).await.map(answer)
        }
        Request::Transfer(request) => inbound.transfer_leader(request).await.map(Answer::Transfer),
        Request::Snapshot(chunks) => {
            inbound.snapshot(stream::iter(chunks).boxed()).await.map(Answer::Snapshot)
        }
    };
    answer.map_err(|refused| refused.to_string())
}

/// The server's end of a stream of appends.
pub(super) async fn serve(
    wire: Wire,
    inbound: Inbound,
    stream: u64,
    (from, to): (usize, usize),
    received: mpsc::UnboundedReceiver<AppendRequest>,
) {
    let requests = stream::unfold(received, |mut received| async move {
        received.recv().await.map(|request| (request, received))
    });
    match inbound.append(requests.boxed()).await {
        Ok(mut answers) => {
            while let Some(answer) = answers.next().await {
                let answer = answer.map_err(|refused| refused.to_string());
                wire.send(to, from, Packet::Appended { stream, answer });
            }
        }
        Err(refused) => {
            wire.send(to, from, Packet::Appended { stream, answer: Err(refused.to_string()) });
        }
    }
    wire.send(to, from, Packet::Closed { stream });
}

fn lost(node: usize, reason: &str) -> Unreachable {
    Unreachable { node: NodeId(node as u64), reason: reason.to_owned() }
}

struct Port {
    from: usize,
    wire: Wire,
}

impl Port {
    fn call<T: Send + 'static>(
        &self,
        to: NodeId,
        request: Request,
        pick: fn(Answer) -> Option<T>,
    ) -> BoxFuture<'static, Result<T, Unreachable>> {
        let (told, answer) = oneshot::channel();
        let (from, to) = (self.from, to.0 as usize);
        let mut shared = self.wire.lock();
        let call = shared.number(from, to);
        shared.calls.insert(call, Call { client: from, server: to, told });
        shared.sent.push(Sent { from, to, packet: Packet::Asked { call, request } });
        async move {
            let answer = answer.await.unwrap_or_else(|_| Err(lost(to, "nobody answers")))?;
            pick(answer).ok_or_else(|| lost(to, "an answer to something else"))
        }
        .boxed()
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
                let mut shared = wire.lock();
                let number = shared.number(from, to);
                let open = Stream { client: from, server: to, answers, requests: None, is_broken: false };
                shared.streams.insert(number, open);
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
        self.call(to, Request::Vote(request), |answer| match answer {
            Answer::PreVote(answer) | Answer::Vote(answer) => Some(answer),
            _ => None,
        })
    }

    fn transfer_leader(
        &self,
        to: NodeId,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Unreachable>> {
        self.call(to, Request::Transfer(request), |answer| match answer {
            Answer::Transfer(answer) => Some(answer),
            _ => None,
        })
    }

    fn snapshot(
        &self,
        to: NodeId,
        chunks: BoxStream<'static, SnapshotChunk>,
    ) -> BoxFuture<'static, Result<SnapshotResponse, Unreachable>> {
        let port = Port { from: self.from, wire: self.wire.clone() };
        async move {
            let request = Request::Snapshot(chunks.collect().await);
            let pick = |answer| match answer {
                Answer::Snapshot(answer) => Some(answer),
                _ => None,
            };
            port.call(to, request, pick).await
        }
        .boxed()
    }
}
