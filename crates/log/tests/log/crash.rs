//! The process or the machine dies, or the disk refuses, at every single change to the file system.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use milena_log::fs::{Fault, FileSystem, Open};
use milena_log::{Damage, DamagePolicy, Error, LastShutdown, Log, LogConfig, LogDir, OpenOptions};
use milena_records::{Compression, LeaderEpoch, Offset, StoredBatch};

use crate::support::*;

/// What the owner of a log knows it was promised.
#[derive(Default)]
struct Promised {
    created: bool,
    /// Batches whose append returned.
    written: Vec<StoredBatch>,
    /// The batches of an append that has begun and not returned.
    in_flight: Vec<StoredBatch>,
    recovery_point: i64,
}

impl Promised {
    fn end(&self) -> i64 {
        self.written.last().map_or(0, |last| last.header().next_offset().0)
    }

    fn append(&mut self, log: &mut Log, sizes: &[usize]) -> Result<(), Error> {
        let mut end = self.end();
        self.in_flight = sizes
            .iter()
            .map(|size| {
                let batch = batch(end, 2, *size, end);
                end += 2;
                batch
            })
            .collect();
        log.append(&self.in_flight, 0)?;
        self.written.append(&mut self.in_flight);
        Ok(())
    }
}

/// Rolls, flushes, snapshots, fills the index's memory, truncates the start.
fn work(rig: &Rig, promised: &mut Promised) -> Result<(), Error> {
    let mut log = rig.create()?;
    promised.created = true;
    for round in 0..4 {
        for _ in 0..6 {
            promised.append(&mut log, &[30])?;
        }
        promised.append(&mut log, &[200, 300, 10, 400, 700, 20])?;
        if round % 2 == 0 {
            promised.recovery_point = log.flush()?.0;
        }
        log.take_snapshot(&[], log.log_end())?;
    }
    promised.recovery_point = log.close(&[])?.0;
    Ok(())
}

fn changes_of_the_work() -> u64 {
    let rig = Rig::new(small());
    let before = rig.fs.changes();
    work(&rig, &mut Promised::default()).unwrap();
    rig.fs.changes() - before
}

/// The log holds a prefix of what was written and in flight, and goes on working.
fn check(rig: &Rig, promised: &Promised, shutdown: LastShutdown, at_least: i64, what: &str) {
    let (mut log, _) = rig
        .open(&options(shutdown, promised.recovery_point))
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let all: Vec<_> = promised.written.iter().chain(&promised.in_flight).cloned().collect();
    let held = content(&log, 500);
    assert!(bytes_of(&all).starts_with(&held), "{what}: something that was never written");
    assert!(log.log_end() >= Offset(at_least), "{what}: ends at {}, promised {at_least}", log.log_end());
    let end = log.log_end().0;
    log.append(&[batch(end, 1, 50, end)], 0).unwrap();
    log.close(&[]).unwrap();
    let (log, report) = rig.open(&options(LastShutdown::Clean, end + 1)).unwrap();
    assert_eq!((log.log_end(), report.bytes_verified), (Offset(end + 1), 0), "{what}");
    assert_eq!(content(&log, 500)[..held.len()], held, "{what}");
}

#[test]
fn nothing_written_is_lost_when_the_process_dies() {
    for nth in 0..changes_of_the_work() {
        for after_bytes in [0, 1, 70, 250] {
            let rig = Rig::new(small());
            rig.fs.fail_at(nth, Fault::Crash { after_bytes });
            let mut promised = Promised::default();
            let ended = work(&rig, &mut promised);
            assert!(ended.is_err() || !rig.fs.is_dead());
            rig.fs.restart();
            if promised.created {
                let what = format!("change {nth}, {after_bytes} bytes");
                check(&rig, &promised, LastShutdown::ProcessCrash, promised.end(), &what);
            }
        }
    }
}

#[test]
fn nothing_flushed_is_lost_when_the_machine_dies() {
    for nth in 0..changes_of_the_work() {
        for kept in 0..4 {
            let rig = Rig::new(small());
            rig.fs.sync_dir(Path::new("/")).unwrap();
            rig.fs.fail_at(nth, Fault::Crash { after_bytes: 100 });
            let mut promised = Promised::default();
            let _ = work(&rig, &mut promised);
            rig.fs.lose_power(|_, synced, written| synced + (written - synced) * kept / 3);
            if rig.fs.stat(Path::new(DIR)).is_ok()
                && rig.fs.stat(&Path::new(DIR).join("partition.metadata")).is_ok()
            {
                let what = format!("change {nth}, {kept}/3 of unsynced bytes kept");
                check(&rig, &promised, LastShutdown::Unclean, promised.recovery_point, &what);
            } else {
                assert_eq!(promised.end(), 0, "change {nth}: records without a directory");
            }
        }
    }
}

