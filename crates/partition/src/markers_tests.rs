use proptest::prelude::*;

use super::*;
use crate::producers::{SequenceRefusal, SequenceVerdict};
use crate::testing::sent;

fn marker(producer: i64, epoch: i16, coordinator_epoch: i32) -> Marker {
    Marker {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        coordinator_epoch,
        result: TransactionResult::Commit,
        transaction_version: 1,
    }
}

/// A batch of `count` records in a transaction, in the log.
fn data(producer: i64, epoch: i16, first_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    BatchHeader { attributes: 1 << 4, ..sent(producer, epoch, first_sequence, count, base_offset) }
}

/// A marker in the log.
fn ended(producer: i64, epoch: i16, offset: i64) -> BatchHeader {
    BatchHeader { attributes: 0b11 << 4, ..sent(producer, epoch, -1, 1, offset) }
}

fn open() -> Producers {
    let mut producers = Producers::default();
    producers.record(&data(7, 3, 0, 2, 10));
    producers
}

#[test]
fn a_marker_ends_the_open_transaction_and_counts_below_the_high_watermark() {
    let mut producers = open();
    assert_eq!(producers.first_unstable_offset(Offset(12)), Some(Offset(10)));
    let completed = producers.record_marker(&ended(7, 3, 12), TransactionResult::Abort, 1).unwrap();
    assert_eq!(
        completed,
        CompletedTransaction {
            producer_id: ProducerId(7),
            first_offset: Offset(10),
            last_offset: Offset(12),
            aborted: true,
            last_stable_offset: Offset(13),
        }
    );
    assert_eq!(producers.first_unstable_offset(Offset(12)), Some(Offset(10)), "the marker may be lost");
    assert_eq!(producers.first_unstable_offset(Offset(13)), None);
    producers.committed_to(Offset(13));
    assert_eq!(producers.first_unstable_offset(Offset(0)), None, "the high watermark does not go back");
}

#[test]
fn the_end_of_a_transaction_leaves_the_question_of_the_next_one_open() {
    let mut producers = open();
    // With an epoch for each transaction the marker carries that of the next.
    let next = data(7, 4, 0, 1, 20);
    let asked = producers.verify(&next, true, 0);
    producers.record_marker(&ended(7, 4, 12), TransactionResult::Commit, 1);
    producers.marker_written(&Marker { transaction_version: 2, ..marker(7, 4, 1) });
    assert_eq!(producers.check_transaction(&next, asked), Ok(()));
    let outdated = Err(SequenceRefusal::Outdated { producer_id: 7 });
    let mut timed_out = producers.clone();
    timed_out.record_marker(&ended(7, 5, 13), TransactionResult::Abort, 1);
    assert!(timed_out.check_transaction(&next, asked).is_err(), "the transaction itself was ended");
    // Whose end comes by the older protocol, at the epoch of its batches.
    producers.record_marker(&ended(7, 4, 14), TransactionResult::Commit, 1);
    producers.marker_written(&marker(7, 4, 1));
    assert_eq!(producers.check_transaction(&next, asked), outdated);
}

#[test]
fn a_marker_without_a_transaction_ends_nothing_and_fences_all_the_same() {
    let mut producers = Producers::default();
    assert_eq!(producers.check_marker(&marker(7, 4, 1)), Ok(MarkerVerdict::Append));
    assert_eq!(producers.record_marker(&ended(7, 4, 0), TransactionResult::Abort, 1), None);
    let late = producers.check(&data(7, 3, 5, 1, 0));
    assert_eq!(late, Err(SequenceRefusal::FencedEpoch { producer_id: 7, current: 4, got: 3 }));
}

#[test]
fn epochs_of_a_marker() {
    let mut producers = open();
    let v2 = |marker: Marker| Marker { transaction_version: 2, ..marker };
    let fenced = |got| Err(MarkerFence::ProducerEpoch { producer_id: 7, current: 3, got });
    assert_eq!(producers.check_marker(&marker(7, 2, 9)), fenced(2));
    assert_eq!(producers.check_marker(&marker(7, 3, 9)), Ok(MarkerVerdict::Append));
    assert_eq!(producers.check_marker(&v2(marker(7, 3, 9))), fenced(3), "KIP-1228");
    assert_eq!(producers.check_marker(&v2(marker(7, 4, 9))), Ok(MarkerVerdict::Append));

    producers.record_marker(&ended(7, 4, 12), TransactionResult::Commit, 9);
    let old = Err(MarkerFence::CoordinatorEpoch { producer_id: 7, current: 9, got: 8 });
    assert_eq!(producers.check_marker(&v2(marker(7, 4, 8))), old);
    assert_eq!(producers.check_marker(&v2(marker(7, 4, 9))), Ok(MarkerVerdict::AlreadyWritten));
    assert_eq!(
        producers.check_marker(&v2(marker(7, 4, 10))),
        Ok(MarkerVerdict::Append),
        "a new coordinator's epoch fences the old one"
    );
}

