use super::*;
use crate::testing::*;

fn epochs(rows: &[(i32, i64)]) -> EpochCache {
    let mut cache = EpochCache::default();
    for &(epoch, start) in rows {
        cache.assign(LeaderEpoch(epoch), Offset(start));
    }
    cache
}

/// The order of the checks is Kafka's: the epoch before assignment, life and range (KAFKA-14078).
#[test]
fn a_fetch_is_refused_for_the_first_reason_that_holds() {
    let out_of_range = FetchRefusal::OutOfRange { log_start: Offset(2), log_end: Offset(10) };
    for (name, change, want) in [
        (
            "old epoch, unknown broker",
            FollowerFetch { replica: 9, leader_epoch: LeaderEpoch(3), ..valid() },
            FetchRefusal::Epoch(EpochRefusal::Fenced { current: 4, got: 3 }),
        ),
        (
            "new epoch",
            FollowerFetch { leader_epoch: LeaderEpoch(5), ..valid() },
            FetchRefusal::Epoch(EpochRefusal::Unknown { current: 4, got: 5 }),
        ),
        ("not assigned", FollowerFetch { replica: 9, ..valid() }, FetchRefusal::NotReplica(9)),
        ("itself", FollowerFetch { replica: 1, ..valid() }, FetchRefusal::NotReplica(1)),
        (
            "an earlier process",
            FollowerFetch { broker_epoch: 0, fetch_offset: Offset(99), ..valid() },
            FetchRefusal::EarlierLife { known: 1, got: 0 },
        ),
        ("behind the end", FollowerFetch { fetch_offset: Offset(11), ..valid() }, out_of_range),
        ("before the start", FollowerFetch { fetch_offset: Offset(1), ..valid() }, out_of_range),
        (
            "before the start, whatever the epochs say",
            FollowerFetch { fetch_offset: Offset(1), last_fetched_epoch: LeaderEpoch(1), ..valid() },
            out_of_range,
        ),
        (
            "an epoch that never was",
            FollowerFetch { last_fetched_epoch: LeaderEpoch(9), ..valid() },
            out_of_range,
        ),
    ] {
        let (mut replica, epochs) = leader();
        assert_eq!(replica.follower_fetched(&change, 0, &epochs), Err(want), "{name}");
        assert_eq!(replica.follower(2).unwrap().log_end, None, "{name}: nothing is noted");
    }
}

#[test]
fn a_diverging_follower_is_told_the_pair_and_not_counted() {
    for (last, offset, want) in [
        (1, 5, None),
        (1, 6, Some((1, 5))),
        (2, 6, Some((1, 5))),
        (3, 8, None),
        (3, 9, Some((3, 8))),
        (4, 10, None),
    ] {
        let (mut replica, epochs) = leader();
        let fetch =
            FollowerFetch { fetch_offset: Offset(offset), last_fetched_epoch: LeaderEpoch(last), ..valid() };
        let verdict = replica.follower_fetched(&fetch, 0, &epochs).unwrap();
        let end = |(epoch, end)| EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end) };
        assert_eq!(verdict, want.map_or(FetchVerdict::Read, |it| FetchVerdict::Diverging(end(it))));
        assert_eq!(replica.follower(2).unwrap().log_end.is_some(), want.is_none(), "epoch {last}");
    }
}

/// Offsets 2 to 9 in epochs 1, 3 and 4, of which it leads the last.
fn leader() -> (Replica, EpochCache) {
    let mut replica = replica(1, 10, 2, led(1, 4, &[1, 2, 3], &[1, 2], 1));
    replica.log_start_moved(Offset(2));
    (replica, epochs(&[(1, 2), (3, 5), (4, 8)]))
}

fn valid() -> FollowerFetch {
    FollowerFetch {
        replica: 2,
        broker_epoch: 1,
        leader_epoch: LeaderEpoch(4),
        fetch_offset: Offset(10),
        last_fetched_epoch: LeaderEpoch::NONE,
        log_start: Offset(0),
    }
}
