//! What handlers are given to work with. Most take one or two of these; who takes them all says why.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use milena_config::BrokerConfig;
use milena_disk::Level;
use milena_metadata::decide::{Decision, topics};
use milena_metadata::{BrokerEpoch, BrokerId, Image, Refusal};
use milena_quorum::GroupHandle;
use milena_wire::ErrorCode;
use tracing::warn;

use crate::cleaner::CleanerMeters;
use crate::cluster::{AppliedEverywhere, Committed, Controller, Members};
use crate::coordination::Coordination;
use crate::data_dir::DataDir;
use crate::doors::Doors;
use crate::error::Explained;
use crate::liveness::Liveness;
use crate::meters::Meters;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::random;
use crate::settings::Settings;
use crate::transactions::{Enlister, TransactionCoordinator};
use crate::view::View;

/// A leader that no quorum has answered for so long may have been replaced, and is not told to clients. Several times
/// what an election takes, so that a busy machine is not mistaken for a cut cable.
const QUORUM_SILENCE: Duration = Duration::from_secs(1);

/// Shortest time for which a change to metadata is tried, whatever the request's time-out is.
const SHORTEST: Duration = Duration::from_secs(1);

/// The parts of a running broker.
pub(crate) struct Services {
    pub(crate) broker_id: BrokerId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) view: Arc<View>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) controller: Controller,
    pub(crate) coordination: Coordination,
    pub(crate) transactions: TransactionCoordinator,
    /// How a partition that this broker leads asks the coordinator of a transaction.
    pub(crate) enlister: Enlister,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) meters: Meters,
    /// What the log cleaner has done.
    pub(crate) cleaner: Arc<CleanerMeters>,
    /// The newest committed metadata, which [`View`] trails.
    pub(crate) committed: Committed,
    /// How far the other brokers have applied it.
    pub(crate) everywhere: Arc<AppliedEverywhere>,
    /// Who belongs to the quorums.
    pub(crate) members: Members,
    /// Who else lives; `None` on a node that is alone.
    pub(crate) liveness: Option<Liveness>,
    /// The metadata quorum, for what DescribeQuorum tells.
    pub(crate) cluster_raft: GroupHandle,
    /// The groups' quorum, whose leader coordinates.
    pub(crate) coordination_raft: GroupHandle,
}

impl Services {
    /// The settings now.
    pub(crate) fn settings(&self) -> Guard<Arc<BrokerConfig>> {
        self.settings.broker()
    }

    /// The broker to which changes are best sent: the controller while clients can reach it, else this one, which
    /// hands them on (MD-7).
    pub(crate) fn controller_id(&self) -> BrokerId {
        let leader = self.controller.leader().and_then(|id| i32::try_from(id.0).ok()).map(BrokerId);
        let image = self.view.image();
        leader.filter(|id| image.broker(*id).is_some_and(|broker| !broker.fenced)).unwrap_or(self.broker_id)
    }

    /// The broker that coordinates every group, if there is one at the moment. This one only while a quorum follows
    /// it: an old coordinator that is cut off would keep its clients from finding the new one.
    pub(crate) fn coordinator_id(&self) -> Option<BrokerId> {
        let leader = self.coordination_raft.leader().borrow().leader?;
        if leader == self.coordination_raft.node_id() && !is_followed(&self.coordination_raft) {
            return None;
        }
        // A controller that leads for a moment hands over to a broker.
        let image = self.view.image();
        i32::try_from(leader.0).ok().map(BrokerId).filter(|id| image.broker(*id).is_some())
    }

