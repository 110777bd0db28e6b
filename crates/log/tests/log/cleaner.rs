//! What compaction keeps, drops and never touches.

use milena_log::fs::{Fault, FileSystem};
use milena_log::{CleaningError, LastShutdown, Log, LogConfig};
use milena_records::{Compression, Offset, TransactionResult};

use crate::compacted::*;
use crate::support::{Rig, content, extents, options, small};

fn rig() -> Rig {
    Rig::new(LogConfig { segment_bytes: 4000, ..small() })
}

/// Appends one batch with these records, keys and values as text, `None` a tombstone.
fn put(log: &mut Log, records: &[(&str, Option<&str>)]) {
    let base = log.log_end().0;
    log.append(&[keyed(base, records, base, &Plain)], 0).unwrap();
}

fn put_by(log: &mut Log, records: &[(&str, Option<&str>)], producer: &dyn Writer) {
    let base = log.log_end().0;
    log.append(&[keyed(base, records, base, producer)], 0).unwrap();
}

fn rolled(log: &mut Log) {
    log.roll(0).unwrap();
}

#[test]
fn of_each_key_the_newest_record_stays_where_it_was() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for round in 0..5 {
        let value = format!("v{round}");
        put(
            &mut log,
            &[("a", Some(&value)), ("b", Some(&value)), (if round == 2 { "c" } else { "a" }, Some("x"))],
        );
        rolled(&mut log);
    }
    let before = log.log_end();
    let stats = clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!((stats.records_before, stats.records_after), (15, 3));
    assert_eq!(log.log_end(), before);
    assert_eq!(records(&log), [(8, "c", Some("x")), (13, "b", Some("v4")), (14, "a", Some("x"))].map(owned));
    assert_eq!(log.cleaned_to(), before);
    assert_eq!(log.segment_count(), 2, "small segments become one");
    for offset in 0..15 {
        let found = log.read(Offset(offset), 10_000, before, true).unwrap();
        assert!(!found.bytes.is_empty() && found.next_offset > Offset(offset), "from {offset}");
    }
}

#[test]
fn a_batch_that_loses_nothing_is_copied_byte_for_byte() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for codec in Compression::ALL {
        let (base, key) = (log.log_end().0, format!("only-{codec}"));
        log.append(
            &[keyed(base, &[(&key, Some("v")), (&format!("{key}2"), Some("w"))], 0, &Coded(codec))],
            0,
        )
        .unwrap();
    }
    rolled(&mut log);
    let before = content(&log, 10_000);
    clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!(content(&log, 10_000), before);
}

#[test]
fn a_compressed_batch_that_loses_records_keeps_its_codec() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for codec in Compression::ALL {
        let base = log.log_end().0;
        let key = codec.name();
        log.append(&[keyed(base, &[("same", Some("v")), (key, Some("w"))], 0, &Coded(codec))], 0).unwrap();
    }
    put(&mut log, &[("same", Some("last"))]);
    rolled(&mut log);
    clean(&mut log, &Cleaning::default()).unwrap();
    let codecs: Vec<_> = headers(&log).iter().map(|header| header.compression()).collect();
    assert_eq!(codecs, [&Compression::ALL[..], &[Compression::None]].concat());
    assert_eq!(records(&log).len(), 6);
    assert!(
        headers(&log)[..5].iter().all(|header| header.record_count == 1 && header.last_offset_delta == 1)
    );
}

#[test]
fn a_tombstone_goes_when_its_time_is_over_and_not_before() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("1")), ("b", Some("1"))]);
    put(&mut log, &[("a", None), ("c", Some("1"))]);
    rolled(&mut log);
    let at = |now_ms| Cleaning { now_ms, delete_retention_ms: 100, ..Cleaning::default() };
    clean(&mut log, &at(1_000)).unwrap();
    assert_eq!(records(&log), [(1, "b", Some("1")), (2, "a", None), (3, "c", Some("1"))].map(owned));
    assert_eq!(headers(&log)[1].delete_horizon(), Some(1_100));
    for (now_ms, kept) in [(1_099, 3), (1_100, 2)] {
        put(&mut log, &[(&format!("filler {now_ms}"), Some("1"))]);
        rolled(&mut log);
        clean(&mut log, &at(now_ms)).unwrap();
        let fillers = if now_ms == 1_099 { 1 } else { 2 };
        assert_eq!(records(&log).len(), kept + fillers, "at {now_ms}");
        assert_eq!(headers(&log)[1].delete_horizon(), Some(1_100), "set once");
    }
}

