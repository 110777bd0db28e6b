//! Starts and stops a node that is a controller alone (`process.roles=controller`): it votes on metadata, fences
//! brokers and elects leaders when it leads, and keeps no partitions.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_config::BrokerConfig;
use milena_config::load::Loaded;
use milena_metadata::decide::{controllers, features};
use milena_metadata::{BrokerId, DedicatedController, Refusal};
use milena_quorum::{GroupHandle, Node};
use tokio::runtime::Handle;
use tokio::time::Instant as Deadline;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::{ChangeError, Committed, Controller, ControllerTasks, coordinators};
use crate::data_dir::DataDir;
use crate::departure;
use crate::doors::Doors;
use crate::error::Explained;
use crate::forming::Peering;
use crate::http::{self, ControllerProbe};
use crate::joined::Joined;
use crate::liveness::Liveness;
use crate::room::Room;
use crate::settings::Settings;
use crate::standstill::Standstill;
use crate::start::{StartError, open_data_dir};
use crate::view::View;

/// Before a registration for which there was no quorum is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// A running controller.
pub struct ControllerNode {
    id: BrokerId,
    cluster_id: String,
    node: Node,
    peering: Peering,
    groups: [GroupHandle; 2],
    data_dir: Arc<DataDir>,
    room: Room,
    /// Watches the disk as long as it is here.
    _standstill: Standstill,
    shutdown: CancellationToken,
}

impl ControllerNode {
    /// Starts a controller; it votes when this returns. All of it but bulk work runs on `control`.
    pub async fn start(loaded: Loaded, control: &Handle) -> Result<Self, StartError> {
        let began = Instant::now();
        let config = loaded.broker;
        let http = http::bind(&config)?;
        let data_dir = Arc::new(open_data_dir(&config)?);
        let joined = Joined::join(&config, &data_dir, loaded.cluster_id.as_deref(), control).await?;
        let Joined { quorum, peering, meta, controller } = joined;
        let peering = peering.ok_or(StartError::NoPeers { node: meta.node_id })?;
        let id = BrokerId(meta.node_id);
        let shutdown = CancellationToken::new();
        // It has no partitions, so what it has applied is of interest to nobody.
        let view = Arc::new(View::new(Arc::default()));
        let liveness = Liveness::join(&peering, &quorum, &view, &shutdown, control);
        let liveness = liveness.map_err(StartError::Liveness)?;
        let own = DedicatedController {
            id,
            directory: peering.desk.directory,
            peer_address: peering.desk.address.clone(),
        };
        register(&controller, &config, &meta.cluster_id, &own).await?;
        data_dir.mark_founded().map_err(StartError::data_dir(data_dir.root()))?;
        let settings = Arc::new(Settings::new(config.clone()));
        let following = follow_settings(Arc::clone(&settings), quorum.committed.clone(), id);
        let tasks =
            ControllerTasks::new(&quorum.cluster, &quorum.committed, &liveness, Arc::clone(&settings));
        control.spawn(tasks.run(shutdown.clone()));
        let stop = shutdown.clone();
        control.spawn(async move { stop.run_until_cancelled(following).await });
        control.spawn(coordinators::seat_brokers(
            quorum.coordination.clone(),
            quorum.committed.clone(),
            shutdown.clone(),
        ));
        let room = Room::tend(&data_dir, &config).map_err(StartError::DiskWatch)?;
        room.follow(&liveness, &shutdown, control);
        let groups = [quorum.cluster.clone(), quorum.coordination.clone()];
        let standstill = Standstill::watch(&data_dir).map_err(StartError::DiskWatch)?;
        let doors = Arc::new(Doors::new(false));
        standstill.follow(&liveness, [&groups[0], &groups[1]], &doors, &shutdown, control);
        if let Some(socket) = http {
            let probe = ControllerProbe { groups: groups.clone(), committed: quorum.committed.clone() };
            tokio::spawn(http::serve(socket, Arc::new(probe), shutdown.clone()));
        }
        info!(elapsed_ms = began.elapsed().as_millis() as u64, "this controller takes part in the quorum");
        Ok(Self {
            id,
            cluster_id: meta.cluster_id,
            node: quorum.node,
            peering,
            groups,
            data_dir,
            room,
            _standstill: standstill,
            shutdown,
        })
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.root()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// This node's id.
    pub fn node_id(&self) -> i32 {
        self.id.0
    }

    /// Waits until the node cannot go on by itself; says why.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.groups[0].stopped() => reason,
            reason = self.groups[1].stopped() => reason,
            reason = self.room.failed() => reason,
        }
    }

    /// Stops, after another voter leads what this one led.
    pub async fn stop(self) {
        let began = Instant::now();
        for group in &self.groups {
            if group.leader().borrow().is_self {
                departure::transfer(group, |_| true).await;
            }
        }
        self.shutdown.cancel();
        self.peering.close().await;
        self.data_dir.health().close();
        self.node.shutdown().await;
        info!(elapsed_ms = began.elapsed().as_millis() as u64, "stopped");
    }
}

/// Gives the cluster its id, if it has none, and makes this controller known. There may be no quorum yet.
async fn register(
    controller: &Controller,
    config: &BrokerConfig,
    cluster_id: &str,
    own: &DedicatedController,
) -> Result<(), StartError> {
    let patience = config.initial_broker_registration_timeout_ms().max(1) as u64;
    let deadline = Deadline::now() + Duration::from_millis(patience);
    let mut complained = false;
    loop {
        let error = match try_to_register(controller, cluster_id, own, deadline).await {
            Ok(()) => return Ok(()),
            Err(ChangeError::Refused(refusal)) => return Err(Explained::from(&refusal).into()),
            Err(error) if Deadline::now() >= deadline => return Err(Explained::from(error).into()),
            Err(error) => error,
        };
        if !std::mem::replace(&mut complained, true) {
            warn!(reason = %error, "not registered yet; trying on");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_to_register(
    controller: &Controller,
    cluster_id: &str,
    own: &DedicatedController,
    deadline: Deadline,
) -> Result<(), ChangeError<Refusal>> {
    controller.catch_up(deadline).await.map_err(ChangeError::Unknown)?;
    controller.change(|image| Ok(features::format(image, cluster_id))).await?;
    controller.change(|image| controllers::register(image, own)).await?;
    Ok(())
}

/// What is altered for all brokers is obeyed by whoever decides about them.
async fn follow_settings(settings: Arc<Settings>, committed: Committed, id: BrokerId) {
    let mut changes = committed.changes();
    loop {
        changes.borrow_and_update();
        settings.apply(&committed.image(), id);
        if changes.changed().await.is_err() {
            return;
        }
    }
}