    /// Makes a change to the cluster's metadata and waits until every live broker has applied it, at most
    /// `timeout_ms` (D12, TP-7).
    pub(crate) async fn change<T>(
        &self,
        timeout_ms: i32,
        decide: impl FnMut(&Image) -> Result<Decision<T>, Refusal>,
    ) -> Result<T, Explained> {
        let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
        // A client that does not wait for the outcome still wants it to be tried.
        let agreed = tokio::time::timeout(timeout.max(SHORTEST), self.controller.change(decide)).await;
        let changed = agreed.map_err(|_| self.not_agreed())??;
        let image = || self.committed.image();
        let applied = async {
            self.view.applied(changed.index).await;
            self.everywhere.wait(self.broker_id, changed.index, image, self.committed.changes()).await;
        };
        match tokio::time::timeout(timeout, applied).await {
            Ok(()) => Ok(changed.answer),
            Err(_) => Err(Explained::new(
                ErrorCode::RequestTimedOut,
                "the change is agreed on, but not every live broker has applied it within the request's time-out",
            )),
        }
    }

    /// What a client is told about a change that may yet be made.
    fn not_agreed(&self) -> Explained {
        let why = match self.partitions.room() {
            Level::Full => "the disk of this broker is full",
            _ => "too few of its voters answer",
        };
        let message =
            format!("the metadata quorum has not agreed on the change within the request's time-out: {why}");
        Explained::new(ErrorCode::RequestTimedOut, message)
    }

    /// Writes the checkpoints of all partitions.
    pub(crate) fn checkpoint(&self) -> Result<(), milena_log::Error> {
        self.data_dir.try_checkpoint(&self.partitions.all())
    }

    /// Closes every partition and says so on disk. Returns whether the next start may trust the files.
    pub(crate) fn close(&self, epoch: BrokerEpoch) -> bool {
        // Before anything else is tried there: what is tried may fail.
        let failed = self.data_dir.suspect_if_failed();
        let all = self.partitions.all();
        let mut offsets = Vec::with_capacity(all.len());
        let mut is_clean = true;
        for hosted in &all {
            match hosted.close() {
                Ok(Some(checkpointed)) => offsets.push((&**hosted, checkpointed)),
                Ok(None) => {}
                Err(error) => {
                    warn!(topic = %hosted.topic, partition = hosted.index, %error, "log not closed");
                    is_clean = false;
                }
            }
        }
        let synced =
            self.data_dir.sync_all().and_then(|_| self.data_dir.write_checkpoints(offsets.into_iter()));
        if let Err(error) = synced {
            warn!(%error, "checkpoints not written");
            return false;
        }
        if failed {
            warn!("the data directory has failed; the next start checks everything in it");
            return true;
        }
        is_clean && self.data_dir.mark_clean(epoch.0).is_ok()
    }

    /// Creates topics that a client asked for by name, with the broker's defaults (MD-3). Returns those that
    /// cannot be, with the reason.
    pub(crate) async fn auto_create(&self, names: Vec<String>) -> Vec<(String, ErrorCode)> {
        let settings = self.settings().clone();
        let outcome = self
            .change(Self::AUTO_CREATE_TIMEOUT_MS, |image| {
                let live = image.live_brokers().count();
                let absent = names.iter().filter(|name| image.topic(name).is_none());
                let wanted: Vec<_> =
                    absent.map(|name| topics::NewTopic::automatic(name, &settings, live)).collect();
                topics::create(image, &settings, &wanted, false, &mut random::word)
            })
            .await;
        match outcome {
            Ok(answer) => answer
                .into_iter()
                .filter_map(|(name, created)| Some((name, created.err()?.code())))
                // Somebody else was first: it is there, which is all that was asked for.
                .filter(|(_, code)| *code != ErrorCode::TopicAlreadyExists)
                .collect(),
            Err(error) => names.into_iter().map(|name| (name, error.code)).collect(),
        }
    }

    /// How long a Metadata request waits for a topic that it creates. Afterwards the client asks again.
    const AUTO_CREATE_TIMEOUT_MS: i32 = 5_000;
}

/// Whether this node leads the group, and a quorum said so a moment ago.
pub(crate) fn is_followed(raft: &GroupHandle) -> bool {
    raft.vitals().quorum_acked_ago.is_some_and(|ago| ago <= QUORUM_SILENCE)
}
