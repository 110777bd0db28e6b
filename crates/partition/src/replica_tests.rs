use milena_records::LeaderEpoch;

use super::*;
use crate::testing::*;

#[test]
fn sole_replica_commits_what_it_appends() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1], &[1], 1));
    assert!(replica.appended(Offset(10), 0));
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn sole_replica_restarts_with_all_of_its_log_committed() {
    let replica = replica(1, 10, 4, led(1, 0, &[1], &[1], 1));
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn high_watermark_is_the_slowest_in_sync_follower() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2, 3], &[1, 2, 3], 2));
    assert!(!replica.appended(Offset(10), 0));
    assert!(!fetched(&mut replica, 2, 10, 0), "broker 3 has not fetched in this epoch");
    assert!(fetched(&mut replica, 3, 6, 0));
    assert_eq!(replica.high_watermark(), Offset(6));
}

#[test]
fn high_watermark_stands_below_min_insync_replicas() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2, 3], &[1], 2));
    assert!(!replica.appended(Offset(5), 0));
    assert_eq!(replica.check_append(true), Err(AppendRefusal::NotEnoughReplicas { in_sync: 1, required: 2 }));
    assert_eq!(replica.check_append(false), Ok(()));
    let wider = Leadership { partition_epoch: 1, ..led(1, 0, &[1, 2, 3], &[1, 2], 2) };
    assert_eq!(replica.lead(wider, 0), Transition::Updated);
    assert!(fetched(&mut replica, 2, 5, 0));
    assert_eq!(replica.high_watermark(), Offset(5));
}

#[test]
fn min_insync_replicas_above_the_replica_count_asks_for_all_replicas() {
    let replica = replica(1, 0, 0, led(1, 0, &[1], &[1], 3));
    assert_eq!(replica.check_append(true), Ok(()));
}

#[test]
fn followers_positions_end_with_the_leader_epoch() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2], &[1, 2], 1));
    replica.appended(Offset(8), 0);
    assert!(fetched(&mut replica, 2, 3, 0));
    assert_eq!(replica.lead(led(2, 1, &[1, 2], &[1, 2], 1), 0), Transition::BecameFollower { leader: 2 });
    assert_eq!(replica.check_append(false), Err(AppendRefusal::NotLeader { leader: 2, leader_epoch: 1 }));
    assert_eq!(
        replica.lead(led(1, 2, &[1, 2], &[1, 2], 1), 0),
        Transition::BecameLeader { epoch: LeaderEpoch(2), start: Offset(8) }
    );
    assert_eq!(replica.high_watermark(), Offset(3), "position of epoch 0 does not count in epoch 2");
    assert_eq!(replica.lead(led(2, 1, &[1, 2], &[2], 1), 0), Transition::Ignored, "older metadata");
    assert_eq!(replica.role(), Role::Leader);
}

/// Removed and added again between two looks at the metadata: the dropped replica raised the leader epoch, and what
/// the leader knew of it is forgotten (M9).
#[test]
fn a_replica_removed_and_added_again_counts_from_nothing() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2], &[1, 2], 2));
    replica.appended(Offset(8), 0);
    assert!(fetched(&mut replica, 2, 8, 0));
    let again = Leadership { partition_epoch: 9, ..led(1, 1, &[1, 2], &[1, 2], 2) };
    assert!(replica.lead(again, 0).is_new_epoch());
    assert_eq!(replica.follower(2).unwrap().log_end, None);
    replica.appended(Offset(9), 0);
    assert_eq!(replica.high_watermark(), Offset(8));
}

#[test]
fn leader_epoch_of_a_request_is_compared() {
    let replica = replica(1, 0, 0, led(1, 5, &[1], &[1], 1));
    for (client, want) in [
        (-1, Ok(())),
        (5, Ok(())),
        (4, Err(EpochRefusal::Fenced { current: 5, got: 4 })),
        (6, Err(EpochRefusal::Unknown { current: 5, got: 6 })),
    ] {
        assert_eq!(replica.check_epoch(client), want, "client={client}");
    }
}

#[test]
fn truncation_takes_the_high_watermark_along() {
    let mut replica = replica(2, 10, 9, led(1, 0, &[1, 2], &[1, 2], 1));
    replica.truncated(Offset(7));
    assert_eq!((replica.log_end(), replica.high_watermark()), (Offset(7), Offset(7)));
}

#[test]
fn latest_offset_is_unknown_until_the_new_epoch_is_replicated() {
    let mut replica = replica(1, 10, 4, led(1, 3, &[1, 2], &[1, 2], 2));
    assert!(!replica.knows_latest_offset(), "the predecessor may have told more than 4");
    fetched(&mut replica, 2, 9, 0);
    assert!(!replica.knows_latest_offset());
    fetched(&mut replica, 2, 10, 0);
    assert!(replica.knows_latest_offset());
}

/// KAFKA-20634: a later epoch's high watermark passes the offset and says nothing about the batch that was there.
#[test]
fn a_parked_write_ends_with_its_epoch() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2], &[1, 2], 2));
    replica.appended(Offset(5), 0);
    assert_eq!(replica.replication_of(LeaderEpoch(0), Offset(5)), Replication::Pending);
    replica.lead(led(2, 1, &[1, 2], &[1, 2], 2), 0);
    replica.truncated(Offset(0));
    replica.appended(Offset(5), 0);
    replica.followed(Offset(5), Offset(0));
    assert_eq!(replica.replication_of(LeaderEpoch(0), Offset(5)), Replication::EpochOver);
    replica.lead(led(1, 2, &[1, 2], &[1, 2], 2), 0);
    assert_eq!(replica.replication_of(LeaderEpoch(0), Offset(5)), Replication::EpochOver);
    assert_eq!(replica.replication_of(LeaderEpoch(2), Offset(5)), Replication::Done);
}

#[test]
fn a_committed_write_with_too_few_copies_left_is_indeterminate() {
    let mut replica = replica(1, 0, 0, led(1, 0, &[1, 2], &[1, 2], 2));
    replica.appended(Offset(5), 0);
    fetched(&mut replica, 2, 5, 0);
    let shrunk = Leadership { partition_epoch: 1, ..led(1, 0, &[1, 2], &[1], 2) };
    replica.lead(shrunk, 0);
    assert_eq!(replica.replication_of(LeaderEpoch(0), Offset(5)), Replication::NotEnoughReplicas);
}
