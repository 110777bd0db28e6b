//! How a node is set up.

use crate::error::OpenError;
use crate::id::NodeId;
use crate::network::Network;
use milena_disk::Health;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Election and heartbeat times, in milliseconds.
///
/// A follower grants no vote until its leader has been silent for `election_max_ms`, and
/// campaigns a random time between the two election times later. The defaults are the last resort:
/// whoever watches the nodes calls [`crate::GroupHandle::leader_died`] long before. Half of them,
/// which give a new leader within 200 ms, mistook a busy machine for a dead one all the time.
/// Five heartbeats fit into the time in which no vote is granted; three times as many, with the
/// five ticks that openraft makes of each, were half of what an idle cluster took of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats of a leader.
    pub heartbeat_ms: u64,
    /// Shortest silence before a campaign.
    pub election_min_ms: u64,
    /// Longest silence before a campaign, and the lease of a leader.
    pub election_max_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { heartbeat_ms: 60, election_min_ms: 150, election_max_ms: 300 }
    }
}

/// Everything a [`crate::Node`] needs to know before it opens its directory.
#[derive(Clone)]
pub struct NodeConfig {
    /// Directory that holds `raft/` and `state/`; created if absent.
    pub data_dir: PathBuf,
    /// This node.
    pub node_id: NodeId,
    /// Voters of a cluster that is about to be formed: used for a group whose log is empty, by
    /// every voter with the same list, and ignored ever after. Empty: wait until a leader adds
    /// this node. With this node alone in it, the node leads at once.
    pub initial_voters: BTreeSet<NodeId>,
    /// Election and heartbeat times.
    pub timers: Timers,
    /// The way to other nodes; `None` only where this node is and stays alone.
    pub network: Option<Arc<dyn Network>>,
    /// Told of every write and flush of the Raft log while it is under way.
    pub disk_health: Arc<Health>,
    /// sled's page cache in bytes. Its own default is 1 GiB.
    pub state_cache_bytes: u64,
    /// A log segment is closed when it is this long. Whole segments are deleted, so this is also
    /// the grain in which space comes back.
    pub segment_bytes: u64,
    /// A group is snapshot when its log holds this many bytes since the last one ..
    pub snapshot_bytes: u64,
    /// .. or this many entries.
    pub snapshot_entries: u64,
    /// Entries below the newest snapshot that stay in the log, so that a follower that is a
    /// little behind need not fetch the snapshot.
    pub keep_entries: u64,
}

impl NodeConfig {
    /// A node that is alone, with everything else at its default.
    pub fn single(data_dir: impl Into<PathBuf>, node_id: NodeId) -> Self {
        NodeConfig {
            data_dir: data_dir.into(),
            node_id,
            initial_voters: BTreeSet::from([node_id]),
            timers: Timers::default(),
            network: None,
            disk_health: Arc::default(),
            state_cache_bytes: 4 << 20,
            segment_bytes: 8 << 20,
            snapshot_bytes: 16 << 20,
            snapshot_entries: 20_000,
            keep_entries: 1_000,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let timers = &self.timers;
        let refuse = |what: String| Err(OpenError::Config(what));
        if !self.initial_voters.is_empty() && !self.initial_voters.contains(&self.node_id) {
            return refuse(format!("node {} is not among its initial voters", self.node_id));
        }
        if self.initial_voters.len() > 1 && self.network.is_none() {
            return refuse("several voters, but no network".to_owned());
        }
        if timers.heartbeat_ms == 0
            || timers.heartbeat_ms * 2 >= timers.election_min_ms
            || timers.election_min_ms >= timers.election_max_ms
        {
            return refuse(format!("heartbeat and election times must ascend with room between: {timers:?}"));
        }
        if self.segment_bytes < 4096 || self.segment_bytes > 1 << 30 {
            return refuse(format!("segment_bytes {} is not within 4 KiB and 1 GiB", self.segment_bytes));
        }
        Ok(())
    }
}
