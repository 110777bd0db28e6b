//! The leader's end of one stream: answers a follower's positions with batches as soon as there are any.
//!
//! Per partition one answer is under way: the follower's next position acknowledges it. An append wakes the
//! stream through its [`ReadyList`]; no task looks at partitions in which nothing happened. Specification:
//! replication notes 1.5.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, StreamExt};
use milena_metadata::BrokerId;
use milena_peer::replica::Leader;
use milena_peer::replica::message::{Batches, Key, PartitionBatches, Position, Positions, Refusal};
use milena_quorum::NodeId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::debug;

use super::{IsrQueue, PartitionKey, ReplicationQuota, Side};
use crate::hosted::{Follower, Hosted, Stated};
use crate::partitions::Partitions;
use crate::waiters::{ReadyList, Subscription};

/// Most bytes of one partition in one message, unless its first batch alone is longer.
const PARTITION_BYTES: usize = 1 << 20;
/// Bytes after which no more partitions go into a message.
const MESSAGE_BYTES: usize = 4 << 20;
/// Messages on their way to the connection: one that it sends, one that waits.
const OUTGOING: usize = 1;
/// How long a new high watermark may wait for batches to travel with. Consumers of followers see records this
/// much later (KIP-392).
const HIGH_WATERMARK_DELAY: Duration = Duration::from_millis(5);

/// Feeds the followers of this broker's partitions.
pub(crate) struct Feeder {
    partitions: Arc<Partitions>,
    isr: Arc<IsrQueue>,
    quota: Arc<ReplicationQuota>,
    /// Batches are read and put together here, not where heartbeats of the quorum are answered (D1).
    runtime: Handle,
}

impl Feeder {
    /// Feeds followers of `partitions`, on the present runtime; what their progress means for ISRs goes to `isr`.
    /// Throttled replicas get what `quota` allows.
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        isr: Arc<IsrQueue>,
        quota: Arc<ReplicationQuota>,
    ) -> Arc<Self> {
        Arc::new(Self { partitions, isr, quota, runtime: Handle::current() })
    }
}

impl Leader for Feeder {
    fn feed(
        &self,
        follower: NodeId,
        positions: BoxStream<'static, Positions>,
    ) -> BoxStream<'static, Batches> {
        let (outgoing, batches) = mpsc::channel(OUTGOING);
        let stream = Stream {
            follower: BrokerId(i32::try_from(follower.0).unwrap_or(-1)),
            broker_epoch: -1,
            partitions: Arc::clone(&self.partitions),
            isr: Arc::clone(&self.isr),
            quota: Arc::clone(&self.quota),
            ready: Arc::default(),
            queue: Vec::new(),
            slots: Vec::new(),
            by_key: HashMap::new(),
            free: Vec::new(),
            refused: Vec::new(),
            notices: Vec::new(),
            notices_due: None,
            held: Vec::new(),
            held_until: None,
        };
        self.runtime.spawn(stream.run(positions, outgoing));
        futures_util::stream::unfold(batches, |mut batches| async { Some((batches.recv().await?, batches)) })
            .boxed()
    }
}

/// One follower's stream.
struct Stream {
    follower: BrokerId,
    /// Of the follower's process; it says so first.
    broker_epoch: i64,
    partitions: Arc<Partitions>,
    isr: Arc<IsrQueue>,
    quota: Arc<ReplicationQuota>,
    /// Slots in which something happened.
    ready: Arc<ReadyList>,
    /// Those taken from it, not looked at yet.
    queue: Vec<usize>,
    slots: Vec<Option<Slot>>,
    by_key: HashMap<PartitionKey, usize>,
    free: Vec<usize>,
    /// Answers to positions that are not served; one per position at most.
    refused: Vec<PartitionBatches>,
    /// Slots whose follower knows an older high watermark.
    notices: Vec<usize>,
    notices_due: Option<Instant>,
    /// Slots of throttled replicas that wait for the quota, and until when.
    held: Vec<usize>,
    held_until: Option<Instant>,
}

