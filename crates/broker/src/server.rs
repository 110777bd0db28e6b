//! Starts and stops a broker: directory, quorum, metadata, partitions, then clients; and back.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_config::BrokerConfig;
use milena_config::load::Loaded;
use milena_metadata::{BrokerEpoch, BrokerId, Endpoint};
use milena_peer::liveness::Lease;
use milena_quorum::Node;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::budget::Budget;
use crate::cleaner::{LogCleaner, RunningCleaner};
use crate::cluster::{self, AppliedEverywhere, ControllerTasks, Members};
use crate::connection::Limits;
use crate::coordinators::{self, Coordinators};
use crate::departure::{Departure, FAREWELL};
use crate::doors::{self, Doors};
use crate::forming::Peering;
use crate::housekeeping::Housekeeping;
use crate::http;
use crate::joined::Joined;
use crate::listeners::{self, Bound};
use crate::liveness::Liveness;
use crate::meters::Meters;
use crate::registration::{self, Applicant};
use crate::replicas::{self, Replicas};
use crate::room::Room;
use crate::services::Services;
use crate::settings::Settings;
use crate::standstill::Standstill;
use crate::start::{StartError, open_data_dir};
use crate::view::View;

/// A running broker.
pub struct Server {
    services: Arc<Services>,
    node: Node,
    peering: Option<Peering>,
    epoch: BrokerEpoch,
    endpoints: Vec<Endpoint>,
    http: Option<SocketAddr>,
    tasks: JoinSet<()>,
    /// One task for each socket: it ends with the last connection, after `closing`.
    listening: JoinSet<()>,
    cleaner: Option<RunningCleaner>,
    room: Room,
    /// Watches the disk as long as it is here.
    _standstill: Option<Standstill>,
    /// Nobody may connect any more.
    closing: CancellationToken,
    shutdown: CancellationToken,
}

