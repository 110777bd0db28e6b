use super::*;
use crate::BrokerLife;
use crate::testing::*;
use crate::{Replication, Transition};

const PATIENCE: Patience = Patience { lag_max_ms: 1000, stall_max_ms: 300 };

fn members(change: Option<IsrChange>) -> Option<Vec<i32>> {
    change.map(|change| change.isr.iter().map(|(id, _)| *id).collect())
}

/// The record after a change with these members.
fn after(replica: &Replica, isr: &[i32]) -> Leadership {
    let now = replica.leadership();
    Leadership { partition_epoch: now.partition_epoch + 1, isr: isr.to_vec(), ..now.clone() }
}

#[test]
fn a_follower_joins_from_the_epochs_start_and_the_high_watermark_on() {
    for (offset, joins) in [(0, false), (9, false), (10, true), (12, true)] {
        // The high watermark known here, 4, may be below the true one; the log end at election is not.
        let mut replica = replica(1, 10, 4, led(1, 1, &[1, 2, 3], &[1, 2], 1));
        replica.appended(Offset(12), 0);
        fetched(&mut replica, 3, offset, 0);
        let change = replica.next_isr_change(0, &PATIENCE);
        assert_eq!(members(change), joins.then(|| vec![1, 2, 3]), "offset {offset}");
    }
}

#[test]
fn only_the_process_that_the_metadata_knows_joins() {
    for (known, active, joins) in [(1, true, true), (1, false, false), (0, true, false)] {
        let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1], 1));
        let life = BrokerLife { epoch: known, active };
        replica.see_brokers(&std::sync::Arc::new([(2, life)].into()));
        fetched(&mut replica, 2, 0, 0);
        assert_eq!(replica.next_isr_change(0, &PATIENCE).is_some(), joins, "{life:?}");
    }
}

/// M1: the answer to an expansion is lost; until its fate is known the joining replica counts.
#[test]
fn the_high_watermark_waits_for_who_may_be_in_the_isr() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1], 1));
    fetched(&mut replica, 2, 0, 0);
    let change = replica.next_isr_change(0, &PATIENCE).unwrap();
    assert_eq!(change.isr, [(1, 1), (2, 1)]);
    replica.see_brokers(&lives(&[(1, 1)]));
    replica.appended(Offset(5), 0);
    assert_eq!(replica.high_watermark(), Offset(0));
    replica.isr_answered(&change, IsrAnswer::Unknown, 10);
    assert_eq!((replica.high_watermark(), replica.is_isr_change_pending()), (Offset(0), true));
    replica.isr_answered(&change, IsrAnswer::Outdated, 10);
    assert_eq!((replica.high_watermark(), replica.is_isr_change_pending()), (Offset(0), true));
    assert_eq!(replica.next_isr_change(14, &PATIENCE), None, "not yet time");
    assert_eq!(replica.next_isr_change(15, &PATIENCE).as_ref(), Some(&change), "asked again, unchanged");
    replica.isr_answered(&change, IsrAnswer::NotApplied, 16);
    assert_eq!((replica.high_watermark(), replica.is_isr_change_pending()), (Offset(5), false));
}

/// M2: a shrink counts once it is committed.
#[test]
fn a_shrink_lets_the_high_watermark_pass_only_when_applied() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1, 2], 1));
    let patience = Patience { stall_max_ms: 10_000, ..PATIENCE };
    fetched(&mut replica, 2, 0, 0);
    replica.appended(Offset(5), 0);
    assert_eq!(replica.next_isr_change(1000, &patience), None, "within the limit");
    let change = replica.next_isr_change(1001, &patience).unwrap();
    assert_eq!(change.isr, [(1, 1)]);
    assert_eq!(replica.high_watermark(), Offset(0));
    let shrunk = after(&replica, &[1]);
    replica.isr_answered(&change, IsrAnswer::Applied(shrunk), 1100);
    assert_eq!(replica.high_watermark(), Offset(5));
}

/// A repeat of the metadata in force must not forget the union: the controller may have taken the change.
#[test]
fn a_repeat_of_metadata_leaves_a_change_under_way() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1], 1));
    fetched(&mut replica, 2, 0, 0);
    replica.next_isr_change(0, &PATIENCE).unwrap();
    let same = replica.leadership().clone();
    assert_eq!(replica.lead(same, 5), Transition::Ignored);
    assert!(replica.is_isr_change_pending());
    let newer = after(&replica, &[1]);
    assert_eq!(replica.lead(newer, 6), Transition::Updated);
    assert!(!replica.is_isr_change_pending());
}

