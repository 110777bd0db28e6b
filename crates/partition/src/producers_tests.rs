use proptest::prelude::*;

use super::*;
use crate::testing::sent as batch;

fn after(batches: &[BatchHeader]) -> Producers {
    let mut producers = Producers::default();
    batches.iter().for_each(|batch| producers.record(batch));
    producers
}

#[test]
fn sequence_after_one_batch_of_ten() {
    let producers = after(&[batch(7, 3, 0, 10, 100)]);
    let known = BatchMetadata {
        first_sequence: 0,
        last_sequence: 9,
        last_offset: Offset(109),
        offset_delta: 9,
        timestamp: 1_100,
    };
    for (epoch, first, count, want) in [
        (3, 10, 5, Ok(SequenceVerdict::Accept)),
        (3, 0, 10, Ok(SequenceVerdict::Duplicate(known))),
        // Same first sequence, other last: neither a repeat nor the next batch.
        (3, 0, 9, Err(SequenceRefusal::OutOfOrder { producer_id: 7, expected_after: 9, got: 0 })),
        (3, 11, 1, Err(SequenceRefusal::OutOfOrder { producer_id: 7, expected_after: 9, got: 11 })),
        (4, 0, 1, Ok(SequenceVerdict::Accept)),
        (4, 10, 1, Err(SequenceRefusal::OutOfOrder { producer_id: 7, expected_after: -1, got: 10 })),
        (2, 10, 1, Err(SequenceRefusal::FencedEpoch { producer_id: 7, current: 3, got: 2 })),
    ] {
        assert_eq!(producers.check(&batch(7, epoch, first, count, 0)), want, "epoch={epoch} first={first}");
    }
    assert_eq!(known.base_offset(), Offset(100));
}

#[test]
fn unknown_producer_starts_at_any_sequence() {
    assert_eq!(Producers::default().check(&batch(1, 0, 42, 1, 0)), Ok(SequenceVerdict::Accept));
}

#[test]
fn batches_without_producer_leave_no_state() {
    let producers = after(&[batch(-1, -1, -1, 3, 0)]);
    assert!(producers.is_empty());
    assert_eq!(producers.check(&batch(-1, -1, -1, 3, 0)), Ok(SequenceVerdict::Accept));
}

#[test]
fn five_batches_are_repeatable_the_sixth_back_is_out_of_order() {
    let sent: Vec<_> = (0..6).map(|n| batch(1, 0, n * 2, 2, i64::from(n) * 2)).collect();
    let producers = after(&sent);
    for (n, repeat) in sent.iter().enumerate() {
        let verdict = producers.check(repeat);
        if n == 0 {
            assert_eq!(
                verdict,
                Err(SequenceRefusal::OutOfOrder { producer_id: 1, expected_after: 11, got: 0 })
            );
        } else {
            let Ok(SequenceVerdict::Duplicate(known)) = verdict else { panic!("batch {n}: {verdict:?}") };
            assert_eq!(known.base_offset(), repeat.base_offset, "batch {n}");
        }
    }
}

#[test]
fn sequence_wraps_to_zero() {
    let producers = after(&[batch(1, 0, i32::MAX - 1, 2, 0)]);
    assert_eq!(producers.check(&batch(1, 0, 0, 1, 2)), Ok(SequenceVerdict::Accept));
    let wrapping = after(&[batch(1, 0, i32::MAX, 3, 0)]);
    assert_eq!(wrapping.check(&batch(1, 0, 2, 1, 3)), Ok(SequenceVerdict::Accept));
    let mut restored = Producers::default();
    restored.restore(&wrapping.entries());
    assert_eq!(restored, wrapping, "a snapshot keeps the first sequence across the wrap");
}

#[test]
fn idle_producers_expire_but_not_inside_a_transaction() {
    let mut transactional = batch(2, 0, 0, 1, 1);
    transactional.attributes = 1 << 4;
    let mut producers = after(&[batch(1, 0, 0, 1, 0), transactional, batch(3, 0, 0, 1, 9_000)]);
    assert_eq!(producers.first_unstable_offset(Offset::ZERO), Some(Offset(1)));
    assert_eq!(producers.expire(10_500, 9_000), 1);
    let left: Vec<_> = producers.entries().iter().map(|entry| entry.producer_id.0).collect();
    assert_eq!(left, [2, 3]);
}

