//! A look at a peer on behalf of somebody who may have seen its end before its stream showed it.

use super::board::Board;
use super::detector::Sign;
use crate::addresses::Addresses;
use milena_quorum::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A refusal comes at once. Whoever does not answer may be slow, cut off or gone: that is for the streams to find out.
const PATIENCE: Duration = Duration::from_millis(20);
/// What was seen holds for so long, so that a crowd of clients does not become a crowd of connections.
const FRESH: Duration = Duration::from_millis(5);

/// When each peer was looked at last. Who comes while somebody looks waits for what he sees.
#[derive(Default)]
pub(super) struct Glances {
    last: Mutex<BTreeMap<NodeId, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

impl Glances {
    /// Connects to `node` and hangs up. An address that refuses is evidence of its death.
    pub(super) async fn look(&self, board: &Board, addresses: &Addresses, node: NodeId) {
        let Some(address) = addresses.get(node) else { return };
        let last = Arc::clone(self.last.lock().expect("no panic under the lock").entry(node).or_default());
        let mut last = last.lock().await;
        if last.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        if let Ok(Err(error)) = timeout(PATIENCE, TcpStream::connect(&address)).await
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            board.saw(node, Sign::Refused);
        }
        *last = Some(Instant::now());
    }
}
