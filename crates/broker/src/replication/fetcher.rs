//! The follower's end of one stream: fetches from one leader all that this broker follows there.
//!
//! What an answer means is decided by [`Hosted::follow`], under the partition's lock and by the epoch of the
//! position that asked; so an answer that comes late changes nothing, and removing a partition from here need
//! not be waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use milena_disk::Level;
use milena_log::FlushHandle;
use milena_metadata::BrokerId;
use milena_peer::replica::fetch;
use milena_peer::replica::message::{Batches, PartitionBatches, Position, Positions};
use milena_quorum::{NodeId, Unreachable};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::fetchers::FetcherContext;
use super::followed::{Followed, News};
use super::{PartitionKey, Side};
use crate::hosted::{Hosted, Next};

/// First wait before a partition or a connection that failed is tried again; it doubles up to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// Bounds how late a leader that is back, or has caught up with the metadata, is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Messages of positions on their way to the connection.
const OUTGOING: usize = 16;
/// Bytes taken before their positions are stated, so that a leader need not wait for the end of a long message.
const ACKNOWLEDGE_BYTES: usize = 1 << 20;

/// Fetches from one leader.
pub(super) struct Fetcher {
    pub(super) context: Arc<FetcherContext>,
    pub(super) leader: BrokerId,
    pub(super) followed: Arc<Followed>,
}

impl FetcherContext {
    /// Until when the quota holds back a throttled replica that is not in sync; none if it may ask.
    fn held_until(&self, hosted: &Hosted) -> Option<Instant> {
        if !hosted.may_hold_back(Side::Follower, self.broker.0) {
            return None;
        }
        let now = Instant::now();
        let wait = self.quota.wait(now);
        (!wait.is_zero()).then(|| now + wait)
    }
}

/// One connection's worth of fetching.
struct Session<'a> {
    fetcher: &'a Fetcher,
    partitions: HashMap<PartitionKey, Fetched>,
    /// Partitions that wait before they ask again, in no order.
    waiting: Vec<(Instant, PartitionKey)>,
    outgoing: mpsc::Sender<Positions>,
}

struct Fetched {
    hosted: Arc<Hosted>,
    /// The wait before the last attempt; zero after one that worked.
    wait: Duration,
}

impl Fetcher {
    /// Fetches until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.fetch() => {}
        }
    }

    async fn fetch(&self) {
        let mut wait = Duration::ZERO;
        loop {
            while self.followed.is_empty() {
                self.followed.changed().await;
            }
            let began = Instant::now();
            let Err(error) = self.session().await;
            // A stream that served for a while ended for a new reason.
            wait = if began.elapsed() > LONGEST_WAIT { Duration::ZERO } else { wait };
            match wait.is_zero() {
                true => info!(leader = %self.leader, %error, "fetching is interrupted"),
                false => debug!(leader = %self.leader, %error, "fetching is still interrupted"),
            }
            wait = longer(wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// Fetches over one connection until it breaks.
    async fn session(&self) -> Result<std::convert::Infallible, Unreachable> {
        let leader = NodeId(self.leader.0 as u64);
        let unreachable = |reason: &str| Unreachable { node: leader, reason: reason.to_owned() };
        let identity = self.context.identity.as_ref();
        let identity = identity.ok_or_else(|| unreachable("this cluster's id cannot be sent"))?;
        let image = self.context.committed.image();
        let address = image.broker(self.leader).map(|broker| broker.peer_address.clone());
        let address = address.filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| unreachable("its address is not known"))?;
        let (outgoing, positions) = mpsc::channel(OUTGOING);
        let positions = futures_util::stream::unfold(positions, |mut positions| async {
            Some((positions.recv().await?, positions))
        });
        let mut answers = fetch(identity, leader, &address, positions).await?;
        debug!(leader = %self.leader, address, "fetching");
        let mut session =
            Session { fetcher: self, partitions: HashMap::new(), waiting: Vec::new(), outgoing };
        session.begin().await;
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    Some(answer) => session.take(answer?).await,
                    None => return Err(unreachable("it ended the stream")),
                },
                () = self.followed.changed() => session.update().await,
                () = until(session.next_due()) => session.ask_again().await,
            }
        }
    }
}