/// One partition of a stream.
struct Slot {
    key: Key,
    hosted: Arc<Hosted>,
    subscription: Arc<Subscription>,
    /// What the follower waits for; none while an answer is under way.
    asked: Option<Asked>,
    /// Is among the notices.
    noticed: bool,
    /// Is among those that wait for the quota.
    held: bool,
}

/// A position that was accepted.
#[derive(Clone, Copy)]
struct Asked {
    leader_epoch: i32,
    fetch_offset: i64,
    last_fetched_epoch: Option<i32>,
    /// What the follower knows, or was told last.
    high_watermark: i64,
    log_start: i64,
}

impl Stream {
    async fn run(mut self, mut positions: BoxStream<'static, Positions>, outgoing: mpsc::Sender<Batches>) {
        debug!(follower = %self.follower, "a follower fetches");
        loop {
            let ready = Arc::clone(&self.ready);
            let has_work = self.has_work();
            tokio::select! {
                // Positions first: they say what to send, and a follower must never wait to be heard.
                biased;
                message = positions.next() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                () = ready.filled() => {}
                () = until(self.notices_due), if !has_work => {}
                () = until(self.held_until), if self.held_until.is_some() => self.release(),
                permit = outgoing.reserve(), if has_work => {
                    let Ok(permit) = permit else { break };
                    let batches = self.collect();
                    if !batches.partitions.is_empty() {
                        permit.send(batches);
                    }
                }
            }
            self.ready.take_into(&mut self.queue);
        }
        debug!(follower = %self.follower, "a follower is gone");
    }

    fn take(&mut self, message: Positions) {
        self.broker_epoch = message.broker_epoch.unwrap_or(self.broker_epoch);
        for key in &message.removed {
            self.remove(PartitionKey::from_message(key));
        }
        for position in message.positions {
            self.state(position);
        }
    }

    /// Takes one position; it is answered when the stream has room.
    fn state(&mut self, position: Position) {
        let Some(message) = position.key else { return };
        let key = PartitionKey::from_message(&message);
        let Some(at) = self.slot(key, message) else {
            let refusal = refused(&position, Refusal::UnknownTopic);
            return self.refused.push(refusal);
        };
        let slot = self.slots[at].as_mut().expect("slots of known keys are filled");
        let follower = Follower { broker: self.follower.0, broker_epoch: self.broker_epoch };
        match slot.hosted.state_position(&follower, &position) {
            Stated::Accepted { isr_may_change } => {
                slot.asked = Some(Asked {
                    leader_epoch: position.leader_epoch,
                    fetch_offset: position.fetch_offset,
                    last_fetched_epoch: position.last_fetched_epoch,
                    high_watermark: position.high_watermark,
                    log_start: position.log_start,
                });
                slot.subscription.wake();
                if isr_may_change {
                    self.isr.consider(&slot.hosted);
                }
            }
            Stated::Refused(answer) => {
                slot.asked = None;
                self.refused.push(PartitionBatches { key: Some(message), ..*answer });
            }
            // It was deleted, and may be here anew by the time the follower asks again.
            Stated::Closed => {
                self.remove(key);
                self.refused.push(refused(&position, Refusal::UnknownTopic));
            }
        }
    }

    /// The slot of a partition, made at its first position; `None` if this broker does not host it.
    fn slot(&mut self, key: PartitionKey, message: Key) -> Option<usize> {
        if let Some(at) = self.by_key.get(&key) {
            return Some(*at);
        }
        let hosted = self.partitions.get(key.topic, key.index)?;
        let at = self.free.pop().unwrap_or(self.slots.len());
        let subscription = Subscription::new(at, &self.ready);
        hosted.waiters.subscribe(&subscription);
        let slot =
            Some(Slot { key: message, hosted, subscription, asked: None, noticed: false, held: false });
        match self.slots.get_mut(at) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.by_key.insert(key, at);
        Some(at)
    }

    fn remove(&mut self, key: PartitionKey) {
        let Some(at) = self.by_key.remove(&key) else { return };
        if let Some(slot) = self.slots[at].take() {
            slot.hosted.waiters.unsubscribe(&slot.subscription);
        }
        self.free.push(at);
    }

    fn has_work(&self) -> bool {
        !self.refused.is_empty()
            || !self.queue.is_empty()
            || self.notices_due.is_some_and(|due| due <= Instant::now())
    }

