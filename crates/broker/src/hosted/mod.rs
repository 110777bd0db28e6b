//! One partition as this broker hosts it: its log, its replica's state and its producers behind one lock,
//! and the requests that wait for it.
//!
//! Decisions are `milena-partition`'s, bytes are `milena-log`'s; this joins them. Whatever takes long
//! (validating a batch, reading data) runs outside the lock.

mod acks;
mod append;
mod cleaning;
mod following;
mod leading;
mod markers;
mod read;
mod settling;
mod unflushed;
mod upkeep;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use milena_config::TopicConfig;
use milena_log::Log;
use milena_partition::{Leadership, Lives, LogBounds, ProducerEntry, Producers, Replica, Role, Transition};
use milena_records::Offset;
use milena_wire::Uuid;

pub(crate) use append::{Acks, Appended, ProduceRefusal};
pub(crate) use following::Next;
pub(crate) use leading::{Follower, Stated};
pub(crate) use read::{FetchFrom, FetchRefusal, Fetched, OffsetQuery};
pub(crate) use settling::{Unsettled, settle};
pub(crate) use upkeep::{Checkpointed, DeleteRefusal};

use acks::ParkedAcks;
use unflushed::Unflushed;

use crate::clock;
use crate::data_dir::OpenedLog;
use crate::meters::Traffic;
use crate::replication::{IsrQueue, Side, Throttled};
use crate::waiters::Waiters;

/// A partition of this broker.
pub(crate) struct Hosted {
    /// Name of its topic.
    pub(crate) topic: Arc<str>,
    /// Id of its topic.
    pub(crate) topic_id: Uuid,
    /// Partition index.
    pub(crate) index: i32,
    /// This broker.
    broker: i32,
    /// Requests that wait for data, for replicas or for the log start.
    pub(crate) waiters: Waiters,
    /// What clients wrote and read.
    pub(crate) traffic: Traffic,
    config: ArcSwap<TopicConfig>,
    throttled: Throttled,
    /// `None` once it is deleted from the cluster, or closed for shutdown: nothing is served any more.
    state: Mutex<Option<State>>,
    /// Held by the request that flushes; those who wait for it find their batch on disk.
    flushing: tokio::sync::Mutex<()>,
    /// Has been appended to since the last look at retention, flush and checkpoints.
    touched: AtomicBool,
    /// Where it goes when its ISR may have to change.
    isr: Arc<IsrQueue>,
    /// Its cleaning failed; it is left alone.
    uncleanable: AtomicBool,
    /// Files of removed segments may wait to be unlinked.
    has_removed: AtomicBool,
    /// Is among those whose ISR is looked at next.
    pub(crate) isr_considered: AtomicBool,
    /// Is among those whose ISR is looked at as time passes.
    pub(crate) isr_watched: AtomicBool,
    /// When a batch was last turned away with an error after which its client sends it again; monotonic milliseconds.
    refused_ms: AtomicI64,
}

struct State {
    log: Log,
    replica: Replica,
    producers: Producers,
    /// What was written since the last flush.
    unflushed: Unflushed,
    /// A segment was closed since the last flush.
    rolled: bool,
    /// Producers that wait for all in-sync replicas.
    acks: ParkedAcks,
}