impl Server {
    /// Starts a broker; it serves clients when this returns. Raft runs on `control`, so that no amount of
    /// traffic can cost it a leadership (D1).
    pub async fn start(loaded: Loaded, control: &Handle) -> Result<Self, StartError> {
        let began = Instant::now();
        let config = loaded.broker;
        let bound = listeners::bind(&config)?;
        let http = http::bind(&config)?;
        let data_dir = Arc::new(open_data_dir(&config)?);
        let joined = Joined::join(&config, &data_dir, loaded.cluster_id.as_deref(), control).await?;
        let Joined { quorum, peering, meta, controller } = joined;
        let broker = BrokerId(meta.node_id);
        let settings = Arc::new(Settings::new(config.clone()));
        let endpoints: Vec<_> = bound.iter().map(|bound| bound.advertised.clone()).collect();
        let is_new = quorum.committed.image().cluster_id().is_none();
        let mut applicant = Applicant::new(&config, &meta, &endpoints, &data_dir);
        if let Some(peering) = &peering {
            applicant.incarnation = peering.desk.incarnation;
            applicant.peer_address = peering.desk.address.clone();
        }
        let shutdown = CancellationToken::new();
        let view = Arc::new(View::new(Arc::default()));
        // Before the registration: whoever fences brokers must be able to hear this one.
        let liveness = match &peering {
            Some(peering) => {
                let liveness = Liveness::join(peering, &quorum, &view, &shutdown, control);
                Some(liveness.map_err(StartError::Liveness)?)
            }
            None => None,
        };
        let epoch = applicant.register(&controller).await?;
        let replicas = Replicas::new(
            &replicas::Ground {
                config: &config,
                cluster_id: &meta.cluster_id,
                peering: peering.as_ref(),
                committed: &quorum.committed,
                controller: &controller,
                settings: &settings,
                view: &view,
                data_dir: &data_dir,
                lease: liveness.as_ref().map_or_else(|| Arc::new(Lease::always()), Liveness::lease),
                broker,
                epoch,
            },
            &shutdown,
        );
        let Replicas { partitions, applier, isr_keeper } = replicas;
        let opening = Arc::clone(&applier);
        tokio::task::spawn_blocking(move || opening.start()).await.expect("opening logs does not panic");
        data_dir
            .mark_running(epoch.0)
            .and_then(|()| data_dir.mark_founded())
            .map_err(StartError::data_dir(data_dir.root()))?;
        let everywhere = Arc::new(AppliedEverywhere::default());
        if let Some(liveness) = &liveness {
            let tasks =
                ControllerTasks::new(&quorum.cluster, &quorum.committed, liveness, Arc::clone(&settings));
            control.spawn(tasks.run(shutdown.clone()));
            liveness.take_part(epoch, Arc::clone(&everywhere), &shutdown, control);
        }
        let room = Room::tend(&data_dir, &config).map_err(StartError::DiskWatch)?;
        if let Some(liveness) = &liveness {
            room.follow(liveness, &shutdown, control);
        }
        let doors = Arc::new(Doors::new(liveness.is_some()));
        let standstill = match &liveness {
            Some(liveness) => {
                let standstill = Standstill::watch(&data_dir).map_err(StartError::DiskWatch)?;
                let groups = [&quorum.cluster, &quorum.coordination];
                standstill.follow(liveness, groups, &doors, &shutdown, control);
                Some(standstill)
            }
            // Nobody could take over.
            None => None,
        };
        let unfenced = registration::unfence(&controller, &config, broker, epoch).await?;
        let (coordinators, coordinating) = Coordinators::new(&coordinators::Ground {
            config: &config,
            quorum: &quorum,
            peering: peering.as_ref(),
            controller: &controller,
            settings: &settings,
            view: &view,
            partitions: &partitions,
            broker,
            epoch,
        });
        let (groups, transactions) = (coordinators.groups.clone(), coordinators.transactions.clone());
        let services = Arc::new(Services {
            broker_id: broker,
            settings: Arc::clone(&settings),
            view,
            partitions: Arc::clone(&partitions),
            producer_ids: coordinators.producer_ids,
            controller,
            coordination: coordinators.groups,
            transactions: coordinators.transactions,
            enlister: coordinators.enlister,
            data_dir: Arc::clone(&data_dir),
            doors,
            meters: Meters::default(),
            cleaner: Arc::default(),
            committed: quorum.committed,
            everywhere,
            liveness,
            members: Members {
                groups: [quorum.cluster.clone(), quorum.coordination.clone()],
                addresses: peering.as_ref().map(|it| it.desk.addresses.clone()).unwrap_or_default(),
                peers: quorum.peers,
            },
            cluster_raft: quorum.cluster,
            coordination_raft: quorum.coordination.clone(),
        });
        let mut server = Self {
            services,
            node: quorum.node,
            peering,
            epoch,
            endpoints,
            http: http.as_ref().and_then(|socket| socket.local_addr().ok()),
            tasks: JoinSet::new(),
            listening: JoinSet::new(),
            cleaner: None,
            room,
            _standstill: standstill,
            closing: CancellationToken::new(),
            shutdown,
        };
        let stop = || server.shutdown.clone();
        server.tasks.spawn(isr_keeper.run(stop()));
        server.tasks.spawn(applier.run(groups, transactions, stop()));
        coordinating.spawn(&mut server.tasks, &server.shutdown);
        if server.services.liveness.is_some() {
            control.spawn(cluster::coordinators::seat_brokers(
                server.services.coordination_raft.clone(),
                server.services.committed.clone(),
                stop(),
            ));
        }
        let cleaner = LogCleaner::new(
            Arc::clone(&partitions),
            Arc::clone(&data_dir),
            Arc::clone(&settings),
            Arc::clone(&server.services.cleaner),
        );
        server.tasks.spawn(Housekeeping { partitions, data_dir, settings }.run(stop()));
        if let Some(socket) = http {
            server.tasks.spawn(http::serve(socket, server.services.clone(), stop()));
        }
        server.services.view.applied(unfenced).await;
        if is_new && !loaded.create_topics.is_empty() {
            let controller = &server.services.controller;
            let index = registration::create_topics(controller, &config, &loaded.create_topics).await?;
            server.services.view.applied(index).await;
        }
        listeners::open_all(&bound)?;
        server.open(bound, &config, control);
        server.cleaner = Some(cleaner.start());
        info!(elapsed_ms = began.elapsed().as_millis() as u64, "Transitioning from RECOVERY to RUNNING");
        Ok(server)
    }

