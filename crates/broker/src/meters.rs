//! Counters of what clients do, for `/metrics`. Each is one relaxed addition; whoever asks pays for adding up.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use milena_metadata::{BrokerId, Partition, PartitionChanged};
use milena_wire::ApiKey;

/// Keys of APIs that are counted lie below this.
const API_KEYS: usize = 128;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What it has come to.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What clients wrote to and read from one partition, or all (Kafka's BrokerTopicMetrics).
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Records written.
    pub(crate) messages_in: Counter,
    /// Bytes of the batches written.
    pub(crate) bytes_in: Counter,
    /// Bytes of the batches read.
    pub(crate) bytes_out: Counter,
    /// Requests to write, one for each partition in one.
    pub(crate) produce_requests: Counter,
    /// Those that failed.
    pub(crate) failed_produce_requests: Counter,
    /// Requests to read, one for each partition in one.
    pub(crate) fetch_requests: Counter,
    /// Those that failed.
    pub(crate) failed_fetch_requests: Counter,
}

impl Traffic {
    /// A batch was appended, or not.
    pub(crate) fn produced(&self, appended: Option<(u64, u64)>) {
        self.produce_requests.add(1);
        match appended {
            Some((records, bytes)) => {
                self.messages_in.add(records);
                self.bytes_in.add(bytes);
            }
            None => self.failed_produce_requests.add(1),
        }
    }

    /// Batches were read, or not.
    pub(crate) fn fetched(&self, bytes: Option<u64>) {
        self.fetch_requests.add(1);
        match bytes {
            Some(bytes) => self.bytes_out.add(bytes),
            None => self.failed_fetch_requests.add(1),
        }
    }
}

/// Changes of the partitions that a broker leads. Each is counted by one broker, the leader.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Somebody left an ISR.
    pub(crate) isr_shrinks: Counter,
    /// Somebody came into one.
    pub(crate) isr_expands: Counter,
    /// This broker became leader of a partition that another had led, or nobody.
    pub(crate) elections: Counter,
    /// It did so without holding all that was acknowledged.
    pub(crate) unclean_elections: Counter,
}

impl Changes {
    /// Counts what a committed change means to `me`.
    pub(crate) fn count(&self, me: BrokerId, change: &PartitionChanged) {
        let (Some(before), after) = (&change.before, &change.after) else { return };
        if after.leader != Some(me) {
            return;
        }
        let lacks = |one: &Partition, other: &Partition| one.isr.iter().any(|id| !other.isr.contains(id));
        if lacks(before, after) {
            self.isr_shrinks.add(1);
        }
        if lacks(after, before) {
            self.isr_expands.add(1);
        }
        if before.leader != after.leader {
            self.elections.add(1);
        }
        if after.recovering && !before.recovering {
            self.unclean_elections.add(1);
        }
    }
}

/// Counters of a broker's front door.
#[derive(Debug)]
pub(crate) struct Meters {
    requests: [Counter; API_KEYS],
    connections: AtomicI64,
    accepted: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Counter::default()),
            connections: AtomicI64::new(0),
            accepted: Counter::default(),
        }
    }
}

impl Meters {
    /// A request of this API began.
    pub(crate) fn requested(&self, api: ApiKey) {
        if let Some(counter) = usize::try_from(api.code()).ok().and_then(|at| self.requests.get(at)) {
            counter.add(1);
        }
    }

    /// The APIs that were called, and how often.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (ApiKey, u64)> {
        ApiKey::ALL.iter().filter_map(|&api| {
            let count = self.requests.get(usize::try_from(api.code()).ok()?)?.get();
            (count > 0).then_some((api, count))
        })
    }

    /// A client connected; it is counted as long as the answer lives.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.accepted.add(1);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }

    /// Clients that are connected.
    pub(crate) fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Clients that ever connected.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.get()
    }
}

/// A connection that is counted.
pub(crate) struct Connected<'a>(&'a Meters);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_connection_counts_while_it_lasts() {
        let meters = Meters::default();
        let connected = meters.connected();
        assert_eq!((meters.connections(), meters.accepted()), (1, 1));
        drop(connected);
        assert_eq!((meters.connections(), meters.accepted()), (0, 1));
    }

    #[test]
    fn the_leader_counts_what_happens_to_its_partition() {
        let ids = |ids: &[i32]| ids.iter().map(|&id| BrokerId(id)).collect::<Vec<_>>();
        let partition = |leader: i32, isr: &[i32]| {
            let all = Partition::new(ids(&[1, 2, 3]), ids(isr), 2);
            Arc::new(Partition { leader: Some(BrokerId(leader)), ..all })
        };
        let counted = |me: i32, before: Arc<Partition>, after: Arc<Partition>| {
            let changes = Changes::default();
            let (name, topic) = ("t".into(), milena_wire::Uuid::ZERO);
            changes.count(
                BrokerId(me),
                &PartitionChanged { name, topic, index: 0, before: Some(before), after },
            );
            (changes.isr_shrinks.get(), changes.isr_expands.get(), changes.elections.get())
        };
        let all = || partition(1, &[1, 2, 3]);
        assert_eq!(counted(1, all(), partition(1, &[1, 2])), (1, 0, 0));
        assert_eq!(counted(1, partition(1, &[1, 2]), all()), (0, 1, 0));
        assert_eq!(counted(2, all(), partition(2, &[2, 3])), (1, 0, 1));
        assert_eq!(counted(3, all(), partition(2, &[2, 3])), (0, 0, 0), "not the leader's");
    }

    #[test]
    fn every_api_has_a_counter() {
        let meters = Meters::default();
        ApiKey::ALL.iter().for_each(|&api| meters.requested(api));
        assert!(meters.requests().eq(ApiKey::ALL.iter().map(|&api| (api, 1))));
    }
}