#[test]
fn a_creation_cut_short_leaves_a_partition_that_opens_or_a_free_name() {
    let mut outcomes = [0, 0];
    for power in [false, true] {
        for nth in 0..8 {
            let rig = Rig::new(small());
            rig.fs.fail_at(nth, Fault::Crash { after_bytes: 9 });
            let created = rig.create().is_ok();
            rig.fs.restart();
            if power {
                // The journal had the names, but not the contents.
                rig.fs.sync_dir(Path::new("/")).unwrap();
                let _ = rig.fs.sync_dir(Path::new(DIR));
                rig.fs.lose_power(|_, synced, _| synced);
            }
            let root = LogDir::open(Arc::new(rig.fs.clone()), Path::new("/")).unwrap();
            let found = root.partitions().unwrap();
            let mut log = match found.len() {
                0 => rig.create().unwrap(),
                _ => rig.open(&options(LastShutdown::Unclean, 0)).unwrap().0,
            };
            outcomes[found.len()] += 1;
            assert!(power || !created || found.len() == 1, "change {nth}");
            log.append(&[batch(0, 1, 1, 0)], 0).unwrap();
        }
    }
    assert!(outcomes.iter().all(|count| *count > 2), "{outcomes:?}");
}

#[test]
fn a_creation_that_fails_can_be_tried_again() {
    for nth in 0..7 {
        let rig = Rig::new(small());
        rig.fs.fail_at(nth, Fault::Error(ErrorKind::StorageFull));
        assert!(rig.create().unwrap_err().is_full(), "change {nth}");
        rig.create().unwrap();
    }
}

#[test]
fn a_full_disk_refuses_an_append_and_later_ones_succeed() {
    let mut refused = 0;
    for nth in 0..changes_of_the_work() {
        for after_bytes in [0, 100] {
            let rig = Rig::new(small());
            let mut log = rig.create().unwrap();
            let mut promised = Promised::default();
            rig.fs.fail_at(nth, Fault::Torn { kind: ErrorKind::StorageFull, after_bytes });
            for round in 0..30 {
                let sizes: &[usize] = if round % 4 == 0 { &[200, 300, 10, 400, 700, 20] } else { &[30] };
                if let Err(error) = promised.append(&mut log, sizes) {
                    if matches!(error, Error::Offline { .. }) || !error.is_full() {
                        // Only a sync may end it: of the directory, before the first record.
                        assert!(promised.written.is_empty(), "change {nth}: {error}");
                        break;
                    }
                    refused += 1;
                    promised.in_flight.clear();
                }
                assert_eq!(log.log_end(), Offset(promised.end()), "change {nth}");
            }
            assert_eq!(content(&log, 500), bytes_of(&promised.written), "change {nth}, {after_bytes} bytes");
        }
    }
    assert!(refused > 50, "{refused} appends refused");
}

#[test]
fn a_failed_sync_takes_the_log_offline() {
    let rig = Rig::new(small());
    let mut log = rig.create().unwrap();
    log.append(&[batch(0, 1, 1, 0)], 0).unwrap();
    rig.fs.fail_at(0, Fault::Error(ErrorKind::Other));
    let error = log.flush().unwrap_err();
    assert!(error.to_string().starts_with("cannot sync /orders-0/"), "{error}");
    assert!(matches!(log.append(&[batch(1, 1, 1, 0)], 0), Err(Error::Offline { .. })));
    assert!(matches!(log.flush(), Err(Error::Offline { .. })));
    assert_eq!(log.recovery_point(), Offset(0));
}

#[test]
fn a_flush_begun_before_a_truncation_does_not_vouch_for_what_came_after() {
    let rig = Rig::new(small());
    let mut log = rig.create().unwrap();
    log.append(&[batch(0, 5, 1, 0), batch(5, 5, 1, 0)], 0).unwrap();
    let handle = log.flush_handle().unwrap();
    assert_eq!(handle.target(), Offset(10));
    log.truncate_to(Offset(5)).unwrap();
    log.append(&[batch(5, 5, 2, 0)], 0).unwrap();
    assert_eq!(handle.run().unwrap(), Offset(0));
    assert_eq!(log.flush().unwrap(), Offset(10));
    drop(log.flush_handle().unwrap());
    assert!(!log.needs_flush());
}

