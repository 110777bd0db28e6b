use super::*;

fn led(leader: i32, epoch: i32, replicas: &[i32], isr: &[i32], min: i32) -> Leadership {
    Leadership {
        leader,
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: epoch,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        min_insync_replicas: min,
    }
}

fn at(offset: i64) -> FollowerPosition {
    FollowerPosition { log_end: Offset(offset), log_start: Offset(0) }
}

#[test]
fn sole_replica_commits_what_it_appends() {
    let mut replica = Replica::new(1, led(1, 0, &[1], &[1], 1), Offset(0), Offset(0));
    assert!(replica.appended(Offset(10)));
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn sole_replica_restarts_with_all_of_its_log_committed() {
    let replica = Replica::new(1, led(1, 0, &[1], &[1], 1), Offset(10), Offset(4));
    assert_eq!(replica.high_watermark(), Offset(10));
}

#[test]
fn high_watermark_is_the_slowest_in_sync_follower() {
    let mut replica = Replica::new(1, led(1, 0, &[1, 2, 3], &[1, 2, 3], 2), Offset(0), Offset(0));
    assert!(!replica.appended(Offset(10)));
    assert!(!replica.follower_fetched(2, at(10)), "broker 3 has not fetched in this epoch");
    assert!(replica.follower_fetched(3, at(6)));
    assert_eq!(replica.high_watermark(), Offset(6));
    assert!(!replica.follower_fetched(9, at(10)), "not a replica");
}

#[test]
fn high_watermark_stands_below_min_insync_replicas() {
    let mut replica = Replica::new(1, led(1, 0, &[1, 2, 3], &[1], 2), Offset(0), Offset(0));
    assert!(!replica.appended(Offset(5)));
    assert_eq!(replica.check_append(true), Err(AppendRefusal::NotEnoughReplicas { in_sync: 1, required: 2 }));
    assert_eq!(replica.check_append(false), Ok(()));
    assert!(!replica.lead(led(1, 0, &[1, 2, 3], &[1, 2], 2)), "same leader");
    assert!(replica.follower_fetched(2, at(5)));
    assert_eq!(replica.high_watermark(), Offset(5));
}

#[test]
fn min_insync_replicas_above_the_replica_count_asks_for_all_replicas() {
    let replica = Replica::new(1, led(1, 0, &[1], &[1], 3), Offset(0), Offset(0));
    assert_eq!(replica.check_append(true), Ok(()));
}

#[test]
fn followers_positions_end_with_the_leader_epoch() {
    let mut replica = Replica::new(1, led(1, 0, &[1, 2], &[1, 2], 1), Offset(0), Offset(0));
    replica.appended(Offset(8));
    assert!(replica.follower_fetched(2, at(3)));
    assert!(replica.lead(led(2, 1, &[1, 2], &[1, 2], 1)));
    assert_eq!(replica.check_append(false), Err(AppendRefusal::NotLeader { leader: 2, leader_epoch: 1 }));
    assert!(replica.lead(led(1, 2, &[1, 2], &[1, 2], 1)));
    assert_eq!(replica.high_watermark(), Offset(3), "position of epoch 0 does not count in epoch 2");
    assert!(!replica.lead(led(2, 1, &[1, 2], &[2], 1)), "older metadata is ignored");
    assert_eq!(replica.role(), Role::Leader);
}

#[test]
fn leader_epoch_of_a_request_is_compared() {
    let replica = Replica::new(1, led(1, 5, &[1], &[1], 1), Offset(0), Offset(0));
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
    let mut replica = Replica::new(2, led(1, 0, &[1, 2], &[1, 2], 1), Offset(10), Offset(9));
    replica.truncated(Offset(7));
    assert_eq!((replica.log_end(), replica.high_watermark()), (Offset(7), Offset(7)));
}
