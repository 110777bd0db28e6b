//! Every small history: after a follower has reconciled with its leader its log is a prefix of the leader's, and
//! nothing that both had was cut (KIP-101, KIP-279, catalogue rows R3, R5, R7).

use milena_records::{LeaderEpoch, Offset};

use crate::testing::led;
use crate::{
    EpochCache, FetchRefusal, FetchVerdict, FollowerFetch, Judgement, LogBounds, Replica, Reply, Transition,
};

/// A log of records that are known by the epoch that wrote them.
#[derive(Clone)]
struct Log {
    records: Vec<i32>,
    epochs: EpochCache,
    replica: Replica,
}

impl Log {
    fn new(broker: i32, records: &[i32]) -> Self {
        let mut epochs = EpochCache::default();
        for (offset, epoch) in (0..).zip(records) {
            epochs.assign(LeaderEpoch(*epoch), Offset(offset));
        }
        let bounds = LogBounds { start: Offset(0), end: Offset(records.len() as i64) };
        Self { records: records.to_vec(), epochs, replica: Replica::new(broker, bounds, Offset(0)) }
    }

    fn lead(&mut self, leader: i32, epoch: i32) {
        let now = led(leader, epoch, &[1, 2, 3], &[leader], 1);
        if let Transition::BecameLeader { epoch, start } = self.replica.lead(now, 0) {
            self.epochs.assign(epoch, start);
        }
    }

    /// One fetch of at most one record. Whether there is more to do.
    fn fetch_from(&mut self, leader: &mut Log) -> bool {
        let Some(asked) = self.replica.position(&self.epochs) else { return false };
        let fetch = FollowerFetch {
            replica: self.replica.broker,
            broker_epoch: 1,
            leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            log_start: asked.log_start,
        };
        let high_watermark = leader.replica.high_watermark();
        let reply = match leader.replica.follower_fetched(&fetch, 0, &leader.epochs) {
            Ok(FetchVerdict::Read) => Reply::Batches { high_watermark, log_start: Offset(0) },
            Ok(FetchVerdict::Diverging(end)) => Reply::Diverging(end),
            Err(FetchRefusal::OutOfRange { log_start, log_end }) => Reply::OutOfRange { log_start, log_end },
            Err(refusal) => panic!("{refusal}"),
        };
        match self.replica.judge_reply(&asked, &reply, &self.epochs) {
            Judgement::Append => {
                let Some(epoch) = leader.records.get(asked.fetch_offset.0 as usize) else { return false };
                self.records.push(*epoch);
                self.epochs.appended(LeaderEpoch(*epoch), asked.fetch_offset);
                assert_eq!(self.epochs.epoch_of(asked.fetch_offset), Some(LeaderEpoch(*epoch)));
                self.replica.appended(asked.fetch_offset + 1, 0);
            }
            Judgement::Truncate { to } => {
                self.records.truncate(to.0 as usize);
                self.epochs.truncate_from_end(to);
                self.replica.truncated(to);
            }
            other => panic!("{other:?}"),
        }
        true
    }
}

/// All logs of up to `longest` records in epochs 1 to `epochs`.
fn logs(longest: usize, epochs: i32) -> Vec<Vec<i32>> {
    let mut all = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..longest {
        let to = all.len();
        for at in from..to {
            for epoch in all[at].last().copied().unwrap_or(1)..=epochs {
                let mut longer = all[at].clone();
                longer.push(epoch);
                all.push(longer);
            }
        }
        from = to;
    }
    all
}

fn common(a: &[i32], b: &[i32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// An epoch has one leader: whoever has records of it has them from the same offset on, behind the same records.
fn can_coexist(a: &[i32], b: &[i32]) -> bool {
    (1..=4).all(|epoch| {
        let start = |log: &[i32]| log.iter().position(|it| *it == epoch);
        match (start(a), start(b)) {
            (Some(one), Some(other)) => one == other && a[..one] == b[..one],
            _ => true,
        }
    })
}

#[test]
fn every_small_log_reconciles_with_every_leader() {
    let logs = logs(5, 4);
    let mut pairs = 0;
    for leader in &logs {
        for follower in logs.iter().filter(|it| can_coexist(leader, it)) {
            let (mut one, mut two) = (Log::new(1, leader), Log::new(2, follower));
            one.lead(1, 5);
            two.lead(1, 5);
            let kept = common(leader, follower);
            for round in 0.. {
                assert!(round < 15, "{follower:?} never reconciles with {leader:?}");
                let more = two.fetch_from(&mut one);
                assert!(common(&two.records, leader) >= kept, "{follower:?} lost what {leader:?} has too");
                if !more {
                    break;
                }
            }
            assert_eq!(two.records, *leader, "{follower:?}");
            pairs += 1;
        }
    }
    assert!(pairs > 2000, "{pairs}");
}

/// A second leader takes over while the follower is still reconciling with the first.
#[test]
fn every_small_log_reconciles_over_a_change_of_leader() {
    let logs = logs(4, 3);
    for first in &logs {
        for second in logs.iter().filter(|it| can_coexist(first, it)) {
            let able = |it: &&Vec<i32>| can_coexist(first, it) && can_coexist(second, it);
            for follower in logs.iter().filter(able) {
                for (rounds, led) in [(0, false), (1, false), (2, false), (3, false), (0, true), (2, true)] {
                    let mut one = Log::new(1, first);
                    let mut two = Log::new(2, second);
                    let mut three = Log::new(3, follower);
                    // It may have led itself, and written nothing.
                    if led {
                        three.lead(3, 4);
                    }
                    one.lead(1, 5);
                    three.lead(1, 5);
                    for _ in 0..rounds {
                        three.fetch_from(&mut one);
                    }
                    two.lead(2, 6);
                    three.lead(2, 6);
                    let mut left = 15;
                    while three.fetch_from(&mut two) {
                        left -= 1;
                        assert!(left > 0, "{follower:?} never reconciles with {first:?}, then {second:?}");
                    }
                    assert_eq!(three.records, *second, "{follower:?}, {rounds} rounds with {first:?}");
                }
            }
        }
    }
}

/// KAFKA-10706: an epoch that wrote nothing here must not outlive a truncation to the log's end.
#[test]
fn a_truncation_that_cuts_no_record_cuts_epochs() {
    let mut log = Log::new(2, &[1, 1]);
    log.lead(2, 3);
    assert_eq!(log.epochs.latest(), LeaderEpoch(3));
    log.epochs.truncate_from_end(Offset(2));
    assert_eq!(log.epochs.latest(), LeaderEpoch(1));
}
