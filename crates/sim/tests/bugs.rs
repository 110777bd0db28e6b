//! The test of the tests: a rule that is taken back must be missed. `cargo test --profile sim -p milena-sim --features
//! bugs`; the table is in `docs/replication-bugs.md`.
#![cfg(feature = "bugs")]

use milena_bugs::{Bug, with};
use milena_metadata::election::PartitionChange;
use milena_metadata::{BrokerId, Partition};
use milena_partition::{
    BatchVerdict, BrokerLife, EpochCache, EpochEnd, FollowerFetch, Judgement, Leadership, Lives, LogBounds,
    Patience, Position, Producers, Replica, Reply,
};
use milena_records::{BatchHeader, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TransactionResult};
use milena_sim::Mode;
use milena_sim::hunt::{hunt, hunt_in_groups, hunt_in_transactions};

/// Seeds that a mistake may take to be noticed.
const LIMIT: u64 = 150;

#[test]
fn the_simulator_notices_mistakes_that_lost_data_elsewhere() {
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = [
        Bug::R1,
        Bug::R2,
        Bug::R5,
        Bug::R6,
        Bug::R8,
        Bug::R13,
        Bug::R14,
        Bug::R15,
        Bug::M1,
        Bug::M2,
        Bug::M3,
        Bug::M4,
        Bug::M6,
        Bug::M20,
        Bug::P1,
        Bug::P3,
        Bug::P6,
        Bug::G1,
    ];
    let unnoticed: Vec<Bug> =
        noticed.into_iter().filter(|bug| hunt(*bug, Mode::Model, LIMIT, 100_000).is_none()).collect();
    assert_eq!(unnoticed, []);
}

#[test]
fn the_simulation_of_transactions_notices_mistakes_that_lost_transactions_elsewhere() {
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = [Bug::T1, Bug::T2, Bug::T4, Bug::T5, Bug::T6, Bug::T7, Bug::T8, Bug::T10, Bug::T13];
    let unnoticed: Vec<Bug> =
        noticed.into_iter().filter(|bug| hunt_in_transactions(*bug, LIMIT).is_none()).collect();
    assert_eq!(unnoticed, []);
}

#[test]
fn the_simulation_of_groups_notices_a_commit_that_is_fenced_too_early() {
    std::panic::set_hook(Box::new(|_| {}));
    let found = hunt_in_groups(Bug::G4, Mode::Model, LIMIT).expect("it is noticed");
    assert!(found.1.starts_with("G4"), "{found:?}");
}

#[test]
fn the_simulation_of_groups_notices_offsets_that_are_acknowledged_told_or_expired_without_right() {
    std::panic::set_hook(Box::new(|_| {}));
    for (bug, row) in [(Bug::G1, "G15"), (Bug::G2, "G2"), (Bug::G6, "G6")] {
        let found = hunt_in_groups(bug, Mode::Model, LIMIT).expect("it is noticed");
        assert!(found.1.contains(row), "{found:?}");
    }
}

/// A follower with offsets 0 to 9 in epochs 1, 2 and 5, which follows broker 1 in epoch 6.
fn follower() -> (Replica, EpochCache) {
    let mut epochs = EpochCache::default();
    for (epoch, start) in [(1, 0), (2, 4), (5, 8)] {
        epochs.assign(LeaderEpoch(epoch), Offset(start));
    }
    let mut replica = Replica::new(2, LogBounds { start: Offset(0), end: Offset(10) }, Offset(3));
    replica.lead(led(6), 0);
    (replica, epochs)
}

fn led(epoch: i32) -> Leadership {
    Leadership {
        leader: 1,
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: epoch,
        replicas: vec![1, 2],
        isr: vec![1, 2],
        elr: Vec::new(),
        min_insync_replicas: 2,
        recovering: false,
    }
}

fn judged(bug: Option<Bug>, reply: &Reply) -> Judgement {
    let (mut replica, epochs) = follower();
    let asked = replica.position(&epochs).expect("there is a leader");
    with(bug, || replica.judge_reply(&asked, reply, &epochs))
}

/// Those whose race is too rare for a bounded number of seeds: what the state machine decides at the crossing.
#[test]
fn a_rule_decides_otherwise_when_it_is_taken_back() {
    let diverging = Reply::Diverging(EpochEnd { epoch: LeaderEpoch(2), end_offset: Offset(9) });
    assert_eq!(judged(None, &diverging), Judgement::Truncate { to: Offset(8) });
    assert_eq!(judged(Some(Bug::R3), &diverging), Judgement::Truncate { to: Offset(9) });

    let race = Reply::OutOfRange { log_start: Offset(0), log_end: Offset(30) };
    assert_eq!(judged(None, &race), Judgement::Retry);
    assert_eq!(judged(Some(Bug::R11), &race), Judgement::StartOver { at: Offset(0) });

    let (mut replica, epochs) = follower();
    let asked: Position = replica.position(&epochs).expect("there is a leader");
    let later = || replica.accepts_batch(&asked, Offset(10), LeaderEpoch(7));
    assert_eq!((later(), with(Some(Bug::R9), later)), (BatchVerdict::Leave, BatchVerdict::Append));

    replica.lead(led(8), 0);
    let reply = Reply::Batches { high_watermark: Offset(5), log_start: Offset(0) };
    assert_eq!(replica.judge_reply(&asked, &reply, &epochs), Judgement::Drop);
    let taken = with(Some(Bug::R4), || replica.judge_reply(&asked, &reply, &epochs));
    assert_eq!(taken, Judgement::Append);
}

