//! This broker's replicas, put together: the partitions, what they replicate through, and what keeps them in step with
//! the metadata.

use std::sync::{Arc, Mutex};

use milena_config::BrokerConfig;
use milena_metadata::{BrokerEpoch, BrokerId};
use milena_peer::Identity;
use milena_peer::liveness::Lease;
use milena_peer::replica::replica_service;
use milena_quorum::NodeId;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Applier, Committed, Controller};
use crate::data_dir::DataDir;
use crate::forming::Peering;
use crate::partitions::Partitions;
use crate::replication::{Feeder, FetcherContext, Fetchers, IsrKeeper, IsrQueue, ReplicationQuota, Side};
use crate::settings::Settings;
use crate::view::View;

/// What replicas rest on.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a BrokerConfig,
    pub(crate) cluster_id: &'a str,
    pub(crate) peering: Option<&'a Peering>,
    pub(crate) committed: &'a Committed,
    pub(crate) controller: &'a Controller,
    pub(crate) settings: &'a Arc<Settings>,
    pub(crate) view: &'a Arc<View>,
    pub(crate) data_dir: &'a Arc<DataDir>,
    /// By which this broker acknowledges.
    pub(crate) lease: Arc<Lease>,
    pub(crate) broker: BrokerId,
    /// Of this process.
    pub(crate) epoch: BrokerEpoch,
}

/// The replicas of this broker.
pub(crate) struct Replicas {
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) applier: Arc<Applier>,
    /// Asks the controller for changes of the ISR.
    pub(crate) isr_keeper: IsrKeeper,
}

impl Replicas {
    /// Also serves the other brokers' replica streams. No log is open yet: [`Applier::start`] opens them.
    pub(crate) fn new(ground: &Ground<'_>, shutdown: &CancellationToken) -> Self {
        let Ground { broker, epoch, settings, data_dir, .. } = *ground;
        let fetch_max_bytes = ground.config.fetch_max_bytes().max(0) as usize;
        let (view, lease) = (Arc::clone(ground.view), Arc::clone(&ground.lease));
        let partitions = Arc::new(Partitions::new(fetch_max_bytes, view, lease, data_dir.health()));
        let isr = Arc::<IsrQueue>::default();
        let quota = |side| ReplicationQuota::new(Arc::clone(settings), side);
        if let Some(peering) = ground.peering
            && let Some(identity) = peering.identity()
        {
            let feeder = Feeder::new(Arc::clone(&partitions), Arc::clone(&isr), quota(Side::Leader));
            peering.routes.add(replica_service(identity, feeder, peering.closing.clone()));
        }
        let fetchers = FetcherContext {
            identity: Identity::new(ground.cluster_id, NodeId(broker.0 as u64)),
            broker,
            broker_epoch: epoch.0,
            committed: ground.committed.clone(),
            partitions: Arc::clone(&partitions),
            data_dir: Arc::clone(data_dir),
            quota: quota(Side::Follower),
        };
        let applier = Arc::new(Applier {
            broker,
            fetchers: Fetchers::new(fetchers, shutdown.clone()),
            isr: Arc::clone(&isr),
            committed: ground.committed.clone(),
            view: Arc::clone(ground.view),
            partitions: Arc::clone(&partitions),
            data_dir: Arc::clone(data_dir),
            settings: Arc::clone(settings),
            without_room: Mutex::default(),
        });
        let isr_keeper = IsrKeeper {
            queue: isr,
            controller: ground.controller.clone(),
            settings: Arc::clone(settings),
            broker,
            broker_epoch: epoch,
        };
        Self { partitions, applier, isr_keeper }
    }
}
