//! Who calls whom: metadata on every call, checked on every call.

use milena_quorum::NodeId;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

const CLUSTER: &str = "milena-cluster";
const FROM: &str = "milena-from";
const TO: &str = "milena-to";
const PROTOCOL_KEY: &str = "milena-protocol";

/// Version of what nodes say to each other, on every call and in the answer to a follower. It grows when a node of the
/// release before would misunderstand this one.
///
/// - 1: nobody said so
/// - 2: a leader echoes the epoch of the follower's last record, by which the follower judges the answer
pub(crate) const PROTOCOL: u32 = 2;

/// Oldest version of a node that replicas can be copied from or to.
const OLDEST: u32 = 2;

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
        say_protocol(metadata);
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

/// Adds this node's version to a call or an answer.
pub(crate) fn say_protocol(metadata: &mut MetadataMap) {
    metadata.insert(PROTOCOL_KEY, PROTOCOL.into());
}

/// Refuses to copy replicas from or to `node`, whose call or answer had this metadata, if one of the two releases
/// would misunderstand the other; says what to do about it.
pub(crate) fn check_protocol(metadata: &MetadataMap, node: NodeId) -> Result<(), String> {
    let said = metadata.get(PROTOCOL_KEY).and_then(|said| said.to_str().ok()?.parse().ok()).unwrap_or(1);
    match said {
        ..OLDEST => Err(format!(
            "node {node} is of an earlier release (protocol {said}, this one needs {OLDEST}): replicas are not copied \
             between the two; stop node {node} and start it with this release, or stop all nodes and upgrade them \
             together"
        )),
        // Whether it understands us, the later release knows.
        _ => Ok(()),
    }
}

fn node(metadata: &MetadataMap, key: &str) -> Result<NodeId, Status> {
    let id = metadata.get(key).and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    id.map(NodeId).ok_or_else(|| Status::invalid_argument(format!("no {key} in the metadata")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_release_is_told_apart_and_what_to_do_is_said() {
        let mut metadata = MetadataMap::new();
        let refusal = check_protocol(&metadata, NodeId(7)).unwrap_err();
        assert!(
            refusal.starts_with("node 7 is of an earlier release (protocol 1, this one needs 2)"),
            "{refusal}"
        );
        assert!(refusal.contains("start it with this release"), "{refusal}");
        say_protocol(&mut metadata);
        assert_eq!(check_protocol(&metadata, NodeId(7)), Ok(()));
        metadata.insert(PROTOCOL_KEY, (PROTOCOL + 1).into());
        assert_eq!(check_protocol(&metadata, NodeId(7)), Ok(()), "a later one judges for itself");
        metadata.insert(PROTOCOL_KEY, "two".parse().unwrap());
        assert!(check_protocol(&metadata, NodeId(7)).is_err());
    }

    #[test]
    fn every_call_says_its_protocol() {
        let identity = Identity::new("cluster", NodeId(1)).unwrap();
        assert_eq!(check_protocol(identity.call(NodeId(2), ()).metadata(), NodeId(1)), Ok(()));
    }
}
