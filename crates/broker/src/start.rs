//! What a node looks at before it runs: whose its directory is; and all that may keep it from starting.

use std::path::{Path, PathBuf};

use milena_config::BrokerConfig;
use milena_log::{LastShutdown, MetaProperties};
use tracing::{info, warn};

use crate::cluster::MembersError;
use crate::data_dir::DataDir;
use crate::error::Explained;
use crate::forming::FormingError;
use crate::listeners::ListenError;

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
    #[error("{0}")]
    Forming(#[from] FormingError),
    #[error("this node is not a member of the cluster's quorum: {0}")]
    Membership(#[from] MembersError),
    #[error(
        "node {node} is one of several in its cluster, but no address for the others is configured; set \
         controller.quorum.voters or milena.peer.listener as before"
    )]
    NoPeers { node: i32 },
    #[error("metadata quorum: {0}")]
    Quorum(#[from] milena_quorum::OpenError),
    #[error("the thread for signs of life does not start: {0}")]
    Liveness(std::io::Error),
    #[error("the thread that watches the disk does not start: {0}")]
    DiskWatch(std::io::Error),
    #[error("the broker could not register itself: {0}")]
    Registration(String),
}

impl StartError {
    /// What went wrong in `dir`.
    pub(crate) fn data_dir(dir: &Path) -> impl FnOnce(milena_log::Error) -> Self {
        move |source| Self::DataDir { dir: dir.to_path_buf(), source }
    }
}

impl From<Explained> for StartError {
    fn from(error: Explained) -> Self {
        Self::Registration(error.message)
    }
}

/// Takes the node's directory for this process.
pub(crate) fn open_data_dir(config: &BrokerConfig) -> Result<DataDir, StartError> {
    let dirs = config.data_dirs();
    let dir = PathBuf::from(dirs[0]);
    if dirs.len() > 1 {
        warn!(used = %dir.display(), given = dirs.len(), "several log.dirs are given; only the first is used");
    }
    DataDir::open(&dir, config.open_files().max(16) as usize).map_err(|source| match source {
        source if source.io_kind() == Some(std::io::ErrorKind::WouldBlock) => StartError::DataDirInUse(dir),
        source => StartError::DataDir { dir, source },
    })
}

/// Whose directory it is; `None` if nobody has used it. It must be this node's and of the cluster asked for.
pub(crate) fn check_meta(
    data_dir: &DataDir,
    config: &BrokerConfig,
    cluster_id: Option<&str>,
) -> Result<Option<MetaProperties>, StartError> {
    let dir = data_dir.root().to_path_buf();
    let meta = data_dir.meta().map_err(StartError::data_dir(&dir))?;
    let Some(meta) = meta else { return Ok(None) };
    if data_dir.last_shutdown() != LastShutdown::Clean {
        info!(after = ?data_dir.last_shutdown(), "the last run did not end cleanly; logs are checked");
    }
    if meta.node_id != config.node_id() {
        return Err(StartError::OtherNode { dir, found: meta.node_id, configured: config.node_id() });
    }
    match cluster_id {
        Some(configured) if configured != meta.cluster_id => {
            Err(StartError::OtherCluster { dir, found: meta.cluster_id, configured: configured.to_owned() })
        }
        _ => Ok(Some(meta)),
    }
}
