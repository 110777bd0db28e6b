//! Keeps the addresses of other nodes in step with what they registered.

use std::collections::BTreeMap;

use milena_metadata::Image;
use milena_peer::{Addresses, Peers};
use milena_quorum::NodeId;

use super::Committed;

/// Follows the committed metadata for as long as it is polled.
pub(crate) async fn follow(committed: Committed, addresses: Addresses, peers: Peers) {
    let mut changes = committed.changes();
    let mut registered: BTreeMap<NodeId, String> = BTreeMap::new();
    loop {
        changes.borrow_and_update();
        let now = peer_addresses(&committed.image());
        // Only what is new: a node that came back elsewhere says so itself before it can register.
        for (node, address) in now.iter().filter(|(node, address)| registered.get(node) != Some(address)) {
            addresses.set(*node, address.as_str());
        }
        for node in registered.keys().filter(|node| !now.contains_key(node)) {
            addresses.remove(*node);
            peers.forget(*node);
        }
        registered = now;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn peer_addresses(image: &Image) -> BTreeMap<NodeId, String> {
    let brokers = image.brokers().map(|broker| (broker.id, &broker.peer_address));
    let controllers = image.controllers().map(|controller| (controller.id, &controller.peer_address));
    let all = brokers.chain(controllers).filter(|(_, address)| !address.is_empty());
    all.map(|(id, address)| (NodeId(id.0 as u64), address.clone())).collect()
}