#[test]
fn sequences_begin_anew_with_the_epoch_of_a_marker_and_go_on_without() {
    for (epoch, next, refused) in [(3, 2, 0), (4, 0, 2)] {
        let mut producers = open();
        producers.record_marker(&ended(7, epoch, 12), TransactionResult::Commit, 1);
        assert_eq!(producers.check(&data(7, epoch, next, 1, 0)), Ok(SequenceVerdict::Accept));
        let wrong = producers.check(&data(7, epoch, refused, 1, 0));
        assert!(matches!(wrong, Err(SequenceRefusal::OutOfOrder { .. })), "{wrong:?}");
        // And the same from a snapshot.
        let mut restored = Producers::default();
        restored.restore(&producers.entries());
        assert_eq!(restored.check(&data(7, epoch, next, 1, 0)), Ok(SequenceVerdict::Accept));
    }
}

#[test]
fn a_transaction_opens_only_with_the_guard_of_its_own_question() {
    let mut producers = Producers::default();
    let first = data(7, 3, 0, 1, 0);
    assert!(producers.check_transaction(&first, None).is_err());
    let guard = producers.verify(&first, false, 0);
    assert!(guard.is_some() && producers.verify(&first, false, 0) == guard, "the same question");
    assert!(producers.check_transaction(&data(7, 4, 0, 1, 0), guard).is_err(), "of another epoch");
    assert_eq!(producers.check_transaction(&first, guard), Ok(()));
    producers.record(&first);
    assert_eq!(producers.verify(&data(7, 3, 1, 1, 0), false, 0), None, "it is open");
    assert_eq!(producers.check_transaction(&data(7, 3, 1, 1, 0), None), Ok(()));
    producers.record_marker(&ended(7, 3, 1), TransactionResult::Abort, 1);
    assert_eq!(producers.verify(&first, false, 0), None, "a repeat asks nothing");

    let next = data(7, 3, 1, 1, 2);
    let asked = producers.verify(&next, false, 0);
    producers.record_marker(&ended(7, 3, 2), TransactionResult::Abort, 2);
    assert!(producers.check_transaction(&next, asked).is_err(), "a marker came in between (T3)");
    let asked = producers.verify(&next, false, 0);
    producers.forget_verifications();
    let outdated = Err(SequenceRefusal::Outdated { producer_id: 7 });
    assert_eq!(producers.check_transaction(&next, asked), outdated, "another leader epoch began");
    let mut rebuilt = producers.emptied();
    assert_ne!(rebuilt.verify(&next, false, 0), asked);
    assert_eq!(rebuilt.check_transaction(&next, asked), outdated, "the log was truncated meanwhile");
}

#[test]
fn an_unknown_producer_with_an_epoch_per_transaction_begins_at_zero() {
    let mut producers = Producers::default();
    for (sequence, begins_at_zero, accepted) in [(0, true, true), (4, true, false), (4, false, true)] {
        let batch = data(7, 3, sequence, 1, 0);
        let guard = producers.verify(&batch, begins_at_zero, 0);
        assert_eq!(producers.check_transaction(&batch, guard).is_ok(), accepted, "{sequence}");
    }
}

#[test]
fn a_producer_with_an_open_transaction_does_not_expire() {
    let mut producers = open();
    assert_eq!(producers.expire(i64::MAX, 1), 0);
    producers.record_marker(&ended(7, 3, 12), TransactionResult::Commit, 1);
    assert_eq!(producers.expire(i64::MAX, 1), 1);
}

proptest! {
    /// Against a list of transactions, at every high watermark.
    #[test]
    fn the_first_unstable_offset_is_that_of_the_oldest_undecided_transaction(
        steps in prop::collection::vec((0i64..4, prop::option::of(any::<bool>())), 1..40)
    ) {
        let mut producers = Producers::default();
        // Producer, first offset, and its marker's.
        let mut transactions: Vec<(i64, i64, Option<i64>)> = Vec::new();
        let mut end = 0;
        for (producer, marker) in steps {
            let open = transactions.iter_mut().find(|it| it.0 == producer && it.2.is_none());
            match (marker, open) {
                (None, None) => transactions.push((producer, end, None)),
                (None, Some(_)) => {}
                (Some(_), None) => {}
                (Some(_), Some(open)) => open.2 = Some(end),
            }
            match marker {
                None => producers.record(&data(producer, 0, end as i32, 1, end)),
                Some(abort) => {
                    let result = if abort { TransactionResult::Abort } else { TransactionResult::Commit };
                    producers.record_marker(&ended(producer, 0, end), result, 0);
                }
            }
            end += 1;
            for high_watermark in 0..=end {
                let undecided = transactions.iter().filter(|it| it.2.is_none_or(|at| at >= high_watermark));
                let want = undecided.map(|it| Offset(it.1)).min();
                prop_assert_eq!(producers.first_unstable_offset(Offset(high_watermark)), want);
            }
        }
    }
}
