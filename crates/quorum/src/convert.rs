//! Between openraft's types, the messages of `proto/raft.proto`, and records of the log.

use crate::id::NodeId;
use crate::message;
use crate::types::{
    Command, Entry, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote, log_id,
};
use crate::wal::{Position, RawEntry, RecordKind, StoredVote};
use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A message or a record that another version, or nobody, could have written.
pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed raft message: {what}"))
}

pub(crate) fn position(id: LogId) -> Position {
    Position { term: id.committed_leader_id().term, index: id.index() }
}

pub(crate) fn log_id_of(at: Position) -> LogId {
    log_id(at.term, at.index)
}

pub(crate) fn log_id_to(id: &LogId) -> message::LogId {
    let Position { term, index } = position(*id);
    message::LogId { term, index }
}

pub(crate) fn log_id_from(id: message::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn stored_vote(vote: &Vote) -> StoredVote {
    StoredVote {
        term: vote.leader_id().term(),
        node: vote.leader_id().node_id().0,
        committed: vote.committed,
    }
}

pub(crate) fn vote_of(vote: StoredVote) -> Vote {
    match vote.committed {
        true => Vote::new_committed(vote.term, NodeId(vote.node)),
        false => Vote::new(vote.term, NodeId(vote.node)),
    }
}

pub(crate) fn vote_to(vote: &Vote) -> message::Vote {
    let StoredVote { term, node, committed } = stored_vote(vote);
    message::Vote { term, node, committed }
}

pub(crate) fn vote_from(vote: Option<message::Vote>) -> io::Result<Vote> {
    let vote = vote.ok_or_else(|| malformed("no vote"))?;
    Ok(vote_of(StoredVote { term: vote.term, node: vote.node, committed: vote.committed }))
}

pub(crate) fn membership_to(membership: &Membership) -> message::Membership {
    let set = |voters: &BTreeSet<NodeId>| message::VoterSet { nodes: voters.iter().map(|id| id.0).collect() };
    message::Membership {
        voters: membership.get_joint_config().iter().map(set).collect(),
        nodes: membership.nodes().map(|(id, ())| id.0).collect(),
    }
}

pub(crate) fn membership_from(membership: message::Membership) -> io::Result<Membership> {
    let voters =
        membership.voters.into_iter().map(|set| set.nodes.into_iter().map(NodeId).collect()).collect();
    let nodes: BTreeMap<NodeId, ()> = membership.nodes.into_iter().map(|id| (NodeId(id), ())).collect();
    Membership::new(voters, nodes).map_err(|error| malformed(&error.to_string()))
}

pub(crate) fn stored_membership_to(
    stored: &StoredMembership,
) -> (Option<message::LogId>, message::Membership) {
    (stored.log_id().as_ref().map(log_id_to), membership_to(stored.membership()))
}

pub(crate) fn stored_membership_from(
    at: Option<message::LogId>,
    membership: Option<message::Membership>,
) -> io::Result<StoredMembership> {
    // Before the first membership there is none, which openraft represents by an empty one.
    let membership = match membership {
        Some(membership) if !membership.voters.is_empty() => membership_from(membership)?,
        _ => Membership::default(),
    };
    Ok(StoredMembership::new(at.map(log_id_from), membership))
}

pub(crate) fn meta_to(meta: &SnapshotMeta) -> message::SnapshotMeta {
    let (membership_at, membership) = stored_membership_to(&meta.last_membership);
    message::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(log_id_to),
        membership_at,
        membership: Some(membership),
    }
}

pub(crate) fn meta_from(meta: message::SnapshotMeta) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last_log_id: meta.last.map(log_id_from),
        last_membership: stored_membership_from(meta.membership_at, meta.membership)?,
    })
}

pub(crate) fn entry_to_raw(entry: Entry) -> RawEntry {
    let Position { term, index } = position(entry.log_id());
    let (kind, payload) = match entry.payload {
        Payload::Blank => (RecordKind::Blank, Bytes::new()),
        Payload::Normal(command) => (RecordKind::Command, command.0),
        Payload::Membership(membership) => {
            (RecordKind::Membership, Bytes::from(membership_to(&membership).encode_to_vec()))
        }
    };
    RawEntry { kind, index, term, payload }
}

pub(crate) fn entry_from_raw(raw: RawEntry) -> io::Result<Entry> {
    let payload = match raw.kind {
        RecordKind::Command => Payload::Normal(Command(raw.payload)),
        RecordKind::Membership => {
            let membership =
                message::Membership::decode(raw.payload).map_err(|_| malformed("membership record"))?;
            Payload::Membership(membership_from(membership)?)
        }
        _ => Payload::Blank,
    };
    Ok(Entry::new(log_id(raw.term, raw.index), payload))
}

pub(crate) fn entry_to(entry: Entry) -> message::Entry {
    use message::entry::Payload as Sent;
    let Position { term, index } = position(entry.log_id());
    let payload = match entry.payload {
        Payload::Blank => Sent::Blank(true),
        Payload::Normal(command) => Sent::Command(command.0),
        Payload::Membership(membership) => Sent::Membership(membership_to(&membership)),
    };
    message::Entry { term, index, payload: Some(payload) }
}

pub(crate) fn entry_from(entry: message::Entry) -> io::Result<Entry> {
    use message::entry::Payload as Sent;
    let payload = match entry.payload {
        Some(Sent::Blank(_)) => Payload::Blank,
        Some(Sent::Command(command)) => Payload::Normal(Command(command)),
        Some(Sent::Membership(membership)) => Payload::Membership(membership_from(membership)?),
        None => return Err(malformed("entry without payload")),
    };
    Ok(Entry::new(log_id(entry.term, entry.index), payload))
}
