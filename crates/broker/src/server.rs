//! Starts and stops a broker: directory, quorum, metadata, partitions, then clients; and back.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use milena_config::BrokerConfig;
use milena_config::load::Loaded;
use milena_config::topic_list::TopicToCreate;
use milena_group::Groups;
use milena_log::{LastShutdown, MetaProperties};
use milena_metadata::decide::brokers::{self, Registration};
use milena_metadata::decide::{features, topics};
use milena_metadata::{BrokerEpoch, BrokerId, Endpoint};
use milena_peer::Identity;
use milena_quorum::{GroupHandle, GroupId, Node, NodeConfig, NodeId};
use milena_wire::Uuid;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::budget::Budget;
use crate::cluster::{Applier, ClusterMachine, Committed, Controller};
use crate::connection::Limits;
use crate::coordination::{self, Answers, Coordination, GroupMachine};
use crate::data_dir::DataDir;
use crate::error::Explained;
use crate::housekeeping::Housekeeping;
use crate::http;
use crate::listeners::{self, Bound, ListenError};
use crate::meters::Meters;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::random;
use crate::replication::{FetcherContext, Fetchers, IsrKeeper, IsrQueue};
use crate::services::Services;
use crate::settings::Settings;
use crate::view::View;

/// Most bytes of one group's members, which travel in one command; half of what the Raft log takes, so that
/// names and framing have room.
const MAX_GROUP_BYTES: usize = milena_quorum::MAX_COMMAND / 2;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's text says what it means")]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("data directory {}: {source}", dir.display())]
    DataDir { dir: PathBuf, source: milena_log::Error },
    #[error(
        "data directory {} is in use by another process; stop it, or start this broker with --data-dir elsewhere",
        .0.display()
    )]
    DataDirInUse(PathBuf),
    #[error(
        "data directory {} belongs to node {found}, but node.id is {configured}; give node.id={found}, or an \
         empty directory",
        dir.display()
    )]
    OtherNode { dir: PathBuf, found: i32, configured: i32 },
    #[error(
        "data directory {} belongs to cluster {found}, but {configured} is asked for; leave the cluster id out, \
         or give an empty directory",
        dir.display()
    )]
    OtherCluster { dir: PathBuf, found: String, configured: String },
    #[error("metadata quorum: {0}")]
    Quorum(#[from] milena_quorum::OpenError),
    #[error("the broker could not register itself: {0}")]
    Registration(String),
}

impl From<Explained> for StartError {
    fn from(error: Explained) -> Self {
        Self::Registration(error.message)
    }
}