/// The same on the leader's side.
#[test]
fn a_leader_decides_otherwise_when_a_rule_is_taken_back() {
    let fetch = FollowerFetch {
        replica: 2,
        broker_epoch: 4,
        leader_epoch: LeaderEpoch(5),
        fetch_offset: Offset(0),
        last_fetched_epoch: LeaderEpoch::NONE,
        log_start: Offset(0),
    };
    let leader = || {
        let mut leader = Replica::new(1, LogBounds { start: Offset(0), end: Offset(0) }, Offset(0));
        let life = BrokerLife { epoch: 3, active: true };
        leader.see_brokers(&Lives::new([(2, life)].into()));
        leader.lead(Leadership { isr: vec![1], min_insync_replicas: 1, ..led(6) }, 0);
        leader
    };
    let fetched = || leader().follower_fetched(&fetch, 0, &EpochCache::default()).is_ok();
    assert_eq!((fetched(), with(Some(Bug::R17), fetched)), (false, true));

    // It fetched as process 4, the metadata knows process 3: one of the two is gone.
    let joins = || {
        let mut leader = leader();
        let fetch = FollowerFetch { leader_epoch: LeaderEpoch(6), ..fetch };
        leader.follower_fetched(&fetch, 0, &EpochCache::default()).expect("the epoch fits");
        leader.next_isr_change(0, &Patience::default()).is_some()
    };
    assert_eq!((joins(), with(Some(Bug::M5), joins)), (false, true));

    let mut producers = Producers::default();
    producers.refused(&batch(0), 0);
    let overtakes = || producers.check(&batch(1)).is_ok();
    assert_eq!((overtakes(), with(Some(Bug::P10), overtakes)), (false, true));
}

/// A batch of one record of producer 1.
fn batch(sequence: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(0),
        batch_length: 100,
        partition_leader_epoch: LeaderEpoch(0),
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        record_count: 1,
    }
}

/// Rules about transactions in one partition.
#[test]
fn a_partition_opens_transactions_otherwise_when_a_rule_is_taken_back() {
    let transactional = BatchHeader { attributes: 1 << 4, ..batch(0) };
    let marker = BatchHeader { attributes: 0b11 << 4, base_sequence: -1, base_offset: Offset(1), ..batch(0) };
    let unasked = || Producers::default().check_transaction(&transactional, None).is_ok();
    assert_eq!((unasked(), with(Some(Bug::T2), unasked)), (false, true));

    // The coordinator said yes, then ended the transaction; its marker was here first.
    let late = || {
        let mut producers = Producers::default();
        let guard = producers.verify(&transactional, false, 0).expect("nothing is open");
        producers.record_marker(&marker, TransactionResult::Abort, 1);
        producers.check_transaction(&transactional, Some(guard)).is_ok()
    };
    assert_eq!((late(), with(Some(Bug::T3), late)), (false, true));

    let forgotten = || {
        let (mut producers, mut restored) = (Producers::default(), Producers::default());
        producers.record(&transactional);
        restored.restore(&producers.entries());
        restored.first_unstable_offset(Offset(1)).is_none()
    };
    assert_eq!((forgotten(), with(Some(Bug::T11), forgotten)), (false, true));
}

/// The same at the controller.
#[test]
fn a_controller_decides_otherwise_when_a_rule_is_taken_back() {
    let ids = |list: &[i32]| list.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let is_active = |_: BrokerId| true;
    let before = Partition {
        isr: ids(&[1]),
        elr: ids(&[2, 3]),
        ..Partition::new(ids(&[1, 2, 3]), ids(&[1, 2, 3]), 3)
    };

    // Broker 1 may have advanced the high watermark alone before it heard that two are asked for now.
    let lowered = || {
        let change = PartitionChange { min_insync_replicas: 2, ..PartitionChange::new(&before, &is_active) };
        change.build().expect("the minimum is another").elr
    };
    assert_eq!((lowered(), with(Some(Bug::M8), lowered)), (ids(&[]), ids(&[2, 3])));

    // Assigned again before the leader has heard of either, broker 3 would count as it was.
    let dropped = || {
        let change = PartitionChange { replicas: ids(&[1, 2]), ..PartitionChange::new(&before, &is_active) };
        change.build().expect("the replicas are others").leader_epoch
    };
    assert_eq!((dropped(), with(Some(Bug::M9), dropped)), (LeaderEpoch(1), LeaderEpoch(0)));
}