#[test]
fn records_without_a_key_are_dropped() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    log.append(&[crate::support::batch(0, 4, 10, 0)], 0).unwrap();
    put(&mut log, &[("a", Some("1"))]);
    rolled(&mut log);
    let stats = clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!((stats.keyless, records(&log).len()), (4, 1));
}

#[test]
fn neither_the_active_segment_nor_what_is_unstable_or_young_is_touched() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for _ in 0..4 {
        put(&mut log, &[("a", Some("1"))]);
        rolled(&mut log);
    }
    put(&mut log, &[("a", Some("active"))]);
    let end = |stable, min_lag_ms, now_ms| log.cleanable(Offset(stable), min_lag_ms, now_ms).end.0;
    assert_eq!(end(i64::MAX, 0, 0), 4, "not the active one");
    assert_eq!(end(2, 0, 0), 2, "not behind the last stable offset");
    assert_eq!(end(i64::MAX, 10, 12), 3, "times are offsets here: the one of 3 is 9 ms old");
    assert_eq!(end(i64::MAX, 10, 3), 0);
    let stats = clean(&mut log, &Cleaning { stable: 3, ..Cleaning::default() }).unwrap();
    assert_eq!(stats.records_before, 3);
    assert_eq!(offsets(&log), [2, 3, 4]);
}

#[test]
fn the_dirty_part_is_what_came_since_the_last_cleaning() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("1"))]);
    rolled(&mut log);
    let first = log.cleanable(Offset(100), 0, 0);
    assert_eq!((first.dirty_ratio(), first.first_dirty), (1.0, Offset(0)));
    clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!(log.cleanable(Offset(100), 0, 0).dirty_bytes, 0);
    put(&mut log, &[("b", Some("1"))]);
    rolled(&mut log);
    let next = log.cleanable(Offset(100), 0, 0);
    assert_eq!((next.dirty_ratio(), next.first_dirty, next.end), (0.5, Offset(1), Offset(2)));
    assert_eq!(next.oldest_dirty_ms, Some(1));
}

#[test]
fn a_table_too_small_for_all_keys_cleans_in_parts() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for round in 0..3 {
        for key in 0..20 {
            put(&mut log, &[(&format!("k{key}"), Some(&format!("{round}")))]);
        }
        rolled(&mut log);
    }
    let tight = Cleaning { map_bytes: 24 * 10, ..Cleaning::default() };
    let mut rounds = 0;
    while log.cleanable(Offset(100), 0, 0).dirty_bytes > 0 {
        let before = log.cleaned_to();
        clean(&mut log, &tight).unwrap();
        assert!(log.cleaned_to() > before);
        rounds += 1;
        assert_eq!(latest(&log).len(), 20);
    }
    assert!(rounds >= 6, "{rounds}");
    // A second look at everything finds what parts could not: the oldest records are clean, the newest stay.
    assert!(offsets(&log).ends_with(&(40..60).collect::<Vec<_>>()));
    assert_eq!(latest(&log)["k7"], "2");
}

#[test]
fn a_producers_last_batch_and_the_last_of_the_log_stay_as_empty_ones() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    let producer = |sequence| Idempotent { id: 5, epoch: 2, sequence };
    put_by(&mut log, &[("a", Some("1"))], &producer(0));
    put_by(&mut log, &[("a", Some("2")), ("b", Some("2"))], &producer(1));
    put(&mut log, &[("a", Some("3")), ("b", Some("3")), ("c", Some("3"))]);
    put_by(&mut log, &[("c", None)], &Idempotent { id: 6, epoch: 0, sequence: 0 });
    rolled(&mut log);
    let before = producers(&log);
    let forgotten = Cleaning { active_producers: before[..1].to_vec(), ..Cleaning::default() };
    clean(&mut log, &forgotten).unwrap();
    let later = Cleaning { now_ms: 1 << 40, ..forgotten };
    put(&mut log, &[("d", Some("1"))]);
    rolled(&mut log);
    clean(&mut log, &later).unwrap();
    assert_eq!(extents(&content(&log, 10_000)), [(1, 2), (3, 5), (7, 7)], "of 6, expired, nothing is left");
    let kept = headers(&log)[0];
    assert_eq!((kept.record_count, kept.last_sequence()), (0, 2));
    assert_eq!(producers(&log), before[..1]);
    // The end of the log does not move back though its last record goes.
    put(&mut log, &[("d", None)]);
    rolled(&mut log);
    clean(&mut log, &later).unwrap();
    clean_again(&mut log, &Cleaning { now_ms: 1 << 41, ..later });
    assert_eq!(extents(&content(&log, 10_000)), [(1, 2), (3, 5), (8, 8)]);
}

