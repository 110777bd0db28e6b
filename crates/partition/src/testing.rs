//! Shorthand for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_records::{BatchHeader, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::{BrokerLife, EpochCache, FollowerFetch, Leadership, Lives, LogBounds, Replica};

/// Metadata at partition epoch `epoch`, which is also the leader epoch.
pub(crate) fn led(leader: i32, epoch: i32, replicas: &[i32], isr: &[i32], min: i32) -> Leadership {
    Leadership {
        leader,
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: epoch,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        elr: Vec::new(),
        min_insync_replicas: min,
        recovering: false,
    }
}

/// Brokers with their epochs, all active.
pub(crate) fn lives(all: &[(i32, i64)]) -> Lives {
    let lives: BTreeMap<_, _> =
        all.iter().map(|&(id, epoch)| (id, BrokerLife { epoch, active: true })).collect();
    Arc::new(lives)
}

/// A replica with `end` records, `high_watermark` of them known as committed, told of `leadership` at time 0.
/// Brokers 1 to 4 are active in epoch 1.
pub(crate) fn replica(broker: i32, end: i64, high_watermark: i64, leadership: Leadership) -> Replica {
    let bounds = LogBounds { start: Offset(0), end: Offset(end) };
    let mut replica = Replica::new(broker, bounds, Offset(high_watermark));
    replica.see_brokers(&lives(&[(1, 1), (2, 1), (3, 1), (4, 1)]));
    replica.lead(leadership, 0);
    replica
}

/// A fetch of `follower` in the current leader epoch that says nothing of its last epoch.
pub(crate) fn fetch(replica: &Replica, follower: i32, offset: i64) -> FollowerFetch {
    FollowerFetch {
        replica: follower,
        broker_epoch: 1,
        leader_epoch: replica.leadership().leader_epoch,
        fetch_offset: Offset(offset),
        last_fetched_epoch: LeaderEpoch::NONE,
        log_start: Offset(0),
    }
}

/// Such a fetch, accepted. Whether the high watermark moved.
pub(crate) fn fetched(replica: &mut Replica, follower: i32, offset: i64, now_ms: i64) -> bool {
    let before = replica.high_watermark();
    let fetch = fetch(replica, follower, offset);
    replica.follower_fetched(&fetch, now_ms, &EpochCache::default()).unwrap();
    replica.high_watermark() != before
}

/// A batch of `count` records as the log holds it.
pub(crate) fn sent(
    producer: i64,
    epoch: i16,
    first_sequence: i32,
    count: i32,
    base_offset: i64,
) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base_offset),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 1_000,
        max_timestamp: 1_000 + base_offset,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: first_sequence,
        record_count: count,
    }
}
