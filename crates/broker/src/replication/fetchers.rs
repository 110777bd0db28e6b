//! One fetcher per broker that leads something which this broker follows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use milena_metadata::BrokerId;
use milena_partition::Transition;
use milena_peer::Identity;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::fetcher::Fetcher;
use super::followed::Followed;
use super::{PartitionKey, ReplicationQuota};
use crate::cluster::Committed;
use crate::data_dir::DataDir;
use crate::hosted::Hosted;
use crate::partitions::Partitions;

/// What all fetchers of a broker work with.
pub(crate) struct FetcherContext {
    /// This broker; none if its cluster's id is one that cannot be sent, so that it is alone.
    pub(crate) identity: Option<Identity>,
    /// Its id.
    pub(crate) broker: BrokerId,
    /// Its process life, by which leaders tell it from earlier ones (KIP-903).
    pub(crate) broker_epoch: i64,
    /// Where leaders are found, by their peer addresses.
    pub(crate) committed: Committed,
    /// All hosted partitions, and where their checkpoints are.
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) data_dir: Arc<DataDir>,
    /// What throttled replicas may fetch.
    pub(crate) quota: Arc<ReplicationQuota>,
}

/// The fetchers of this broker. A partition is in one of them at most, and in none while this broker leads it.
pub(crate) struct Fetchers {
    context: Arc<FetcherContext>,
    runtime: Handle,
    shutdown: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leaders: BTreeMap<BrokerId, Arc<Followed>>,
    /// Where each partition is fetched from.
    fetched_from: HashMap<PartitionKey, BrokerId>,
}

impl Fetchers {
    /// Fetches nothing yet. Tasks run on the present runtime until `shutdown`.
    pub(crate) fn new(context: FetcherContext, shutdown: CancellationToken) -> Arc<Self> {
        let (context, runtime) = (Arc::new(context), Handle::current());
        Arc::new(Self { context, runtime, shutdown, state: Mutex::default() })
    }

    /// Fetches a partition from `leader` from now on. In a new leader epoch it begins anew with its present position.
    pub(crate) fn follow(&self, hosted: &Arc<Hosted>, leader: BrokerId, transition: Transition) {
        let key = PartitionKey::of(hosted);
        let mut state = self.state.lock().unwrap();
        let before = state.fetched_from.insert(key, leader);
        if before == Some(leader) && !transition.is_new_epoch() {
            return;
        }
        if let Some(before) = before.filter(|before| *before != leader) {
            state.leaders[&before].stop(&key);
        }
        let followed = state.leaders.entry(leader).or_insert_with(|| self.start(leader));
        followed.start(key, Arc::clone(hosted));
    }

    /// Fetches a partition no more: this broker leads it, hosts it no longer, or nobody leads.
    pub(crate) fn stop(&self, key: PartitionKey) {
        let mut state = self.state.lock().unwrap();
        if let Some(leader) = state.fetched_from.remove(&key) {
            state.leaders[&leader].stop(&key);
        }
    }

    fn start(&self, leader: BrokerId) -> Arc<Followed> {
        let followed = Arc::<Followed>::default();
        let fetcher = Fetcher { context: Arc::clone(&self.context), leader, followed: Arc::clone(&followed) };
        self.runtime.spawn(fetcher.run(self.shutdown.clone()));
        followed
    }
}