#[test]
fn an_answer_to_an_earlier_change_is_ignored() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1], 1));
    fetched(&mut replica, 2, 0, 0);
    let old = replica.next_isr_change(0, &PATIENCE).unwrap();
    let late = after(&replica, &[1, 2]);
    let newer = Leadership { partition_epoch: 7, ..after(&replica, &[1]) };
    replica.lead(newer, 1);
    replica.isr_answered(&old, IsrAnswer::Applied(late), 2);
    assert_eq!(replica.leadership().partition_epoch, 7);
}

#[test]
fn an_idle_follower_on_a_stream_stays_in_sync() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1, 2], 1));
    fetched(&mut replica, 2, 0, 0);
    assert_eq!(replica.next_isr_change(60_000, &PATIENCE), None);
    replica.appended(Offset(1), 60_000);
    assert_eq!(replica.next_isr_change(60_001, &PATIENCE), None, "it had all until a moment ago");
    assert_eq!(members(replica.next_isr_change(61_001, &PATIENCE)), Some(vec![1]));
}

#[test]
fn a_follower_that_stalls_a_commit_leaves_early_if_others_suffice() {
    for (min, want) in [(1, Some(vec![1, 3])), (2, Some(vec![1, 3])), (3, None)] {
        let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2, 3], &[1, 2, 3], min));
        fetched(&mut replica, 2, 0, 0);
        fetched(&mut replica, 3, 0, 0);
        replica.appended(Offset(5), 100);
        fetched(&mut replica, 3, 5, 110);
        assert_eq!(replica.next_isr_change(400, &PATIENCE), None);
        assert_eq!(members(replica.next_isr_change(411, &PATIENCE)), want, "min isr {min}");
    }
}

/// A dead follower that nobody has fenced yet: without this it came back at once, and commits stood still for as long.
#[test]
fn a_follower_that_was_put_out_for_stalling_holds_nothing_up() {
    let patience = Patience { lag_max_ms: 30_000, ..PATIENCE };
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2, 3], &[1, 2, 3], 2));
    fetched(&mut replica, 2, 0, 0);
    fetched(&mut replica, 3, 0, 0);
    replica.appended(Offset(5), 100);
    fetched(&mut replica, 3, 5, 110);
    let change = replica.next_isr_change(411, &patience).unwrap();
    let shrunk = after(&replica, &[1, 3]);
    replica.isr_answered(&change, IsrAnswer::Applied(shrunk), 412);
    assert_eq!(replica.high_watermark(), Offset(5), "broker 3 is enough");
    assert_eq!(replica.next_isr_change(413, &patience), None, "broker 2 stays out");
    fetched(&mut replica, 2, 5, 500);
    assert_eq!(members(replica.next_isr_change(500, &patience)), Some(vec![1, 3, 2]), "until it fetches");
}

#[test]
fn a_loaded_follower_that_reaches_where_the_leader_was_stays() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2], &[1, 2], 1));
    fetched(&mut replica, 2, 0, 0);
    for step in 1..100 {
        replica.appended(Offset(step * 10), step * 200);
        fetched(&mut replica, 2, step * 10 - 10, step * 200 + 50);
        assert_eq!(replica.next_isr_change(step * 200 + 60, &PATIENCE), None, "step {step}");
    }
}

#[test]
fn an_uncleanly_elected_leader_tells_that_it_has_settled() {
    let unclean = Leadership { recovering: true, ..led(1, 1, &[1, 2], &[1], 1) };
    let mut replica = replica(1, 0, 0, unclean);
    let change = replica.next_isr_change(0, &PATIENCE).unwrap();
    assert_eq!((change.isr, change.recovering), (vec![(1, 1)], false));
}

#[test]
fn expansion_makes_a_write_complete_only_with_the_new_member() {
    let mut replica = replica(1, 0, 0, led(1, 1, &[1, 2, 3], &[1, 2], 2));
    fetched(&mut replica, 2, 0, 0);
    fetched(&mut replica, 3, 0, 0);
    let change = replica.next_isr_change(0, &PATIENCE).unwrap();
    replica.appended(Offset(5), 1);
    fetched(&mut replica, 2, 5, 2);
    assert_eq!(replica.replication_of(LeaderEpoch(1), Offset(5)), Replication::Pending);
    let grown = after(&replica, &[1, 2, 3]);
    replica.isr_answered(&change, IsrAnswer::Applied(grown), 3);
    fetched(&mut replica, 3, 5, 4);
    assert_eq!(replica.replication_of(LeaderEpoch(1), Offset(5)), Replication::Done);
}
