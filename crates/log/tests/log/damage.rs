//! Torn tails are cut off, everything else is reported: bit flips and cuts at every place.

use std::path::{Path, PathBuf};

use milena_log::{Damage, DamagePolicy, Error, LastShutdown, LogConfig, OpenOptions, ReadError};
use milena_records::Offset;

use crate::support::*;

const BATCHES: i64 = 6;

/// A log of six batches in one segment, or three if `rolled` after each second one; flushed nowhere.
fn written(segment_bytes: u32) -> (Rig, Vec<usize>) {
    let rig = Rig::new(LogConfig { segment_bytes, index_interval_bytes: 100, ..LogConfig::default() });
    let mut log = rig.create().unwrap();
    let mut positions = vec![0];
    for at in 0..BATCHES {
        let batch = batch(at * 3, 3, 40, at * 10);
        positions.push(positions[at as usize] + batch.total_size());
        log.append(&[batch], 0).unwrap();
    }
    drop(log);
    (rig, positions)
}

fn log_file(base: i64) -> PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

#[test]
fn a_tail_cut_anywhere_ends_the_log_at_its_last_whole_batch() {
    for shutdown in [LastShutdown::ProcessCrash, LastShutdown::Unclean] {
        let (_, positions) = written(1 << 20);
        for len in 0..=positions[BATCHES as usize] {
            let (rig, positions) = written(1 << 20);
            rig.fs.edit(&log_file(0), |bytes| bytes.truncate(len));
            let (mut log, report) = rig.open(&options(shutdown, 0)).unwrap();
            let whole = positions.iter().filter(|position| **position <= len).count() as i64 - 1;
            assert_eq!(log.log_end(), Offset(whole * 3), "cut at {len}");
            assert_eq!(extents(&content(&log, 1000)).len() as i64, whole);
            let cut = len - positions[whole as usize];
            assert_eq!(
                report.torn_tail.map(|tail| tail.bytes as usize),
                (cut > 0).then_some(cut),
                "cut at {len}"
            );
            log.append(&[batch(whole * 3, 1, 1, 0)], 0).unwrap();
            assert_eq!(extents(&content(&log, 1000)).len() as i64, whole + 1);
        }
    }
}

#[test]
fn zeros_behind_the_last_batch_are_a_torn_tail() {
    let (rig, positions) = written(1 << 20);
    rig.fs.edit(&log_file(0), |bytes| bytes.resize(bytes.len() + 5000, 0));
    let (log, report) = rig.open(&options(LastShutdown::Unclean, 0)).unwrap();
    let tail = report.torn_tail.unwrap();
    assert_eq!((tail.position, tail.bytes, tail.log_end), (positions[6] as u64, 5000, Offset(18)));
    assert_eq!(log.log_end(), Offset(18));
}