/// A running broker.
pub struct Server {
    services: Arc<Services>,
    node: Node,
    epoch: BrokerEpoch,
    endpoints: Vec<Endpoint>,
    http: Option<SocketAddr>,
    tasks: JoinSet<()>,
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
        let (data_dir, meta) = open_data_dir(&config, loaded.cluster_id.as_deref())?;
        let quorum = Quorum::start(data_dir.root(), &meta, control).await?;
        let broker = BrokerId(meta.node_id);
        let settings = Arc::new(Settings::new(config.clone()));
        let endpoints: Vec<_> = bound.iter().map(|bound| bound.advertised.clone()).collect();
        let controller = Controller::new(quorum.cluster.clone(), quorum.committed.clone());
        let is_new = quorum.committed.image().cluster_id().is_none();
        let epoch = register(&controller, &config, &meta, &endpoints).await?;
        if is_new {
            create_topics(&controller, &config, &loaded.create_topics).await?;
        }
        let partitions = Arc::new(Partitions::new(config.fetch_max_bytes().max(0) as usize));
        let view = Arc::new(View::new(Arc::default()));
        let shutdown = CancellationToken::new();
        let isr = Arc::<IsrQueue>::default();
        let fetchers = FetcherContext {
            identity: Identity::new(&meta.cluster_id, NodeId(meta.node_id as u64)),
            broker_epoch: epoch.0,
            committed: quorum.committed.clone(),
            partitions: Arc::clone(&partitions),
            data_dir: Arc::clone(&data_dir),
        };
        let applier = Arc::new(Applier {
            broker,
            fetchers: Fetchers::new(fetchers, shutdown.clone()),
            isr: Arc::clone(&isr),
            committed: quorum.committed,
            view: Arc::clone(&view),
            partitions: Arc::clone(&partitions),
            data_dir: Arc::clone(&data_dir),
            settings: Arc::clone(&settings),
        });
        let opening = Arc::clone(&applier);
        tokio::task::spawn_blocking(move || opening.start()).await.expect("opening logs does not panic");
        data_dir
            .mark_running(epoch.0)
            .map_err(|source| StartError::DataDir { dir: data_dir.root().to_path_buf(), source })?;
        let (coordination, calls) =
            Coordination::new(Arc::clone(&quorum.groups), quorum.coordination.clone());
        let services = Arc::new(Services {
            broker_id: broker,
            settings: Arc::clone(&settings),
            view,
            partitions: Arc::clone(&partitions),
            producer_ids: ProducerIds::new(controller.clone(), broker, epoch),
            controller,
            coordination: coordination.clone(),
            data_dir: Arc::clone(&data_dir),
            meters: Meters::default(),
            cluster_raft: quorum.cluster,
            coordination_raft: quorum.coordination.clone(),
        });
        let mut server = Self {
            services,
            node: quorum.node,
            epoch,
            endpoints,
            http: http.as_ref().and_then(|socket| socket.local_addr().ok()),
            tasks: JoinSet::new(),
            shutdown,
        };
        let stop = || server.shutdown.clone();
        let controller = server.services.controller.clone();
        let keeper = IsrKeeper {
            queue: isr,
            controller,
            settings: Arc::clone(&settings),
            broker,
            broker_epoch: epoch,
        };
        server.tasks.spawn(keeper.run(stop()));
        server.tasks.spawn(applier.run(coordination, stop()));
        server.tasks.spawn(coordination::run(
            calls,
            quorum.coordination,
            quorum.groups,
            quorum.answers,
            group_settings(&config),
            stop(),
        ));
        server.tasks.spawn(Housekeeping { partitions, data_dir, settings }.run(stop()));
        if let Some(socket) = http {
            server.tasks.spawn(http::serve(socket, Arc::clone(&server.services), stop()));
        }
        server.open(bound, &config);
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
        }
    }

    /// Stops: no more clients, everything flushed, so that the next start need not look at data.
    pub async fn stop(mut self) {
        let began = Instant::now();
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        let services = Arc::clone(&self.services);
        let epoch = self.epoch;
        let closed = tokio::task::spawn_blocking(move || services.close(epoch)).await;
        if !matches!(closed, Ok(true)) {
            warn!("not everything could be closed; the next start will check the logs");
        }
        self.node.shutdown().await;
        info!(elapsed_ms = began.elapsed().as_millis() as u64, "stopped");
    }

    fn open(&mut self, bound: Vec<Bound>, config: &BrokerConfig) {
        let limits = Limits {
            request_max_bytes: config.socket_request_max_bytes().max(0) as usize,
            max_idle: Duration::from_millis(config.connections_max_idle_ms().max(1) as u64),
            budget: Budget::new(config.request_memory_bytes().max(0) as usize),
            answer_bytes: config.connection_memory_bytes().max(1) as usize,
        };
        for listener in bound {
            for socket in listener.sockets {
                let accepting = listeners::accept(
                    socket,
                    Arc::clone(&listener.name),
                    Arc::clone(&self.services),
                    limits.clone(),
                    self.shutdown.clone(),
                );
                self.tasks.spawn(async move {
                    if let Err(error) = accepting.await {
                        error!(%error, "listener failed");
                    }
                });
            }
        }
    }
}

/// The two Raft groups with their state machines.
struct Quorum {
    node: Node,
    cluster: GroupHandle,
    committed: Committed,
    coordination: GroupHandle,
    groups: Arc<RwLock<Groups>>,
    answers: Answers,
}

impl Quorum {
    /// Opens them on the control runtime. With one voter both have a leader when this returns.
    async fn start(root: &Path, meta: &MetaProperties, control: &Handle) -> Result<Self, StartError> {
        let config = NodeConfig::single(root, NodeId(meta.node_id as u64));
        let started = control.spawn(async move {
            let node = Node::open(config).await?;
            let committed = Committed::new();
            let (groups, answers) = (Arc::default(), Answers::default());
            let (cluster, coordination) = tokio::try_join!(
                node.start(GroupId::CLUSTER, ClusterMachine::new(committed.clone())),
                node.start(GroupId::COORDINATION, GroupMachine::new(Arc::clone(&groups), answers.clone())),
            )?;
            Ok(Self { node, cluster, committed, coordination, groups, answers })
        });
        started.await.expect("starting the quorum does not panic")
    }
}

