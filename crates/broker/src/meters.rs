//! Counters of what clients do, for `/metrics`. Each is one relaxed addition; whoever asks pays for adding up.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
    fn every_api_has_a_counter() {
        let meters = Meters::default();
        ApiKey::ALL.iter().for_each(|&api| meters.requested(api));
        assert!(meters.requests().eq(ApiKey::ALL.iter().map(|&api| (api, 1))));
    }
}