    /// One message: refusals, batches of partitions in the order in which they became ready, and due notices.
    fn collect(&mut self) -> Batches {
        let mut partitions = std::mem::take(&mut self.refused);
        let mut bytes = 0;
        let mut looked_at = 0;
        while looked_at < self.queue.len() && bytes < MESSAGE_BYTES {
            let at = self.queue[looked_at];
            looked_at += 1;
            if let Some(answer) = self.look_at(at) {
                bytes += answer.records.len();
                partitions.push(answer);
            }
        }
        self.queue.drain(..looked_at);
        if self.notices_due.is_some_and(|due| due <= Instant::now()) {
            self.notices_due = None;
            for at in std::mem::take(&mut self.notices) {
                partitions.extend(self.notice(at));
            }
        }
        Batches { partitions }
    }

    /// What there is for a partition's follower, if it waits for something.
    fn look_at(&mut self, at: usize) -> Option<PartitionBatches> {
        let slot = self.slots[at].as_mut()?;
        slot.subscription.rearm();
        let asked = slot.asked?;
        if slot.held {
            return None;
        }
        let mut most = PARTITION_BYTES;
        if slot.hosted.may_hold_back(Side::Leader, self.follower.0) {
            let now = Instant::now();
            let wait = self.quota.wait(now);
            if !wait.is_zero() {
                slot.held = true;
                self.held.push(at);
                self.held_until.get_or_insert(now + wait);
                return None;
            }
            most = self.quota.piece(most);
        }
        let answer = slot.hosted.feed(asked.leader_epoch, asked.fetch_offset, most);
        let answer = asked.echoed(slot.key, answer);
        if slot.hosted.is_throttled(Side::Leader) {
            self.quota.spend(answer.records.len(), Instant::now());
        }
        if !answer.records.is_empty() || answer.refusal != Refusal::None as i32 {
            slot.asked = None;
            return Some(answer);
        }
        let is_news = answer.high_watermark > asked.high_watermark || answer.log_start > asked.log_start;
        if is_news && !slot.noticed {
            slot.noticed = true;
            self.notices.push(at);
            self.notices_due.get_or_insert_with(|| Instant::now() + HIGH_WATERMARK_DELAY);
        }
        None
    }

    /// Looks again at what waited for the quota.
    fn release(&mut self) {
        self.held_until = None;
        for at in std::mem::take(&mut self.held) {
            if let Some(slot) = self.slots[at].as_mut() {
                slot.held = false;
                slot.subscription.wake();
            }
        }
    }

    /// A newer high watermark or log start, if the follower has not learnt of it by batches meanwhile.
    fn notice(&mut self, at: usize) -> Option<PartitionBatches> {
        let slot = self.slots[at].as_mut()?;
        // What waits for the quota is told with its next batches.
        if !std::mem::take(&mut slot.noticed) || slot.held {
            return None;
        }
        let asked = slot.asked.as_mut()?;
        let answer = slot.hosted.feed(asked.leader_epoch, asked.fetch_offset, PARTITION_BYTES);
        (asked.high_watermark, asked.log_start) = (answer.high_watermark, answer.log_start);
        let asked = *asked;
        if !answer.records.is_empty() || answer.refusal != Refusal::None as i32 {
            slot.asked = None;
        }
        Some(asked.echoed(slot.key, answer))
    }
}

impl Asked {
    /// The answer, with what the follower judges it by: where it stood when it asked.
    fn echoed(&self, key: Key, answer: PartitionBatches) -> PartitionBatches {
        PartitionBatches { key: Some(key), last_fetched_epoch: self.last_fetched_epoch, ..answer }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        for slot in self.slots.iter().flatten() {
            slot.hosted.waiters.unsubscribe(&slot.subscription);
        }
    }
}

/// An answer that says only why there is none.
fn refused(position: &Position, refusal: Refusal) -> PartitionBatches {
    PartitionBatches {
        key: position.key,
        leader_epoch: position.leader_epoch,
        fetch_offset: position.fetch_offset,
        last_fetched_epoch: position.last_fetched_epoch,
        refusal: refusal.into(),
        ..PartitionBatches::default()
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