fn open_data_dir(
    config: &BrokerConfig,
    cluster_id: Option<&str>,
) -> Result<(Arc<DataDir>, MetaProperties), StartError> {
    let dirs = config.data_dirs();
    let dir = PathBuf::from(dirs[0]);
    if dirs.len() > 1 {
        warn!(used = %dir.display(), given = dirs.len(), "several log.dirs are given; only the first is used");
    }
    let failed = |source: milena_log::Error| match source {
        source if source.io_kind() == Some(std::io::ErrorKind::WouldBlock) => {
            StartError::DataDirInUse(dir.clone())
        }
        source => StartError::DataDir { dir: dir.clone(), source },
    };
    let data_dir = DataDir::open(&dir, config.open_files().max(16) as usize).map_err(failed)?;
    let is_formatted = data_dir.is_formatted().map_err(failed)?;
    if is_formatted && data_dir.last_shutdown() != LastShutdown::Clean {
        info!(after = ?data_dir.last_shutdown(), "the last run did not end cleanly; logs are checked");
    }
    let meta = data_dir.identity(config.node_id(), cluster_id).map_err(failed)?;
    if meta.node_id != config.node_id() {
        return Err(StartError::OtherNode { dir, found: meta.node_id, configured: config.node_id() });
    }
    match cluster_id {
        Some(configured) if configured != meta.cluster_id => {
            Err(StartError::OtherCluster { dir, found: meta.cluster_id, configured: configured.to_owned() })
        }
        _ => Ok((Arc::new(data_dir), meta)),
    }
}

/// Makes this process the broker with its id: formats a new cluster, registers, and is unfenced at once, as
/// its metadata is the committed one.
async fn register(
    controller: &Controller,
    config: &BrokerConfig,
    meta: &MetaProperties,
    endpoints: &[Endpoint],
) -> Result<BrokerEpoch, StartError> {
    let id = BrokerId(meta.node_id);
    let failed = |error| StartError::from(Explained::from(error));
    controller.change(|image| Ok(features::format(image, &meta.cluster_id))).await.map_err(failed)?;
    let registration = Registration {
        id,
        incarnation: random::uuid(),
        cluster_id: Some(meta.cluster_id.clone()),
        // One voter: whatever its log has lost, nobody else has it.
        kept_everything_since: controller.image().broker(id).map(|broker| broker.epoch),
        predecessor_is_gone: true,
        endpoints: endpoints.to_vec(),
        rack: config.rack().map(str::to_owned),
        log_dirs: meta.directory_id.parse::<Uuid>().into_iter().collect(),
        peer_address: String::new(),
    };
    controller.change(|image| brokers::register(image, config, &registration)).await.map_err(failed)?;
    let epoch = controller.image().broker(id).map(|broker| broker.epoch).unwrap_or_default();
    controller.change(|image| brokers::unfence(image, config, id, epoch)).await.map_err(failed)?;
    Ok(epoch)
}

/// The topics that a container is told to create at its first start.
async fn create_topics(
    controller: &Controller,
    config: &BrokerConfig,
    wanted: &[TopicToCreate],
) -> Result<(), StartError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = wanted
        .iter()
        .map(|topic| topics::NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            assignments: Vec::new(),
            configs: topic
                .cleanup_policy
                .iter()
                .map(|policy| ("cleanup.policy".to_owned(), Some(policy.clone())))
                .collect(),
        })
        .collect();
    let decide = |image: &_| topics::create(image, config, &wanted, false, &mut random::word);
    let created =
        controller.change(decide).await.map_err(|error| StartError::from(Explained::from(error)))?;
    for (name, outcome) in created.answer {
        match outcome {
            Ok(created) => info!(topic = name, partitions = created.partitions, "topic created"),
            Err(refusal) => warn!(topic = name, %refusal, "topic not created"),
        }
    }
    Ok(())
}

fn group_settings(config: &BrokerConfig) -> milena_group::Settings {
    milena_group::Settings {
        min_session_timeout_ms: config.group_min_session_timeout_ms(),
        max_session_timeout_ms: config.group_max_session_timeout_ms(),
        initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms(),
        max_group_size: config.group_max_size().max(0) as usize,
        max_offset_metadata: config.offset_metadata_max_bytes().max(0) as usize,
        offsets_retention_ms: i64::from(config.offsets_retention_minutes()) * 60_000,
        offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms().max(1) as u64,
        max_group_bytes: MAX_GROUP_BYTES,
        ..milena_group::Settings::default()
    }
}
