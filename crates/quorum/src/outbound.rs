//! openraft's way out: its calls as messages for the [`Network`].

use crate::candidacy::Candidacy;
use crate::convert::{entry_to, log_id_from, log_id_to, meta_to, vote_from, vote_to};
use crate::id::{GroupId, NodeId};
use crate::message::{self, append_response, snapshot_chunk, transfer_leader_response};
use crate::network::{Network, Unreachable};
use crate::state::SnapshotFile;
use crate::types::{LogId, Snapshot, Types, Vote};
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream, StreamExt};
use futures_util::{Stream, pin_mut};
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Bytes of a snapshot in one message.
const SNAPSHOT_CHUNK: usize = 256 << 10;

/// Makes clients to the other members of one group.
pub(crate) struct Outbound {
    pub group: GroupId,
    /// `None` on a node that is alone: then nobody is ever called.
    pub network: Option<Arc<dyn Network>>,
    pub candidacy: Candidacy,
}

impl RaftNetworkFactory<Types> for Outbound {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, (): &()) -> Client {
        self.client(target, None)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, (): &()) -> Client {
        self.client(target, Some(Mutex::default()))
    }
}

impl Outbound {
    fn client(&self, to: NodeId, heartbeats: Option<Mutex<Option<Lane>>>) -> Client {
        let (network, candidacy) = (self.network.clone(), self.candidacy.clone());
        Client { group: self.group, network, candidacy, to, heartbeats }
    }
}

/// Calls one member.
pub(crate) struct Client {
    group: GroupId,
    network: Option<Arc<dyn Network>>,
    candidacy: Candidacy,
    to: NodeId,
    /// Present in a client for heartbeats: these keep one stream open, as openraft sends each of
    /// them as a stream of its own.
    heartbeats: Option<Mutex<Option<Lane>>>,
}

/// A stream on which one request is answered before the next is sent.
struct Lane {
    requests: mpsc::Sender<message::AppendRequest>,
    answers: BoxStream<'static, Result<message::AppendResponse, Unreachable>>,
}

type Answers<'s> = BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>;

impl Client {
    fn network(&self) -> Result<Arc<dyn Network>, Unreachable> {
        let nobody = || Unreachable { node: self.to, reason: "this node has no network".to_owned() };
        self.network.clone().ok_or_else(nobody)
    }

    fn lane(&mut self) -> Option<&mut Option<Lane>> {
        // Never locked: the mutex only makes the client shareable, as openraft wants it.
        self.heartbeats.as_mut().map(|lane| lane.get_mut().unwrap())
    }

    fn invalid(&self, error: io::Error) -> RPCError<Types> {
        invalid(self.to, error)
    }