#[test]
fn a_flipped_bit_in_the_last_batch_cuts_it_and_earlier_ones_are_reported() {
    let (_, positions) = written(1 << 20);
    for position in 0..positions[BATCHES as usize] {
        let at = positions.iter().rposition(|start| *start <= position).unwrap();
        let within = position - positions[at];
        let (rig, _) = written(1 << 20);
        rig.fs.flip(&log_file(0), position, 1);
        let opened = rig.open(&options(LastShutdown::Unclean, 0));
        // The leader epoch is outside the checksum. A base offset that grew looks like compaction; that it
        // was not is noticed at the next batch, unless there is none, or by what a segment can hold.
        let is_last = at + 1 == BATCHES as usize;
        let unnoticed = (12..16).contains(&within) || (is_last && (4..8).contains(&within));
        match opened {
            Ok((log, report)) if report.torn_tail.is_some() => {
                assert_eq!((at, log.log_end()), (5, Offset(15)), "bit at {position}");
            }
            Ok((log, _)) => {
                assert!(unnoticed, "bit at {position}");
                assert!(log.log_end() >= Offset(18));
            }
            Err(Error::Damaged { path, position: found, .. }) => {
                assert!(at < 5 || within < 8, "bit at {position}");
                assert_eq!(path, log_file(0));
                let reported_at =
                    if within < 8 { vec![positions[at], positions[at + 1]] } else { vec![positions[at]] };
                assert!(reported_at.contains(&(found as usize)), "bit at {position}, reported at {found}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn damage_below_the_recovery_point_is_reported_even_at_the_end() {
    let (rig, positions) = written(1 << 20);
    rig.fs.flip(&log_file(0), positions[5] + 80, 4);
    for (recovery_point, cut) in [(15, true), (16, false), (18, false)] {
        let (copy, _) = written(1 << 20);
        copy.fs.edit(&log_file(0), |bytes| *bytes = rig.fs.content(&log_file(0)).unwrap());
        match copy.open(&options(LastShutdown::ProcessCrash, recovery_point)) {
            Ok((log, _)) => assert_eq!((log.log_end(), cut), (Offset(15), true), "{recovery_point}"),
            Err(Error::Damaged { damage: Damage::Crc { offset, .. }, .. }) => {
                assert_eq!((offset, cut), (Offset(15), false), "{recovery_point}");
            }
            Err(error) => panic!("{error}"),
        }
        let after = copy.fs.content(&log_file(0)).unwrap().len();
        assert_eq!(after, positions[if cut { 5 } else { 6 }], "a refused file is left as it is");
    }
}

#[test]
fn bytes_gone_bad_after_a_clean_stop_are_reported_where_they_are_read() {
    let (rig, positions) = written(1 << 20);
    let (log, _) = rig.open(&options(LastShutdown::ProcessCrash, 0)).unwrap();
    log.close(&[]).unwrap();
    rig.fs.flip(&log_file(0), positions[2] + 70, 1);
    let (log, _) = rig.open(&options(LastShutdown::Clean, 18)).unwrap();
    let read = |from: i64| log.read(Offset(from), 1 << 20, Offset(18), true);
    assert_eq!(extents(&read(0).unwrap().bytes), [(0, 2), (3, 5)], "up to the damage");
    let error = read(6).unwrap_err();
    let ReadError::Fault(Error::Damaged { path, position, damage: Damage::Crc { offset, .. } }) = error
    else {
        panic!("{error}")
    };
    assert_eq!((path, position, offset), (log_file(0), positions[2] as u64, Offset(6)));
    assert_eq!(extents(&read(9).unwrap().bytes), [(9, 11), (12, 14), (15, 17)], "behind it");
}

#[test]
fn a_log_that_ends_before_its_recovery_point_is_reported() {
    let (rig, positions) = written(1 << 20);
    rig.fs.edit(&log_file(0), |bytes| bytes.truncate(positions[4]));
    for shutdown in [LastShutdown::ProcessCrash, LastShutdown::Unclean] {
        let error = rig.open(&options(shutdown, 18)).unwrap_err();
        let Error::Damaged { damage, .. } = &error else { panic!("{error}") };
        assert_eq!(*damage, Damage::Gap { from: Offset(12), to: Offset(18) });
    }
    let (log, _) = rig.open(&options(LastShutdown::Unclean, 12)).unwrap();
    assert_eq!(log.log_end(), Offset(12));
}

#[test]
fn damage_in_a_segment_with_others_behind_it_is_reported() {
    let (rig, positions) = written(positions_of_two());
    rig.fs.edit(&log_file(6), |bytes| bytes.truncate(positions[1] + 30));
    let error = rig.open(&options(LastShutdown::Unclean, 0)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/orders-0/00000000000000000006.log is damaged at position "), "{text}");
    assert!(text.contains("restore the partition's directory"), "{text}");
}

#[test]
fn an_operator_may_accept_the_loss() {
    let (rig, positions) = written(positions_of_two());
    rig.fs.flip(&log_file(6), positions[1] + 70, 1);
    let accept = OpenOptions { damage: DamagePolicy::CutThere, ..options(LastShutdown::Unclean, 10) };
    assert!(rig.open(&options(LastShutdown::Unclean, 10)).is_err());
    let (log, report) = rig.open(&accept).unwrap();
    assert_eq!(log.log_end(), Offset(9));
    assert_eq!(report.torn_tail.unwrap().path, log_file(6));
    assert!(rig.fs.content(&Path::new(DIR).join("00000000000000000012.log.deleted")).is_some());
}

#[test]
fn after_a_clean_stop_nothing_is_verified_but_a_missing_end_is_noticed() {
    let (rig, positions) = written(1 << 20);
    let (log, _) = rig.open(&options(LastShutdown::ProcessCrash, 0)).unwrap();
    log.close(&[]).unwrap();
    rig.fs.edit(&log_file(0), |bytes| bytes.truncate(positions[5] + 1));
    assert!(matches!(rig.open(&options(LastShutdown::Clean, 18)), Err(Error::Damaged { .. })));
    rig.fs.edit(&log_file(0), |bytes| bytes.truncate(positions[5]));
    assert!(matches!(rig.open(&options(LastShutdown::Clean, 18)), Err(Error::Damaged { .. })));
}

#[test]
fn indexes_that_are_missing_short_or_padded_are_rebuilt() {
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 4] = [
        ("emptied", Vec::clear),
        ("padded with zeros", |bytes| bytes.resize(10 << 10, 0)),
        ("pointing beyond the end", |bytes| bytes.extend([0, 0, 0, 17, 127, 0, 0, 0])),
        ("pointing between batches", |bytes| bytes.extend([0, 0, 0, 17, 0, 0, 0, 5])),
    ];
    for (what, edit) in edits {
        for shutdown in [LastShutdown::Clean, LastShutdown::ProcessCrash, LastShutdown::Unclean] {
            let (rig, _) = written(1 << 20);
            let (log, _) = rig.open(&options(LastShutdown::ProcessCrash, 0)).unwrap();
            log.close(&[]).unwrap();
            let index = Path::new(DIR).join("00000000000000000000.index");
            let good = rig.fs.content(&index).unwrap();
            assert!(!good.is_empty());
            rig.fs.edit(&index, edit);
            let (log, _) = rig.open(&options(shutdown, 18)).unwrap();
            assert_eq!(log.log_end(), Offset(18), "{what} {shutdown:?}");
            for offset in 0..18 {
                let slice = log.read(Offset(offset), 1, Offset(18), true).unwrap();
                assert_eq!(slice.base_offset, Offset(offset / 3 * 3), "{what} {shutdown:?}");
            }
            assert_eq!(log.offset_for_timestamp(31, Offset(18)).unwrap().unwrap().offset, Offset(10));
            log.close(&[]).unwrap();
            assert_eq!(rig.fs.content(&index).unwrap(), good, "{what} {shutdown:?}");
        }
    }
}

#[test]
fn lost_epochs_are_gathered_from_the_batches() {
    let (rig, _) = written(positions_of_two());
    for text in ["", "0\n5\n0 0\n", "0\n1\n4 0"] {
        rig.fs.edit(&Path::new(DIR).join("leader-epoch-checkpoint"), |bytes| *bytes = text.into());
        let (log, _) = rig.open(&options(LastShutdown::Unclean, 0)).unwrap();
        let epochs: Vec<_> =
            log.epochs().entries().iter().map(|it| (it.epoch.0, it.start_offset.0)).collect();
        assert_eq!(epochs, [(0, 0)], "{text:?}");
    }
}

#[test]
fn a_directory_without_its_topic_id_is_not_opened() {
    let (rig, _) = written(1 << 20);
    rig.fs.edit(&Path::new(DIR).join("partition.metadata"), Vec::clear);
    let error = rig.open(&options(LastShutdown::Unclean, 0)).unwrap_err().to_string();
    assert!(
        error.starts_with("/orders-0/partition.metadata is damaged at position 0: no topic id"),
        "{error}"
    );
}

/// Segment size that holds two of the test's batches.
fn positions_of_two() -> u32 {
    2 * batch(0, 3, 40, 0).total_size() as u32
}
