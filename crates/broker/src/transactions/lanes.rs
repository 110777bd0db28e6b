//! Markers on their way to partition leaders: per leader a queue, from which many transactions go in one call.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use milena_peer::Peers;
use milena_peer::transactions::Transactional;
use milena_peer::transactions::message::{Marker, WriteMarkersRequest, WriteMarkersResponse};
use milena_quorum::NodeId;
use milena_wire::ErrorCode;

use super::enlister::error_code;

/// Transactions in one call.
const BATCH: usize = 256;
/// Partitions in one call, of one transaction or of many. The first marker in a partition that nothing was written to
/// costs its leader about a millisecond, and all of a call must be done within [`PATIENCE`].
pub(super) const BATCH_PARTITIONS: usize = 1_024;
/// Calls to one leader at the same time; what comes meanwhile goes together in the next.
const IN_FLIGHT: usize = 4;
/// Longest for one call. The leader gives up on its replicas earlier.
const PATIENCE: Duration = Duration::from_secs(3);

/// The marker of one transaction for the partitions that one broker leads.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Whose transaction.
    pub(super) transactional_id: Arc<str>,
    /// Which transaction.
    pub(super) sequence: u64,
    /// How often it was sent before.
    pub(super) attempts: u32,
    /// What is sent.
    pub(super) marker: Marker,
}

/// What became of a job: one code per partition.
pub(super) struct Written {
    pub(super) job: Job,
    pub(super) codes: Vec<ErrorCode>,
}

/// What is sent again has a lane of its own, so that a partition that cannot be written to does not hold up the
/// others of its leader.
type Key = (NodeId, bool);

#[derive(Default)]
struct Lane {
    queue: VecDeque<Job>,
    in_flight: usize,
}

/// The way to all leaders.
pub(super) struct Lanes {
    me: NodeId,
    local: Arc<dyn Transactional>,
    peers: Option<Peers>,
    lanes: HashMap<Key, Lane>,
    calls: FuturesUnordered<BoxFuture<'static, (Key, Vec<Written>)>>,
}

impl Lanes {
    /// To this broker by `local`, to others by `peers`.
    pub(super) fn new(me: NodeId, local: Arc<dyn Transactional>, peers: Option<Peers>) -> Self {
        Self { me, local, peers, lanes: HashMap::new(), calls: FuturesUnordered::new() }
    }

    /// Puts a job of at most [`BATCH_PARTITIONS`] on the way to `leader`. It leaves with the next [`Lanes::flush`].
    pub(super) fn push(&mut self, leader: NodeId, job: Job) {
        debug_assert!(job.marker.partitions.len() <= BATCH_PARTITIONS);
        self.lanes.entry((leader, job.attempts > 0)).or_default().queue.push_back(job);
    }

    /// Begins as many calls as may be under way.
    pub(super) fn flush(&mut self) {
        for (key, lane) in &mut self.lanes {
            while lane.in_flight < IN_FLIGHT && !lane.queue.is_empty() {
                lane.in_flight += 1;
                let jobs = next_batch(&mut lane.queue);
                self.calls.push(Box::pin(call(
                    *key,
                    jobs,
                    (key.0 == self.me).then(|| Arc::clone(&self.local)),
                    self.peers.clone(),
                )));
            }
        }
    }

    /// The outcome of the next call that ends; pending while none is under way.
    pub(super) async fn next(&mut self) -> Vec<Written> {
        let Some((key, written)) = self.calls.next().await else { return std::future::pending().await };
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.in_flight -= 1;
            if lane.in_flight == 0 && lane.queue.is_empty() {
                self.lanes.remove(&key);
            }
        }
        written
    }
}

fn next_batch(queue: &mut VecDeque<Job>) -> Vec<Job> {
    let mut partitions = 0;
    let fits = |job: &&Job| {
        partitions += job.marker.partitions.len();
        partitions <= BATCH_PARTITIONS
    };
    let count = queue.iter().take(BATCH).take_while(fits).count();
    queue.drain(..count).collect()
}

async fn call(
    key: Key,
    jobs: Vec<Job>,
    local: Option<Arc<dyn Transactional>>,
    peers: Option<Peers>,
) -> (Key, Vec<Written>) {
    let request = WriteMarkersRequest { markers: jobs.iter().map(|job| job.marker.clone()).collect() };
    let answer = match (local, peers) {
        (Some(local), _) => tokio::time::timeout(PATIENCE, local.write_markers(request)).await.ok(),
        (None, Some(peers)) => peers.write_markers(key.0, request, PATIENCE).await.ok(),
        (None, None) => None,
    };
    (key, written(jobs, answer))
}

/// Joins jobs with their codes. An answer that is missing, or does not fit, leaves everything open.
fn written(jobs: Vec<Job>, answer: Option<WriteMarkersResponse>) -> Vec<Written> {
    let mut results = answer.map(|it| it.markers).unwrap_or_default().into_iter();
    let with_codes = jobs.into_iter().map(|job| {
        let codes = results.next().map(|it| it.codes).unwrap_or_default();
        let count = job.marker.partitions.len();
        let codes = match codes.len() == count {
            true => codes.into_iter().map(error_code).collect(),
            false => vec![ErrorCode::NetworkException; count],
        };
        Written { job, codes }
    });
    with_codes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena_peer::transactions::message::{MarkerResult, Partition};

    fn job(id: &str, partitions: usize) -> Job {
        let partitions = vec![Partition::default(); partitions];
        let marker = Marker { partitions, ..Marker::default() };
        Job { transactional_id: id.into(), sequence: 1, attempts: 0, marker }
    }

    #[test]
    fn a_batch_is_bounded_by_partitions() {
        let mut queue = VecDeque::from([job("a", 1_024), job("b", 1_000), job("c", 24), job("d", 1)]);
        let ids =
            |batch: Vec<Job>| batch.iter().map(|it| it.transactional_id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(next_batch(&mut queue)), ["a"]);
        assert_eq!(ids(next_batch(&mut queue)), ["b", "c"]);
        assert_eq!(ids(next_batch(&mut queue)), ["d"]);
    }

    #[test]
    fn a_result_that_does_not_fit_its_marker_leaves_it_open() {
        let answer = WriteMarkersResponse {
            markers: vec![MarkerResult { codes: vec![0, 6] }, MarkerResult { codes: vec![0] }],
        };
        let open = ErrorCode::NetworkException;
        let codes = |answer| {
            let written = written(vec![job("a", 2), job("b", 2), job("c", 1)], answer);
            written.into_iter().map(|it| it.codes).collect::<Vec<_>>()
        };
        let known = vec![ErrorCode::None, ErrorCode::NotLeaderOrFollower];
        assert_eq!(codes(Some(answer)), [known, vec![open; 2], vec![open]]);
        assert_eq!(codes(None), [vec![open; 2], vec![open; 2], vec![open]]);
    }
}
