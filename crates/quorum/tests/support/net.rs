//! A network in memory: every call goes straight to the other node, unless it is cut off.

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{BoxStream, StreamExt};
use milena_quorum::message::{
    AppendRequest, AppendResponse, SnapshotChunk, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use milena_quorum::{Inbound, Network, NodeId, Refused, Unreachable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// All nodes of a test cluster, and who is cut off.
#[derive(Clone, Default)]
pub struct Switch {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeId, Inbound>,
    cut: BTreeSet<NodeId>,
    snapshots: u64,
}

impl Switch {
    /// The network as `node` sees it.
    pub fn port(&self, node: NodeId) -> Arc<dyn Network> {
        Arc::new(Port { from: node, switch: self.clone() })
    }

    /// Makes a node reachable, also again after a restart.
    pub fn connect(&self, node: NodeId, inbound: Inbound) {
        let mut inner = self.inner.lock().unwrap();
        inner.nodes.insert(node, inbound);
        inner.cut.remove(&node);
    }

    /// Nothing reaches or leaves the node from now on.
    pub fn cut(&self, node: NodeId) {
        self.inner.lock().unwrap().cut.insert(node);
    }

    /// Undoes [`Switch::cut`].
    pub fn heal(&self, node: NodeId) {
        self.inner.lock().unwrap().cut.remove(&node);
    }

    /// Whether [`Switch::cut`] is in force.
    pub fn is_cut(&self, node: NodeId) -> bool {
        self.inner.lock().unwrap().cut.contains(&node)
    }

    /// Snapshots sent so far.
    pub fn snapshots(&self) -> u64 {
        self.inner.lock().unwrap().snapshots
    }

    fn reach(&self, from: NodeId, to: NodeId) -> Result<Inbound, Unreachable> {
        let inner = self.inner.lock().unwrap();
        let cut = inner.cut.contains(&from) || inner.cut.contains(&to);
        let found = inner.nodes.get(&to).filter(|_| !cut).cloned();
        found.ok_or_else(|| Unreachable { node: to, reason: "cut off".to_owned() })
    }
}

struct Port {
    from: NodeId,
    switch: Switch,
}

fn refused(node: NodeId) -> impl Fn(Refused) -> Unreachable {
    move |refused| Unreachable { node, reason: refused.to_string() }
}

impl Network for Port {
    fn append(
        &self,
        to: NodeId,
        _heartbeats: bool,
        requests: BoxStream<'static, AppendRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Result<AppendResponse, Unreachable>>, Unreachable>>
    {
        let (switch, from) = (self.switch.clone(), self.from);
        let open = switch.clone();
        async move {
            let inbound = open.reach(from, to)?;
            let reachable = move |_: &AppendRequest| {
                let reachable = switch.reach(from, to).is_ok();
                async move { reachable }
            };
            let answers =
                inbound.append(requests.take_while(reachable).boxed()).await.map_err(refused(to))?;
            let answers = answers.map(move |answer| {
                open.reach(from, to)?;
                answer.map_err(refused(to))
            });
            Ok(answers.boxed())
        }
        .boxed()
    }

    fn vote(
        &self,
        to: NodeId,
        request: VoteRequest,
    ) -> BoxFuture<'static, Result<VoteResponse, Unreachable>> {
        let inbound = self.switch.reach(self.from, to);
        async move { inbound?.vote(request).await.map_err(refused(to)) }.boxed()
    }

    fn transfer_leader(
        &self,
        to: NodeId,
        request: TransferLeaderRequest,
    ) -> BoxFuture<'static, Result<TransferLeaderResponse, Unreachable>> {
        let inbound = self.switch.reach(self.from, to);
        async move { inbound?.transfer_leader(request).await.map_err(refused(to)) }.boxed()
    }

    fn snapshot(
        &self,
        to: NodeId,
        chunks: BoxStream<'static, SnapshotChunk>,
    ) -> BoxFuture<'static, Result<SnapshotResponse, Unreachable>> {
        let inbound = self.switch.reach(self.from, to);
        self.switch.inner.lock().unwrap().snapshots += 1;
        async move { inbound?.snapshot(chunks).await.map_err(refused(to)) }.boxed()
    }
}