#[test]
fn plain_batch_inside_an_open_transaction_is_refused() {
    let mut transactional = batch(2, 0, 0, 1, 5);
    transactional.attributes = 1 << 4;
    let producers = after(&[transactional]);
    assert_eq!(
        producers.check(&batch(2, 0, 1, 1, 0)),
        Err(SequenceRefusal::TransactionOpen { producer_id: 2, first_offset: 5 })
    );
}

#[test]
fn window_comes_back_from_the_end_of_the_log_after_a_snapshot() {
    let sent: Vec<_> = (0..7).map(|n| batch(1, 0, n * 2, 2, i64::from(n) * 2)).collect();
    let live = after(&sent);
    let mut restored = Producers::default();
    restored.restore(&live.entries());
    assert_ne!(restored, live, "a snapshot holds one batch");
    let other = batch(2, 0, 0, 1, 14);
    restored.recall(&[&sent[..], &[other]].concat());
    assert_eq!(restored, live);
    // A gap: what lies before it leads up to nothing.
    let mut gapped = Producers::default();
    gapped.restore(&live.entries());
    gapped.recall(&[sent[4], sent[6]]);
    assert_eq!(gapped.entries(), live.entries());
    assert!(gapped.check(&sent[4]).is_err());
}

proptest! {
    /// Whatever a producer sends, retries and gaps included, each accepted sequence is appended once.
    #[test]
    fn every_sequence_lands_once_and_in_order(tries in prop::collection::vec((0..40i32, 1..4i32), 1..200)) {
        let mut producers = Producers::default();
        let (mut next_offset, mut next_sequence) = (0i64, 0i32);
        for (first, count) in tries {
            let sent = batch(1, 0, first, count, next_offset);
            if producers.check(&sent) == Ok(SequenceVerdict::Accept) {
                prop_assert!(next_offset == 0 || first == next_sequence);
                producers.record(&sent);
                next_offset += i64::from(count);
                next_sequence = first + count;
            }
        }
    }

    /// A snapshot gives back a state that decides the next batch as the original does.
    #[test]
    fn snapshot_decides_the_next_batch_alike(sent in prop::collection::vec((1..4i64, 0..3i16, 1..5i32), 1..40)) {
        let mut producers = Producers::default();
        let mut offset = 0;
        for (id, epoch, count) in sent {
            let next = producers.entries().iter().find(|e| e.producer_id.0 == id && e.epoch.0 == epoch)
                .map_or(0, |e| e.last_sequence + 1);
            let sent = batch(id, epoch, next, count, offset);
            if producers.check(&sent).is_ok() {
                producers.record(&sent);
                offset += i64::from(count);
            }
        }
        let mut restored = Producers::default();
        restored.restore(&producers.entries());
        prop_assert_eq!(restored.entries(), producers.entries());
        for entry in producers.entries() {
            let next = batch(entry.producer_id.0, entry.epoch.0, entry.last_sequence + 1, 1, offset);
            prop_assert_eq!(restored.check(&next), producers.check(&next));
        }
    }
}

/// P10: two batches are on their way, the first is turned away for want of replicas, the second must not be taken as
/// the beginning of an unknown producer.
#[test]
fn a_batch_does_not_overtake_one_that_was_refused() {
    let mut producers = Producers::default();
    let (first, second) = (batch(1, 0, 0, 1, 0), batch(1, 0, 1, 1, 0));
    producers.refused(&first, 0);
    producers.refused(&second, 0);
    let overtakes = SequenceRefusal::OutOfOrder { producer_id: 1, expected_after: -1, got: 1 };
    assert_eq!(producers.check(&second), Err(overtakes));
    assert_eq!(producers.check(&batch(2, 0, 1, 1, 0)), Ok(SequenceVerdict::Accept), "another producer");
    assert_eq!(producers.check(&first), Ok(SequenceVerdict::Accept));
    producers.record(&first);
    assert_eq!(producers.check(&second), Ok(SequenceVerdict::Accept));

    producers.refused(&batch(3, 0, 5, 1, 0), 0);
    producers.expire(REFUSAL_KEPT_MS, i64::MAX);
    assert_eq!(producers.check(&batch(3, 0, 6, 1, 0)), Ok(SequenceVerdict::Accept), "long ago");
}