/// Two segments, flushed up to `flushed` batches of the first; then the power fails.
fn second_segment_outlives_the_first(flushed: usize, in_second: usize) -> Rig {
    let rig = Rig::new(small());
    let mut log = rig.create().unwrap();
    for at in 0..3 {
        log.append(&[batch(2 * at, 2, 30, at)], 0).unwrap();
        if at + 1 == flushed as i64 {
            log.flush().unwrap();
        }
    }
    log.roll(0).unwrap();
    for at in 0..in_second as i64 {
        log.append(&[batch(6 + 2 * at, 2, 30, at)], 0).unwrap();
    }
    let second = Path::new(DIR).join("00000000000000000006.log");
    rig.fs.open(&second, Open::Existing).unwrap().sync().unwrap();
    rig.fs.sync_dir(Path::new(DIR)).unwrap();
    drop(log);
    rig.fs.lose_power(|_, synced, _| synced);
    rig
}

#[test]
fn name_of_an_empty_segment_does_not_vouch_for_batches_that_the_power_took() {
    for flushed in 0..3 {
        let rig = second_segment_outlives_the_first(flushed, 0);
        let end = Offset(2 * flushed as i64);
        let (mut log, report) = rig.open(&options(LastShutdown::Unclean, end.0)).unwrap();
        assert_eq!((log.log_start(), log.log_end()), (Offset(0), end));
        let cut = report.torn_tail.expect("it is told");
        assert_eq!((cut.log_end, cut.bytes, cut.damage), (end, 0, Damage::Gap { from: end, to: Offset(6) }));
        log.append(&[batch(end.0, 2, 30, 9)], 0).unwrap();
        log.close(&[]).unwrap();
        let (log, report) = rig.open(&options(LastShutdown::Clean, end.0 + 2)).unwrap();
        assert_eq!((log.log_end(), report.torn_tail), (end + 2, None));
        assert_eq!(extents(&content(&log, 500)).len(), flushed + 1);
    }
}

#[test]
fn batches_behind_lost_ones_are_cut_off_only_when_asked_and_kept_where_compaction_has_left_the_gap() {
    let open = |recovery_point, cleaned_to, damage| {
        let rig = second_segment_outlives_the_first(1, 2);
        let cleaned_to = Offset(cleaned_to);
        let options = OpenOptions { cleaned_to, damage, ..options(LastShutdown::Unclean, recovery_point) };
        rig.open(&options).map(|(log, _)| (log.log_end(), extents(&content(&log, 500)).len()))
    };
    for (recovery_point, cleaned_to) in [(2, 6), (6, 0), (6, 2)] {
        assert_eq!(open(recovery_point, cleaned_to, DamagePolicy::Refuse).unwrap(), (Offset(10), 3));
    }
    for cleaned_to in [0, 2, 5] {
        assert_eq!(open(2, cleaned_to, DamagePolicy::CutThere).unwrap(), (Offset(2), 1));
        let refused = open(2, cleaned_to, DamagePolicy::Refuse).unwrap_err();
        let gap = Damage::Gap { from: Offset(2), to: Offset(6) };
        assert!(matches!(refused, Error::Damaged { damage, .. } if damage == gap));
    }
}

#[test]
fn what_a_truncation_makes_durable_never_outlives_what_lies_before_it() {
    let rig = Rig::new(LogConfig { segment_bytes: 250, ..small() });
    let mut log = rig.create().unwrap();
    for offset in 0..9 {
        log.append(&[batch(offset, 1, 30, offset)], 0).unwrap();
    }
    assert!(log.segment_count() > 2);
    log.truncate_to(Offset(8)).unwrap();
    drop(log);
    rig.fs.lose_power(|_, synced, _| synced);
    let (log, report) = rig.open(&options(LastShutdown::Unclean, 0)).unwrap();
    assert_eq!((log.log_end(), report.torn_tail), (Offset(8), None));
    assert_eq!(extents(&content(&log, 500)).len(), 8);
}

#[test]
fn epochs_that_the_power_took_are_those_of_which_no_batch_is_left() {
    let epochs = |log: &Log| {
        log.epochs().entries().iter().map(|it| (it.epoch.0, it.start_offset.0)).collect::<Vec<_>>()
    };
    for flushed in [false, true] {
        let rig = Rig::new(small());
        let mut log = rig.create().unwrap();
        log.assign_epoch(LeaderEpoch(1));
        log.append(&[batch_in(1, 0)], 0).unwrap();
        log.flush().unwrap();
        log.assign_epoch(LeaderEpoch(4));
        log.append(&[batch_in(4, 1)], 0).unwrap();
        if flushed {
            log.flush().unwrap();
        }
        // Leads, and writes nothing.
        log.assign_epoch(LeaderEpoch(7));
        assert_eq!(epochs(&log), [(1, 0), (4, 1), (7, 2)]);
        drop(log);
        rig.fs.lose_power(|_, synced, _| synced);
        let (mut log, _) = rig.open(&options(LastShutdown::Unclean, 1)).unwrap();
        let (want, end): (&[_], _) = if flushed { (&[(1, 0), (4, 1)], 2) } else { (&[(1, 0)], 1) };
        assert_eq!((&*epochs(&log), log.log_end()), (want, Offset(end)));
        log.assign_epoch(LeaderEpoch(8));
        // A leader of epoch 8 that is asked where 7 ended says where its own log shows that 4, or 1, did.
        assert_eq!(log.end_offset_for_epoch(LeaderEpoch(7)).map(|it| it.end_offset), Some(Offset(end)));
    }
}