#[test]
fn aborted_records_go_markers_stay_until_nothing_of_their_transaction_is_left() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("committed"))]);
    put_by(&mut log, &[("a", Some("aborted"))], &Transactional { id: 7, epoch: 0, sequence: 0 });
    append_marker(&mut log, 7, TransactionResult::Abort);
    put_by(&mut log, &[("b", Some("1"))], &Transactional { id: 8, epoch: 0, sequence: 0 });
    append_marker(&mut log, 8, TransactionResult::Commit);
    rolled(&mut log);
    let at = |now_ms| Cleaning { now_ms, delete_retention_ms: 100, ..Cleaning::default() };
    clean(&mut log, &at(1_000)).unwrap();
    assert_eq!(latest(&log), map(&[("a", "committed"), ("b", "1")]));
    assert_eq!(offsets(&log), [0, 2, 3, 4], "data gone, both markers there");
    assert_eq!(headers(&log)[1].delete_horizon(), None, "its data was still seen");
    clean_again(&mut log, &at(2_000));
    assert_eq!(headers(&log)[1].delete_horizon(), Some(2_100));
    clean_again(&mut log, &at(2_099));
    assert_eq!(offsets(&log), [0, 2, 3, 4]);
    clean_again(&mut log, &at(2_100));
    assert_eq!(offsets(&log), [0, 3, 4], "the other one's data is there for good");
}

#[test]
fn times_are_found_after_compaction() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for round in 0..6 {
        put_by(&mut log, &[("a", Some("1")), (&format!("k{round}"), Some("1"))], &Coded(Compression::Lz4));
        rolled(&mut log);
    }
    clean(&mut log, &Cleaning::default()).unwrap();
    check_times(&log);
}

#[test]
fn a_reader_in_the_middle_of_a_replaced_segment_goes_on() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for round in 0..3 {
        put(&mut log, &[("a", Some(&format!("{round}")))]);
    }
    rolled(&mut log);
    let before = content(&log, 10_000);
    let plan = log.plan_read(Offset(0), 10_000, log.log_end(), true).unwrap();
    clean(&mut log, &Cleaning::default()).unwrap();
    log.purge_deleted(i64::MAX).unwrap();
    assert_eq!(plan.run().unwrap().bytes, before);
    assert_eq!(offsets(&log), [2]);
}

#[test]
fn a_truncation_or_a_removal_meanwhile_ends_the_cleaning_without_a_trace() {
    for removal in [false, true] {
        let config = LogConfig { retention_bytes: 130, ..small() };
        let rig = Rig::new(config);
        let mut log = rig.create().unwrap();
        for _ in 0..3 {
            put(&mut log, &[("a", Some("1"))]);
            rolled(&mut log);
        }
        log.flush().unwrap();
        let mut cleaning = begin(&log, &Cleaning::default()).unwrap();
        cleaning.map_keys(&mut |_| true).unwrap();
        let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
        if removal {
            assert_eq!(log.retention(0, Offset(3)).unwrap().len(), 1);
        } else {
            log.truncate_to(Offset(2)).unwrap();
        }
        let before = content(&log, 10_000);
        assert!(!log.swap(group, 0).unwrap());
        assert_eq!(content(&log, 10_000), before);
        log.cleaned(&cleaning, Offset(3));
        assert!(log.cleaned_to() <= log.log_end());
        drop(log);
        let (log, _) = rig.open(&options(LastShutdown::ProcessCrash, 0)).unwrap();
        assert_eq!(content(&log, 10_000), before);
    }
}

#[test]
fn nothing_is_dropped_for_a_record_that_is_not_on_disk() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("1")), ("a", Some("2"))]);
    rolled(&mut log);
    let mut cleaning = begin(&log, &Cleaning::default()).unwrap();
    cleaning.map_keys(&mut |_| true).unwrap();
    let group = cleaning.next_group(&mut |_| true).unwrap().unwrap();
    assert!(!log.swap(group, 0).unwrap());
    assert_eq!(offsets(&log), [0, 1]);
}

#[test]
fn a_cleaning_that_is_given_up_leaves_the_log_as_it_was() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    for _ in 0..3 {
        put(&mut log, &[("a", Some("1"))]);
        rolled(&mut log);
    }
    let before = (content(&log, 10_000), names(&rig));
    for allowed in 0..20 {
        let mut asked = 0;
        let mut pace = |_| {
            asked += 1;
            asked <= allowed
        };
        let mut cleaning = begin(&log, &Cleaning::default()).unwrap();
        let Ok(_) = cleaning.map_keys(&mut pace) else { continue };
        match cleaning.next_group(&mut pace) {
            Err(error) => assert_eq!(error.to_string(), "the cleaning was given up"),
            Ok(group) => {
                drop(group);
                assert!(allowed > 3);
            }
        }
        assert_eq!((content(&log, 10_000), names(&rig)), before);
    }
    clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!(offsets(&log), [2]);
}