impl Session<'_> {
    /// States all positions.
    async fn begin(&mut self) {
        let all = self.fetcher.followed.all();
        let positions = all.iter().filter_map(|(key, hosted)| state(*key, hosted)).collect();
        self.partitions =
            all.into_iter().map(|(key, hosted)| (key, Fetched { hosted, wait: Duration::ZERO })).collect();
        let broker_epoch = Some(self.fetcher.context.broker_epoch);
        self.send(Positions { broker_epoch, positions, removed: Vec::new() }).await;
    }

    /// Follows a change of metadata.
    async fn update(&mut self) {
        let News { started, stopped } = self.fetcher.followed.news();
        let mut message = Positions::default();
        for key in stopped {
            self.partitions.remove(&key);
            message.removed.push(key.to_message());
        }
        for (key, hosted) in started {
            message.positions.extend(state(key, &hosted));
            self.partitions.insert(key, Fetched { hosted, wait: Duration::ZERO });
        }
        self.waiting.retain(|(_, key)| self.partitions.contains_key(key));
        self.send(message).await;
    }

    /// Takes one message of the leader.
    async fn take(&mut self, batches: Batches) {
        let mut positions = Vec::with_capacity(batches.partitions.len());
        let mut bytes = 0;
        for answer in batches.partitions {
            bytes += answer.records.len();
            let (position, flush) = self.take_partition(answer).unzip();
            if let Some(flush) = flush.flatten()
                && !flushed(flush).await
            {
                // The log is offline: it has nothing more to say.
                continue;
            }
            positions.extend(position);
            if bytes >= ACKNOWLEDGE_BYTES {
                bytes = 0;
                self.send_positions(&mut positions).await;
            }
        }
        self.send_positions(&mut positions).await;
    }

    /// The position to state, and what must be flushed before.
    fn take_partition(&mut self, mut answer: PartitionBatches) -> Option<(Position, Option<FlushHandle>)> {
        let key = PartitionKey::from_message(answer.key.as_ref()?);
        let fetched = self.partitions.get_mut(&key)?;
        let bytes = answer.records.len();
        // Without room only the log start is followed, which may make some.
        let is_full = self.fetcher.context.partitions.room() == Level::Full;
        if is_full {
            answer.records.clear();
        }
        let mut next = fetched.hosted.follow(&answer);
        if next == Next::LowerRecoveryPoint {
            let context = &self.fetcher.context;
            context.data_dir.checkpoint(&context.partitions.all());
            next = fetched.hosted.follow(&answer);
        }
        match next {
            Next::Ask | Next::Wait if is_full => {
                fetched.wait = LONGEST_WAIT;
                self.waiting.push((Instant::now() + fetched.wait, key));
                None
            }
            Next::Ask => {
                fetched.wait = Duration::ZERO;
                let context = &self.fetcher.context;
                let is_throttled = fetched.hosted.is_throttled(Side::Follower);
                if is_throttled {
                    context.quota.spend(bytes, Instant::now());
                }
                // Who has reached the leader's end asks on: the next records may make it a member of the ISR.
                if is_throttled
                    && fetched.hosted.log_end().0 < answer.log_end
                    && let Some(due) = context.held_until(&fetched.hosted)
                {
                    self.waiting.push((due, key));
                    return None;
                }
                let flush = fetched.hosted.due_flush_by_count();
                state(key, &fetched.hosted).map(|position| (position, flush))
            }
            // A flush came in between.
            Next::AskLater | Next::LowerRecoveryPoint => {
                fetched.wait = longer(fetched.wait);
                self.waiting.push((Instant::now() + fetched.wait, key));
                None
            }
            Next::Wait => None,
        }
    }

    /// When the first of the waiting partitions asks again.
    fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().map(|(due, _)| *due).min()
    }

    async fn ask_again(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self.waiting.extract_if(.., |(due, _)| *due <= now).collect();
        let mut positions = Vec::new();
        for (_, key) in due {
            let Some(fetched) = self.partitions.get(&key) else { continue };
            match self.fetcher.context.held_until(&fetched.hosted) {
                Some(due) => self.waiting.push((due, key)),
                None => positions.extend(state(key, &fetched.hosted)),
            }
        }
        self.send_positions(&mut positions).await;
    }

    async fn send_positions(&self, positions: &mut Vec<Position>) {
        let positions = std::mem::take(positions);
        self.send(Positions { positions, ..Positions::default() }).await;
    }

    /// The leader reads positions whatever else it does, so this does not wait long. Of a connection that is gone
    /// the answers tell.
    async fn send(&self, message: Positions) {
        if message.broker_epoch.is_some() || !message.positions.is_empty() || !message.removed.is_empty() {
            let _ = self.outgoing.send(message).await;
        }
    }
}

/// Flushes without holding up other streams; false if that failed.
async fn flushed(flush: FlushHandle) -> bool {
    match tokio::task::spawn_blocking(move || flush.run()).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            error!(%error, "a follower's flush failed");
            false
        }
        Err(_) => false,
    }
}

/// A partition's present position, if it follows.
fn state(key: PartitionKey, hosted: &Hosted) -> Option<Position> {
    let position = hosted.position()?;
    Some(Position { key: Some(key.to_message()), ..position })
}

fn longer(wait: Duration) -> Duration {
    (wait * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