    /// One heartbeat. The lane is put back only when the answer came: after a call that was
    /// given up, its late answer must not be taken for that of the next.
    async fn heartbeat(
        &mut self,
        request: message::AppendRequest,
    ) -> Result<message::AppendResponse, Unreachable> {
        let closed = |node| Unreachable { node, reason: "the heartbeat stream ended".to_owned() };
        let kept = self.lane().and_then(|lane| lane.take());
        let mut lane = match kept {
            Some(lane) => {
                lane.requests.send(request).await.map_err(|_| closed(self.to))?;
                lane
            }
            None => {
                let (requests, received) = mpsc::channel(1);
                // Before the stream is opened: the other side answers the opening with the first
                // request in hand.
                requests.send(request).await.map_err(|_| closed(self.to))?;
                let received = stream::unfold(received, |mut received: mpsc::Receiver<_>| async move {
                    received.recv().await.map(|request| (request, received))
                });
                let answers = self.network()?.append(self.to, true, received.boxed()).await?;
                Lane { requests, answers }
            }
        };
        let answer = lane.answers.next().await.ok_or_else(|| closed(self.to))??;
        let goes_on = matches!(answer.outcome, Some(append_response::Outcome::Matched(_)));
        if goes_on && let Some(kept) = self.lane() {
            *kept = Some(lane);
        }
        Ok(answer)
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.heartbeat(append_to(self.group, rpc)).await.map_err(unreachable)?;
        let answer = append_answer_from(answer).map_err(|error| self.invalid(error))?;
        Ok(AppendEntriesResponse::from(answer))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let group = self.group;
        if self.heartbeats.is_some() {
            let answers = stream::unfold((self, input), move |(client, mut input)| async move {
                let request = append_to(group, input.next().await?);
                let answer = match client.heartbeat(request).await {
                    Ok(answer) => append_answer_from(answer).map_err(|error| client.invalid(error)),
                    Err(error) => Err(unreachable(error)),
                };
                Some((answer, (client, input)))
            });
            return Box::pin(future::ready(Ok(answers.boxed())));
        }
        Box::pin(async move {
            // openraft's pause after a failure is in the stream of requests: a transport that fails before it takes
            // one would be asked again without any pause.
            let mut input = input;
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let requests = stream::iter([first]).chain(input);
            let requests = requests.map(move |request| append_to(group, request)).boxed();
            let answers = self.network().map_err(unreachable)?.append(self.to, false, requests).await;
            let to = self.to;
            let answers = answers.map_err(unreachable)?.map(move |answer| {
                append_answer_from(answer.map_err(unreachable)?).map_err(|error| invalid(to, error))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let own = rpc.vote;
        let answer = self.ask_vote(rpc, false).await?;
        self.candidacy.durable(&own).await;
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let header = message::SnapshotHeader {
            group: self.group.0.into(),
            vote: Some(vote_to(&vote)),
            meta: Some(meta_to(&snapshot.meta)),
            size: snapshot.snapshot.len,
        };
        let header = message::SnapshotChunk { part: Some(snapshot_chunk::Part::Header(header)) };
        let data = stream::unfold((snapshot.snapshot, 0), |(file, position)| async move {
            // A file that cannot be read ends early; the receiver refuses what is too short.
            let bytes = file.read(position, SNAPSHOT_CHUNK).inspect_err(
                |error| tracing::error!(snapshot = %file.path.display(), %error, "snapshot cannot be read"),
            );
            let bytes = bytes.ok().filter(|bytes| !bytes.is_empty())?;
            let next = position + bytes.len() as u64;
            Some((message::SnapshotChunk { part: Some(snapshot_chunk::Part::Data(bytes)) }, (file, next)))
        });
        let chunks = stream::iter([header]).chain(data).boxed();
        let sent = async {
            let answer = self.network()?.snapshot(self.to, chunks).await?;
            vote_from(answer.vote).map_err(|error| Unreachable { node: self.to, reason: error.to_string() })
        };
        pin_mut!(sent);
        pin_mut!(cancel);
        match future::select(sent, cancel).await {
            future::Either::Left((answer, _)) => {
                Ok(SnapshotResponse::new(answer.map_err(|error| StreamingError::from(unreachable(error)))?))
            }
            future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        use transfer_leader_response::Outcome;
        let request = message::TransferLeaderRequest {
            group: self.group.0.into(),
            from: Some(vote_to(rpc.from_leader())),
            to: rpc.to_node_id().0,
            last: rpc.last_log_id().map(log_id_to),
        };
        let answer = self.network().map_err(unreachable)?.transfer_leader(self.to, request).await;
        Ok(match answer.map_err(unreachable)?.outcome {
            Some(Outcome::VoteChanged(actual)) => Err(TransferLeaderError::VoteChanged {
                expected: *rpc.from_leader(),
                actual: vote_from(Some(actual)).map_err(|error| self.invalid(error))?,
            }),
            Some(Outcome::NotFlushed(at)) => Err(TransferLeaderError::LogNotFlushed {
                expected: rpc.last_log_id().copied(),
                actual: at.last.map(log_id_from),
            }),
            _ => Ok(()),
        })
    }
}

impl Client {
    async fn ask_vote(
        &self,
        rpc: VoteRequest<Types>,
        pre_vote: bool,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = message::VoteRequest {
            group: self.group.0.into(),
            vote: Some(vote_to(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(log_id_to),
            leadership_transfer: rpc.leadership_transfer,
            pre_vote,
        };
        let answer =
            self.network().map_err(unreachable)?.vote(self.to, request).await.map_err(unreachable)?;
        let vote = vote_from(answer.vote).map_err(|error| self.invalid(error))?;
        Ok(VoteResponse::new(vote, answer.last.map(log_id_from), answer.granted))
    }
}

fn unreachable(error: Unreachable) -> RPCError<Types> {
    RPCError::Unreachable(openraft::errors::Unreachable::new(&error))
}

fn invalid(node: NodeId, error: io::Error) -> RPCError<Types> {
    unreachable(Unreachable { node, reason: error.to_string() })
}

fn append_to(group: GroupId, request: AppendEntriesRequest<Types>) -> message::AppendRequest {
    message::AppendRequest {
        group: group.0.into(),
        vote: Some(vote_to(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to),
        entries: request.entries.into_iter().map(entry_to).collect(),
        committed: request.leader_commit.as_ref().map(log_id_to),
    }
}

fn append_answer_from(answer: message::AppendResponse) -> io::Result<StreamAppendResult<Types>> {
    use append_response::Outcome;
    Ok(match answer.outcome {
        Some(Outcome::Matched(matched)) => Ok(matched.last.map(log_id_from)),
        Some(Outcome::Conflict(at)) => Err(StreamAppendError::Conflict(log_id_from(at))),
        Some(Outcome::HigherVote(vote)) => Err(StreamAppendError::HigherVote(vote_from(Some(vote))?)),
        None => return Err(crate::convert::malformed("append answer without outcome")),
    })
}

/// The same the other way round, for the node that answers.
pub(crate) fn append_answer_to(answer: StreamAppendResult<Types>) -> message::AppendResponse {
    use append_response::Outcome;
    let matched = |last: Option<LogId>| message::Matched { last: last.as_ref().map(log_id_to) };
    message::AppendResponse {
        outcome: Some(match answer {
            Ok(last) => Outcome::Matched(matched(last)),
            Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_to(&at)),
            Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_to(&vote)),
        }),
    }
}
