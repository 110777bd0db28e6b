//! What other nodes ask of this one; the server side of [`crate::Network`].

use crate::answered::unless_ended;
use crate::convert::{entry_from, log_id_from, log_id_to, meta_from, vote_from, vote_to};
use crate::disk::{Disk, apart};
use crate::group::shutdown;
use crate::id::{GroupId, NodeId};
use crate::message::{self, snapshot_chunk, transfer_leader_response};
use crate::outbound::append_answer_to;
use crate::state::IncomingSnapshot;
use crate::types::{Raft, Types};
use futures_util::future;
use futures_util::stream::{self, BoxStream, StreamExt};
use openraft::Snapshot;
use openraft::raft::{AppendEntriesRequest, TransferLeaderError, TransferLeaderRequest, VoteRequest};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use thiserror::Error;

/// Why a request of another node was not served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The group does not run here (yet).
    #[error("raft group {0} does not run on this node")]
    UnknownGroup(u32),
    /// The message makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// A snapshot could not be stored, or arrived damaged.
    #[error("snapshot not taken: {0}")]
    Snapshot(String),
    /// The group has stopped.
    #[error("raft group has stopped: {0}")]
    Stopped(String),
}

/// Hands requests of other nodes to the groups of this one. Clones serve the same node.
#[derive(Clone)]
pub struct Inbound {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    groups: RwLock<BTreeMap<GroupId, Raft>>,
    /// Names the files of snapshots that are being received.
    received: AtomicU64,
}

impl Inbound {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Inbound {
        let shared = Shared { disk, dir, groups: RwLock::default(), received: AtomicU64::new(0) };
        Inbound { shared: Arc::new(shared) }
    }

    pub(crate) fn add(&self, group: GroupId, raft: Raft) {
        self.shared.groups.write().unwrap().insert(group, raft);
    }

    pub(crate) fn remove(&self, group: GroupId) {
        self.shared.groups.write().unwrap().remove(&group);
    }

    fn group(&self, group: u32) -> Result<(GroupId, Raft), Refused> {
        let id = u8::try_from(group).map(GroupId).map_err(|_| Refused::UnknownGroup(group))?;
        let raft = self.shared.groups.read().unwrap().get(&id).cloned();
        raft.map(|raft| (id, raft)).ok_or(Refused::UnknownGroup(group))
    }