impl Hosted {
    /// Hosts an opened log on `broker`. It leads and follows nothing until [`Hosted::lead`].
    pub(crate) fn new(
        (topic, topic_id, index): (Arc<str>, Uuid, i32),
        broker: i32,
        config: Arc<TopicConfig>,
        opened: OpenedLog,
        isr: Arc<IsrQueue>,
    ) -> Self {
        let OpenedLog { mut log, producers, high_watermark } = opened;
        let bounds = LogBounds { start: log.log_start(), end: log.log_end() };
        let replica = Replica::new(broker, bounds, high_watermark);
        log.set_config(Arc::new(log_config(&config)));
        let state = State {
            log,
            replica,
            producers,
            unflushed: Unflushed::default(),
            rolled: false,
            acks: ParkedAcks::default(),
        };
        Self {
            topic,
            topic_id,
            index,
            broker,
            waiters: Waiters::default(),
            traffic: Traffic::default(),
            throttled: Throttled::new(&config, index, broker),
            config: ArcSwap::new(config),
            state: Mutex::new(Some(state)),
            flushing: tokio::sync::Mutex::default(),
            touched: AtomicBool::new(true),
            uncleanable: AtomicBool::new(false),
            has_removed: AtomicBool::new(true),
            isr,
            isr_considered: AtomicBool::new(false),
            isr_watched: AtomicBool::new(false),
            refused_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Takes newer metadata of the partition. In a new leader epoch parked requests of the old one fail, and whoever
    /// waits looks again.
    pub(crate) fn lead(self: &Arc<Self>, leadership: Leadership) -> Transition {
        let led = self.with(|state| {
            let transition = state.lead(leadership);
            (transition, state.may_expand(), state.replica.role() == Role::Leader)
        });
        let Some((transition, may_expand, is_leader)) = led else { return Transition::Ignored };
        if transition != Transition::Ignored {
            self.waiters.wake();
        }
        if may_expand {
            self.isr.consider(self);
        }
        // Followers that never come are noticed, too.
        if is_leader && transition.is_new_epoch() {
            self.isr.watch(self);
        }
        transition
    }

    /// Takes the brokers that the metadata knows: who may enter the ISR.
    pub(crate) fn see_brokers(self: &Arc<Self>, lives: &Lives) {
        let seen = self.with(|state| {
            let marks = |state: &State| (state.replica.high_watermark(), state.replica.low_watermark());
            let before = marks(state);
            state.replica.see_brokers(lives);
            state.settle_acks();
            (marks(state) != before, state.may_expand())
        });
        let Some((moved, may_expand)) = seen else { return };
        if moved {
            self.waiters.wake();
        }
        // A follower that has everything says nothing more, and may have been let in just now.
        if may_expand {
            self.isr.consider(self);
        }
    }

    /// Takes changed settings of the topic.
    pub(crate) fn configure(&self, config: Arc<TopicConfig>) {
        self.with(|state| state.log.set_config(Arc::new(log_config(&config))));
        self.throttled.configure(&config, self.index, self.broker);
        self.config.store(config);
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether this replica leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.with(|state| state.replica.role() == Role::Leader).unwrap_or(false)
    }

    /// Whether copies that this broker makes on `side` count for a replication quota.
    pub(crate) fn is_throttled(&self, side: Side) -> bool {
        self.throttled.on(side)
    }

    /// Whether a throttled copy for `replica` may be held back: not while it is in sync.
    pub(crate) fn may_hold_back(&self, side: Side, replica: i32) -> bool {
        self.is_throttled(side)
            && !self.with(|state| state.replica.leadership().isr.contains(&replica)).unwrap_or(true)
    }

    /// What idempotent producers have here, for DescribeProducers.
    pub(crate) fn producers(&self) -> Vec<ProducerEntry> {
        self.with(|state| state.producers.entries()).unwrap_or_default()
    }

    /// Whether the topic's `compression.type` is zstd, whatever producers send.
    pub(crate) fn is_stored_as_zstd(&self) -> bool {
        self.config.load().compression_type() == milena_config::CompressionType::Zstd
    }

    /// First offset that can be read; -1 once it is closed.
    pub(crate) fn log_start(&self) -> Offset {
        self.with(|state| state.log.log_start()).unwrap_or(Offset::NONE)
    }

    /// Next offset to be written; -1 once it is closed.
    pub(crate) fn log_end(&self) -> Offset {
        self.with(|state| state.log.log_end()).unwrap_or(Offset::NONE)
    }

    /// Bytes on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.with(|state| state.log.size_bytes()).unwrap_or(0)
    }

    /// All batches, committed or not.
    #[cfg(test)]
    pub(crate) fn everything(&self) -> bytes::Bytes {
        let read = |state: &mut State| {
            let (mut at, end) = (state.log.log_start(), state.log.log_end());
            let mut whole = Vec::new();
            while at < end {
                let slice = state.log.read(at, 1 << 20, end, true).unwrap();
                whole.extend_from_slice(&slice.bytes);
                at = slice.next_offset;
            }
            whole.into()
        };
        self.with(read).unwrap_or_default()
    }

    /// Looks at or changes the state; `None` if it is closed.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.state.lock().expect("a partition's lock is not held across a panic");
        state.as_mut().map(act)
    }
}

impl State {
    /// Takes newer metadata. A new leader's epoch begins at its log end, even if it writes nothing (KAFKA-7415): its
    /// file follows with the next append or flush, as until then nothing depends on it that this process does not
    /// know, and after a crash the next leader epoch says as much.
    fn lead(&mut self, leadership: Leadership) -> Transition {
        let transition = self.replica.lead(leadership, clock::monotonic_ms());
        if let Transition::BecameLeader { epoch, .. } = transition {
            self.log.assign_epoch(epoch);
        }
        if transition.is_new_epoch() {
            self.producers.forget_verifications();
        }
        self.settle_acks();
        transition
    }

    /// Whether this replica leads, and there are others outside of the ISR.
    fn may_expand(&self) -> bool {
        let leadership = self.replica.leadership();
        self.replica.role() == Role::Leader && leadership.isr.len() < leadership.replicas.len()
    }

    /// Answers producers about whose batches more is known by now.
    fn settle_acks(&mut self) {
        self.acks.settle(&self.replica);
        self.producers.committed_to(self.replica.high_watermark());
    }

    /// First offset that a read_committed consumer may not see.
    fn last_stable_offset(&self) -> Offset {
        let high_watermark = self.replica.high_watermark();
        match self.producers.first_unstable_offset(high_watermark) {
            // The records of an open transaction may be deleted under it.
            Some(first) => first.min(high_watermark).max(self.log.log_start()),
            None => high_watermark,
        }
    }
}

/// The settings that a log obeys, out of its topic's.
pub(crate) fn log_config(topic: &TopicConfig) -> milena_log::LogConfig {
    milena_log::LogConfig {
        segment_bytes: topic.segment_bytes() as u32,
        segment_ms: topic.segment_max_age_ms(),
        segment_jitter_ms: topic.segment_jitter_ms(),
        segment_index_bytes: topic.segment_index_bytes() as u32,
        index_interval_bytes: topic.index_interval_bytes() as u32,
        retention_ms: topic.retention_ms(),
        retention_bytes: topic.retention_bytes(),
        file_delete_delay_ms: topic.file_delete_delay_ms(),
        preallocate: topic.preallocate(),
        delete: topic.deletes(),
    }
}
