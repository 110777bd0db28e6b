//! Where nodes are, changed at run time.

use milena_quorum::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

/// `host:port` of the peer listener of each node. Clones share the map: the broker keeps it up to
/// date from the cluster's metadata, connections follow.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    map: Arc<RwLock<BTreeMap<NodeId, String>>>,
}

impl Addresses {
    /// Sets where a node is. A connection to another place is given up at the next call.
    pub fn set(&self, node: NodeId, address: impl Into<String>) {
        self.map.write().unwrap().insert(node, address.into());
    }

    /// Forgets a node.
    pub fn remove(&self, node: NodeId) {
        self.map.write().unwrap().remove(&node);
    }

    /// All that are known.
    pub fn all(&self) -> BTreeMap<NodeId, String> {
        self.map.read().unwrap().clone()
    }

    /// Where a node is, if known.
    pub fn get(&self, node: NodeId) -> Option<String> {
        self.map.read().unwrap().get(&node).cloned()
    }
}

impl<A: Into<String>> FromIterator<(NodeId, A)> for Addresses {
    fn from_iter<I: IntoIterator<Item = (NodeId, A)>>(nodes: I) -> Self {
        let map = nodes.into_iter().map(|(node, address)| (node, address.into())).collect();
        Addresses { map: Arc::new(RwLock::new(map)) }
    }
}
