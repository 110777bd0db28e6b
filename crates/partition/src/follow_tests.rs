use super::*;
use crate::testing::*;

/// A follower with offsets 0 to 9 in epochs 1, 2 and 5, in epoch 6.
fn follower() -> (Replica, EpochCache) {
    let mut epochs = EpochCache::default();
    for (epoch, start) in [(1, 0), (2, 4), (5, 8)] {
        epochs.assign(LeaderEpoch(epoch), Offset(start));
    }
    (replica(2, 10, 3, led(1, 6, &[1, 2], &[1, 2], 2)), epochs)
}

fn batches(high_watermark: i64) -> Reply {
    Reply::Batches { high_watermark: Offset(high_watermark), log_start: Offset(0) }
}

#[test]
fn a_reply_is_judged_by_what_was_asked() {
    let (mut replica, epochs) = follower();
    let asked = replica.position(&epochs).unwrap();
    assert_eq!((asked.leader, asked.fetch_offset, asked.last_fetched_epoch), (1, Offset(10), LeaderEpoch(5)));
    assert_eq!(replica.judge_reply(&asked, &batches(0), &epochs), Judgement::Append);
    let before = Position { fetch_offset: Offset(9), ..asked };
    assert_eq!(replica.judge_reply(&before, &batches(0), &epochs), Judgement::Drop);
    let other_end = Position { last_fetched_epoch: LeaderEpoch(2), ..asked };
    assert_eq!(replica.judge_reply(&other_end, &batches(0), &epochs), Judgement::Drop);
    // The leader is the same broker again, in a later epoch (KAFKA-7164, KAFKA-18723).
    replica.lead(led(1, 8, &[1, 2], &[1, 2], 2), 0);
    assert_eq!(replica.judge_reply(&asked, &batches(0), &epochs), Judgement::Drop);
    replica.lead(led(-1, 9, &[1, 2], &[], 2), 0);
    assert_eq!(replica.position(&epochs), None, "nobody to fetch from");
    assert_eq!(replica.leadership().leader_epoch, LeaderEpoch(9));
}

#[test]
fn truncation_goes_to_the_end_of_the_last_epoch_in_common() {
    for (epoch, end, to) in
        [(5, 9, 9), (5, 99, 10), (4, 6, 8), (2, 6, 6), (2, 9, 8), (0, 0, 0), (1, 2, 2), (7, 3, 3)]
    {
        let (mut replica, epochs) = follower();
        let asked = replica.position(&epochs).unwrap();
        let reply = Reply::Diverging(EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end) });
        let want = Judgement::Truncate { to: Offset(to) };
        assert_eq!(replica.judge_reply(&asked, &reply, &epochs), want, "epoch {epoch} ends at {end}");
    }
}

#[test]
fn out_of_range_resets_only_where_the_bounds_say_so() {
    for (start, end, want) in [
        (0, 7, Judgement::Truncate { to: Offset(7) }),
        (20, 30, Judgement::StartOver { at: Offset(20) }),
        (0, 30, Judgement::Retry),
    ] {
        let (mut replica, epochs) = follower();
        let asked = replica.position(&epochs).unwrap();
        let reply = Reply::OutOfRange { log_start: Offset(start), log_end: Offset(end) };
        assert_eq!(replica.judge_reply(&asked, &reply, &epochs), want, "[{start}, {end}]");
    }
}

/// R9: the sender lost its leadership while it was reading.
#[test]
fn a_batch_of_a_later_epoch_than_asked_in_is_left() {
    let (replica, epochs) = follower();
    let asked = replica.position(&epochs).unwrap();
    for (base, epoch, want) in [
        (10, 6, BatchVerdict::Append),
        (10, 7, BatchVerdict::Leave),
        (11, 6, BatchVerdict::Append),
        (9, 6, BatchVerdict::Misplaced),
    ] {
        assert_eq!(replica.accepts_batch(&asked, Offset(base), LeaderEpoch(epoch)), want, "{base} {epoch}");
    }
}

/// KAFKA-6975: the leader's log start lies within a batch.
#[test]
fn an_emptied_log_begins_at_the_base_of_the_first_batch() {
    let (mut replica, mut epochs) = follower();
    epochs = {
        epochs.truncate_from_end(Offset(0));
        epochs
    };
    replica.started_over(Offset(20));
    assert_eq!(replica.high_watermark(), Offset(20), "KAFKA-9491");
    let asked = replica.position(&epochs).unwrap();
    assert_eq!(asked.last_fetched_epoch, LeaderEpoch::NONE);
    assert_eq!(replica.accepts_batch(&asked, Offset(17), LeaderEpoch(6)), BatchVerdict::Append);
}

#[test]
fn the_high_watermark_is_copied_within_the_log() {
    let (mut replica, _) = follower();
    for (told, want) in [(8, 8), (5, 5), (99, 10)] {
        replica.followed(Offset(told), Offset(0));
        assert_eq!(replica.high_watermark(), Offset(want));
    }
    assert_eq!(replica.followed(Offset(10), Offset(6)), Some(Offset(6)));
}

#[test]
fn a_fenced_follower_waits_for_metadata() {
    let (mut replica, epochs) = follower();
    let asked = replica.position(&epochs).unwrap();
    assert_eq!(replica.judge_reply(&asked, &Reply::Fenced, &epochs), Judgement::AwaitMetadata);
    assert_eq!(replica.position(&epochs), None);
    replica.lead(led(1, 7, &[1, 2], &[1, 2], 2), 0);
    assert!(replica.position(&epochs).is_some());
}