    /// What clients are told, one address per listener.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where metrics and probes are, if anywhere.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        self.services.data_dir.root()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> String {
        self.services.view.image().cluster_id().unwrap_or_default().to_owned()
    }

    /// This broker's id.
    pub fn broker_id(&self) -> i32 {
        self.services.broker_id.0
    }

    /// Waits until the broker cannot go on by itself; says why.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.services.cluster_raft.stopped() => reason,
            reason = self.services.coordination_raft.stopped() => reason,
            reason = self.room.failed() => reason,
        }
    }

    /// Stops: no more clients, everything flushed, so that the next start need not look at data.
    pub async fn stop(mut self) {
        let began = Instant::now();
        let config = self.services.settings().clone();
        let departure = Departure {
            broker: self.services.broker_id,
            epoch: self.epoch,
            config: &config,
            controller: &self.services.controller,
            committed: &self.services.committed,
            everywhere: &self.services.everywhere,
            groups: [&self.services.cluster_raft, &self.services.coordination_raft],
        };
        // The hand-over takes time and may be cut short; the next start must know all the same. A disk that hangs must
        // not delay it.
        let data_dir = Arc::clone(&self.services.data_dir);
        tokio::task::spawn_blocking(move || data_dir.suspect_if_failed());
        if let Some(liveness) = &self.services.liveness {
            liveness.leave();
        }
        let others_take_over = departure.prepare().await;
        self.closing.cancel();
        if others_take_over {
            let all_gone = async { while self.listening.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(FAREWELL, all_gone).await;
        }
        self.shutdown.cancel();
        while self.listening.join_next().await.is_some() {}
        while self.tasks.join_next().await.is_some() {}
        let cleaner = self.cleaner.take();
        let _ = tokio::task::spawn_blocking(move || drop(cleaner)).await;
        let services = Arc::clone(&self.services);
        let epoch = self.epoch;
        let closed = tokio::task::spawn_blocking(move || services.close(epoch)).await;
        if !matches!(closed, Ok(true)) {
            warn!("not everything could be closed; the next start will check the logs");
        }
        if let Some(peering) = self.peering {
            peering.close().await;
        }
        self.services.data_dir.health().close();
        self.node.shutdown().await;
        info!(elapsed_ms = began.elapsed().as_millis() as u64, "stopped");
    }

    fn open(&mut self, bound: Vec<Bound>, config: &BrokerConfig, control: &Handle) {
        let limits = Limits {
            request_max_bytes: config.socket_request_max_bytes().max(0) as usize,
            max_idle: Duration::from_millis(config.connections_max_idle_ms().max(1) as u64),
            budget: Budget::new(config.request_memory_bytes().max(0) as usize),
            answer_bytes: config.connection_memory_bytes().max(1) as usize,
        };
        for listener in bound {
            for socket in listener.sockets {
                match socket.try_clone() {
                    Ok(second) => {
                        let doors = Arc::clone(&self.services.doors);
                        control.spawn(doors::turn_away(doors, second, self.closing.clone()));
                    }
                    Err(error) => warn!(%error, "clients will not be turned away while the disk is stuck"),
                }
                let accepting = listeners::accept(
                    socket,
                    Arc::clone(&listener.name),
                    Arc::clone(&self.services),
                    limits.clone(),
                    self.closing.clone(),
                    self.shutdown.clone(),
                );
                self.listening.spawn(async move {
                    if let Err(error) = accepting.await {
                        error!(%error, "listener failed");
                    }
                });
            }
        }
    }
}
