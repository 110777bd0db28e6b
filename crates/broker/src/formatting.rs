//! Formatting a data directory ahead of the first start, as `kafka-storage format` does. A broker formats its directory
//! by itself; this is for whoever wants to choose the cluster's id, or the first voters, beforehand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_config::BrokerConfig;
use milena_log::fs::RealFs;
use milena_log::{LogDir, MetaProperties};
use milena_peer::message::Peer;
use milena_wire::Uuid;

use crate::forming::list;
use crate::random;

/// Whose a directory is to be.
#[derive(Debug, Clone, Default)]
pub struct Formatting {
    /// The cluster's id.
    pub cluster_id: String,
    /// The voters with whom the cluster begins (KIP-853). Empty: they follow from the settings at the first start.
    pub voters: Vec<FirstVoter>,
}

/// One of the voters with whom a cluster begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstVoter {
    /// `node.id`.
    pub node_id: i32,
    /// Where it listens for other nodes, `host:port`.
    pub address: String,
    /// The id of its data directory, 22 characters; made at random if it is left out.
    pub directory_id: Option<Uuid>,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is no such directory.
    Missing,
    /// Nobody has formatted it.
    Empty,
    /// It belongs to a node.
    Formatted(MetaProperties),
}

/// Why a directory was not formatted, or its state not found out.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It belongs to a node already.
    #[error("{} is already formatted", .dir.display())]
    Already {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: MetaProperties,
    },
    /// A file of it could not be read or written.
    #[error("{}: {source}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: milena_log::Error,
    },
}

/// An id for a cluster, as `kafka-storage random-uuid` prints it.
pub fn random_id() -> String {
    random::uuid().to_string()
}

/// What `dir` holds.
///
/// # Errors
/// [`FormatError::Directory`] if it cannot be read.
pub fn state(dir: &Path) -> Result<State, FormatError> {
    if !dir.exists() {
        return Ok(State::Missing);
    }
    let meta = MetaProperties::read(&RealFs, dir)
        .map_err(|source| FormatError::Directory { dir: dir.to_owned(), source })?;
    Ok(meta.map_or(State::Empty, State::Formatted))
}

/// Formats `dir` for the node that `config` describes; the directory is made if it is not there.
///
/// # Errors
/// [`FormatError::Already`] if it belongs to a node, [`FormatError::Directory`] if it cannot be written.
pub fn format(config: &BrokerConfig, dir: &Path, formatting: &Formatting) -> Result<(), FormatError> {
    let failed = |source| FormatError::Directory { dir: dir.to_owned(), source };
    let directory = LogDir::open(Arc::new(RealFs), dir).map_err(failed)?;
    if let Some(found) = directory.meta_properties().map_err(failed)? {
        return Err(FormatError::Already { dir: dir.to_owned(), found });
    }
    let node_id = config.node_id();
    let own = formatting.voters.iter().find(|voter| voter.node_id == node_id);
    // Others join those voters, once they run.
    if own.is_some() {
        let voters: Vec<Peer> = formatting.voters.iter().map(FirstVoter::peer).collect();
        directory.write_founding(Some(&list(&voters))).map_err(failed)?;
    }
    let directory_id = own.and_then(|voter| voter.directory_id).unwrap_or_else(random::uuid);
    let cluster_id = formatting.cluster_id.clone();
    let meta = MetaProperties { cluster_id, node_id, directory_id: directory_id.to_string() };
    directory.write_meta_properties(&meta).map_err(failed)
}

impl FirstVoter {
    fn peer(&self) -> Peer {
        Peer { node: self.node_id as u64, address: self.address.clone() }
    }
}
