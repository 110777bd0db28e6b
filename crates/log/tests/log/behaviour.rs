//! What each call does to a healthy log.

use std::path::Path;
use std::sync::Arc;

use milena_log::fs::{FileSystem, Open};
use milena_log::{LastShutdown, Log, LogConfig, LogDir, ReadError, TimestampOffset};
use milena_records::{Compression, LeaderEpoch, Offset};

use crate::support::*;

fn filled(rig: &Rig, batches: i64) -> Log {
    let mut log = rig.create().unwrap();
    for index in 0..batches {
        log.append(&[batch(index * 5, 5, 20, 1000 * index)], 0).unwrap();
    }
    log
}

fn names(rig: &Rig) -> Vec<String> {
    let mut names: Vec<_> =
        rig.fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn a_new_partition_has_kafkas_files() {
    let rig = Rig::new(small());
    let mut log = rig.create().unwrap();
    log.append(&[batch(0, 1, 10, 5)], 0).unwrap();
    assert_eq!(
        names(&rig),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
    let text = |name: &str| String::from_utf8(rig.fs.content(&Path::new(DIR).join(name)).unwrap()).unwrap();
    assert_eq!(text("partition.metadata"), format!("version: 0\ntopic_id: {TOPIC}"));
    assert_eq!(text("leader-epoch-checkpoint"), "0\n1\n0 0\n");
}

#[test]
fn stored_bytes_are_the_batches_one_behind_the_other() {
    let rig = Rig::new(LogConfig::default());
    let mut log = rig.create().unwrap();
    let batches = [batch(0, 3, 10, 0), batch(3, 1, 500, 0), batch(4, 2, 0, 0)];
    let info = log.append(&batches, 0).unwrap();
    assert_eq!((info.base_offset, info.log_end, info.rolled), (Offset(0), Offset(6), false));
    let stored = rig.fs.content(&Path::new(DIR).join("00000000000000000000.log")).unwrap();
    assert_eq!(stored, bytes_of(&batches));
    assert_eq!(log.size_bytes(), info.bytes);
}

#[test]
fn index_entries_are_those_of_kafka() {
    // Kafka adds an entry before a batch once more than the interval has been written since the last entry:
    // last offset of the batch, and its position; the time index gets the largest time so far if it grew.
    let rig = Rig::new(LogConfig { index_interval_bytes: 150, ..LogConfig::default() });
    let mut log = rig.create().unwrap();
    let times = [50, 40, 90, 60, 60, 70];
    let mut position = 0;
    let mut since = 0;
    let (mut index, mut time_index) = (Vec::new(), Vec::new());
    let mut newest = (-1i64, 0i32);
    for (at, time) in times.into_iter().enumerate() {
        let batch = batch(at as i64 * 2, 2, 20, time);
        let (last, max) = (at as i32 * 2 + 1, time + 1);
        if max > newest.0 {
            newest = (max, last);
        }
        if since > 150 {
            index.extend([last.to_be_bytes(), i32::to_be_bytes(position)].concat());
            if time_index.is_empty() || time_index[time_index.len() - 12..][..8] < newest.0.to_be_bytes()[..]
            {
                time_index.extend(newest.0.to_be_bytes());
                time_index.extend(newest.1.to_be_bytes());
            }
            since = 0;
        }
        since += batch.total_size();
        position += batch.total_size() as i32;
        log.append(&[batch], 0).unwrap();
    }
    log.close(&[]).unwrap();
    let file = |suffix: &str| rig.fs.content(&Path::new(DIR).join(format!("{:020}.{suffix}", 0))).unwrap();
    assert!(index.len() >= 16, "the test has entries to compare");
    assert_eq!(file("index"), index);
    assert_eq!(file("timeindex"), time_index);
}

#[test]
fn a_segment_closes_before_it_would_grow_too_large() {
    let rig = Rig::new(LogConfig { segment_bytes: 400, ..LogConfig::default() });
    let mut log = rig.create().unwrap();
    let size = batch(0, 1, 100, 0).total_size();
    assert!(2 * size <= 400 && 3 * size > 400);
    let rolled: Vec<_> = (0..5).map(|at| log.append(&[batch(at, 1, 100, 0)], 0).unwrap().rolled).collect();
    assert_eq!(rolled, [false, false, true, false, true]);
    // A batch larger than a segment gets one of its own.
    assert!(log.append(&[batch(5, 1, 1000, 0)], 0).unwrap().rolled);
    assert!(log.append(&[batch(6, 1, 1, 0)], 0).unwrap().rolled);
    // Several batches of one call are spread, too.
    let many: Vec<_> = (7..12).map(|at| batch(at, 1, 100, 0)).collect();
    assert!(log.append(&many, 0).unwrap().rolled);
    assert_eq!(extents(&content(&log, 1)).len(), 12);
    assert_eq!(log.segment_count(), 7);
}

#[test]
fn a_segment_closes_by_record_time_or_by_wall_clock_without_it() {
    for (times, walls, want) in [
        ([0, 999, 1000, 1001], [0; 4], [false, false, false, true]),
        ([5000, 0, 0, 5999], [0; 4], [false, false, false, false]),
        ([-1, -1, -1, -1], [0, 1000, 1001, 1002], [false, false, true, false]),
        ([0, 0, 0, 0], [0, 5000, 9000, 9000], [false, false, false, false]),
    ] {
        let rig = Rig::new(LogConfig { segment_ms: 1000, ..LogConfig::default() });
        let mut log = rig.create().unwrap();
        let append = |(at, (time, wall)): (usize, (i64, i64))| {
            log.append(&[batch(at as i64, 1, 1, time)], wall).unwrap().rolled
        };
        let rolled: Vec<_> = times.into_iter().zip(walls).enumerate().map(append).collect();
        assert_eq!(rolled, want, "times {times:?} walls {walls:?}");
    }
}

#[test]
fn a_segment_closes_when_an_offset_cannot_be_told_from_its_base() {
    let rig = Rig::new(LogConfig::default());
    let mut log = rig.create().unwrap();
    log.append(&[batch(0, 1, 1, 0)], 0).unwrap();
    let far = 1 + i64::from(i32::MAX);
    assert!(log.append(&[batch(far, 1, 1, 0)], 0).unwrap().rolled);
    assert_eq!(log.read(Offset(1), 1000, log.log_end(), false).unwrap().base_offset, Offset(far));
}

#[test]
fn reads_begin_with_the_batch_that_holds_the_offset_and_end_below_the_bound() {
    let rig = Rig::new(LogConfig { index_interval_bytes: 150, ..LogConfig::default() });
    let log = filled(&rig, 10);
    let size = batch(0, 5, 20, 0).total_size();
    for (from, max, upper, at_least_one, want) in [
        (0, size, 50, false, vec![(0, 4)]),
        (0, 2 * size + 1, 50, false, vec![(0, 4), (5, 9)]),
        (7, 2 * size, 50, false, vec![(5, 9), (10, 14)]),
        (7, size - 1, 50, false, vec![]),
        (7, size - 1, 50, true, vec![(5, 9)]),
        (7, 0, 50, true, vec![(5, 9)]),
        (44, 1 << 20, 50, true, vec![(40, 44), (45, 49)]),
        (7, 1 << 20, 15, true, vec![(5, 9), (10, 14)]),
        (7, 1 << 20, 14, true, vec![(5, 9)]),
        (15, 1 << 20, 15, true, vec![]),
        (20, 1 << 20, 15, true, vec![]),
        (50, 1 << 20, 50, true, vec![]),
    ] {
        for _ in 0..2 {
            let slice = log.read(Offset(from), max, Offset(upper), at_least_one).unwrap();
            assert_eq!(extents(&slice.bytes), want, "from {from} max {max} upper {upper}");
            let base = want.first().map_or(from, |first| first.0);
            let next = want.last().map_or(from, |last| last.1 + 1);
            assert_eq!((slice.base_offset, slice.next_offset), (Offset(base), Offset(next)));
        }
    }
}

#[test]
fn offsets_outside_of_the_log_are_out_of_range() {
    let rig = Rig::new(small());
    let mut log = filled(&rig, 4);
    log.advance_log_start(Offset(7));
    for (from, ok) in [(6, false), (7, true), (20, true), (21, false), (-1, false)] {
        match log.read(Offset(from), 100, log.log_end(), true) {
            Ok(_) => assert!(ok, "{from}"),
            Err(ReadError::OutOfRange { requested, start, end }) => {
                assert_eq!((requested, start, end, ok), (Offset(from), Offset(7), Offset(20), false));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_first_record_at_or_after_a_time_is_found_whatever_the_order_of_times() {
    for codec in [Compression::None, Compression::Lz4] {
        let rig =
            Rig::new(LogConfig { segment_bytes: 900, index_interval_bytes: 100, ..LogConfig::default() });
        let mut log = rig.create().unwrap();
        let times = [100, 300, 200, 250, 900, 400, 901, 500, 50, 1000];
        for (at, time) in times.into_iter().enumerate() {
            log.append(&[batch_of(at as i64 * 3, 3, 60, time, 0, codec)], 0).unwrap();
        }
        let records: Vec<(i64, i64)> = (0i64..30).map(|at| (at, times[at as usize / 3] + at % 3)).collect();
        for timestamp in (0..1010).chain([i64::MAX]) {
            let found = log.offset_for_timestamp(timestamp, Offset(30)).unwrap();
            let want = records.iter().find(|(_, time)| *time >= timestamp);
            let want = want.map(|&(at, timestamp)| TimestampOffset { timestamp, offset: Offset(at) });
            assert_eq!(found, want, "time {timestamp} {codec:?}");
        }
        assert_eq!(log.offset_for_timestamp(950, Offset(27)).unwrap(), None, "beyond the bound is none");
        let newest = TimestampOffset { timestamp: 1002, offset: Offset(29) };
        assert_eq!(log.max_timestamp(Offset(30)).unwrap(), Some(newest));
        assert_eq!(log.max_timestamp(Offset(29)).unwrap(), None);
        let (log, _) = reopened(&rig, log);
        assert_eq!(log.max_timestamp(Offset(30)).unwrap(), Some(newest), "after a restart");
    }
}

fn reopened(rig: &Rig, log: Log) -> (Log, i64) {
    let end = log.close(&[]).unwrap().0;
    (rig.open(&options(LastShutdown::Clean, end)).unwrap().0, end)
}

#[test]
fn an_empty_log_has_no_time() {
    let log = Rig::new(small()).create().unwrap();
    assert_eq!(log.max_timestamp(Offset(0)).unwrap(), None);
    assert_eq!(log.offset_for_timestamp(0, Offset(0)).unwrap(), None);
}

#[test]
fn retention_removes_whole_old_segments_below_the_high_watermark() {
    // Segments of two batches: times 0..1, 2..3, 4..5, 6..7, 8..9 thousand, offsets in tens.
    let base = LogConfig { segment_bytes: 400, delete: true, retention_ms: -1, ..LogConfig::default() };
    let size = batch(0, 5, 20, 0).total_size() as i64;
    for (what, config, now_ms, high_watermark, log_start, want) in [
        ("nothing asked", base.clone(), i64::MAX, 50, 0, vec![]),
        ("time", LogConfig { retention_ms: 1000, ..base.clone() }, 4500, 50, 0, vec![0, 10]),
        (
            "time, all",
            LogConfig { retention_ms: 1000, ..base.clone() },
            99_000,
            50,
            0,
            vec![0, 10, 20, 30, 40],
        ),
        ("high watermark", LogConfig { retention_ms: 1000, ..base.clone() }, 99_000, 19, 0, vec![0]),
        ("size", LogConfig { retention_bytes: 6 * size, ..base.clone() }, 0, 50, 0, vec![0, 10]),
        (
            "size, one byte less",
            LogConfig { retention_bytes: 6 * size + 1, ..base.clone() },
            0,
            50,
            0,
            vec![0],
        ),
        ("log start", LogConfig { delete: false, ..base.clone() }, 0, 50, 29, vec![0, 10]),
        ("no delete policy", LogConfig { delete: false, retention_ms: 1, ..base }, 99_000, 50, 0, vec![]),
    ] {
        let rig = Rig::new(config);
        let mut log = filled(&rig, 10);
        assert_eq!(log.segment_count(), 5);
        log.advance_log_start(Offset(log_start));
        let removed = log.retention(now_ms, Offset(high_watermark)).unwrap();
        assert_eq!(removed, want.iter().map(|base| Offset(*base)).collect::<Vec<_>>(), "{what}");
        let start = want.last().map_or(log_start, |last| (last + 10).max(log_start));
        assert_eq!(log.log_start(), Offset(start), "{what}");
        assert_eq!(log.log_end(), Offset(50));
        let deleted = names(&rig).into_iter().filter(|name| name.ends_with(".log.deleted")).count();
        assert_eq!(deleted, want.len(), "{what}: renamed, not unlinked yet");
        log.purge_deleted(now_ms.saturating_add(60_000)).unwrap();
        assert!(!names(&rig).iter().any(|name| name.ends_with(".deleted")), "{what}");
    }
}

#[test]
fn files_of_removed_segments_stay_for_the_configured_delay() {
    let rig = Rig::new(LogConfig { segment_bytes: 400, retention_ms: 1, ..LogConfig::default() });
    let mut log = filled(&rig, 4);
    log.retention(100_000, Offset(20)).unwrap();
    for (now_ms, purged, left) in [(159_999, 0, true), (160_000, 2, false)] {
        assert_eq!((log.purge_deleted(now_ms).unwrap(), log.has_deleted()), (purged, left), "at {now_ms}");
    }
}

#[test]
fn truncation_cuts_at_a_batch_and_forgets_later_epochs() {
    for (to, end, epochs) in [
        (50, 50, vec![(0, 0), (1, 20), (2, 40)]),
        (40, 40, vec![(0, 0), (1, 20)]),
        (42, 40, vec![(0, 0), (1, 20), (2, 40)]),
        (21, 20, vec![(0, 0), (1, 20)]),
        (5, 5, vec![(0, 0)]),
        (0, 0, vec![]),
    ] {
        let rig =
            Rig::new(LogConfig { segment_bytes: 400, index_interval_bytes: 50, ..LogConfig::default() });
        let mut log = rig.create().unwrap();
        for at in 0..10i64 {
            let epoch = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2][at as usize];
            log.append(&[batch_of(at * 5, 5, 20, at, epoch, Compression::None)], 0).unwrap();
        }
        assert_eq!(log.truncate_to(Offset(to)).unwrap(), Offset(end), "to {to}");
        let found: Vec<_> = log.epochs().entries().iter().map(|it| (it.epoch.0, it.start_offset.0)).collect();
        assert_eq!(found, epochs, "to {to}");
        assert_eq!(extents(&content(&log, 100)).len() as i64, end / 5);
        log.append(&[batch_of(end, 1, 1, 77, 7, Compression::None)], 0).unwrap();
        assert_eq!(log.epochs().latest(), LeaderEpoch(7));
        let (log, _) = reopened(&rig, log);
        assert_eq!(log.log_end(), Offset(end + 1), "to {to}");
        assert_eq!(extents(&content(&log, 100)).len() as i64, end / 5 + 1);
    }
}

#[test]
fn a_log_can_start_over_elsewhere() {
    let rig = Rig::new(small());
    let mut log = filled(&rig, 10);
    log.truncate_fully_and_start_at(Offset(1000), 0).unwrap();
    assert_eq!((log.log_start(), log.log_end(), log.size_bytes()), (Offset(1000), Offset(1000), 0));
    assert!(log.epochs().entries().is_empty());
    log.append(&[batch(1000, 1, 1, 0)], 0).unwrap();
    let (log, _) = reopened(&rig, log);
    assert_eq!((log.log_start(), log.log_end()), (Offset(1000), Offset(1001)));
}

#[test]
fn an_idle_log_holds_no_descriptor() {
    let rig = Rig::new(small());
    let log = filled(&rig, 30);
    content(&log, 10);
    assert!(rig.storage.open_files() <= 4, "bounded whatever the number of segments");
    rig.storage.close_idle_files();
    rig.storage.close_idle_files();
    assert_eq!(rig.storage.open_files(), 0);
    assert_eq!(extents(&content(&log, 10)).len(), 30);
    drop(log);
    assert_eq!(rig.storage.open_files(), 0, "a dropped log closes its files");
}

#[test]
fn a_clean_start_reads_only_what_lies_behind_index_and_snapshot() {
    let rig = Rig::new(LogConfig { index_interval_bytes: 500, ..LogConfig::default() });
    let mut log = filled(&rig, 1000);
    log.roll(0).unwrap();
    for at in 1000..2000 {
        log.append(&[batch(at * 5, 5, 20, at * 1000)], 0).unwrap();
    }
    let end = log.close(&[]).unwrap();
    let (log, report, replayed) = rig.open_and_replay(&options(LastShutdown::Clean, end.0)).unwrap();
    assert_eq!((log.log_end(), replayed), (end, vec![-end.0]));
    assert!(report.batches_walked < 10, "{report:?}");
    assert_eq!((report.bytes_verified, report.indexes_rebuilt), (0, vec![]));
    assert_eq!(log.recovery_point(), end);
}

#[test]
fn many_logs_are_made_durable_by_one_call() {
    let rig = Rig::new(small());
    let dir = LogDir::open(Arc::new(rig.fs.clone()), Path::new("/")).unwrap();
    let mut log = rig.create().unwrap();
    log.creation_is_durable(&dir.sync_all().unwrap());
    for at in 0..30 {
        log.append(&[batch(at * 5, 5, 20, at)], 0).unwrap();
    }
    let written = content(&log, 1000);
    let end = log.close_unsynced(&[]).unwrap();
    dir.sync_all().unwrap();
    rig.fs.lose_power(|_, synced, _| synced);
    let (log, report, replayed) = rig.open_and_replay(&options(LastShutdown::Clean, end.0)).unwrap();
    assert_eq!((content(&log, 1000), replayed, report.bytes_verified), (written, vec![-end.0], 0));
}

#[test]
fn the_two_newest_snapshots_are_kept_and_a_damaged_one_means_a_longer_replay() {
    let rig = Rig::new(LogConfig::default());
    let mut log = rig.create().unwrap();
    for at in 0..4 {
        log.append(&[batch(at, 1, 1, 0)], 0).unwrap();
        log.flush().unwrap();
        log.take_snapshot(&[], Offset(at + 1)).unwrap();
    }
    log.close(&[]).unwrap();
    let snapshots: Vec<_> = names(&rig).into_iter().filter(|name| name.ends_with("snapshot")).collect();
    assert_eq!(snapshots, ["00000000000000000003.snapshot", "00000000000000000004.snapshot"]);
    rig.fs.flip(&Path::new(DIR).join(&snapshots[1]), 3, 1);
    let (_, _, replayed) = rig.open_and_replay(&options(LastShutdown::Clean, 4)).unwrap();
    assert_eq!(replayed, [-3, 3]);
    rig.fs.flip(&Path::new(DIR).join(&snapshots[0]), 3, 1);
    let (_, _, replayed) = rig.open_and_replay(&options(LastShutdown::Clean, 4)).unwrap();
    assert_eq!(replayed, [0, 1, 2, 3]);
}

#[test]
fn the_newest_batches_can_be_seen_again_after_a_clean_stop() {
    let rig = Rig::new(LogConfig { index_interval_bytes: 200, ..LogConfig::default() });
    let (mut log, _) = reopened(&rig, filled(&rig, 100));
    let size = batch(0, 5, 20, 0).total_size() as u64;
    for rolled in [false, true] {
        let mut seen = Vec::new();
        log.recent_batches(5 * size, &mut |header| seen.push(header.base_offset.0)).unwrap();
        assert!((5..10).contains(&seen.len()) && seen.ends_with(&[475, 480, 485, 490, 495]), "{seen:?}");
        assert!(rolled || log.roll(0).unwrap());
    }
}

#[test]
fn unfinished_files_are_removed_and_an_interrupted_swap_is_finished() {
    let rig = Rig::new(small());
    filled(&rig, 2).close(&[]).unwrap();
    let file = |name: &str| Path::new(DIR).join(name);
    for name in ["00000000000000000007.snapshot.tmp", "00000000000000000000.log.cleaned"] {
        rig.fs.open(&file(name), Open::Create).unwrap();
    }
    rig.open(&options(LastShutdown::Clean, 10)).unwrap();
    assert!(!names(&rig).iter().any(|name| name.ends_with("tmp") || name.ends_with("cleaned")));
    // As Kafka leaves it, too: all files are `.swap`, the old ones still there.
    let kept = batch(5, 5, 1, 0);
    for (name, content) in
        [("log", kept.to_bytes().to_vec()), ("index", Vec::new()), ("timeindex", Vec::new())]
    {
        let swap = file(&format!("00000000000000000000.{name}.swap"));
        rig.fs.open(&swap, Open::Create).unwrap();
        rig.fs.edit(&swap, |data| *data = content);
    }
    let (log, _) = rig.open(&options(LastShutdown::Clean, 10)).unwrap();
    assert_eq!(content(&log, 1000), kept.to_bytes());
    assert!(!names(&rig).iter().any(|name| name.ends_with("swap")));
}

#[test]
fn batches_that_do_not_follow_the_log_end_are_refused() {
    let rig = Rig::new(small());
    let mut log = filled(&rig, 2);
    for batches in [vec![batch(9, 1, 1, 0)], vec![batch(10, 2, 1, 0), batch(11, 1, 1, 0)]] {
        let error = log.append(&batches, 0).unwrap_err().to_string();
        assert!(error.contains("cannot follow log end offset"), "{error}");
    }
    assert_eq!(log.log_end(), Offset(10));
    // A gap is what a compacted leader sends.
    log.append(&[batch(20, 1, 1, 0)], 0).unwrap();
    assert_eq!(log.read(Offset(12), 1000, log.log_end(), true).unwrap().base_offset, Offset(20));
}

#[test]
fn epochs_are_assigned_by_leaders_and_by_batches() {
    let rig = Rig::new(small());
    let mut log = filled(&rig, 2);
    log.assign_epoch(LeaderEpoch(3));
    let end = log.end_offset_for_epoch(LeaderEpoch(0)).unwrap();
    assert_eq!((end.epoch, end.end_offset), (LeaderEpoch(0), Offset(10)));
    log.append(&[batch_of(10, 1, 1, 0, 5, Compression::None)], 0).unwrap();
    let (log, _) = reopened(&rig, log);
    let epochs: Vec<_> = log.epochs().entries().iter().map(|it| (it.epoch.0, it.start_offset.0)).collect();
    assert_eq!(epochs, [(0, 0), (5, 10)]);
}

#[test]
fn a_preallocated_segment_has_its_room_until_it_is_closed() {
    let rig = Rig::new(LogConfig { preallocate: true, ..small() });
    let mut log = rig.create().unwrap();
    let first = Path::new(DIR).join("00000000000000000000.log");
    assert_eq!(rig.fs.reserved(&first), 2000);
    log.append(&[batch(0, 5, 10, 0)], 0).unwrap();
    let content = rig.fs.content(&first).unwrap().len();
    assert!(content < 500, "no zeros behind what was written");
    log.roll(0).unwrap();
    let second = Path::new(DIR).join("00000000000000000005.log");
    assert_eq!((rig.fs.reserved(&first), rig.fs.reserved(&second)), (0, 2000));
    log.close(&[]).unwrap();
    assert_eq!(rig.fs.reserved(&second), 0);
}