    /// Serves a stream of appends; all of them must be for the group of the first. The answers
    /// end early after a conflict or a higher vote, as the sender has to think again.
    pub async fn append(
        &self,
        mut requests: BoxStream<'static, message::AppendRequest>,
    ) -> Result<BoxStream<'static, Result<message::AppendResponse, Refused>>, Refused> {
        let Some(first) = requests.next().await else {
            return Ok(stream::empty().boxed());
        };
        let group = first.group;
        let (_, raft) = self.group(group)?;
        let requests =
            stream::iter([first]).chain(requests).map(move |request| match request.group == group {
                true => append_from(request),
                false => Err(crate::convert::malformed("append for another group than the stream's")),
            });
        let requests = requests.scan((), |(), request| future::ready(sound(request)));
        let answers = raft.stream_append(requests.boxed());
        Ok(answers
            .map(|answer| answer.map(append_answer_to).map_err(|fatal| Refused::Stopped(fatal.to_string())))
            .boxed())
    }

    /// Answers a request for a vote.
    pub async fn vote(&self, request: message::VoteRequest) -> Result<message::VoteResponse, Refused> {
        let (_, raft) = self.group(request.group)?;
        let mut rpc = VoteRequest::<Types>::new(vote_from(request.vote)?, request.last.map(log_id_from));
        rpc.leadership_transfer = request.leadership_transfer;
        let answer = match request.pre_vote {
            true => answered(&raft, raft.pre_vote(rpc)).await?,
            false => answered(&raft, raft.vote(rpc)).await?,
        };
        Ok(message::VoteResponse {
            vote: Some(vote_to(&answer.vote)),
            granted: answer.vote_granted,
            last: answer.last_log_id.as_ref().map(log_id_to),
        })
    }

    /// Takes the hint that this node may campaign at once.
    pub async fn transfer_leader(
        &self,
        request: message::TransferLeaderRequest,
    ) -> Result<message::TransferLeaderResponse, Refused> {
        use transfer_leader_response::Outcome;
        let (_, raft) = self.group(request.group)?;
        let (from, to) = (vote_from(request.from)?, NodeId(request.to));
        let rpc = TransferLeaderRequest::<Types>::new(from, to, request.last.map(log_id_from));
        let outcome = match answered(&raft, raft.handle_transfer_leader(rpc)).await? {
            Ok(()) => Outcome::Accepted(true),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => Outcome::VoteChanged(vote_to(&actual)),
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                Outcome::NotFlushed(message::Matched { last: actual.as_ref().map(log_id_to) })
            }
        };
        Ok(message::TransferLeaderResponse { outcome: Some(outcome) })
    }

    /// Receives a snapshot into a file, checks it, and installs it.
    pub async fn snapshot(
        &self,
        mut chunks: BoxStream<'static, message::SnapshotChunk>,
    ) -> Result<message::SnapshotResponse, Refused> {
        let header = match chunks.next().await.and_then(|chunk| chunk.part) {
            Some(snapshot_chunk::Part::Header(header)) => header,
            _ => return Err(Refused::Malformed("snapshot without header".to_owned())),
        };
        let (group, raft) = self.group(header.group)?;
        let vote = vote_from(header.vote)?;
        let meta = meta_from(header.meta.unwrap_or_default())?;
        let number = self.shared.received.fetch_add(1, Ordering::Relaxed);
        let shared = &self.shared;
        let mut file = IncomingSnapshot::create(shared.disk.clone(), &shared.dir, group, number, header.size)
            .map_err(not_taken)?;
        while let Some(chunk) = chunks.next().await {
            match chunk.part {
                Some(snapshot_chunk::Part::Data(bytes)) => file.write(&bytes).map_err(not_taken)?,
                _ => return Err(Refused::Malformed("snapshot chunk without data".to_owned())),
            }
        }
        let finished = apart(&*shared.disk, move || file.finish()).await;
        let finished = finished.map_err(|error| Refused::Stopped(error.to_string()))?;
        let snapshot = finished.map_err(not_taken)?;
        if snapshot.meta != meta {
            return Err(Refused::Malformed("snapshot file and its header differ".to_owned()));
        }
        let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot });
        let answer = answered(&raft, installed).await?;
        Ok(message::SnapshotResponse { vote: Some(vote_to(&answer.vote)) })
    }
}

/// What the core answers, which has stopped where it gives an error or nothing.
async fn answered<T, E: Display>(
    raft: &Raft,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Refused> {
    match unless_ended(raft, call).await {
        Some(answer) => answer.map_err(|error| Refused::Stopped(error.to_string())),
        None => Err(Refused::Stopped(shutdown())),
    }
}

fn not_taken(error: io::Error) -> Refused {
    Refused::Snapshot(error.to_string())
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Malformed(error.to_string())
    }
}

fn append_from(request: message::AppendRequest) -> io::Result<AppendEntriesRequest<Types>> {
    Ok(AppendEntriesRequest {
        vote: vote_from(request.vote)?,
        prev_log_id: request.previous.map(log_id_from),
        entries: request.entries.into_iter().map(entry_from).collect::<io::Result<_>>()?,
        leader_commit: request.committed.map(log_id_from),
    })
}

/// A request that makes no sense ends the stream.
fn sound(request: io::Result<AppendEntriesRequest<Types>>) -> Option<AppendEntriesRequest<Types>> {
    request.inspect_err(|error| tracing::warn!(%error, "append stream ended")).ok()
}
