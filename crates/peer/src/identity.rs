//! Who calls whom: metadata on every call, checked on every call.

use milena_quorum::NodeId;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

const CLUSTER: &str = "milena-cluster";
const FROM: &str = "milena-from";
const TO: &str = "milena-to";

/// This node, as other nodes must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    cluster: MetadataValue<Ascii>,
    node: NodeId,
}

impl Identity {
    /// `None` if the cluster id holds characters that no header can carry.
    pub fn new(cluster_id: &str, node: NodeId) -> Option<Identity> {
        Some(Identity { cluster: cluster_id.parse().ok()?, node })
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A call from this node to `to`.
    pub(crate) fn call<T>(&self, to: NodeId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(FROM, self.node.0.into());
        metadata.insert(TO, to.0.into());
        request
    }

    /// Refuses a call that is not from this cluster or not for this node; else the caller.
    pub(crate) fn check<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let metadata = request.metadata();
        if metadata.get(CLUSTER) != Some(&self.cluster) {
            let ours = self.cluster.to_str().unwrap_or_default();
            return Err(Status::failed_precondition(format!("this node belongs to cluster {ours}")));
        }
        if node(metadata, TO)? != self.node {
            return Err(Status::failed_precondition(format!("this is node {}", self.node)));
        }
        node(metadata, FROM)
    }
}

fn node(metadata: &MetadataMap, key: &str) -> Result<NodeId, Status> {
    let id = metadata.get(key).and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    id.map(NodeId).ok_or_else(|| Status::invalid_argument(format!("no {key} in the metadata")))
}