/// The file of epochs waits for the entries of the index: whatever it does not have is in batches that are walked.
#[test]
fn epochs_are_known_after_the_process_died_whenever_that_was() {
    let epochs_of = |log: &Log| log.epochs().entries().to_vec();
    let mut waited = 0;
    let rounds = (1..150).flat_map(|batches| [(batches, true), (batches, false)]);
    for (batches, is_eventful) in rounds {
        let rig = Rig::new(LogConfig { segment_bytes: 20_000, ..small() });
        let mut log = rig.create().unwrap();
        for at in 0..batches {
            let epoch = 1 + at / 7;
            match at % 35 {
                // Behind so many batches that entries of the index have been written.
                _ if !is_eventful && at == 100 => log.take_snapshot(&[], log.log_end()).unwrap(),
                _ if !is_eventful => {}
                // Led, and wrote nothing before the next one began.
                7 => log.assign_epoch(LeaderEpoch(epoch)),
                20 => log.take_snapshot(&[], log.log_end()).unwrap(),
                // Followed a leader of an earlier epoch after having led for a moment.
                29 => {
                    log.assign_epoch(LeaderEpoch(epoch + 5));
                    log.flush().unwrap();
                }
                33 => drop(log.truncate_to(Offset(log.log_end().0 - 3)).unwrap()),
                _ => {}
            }
            log.append(&[batch_in(epoch, log.log_end().0)], 0).unwrap();
        }
        let known = epochs_of(&log);
        let recovery_point = log.recovery_point().0;
        let path = Path::new(DIR).join("leader-epoch-checkpoint");
        let lines = rig.fs.stat(&path).map_or(0, |it| it.len);
        drop(log);
        rig.fs.restart();
        // The end would be verified, and its epochs be known by that.
        let how = options(LastShutdown::ProcessCrash, recovery_point);
        let (log, _) = rig.open(&OpenOptions { verify_tail_bytes: 0, ..how }).unwrap();
        assert_eq!(epochs_of(&log), known, "{batches} batches, {is_eventful}");
        waited += usize::from(rig.fs.stat(&path).unwrap().len != lines);
    }
    assert!(waited > 30, "{waited}");
}

/// Records that a flush vouches for are not read again where a snapshot of producers survives as well: only the file
/// tells their epochs.
#[cfg(feature = "bugs")]
#[test]
fn epochs_that_are_not_synced_with_their_records_are_missed() {
    use milena_bugs::{Bug, with};

    let left = |bug| {
        with(bug, || {
            let rig = Rig::new(small());
            let mut log = rig.create().unwrap();
            // The last few are read again in any case, from the last entry of the index on.
            for (epoch, batches) in [(1, 1), (4, 20)] {
                log.assign_epoch(LeaderEpoch(epoch));
                for _ in 0..batches {
                    log.append(&[batch_in(epoch, log.log_end().0)], 0).unwrap();
                }
            }
            log.take_snapshot(&[], log.log_end()).unwrap();
            let recovery_point = log.flush().unwrap().0;
            drop(log);
            let snapshot = Path::new(DIR).join("00000000000000000021.snapshot");
            rig.fs.open(&snapshot, Open::Existing).unwrap().sync().unwrap();
            rig.fs.sync_dir(Path::new(DIR)).unwrap();
            rig.fs.lose_power(|_, synced, _| synced);
            let (log, _) = rig.open(&options(LastShutdown::Unclean, recovery_point)).unwrap();
            assert_eq!(log.log_end(), Offset(21));
            log.end_offset_for_epoch(LeaderEpoch(1)).map(|it| it.end_offset)
        })
    };
    assert_eq!(left(None), Some(Offset(1)));
    assert_ne!(left(Some(Bug::R6)), Some(Offset(1)));
}

fn batch_in(epoch: i32, offset: i64) -> StoredBatch {
    batch_of(offset, 1, 30, offset, epoch, Compression::None)
}