#[test]
fn a_damaged_batch_stops_the_cleaning_and_stays_where_it_is() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("1"))]);
    put(&mut log, &[("a", Some("2"))]);
    rolled(&mut log);
    rig.fs.flip(&file("00000000000000000000.log"), 65, 1);
    let error = clean(&mut log, &Cleaning::default()).unwrap_err().to_string();
    assert!(error.contains("is damaged at position 0") && error.contains("crc"), "{error}");
    assert_eq!(log.cleaned_to(), Offset(0));
}

#[test]
fn an_idle_log_is_closed_for_compaction_when_its_oldest_record_is_too_old() {
    let rig = rig();
    let mut log = rig.create().unwrap();
    put(&mut log, &[("a", Some("1"))]);
    assert!(!log.roll_for_compaction(50, 50).unwrap());
    assert!(log.roll_for_compaction(50, 51).unwrap());
    assert!(!log.roll_for_compaction(50, 1_000).unwrap(), "nothing in it");
    assert_eq!(log.cleanable(Offset(1), 0, 0).end, Offset(1));
}

/// Several groups, transactions, tombstones, a producer's empty batch.
fn worth_cleaning(rig: &Rig) -> Log {
    let mut log = rig.create().unwrap();
    rig.fs.sync_dir(std::path::Path::new("/")).unwrap();
    for round in 0..12 {
        let value = format!("{round}").repeat(40);
        put(&mut log, &[("a", Some(&value)), (&format!("k{round}"), Some(&value))]);
        put_by(
            &mut log,
            &[("b", Some(&value)), (&format!("k{}", (round + 5) % 12), None)],
            &Transactional { id: 7, epoch: 0, sequence: 2 * round },
        );
        let result = if round % 3 == 0 { TransactionResult::Abort } else { TransactionResult::Commit };
        append_marker(&mut log, 7, result);
        rolled(&mut log);
    }
    log.flush().unwrap();
    log
}

#[test]
fn whatever_change_a_crash_interrupts_the_log_reads_the_same() {
    let config = || LogConfig { segment_bytes: 1200, ..small() };
    let how = Cleaning { now_ms: 5, ..Cleaning::default() };
    let (changes, want, groups) = {
        let rig = Rig::new(config());
        let mut log = worth_cleaning(&rig);
        let (before, want) = (rig.fs.changes(), latest(&log));
        let segments = log.segment_count();
        clean(&mut log, &how).unwrap();
        assert_eq!(latest(&log), want);
        assert!(log.segment_count() < segments);
        (rig.fs.changes() - before, want, log.segment_count() - 1)
    };
    assert!(groups > 2 && changes > 40, "{groups} groups, {changes} changes");
    for nth in 0..changes {
        for power in [false, true] {
            let rig = Rig::new(config());
            let mut log = worth_cleaning(&rig);
            let end = log.log_end();
            rig.fs.fail_at(nth, Fault::Crash { after_bytes: 100 });
            assert!(clean(&mut log, &how).is_err());
            drop(log);
            let shutdown = if power {
                rig.fs.lose_power(|_, synced, _| synced);
                LastShutdown::Unclean
            } else {
                rig.fs.restart();
                LastShutdown::ProcessCrash
            };
            let what = format!("change {nth}, power {power}");
            let (mut log, _) =
                rig.open(&options(shutdown, end.0)).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((log.log_end(), latest(&log)), (end, want.clone()), "{what}");
            assert!(!names(&rig).iter().any(|it| it.ends_with("swap") || it.ends_with("cleaned")), "{what}");
            check_times(&log);
            clean(&mut log, &how).unwrap();
            assert_eq!(latest(&log), want, "{what}");
        }
    }
}

#[test]
fn a_full_disk_fails_the_cleaning_and_nothing_else() {
    let rig = Rig::new(LogConfig { segment_bytes: 1200, ..small() });
    let mut log = worth_cleaning(&rig);
    let (want, before) = (latest(&log), names(&rig));
    rig.fs.fail_at(3, Fault::Torn { kind: std::io::ErrorKind::StorageFull, after_bytes: 10 });
    let CleaningError::Fault(error) = clean(&mut log, &Cleaning::default()).unwrap_err() else { panic!() };
    assert!(error.is_full(), "{error}");
    assert_eq!((latest(&log), names(&rig)), (want.clone(), before));
    clean(&mut log, &Cleaning::default()).unwrap();
    assert_eq!(latest(&log), want);
}
