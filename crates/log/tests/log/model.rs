//! Any sequence of calls leaves the log equal to a plain list of batches.

use std::path::{Path, PathBuf};

use milena_log::fs::FileSystem;
use milena_log::{LastShutdown, Log, LogConfig};
use milena_records::{Offset, StoredBatch};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(usize, usize, i64)>),
    Roll,
    Read { at: u16, max_bytes: usize, upper: u16, at_least_one: bool },
    FindTime(i64),
    Truncate(u16),
    AdvanceStart(u16),
    Retain { high_watermark: u16 },
    Flush,
    Snapshot,
    Close,
    ProcessDies,
    PowerFails { kept: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let piece = (1usize..5, 0usize..300, 0i64..200);
    prop_oneof![
        8 => prop::collection::vec(piece, 1..5).prop_map(Step::Append),
        1 => Just(Step::Roll),
        6 => (any::<u16>(), 0usize..3000, any::<u16>(), any::<bool>())
            .prop_map(|(at, max_bytes, upper, at_least_one)| Step::Read { at, max_bytes, upper, at_least_one }),
        3 => (0i64..220).prop_map(Step::FindTime),
        1 => any::<u16>().prop_map(Step::Truncate),
        1 => any::<u16>().prop_map(Step::AdvanceStart),
        1 => any::<u16>().prop_map(|high_watermark| Step::Retain { high_watermark }),
        1 => Just(Step::Flush),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Close),
        1 => Just(Step::ProcessDies),
        1 => (0usize..5).prop_map(|kept| Step::PowerFails { kept }),
    ]
}

/// The list of batches, and what the owner keeps beside the log.
#[derive(Default)]
struct Model {
    batches: Vec<StoredBatch>,
    start: i64,
    end: i64,
    recovery_point: i64,
}

impl Model {
    /// An offset of the log chosen by a number: log start to log end, both included.
    fn offset(&self, number: u16) -> i64 {
        self.start + i64::from(number) % (self.end - self.start + 1)
    }

    fn truncate(&mut self, to: i64) {
        let cut = self.batches.iter().find(|batch| batch.header().last_offset().0 >= to);
        self.end = cut.map_or(self.end, |batch| batch.header().base_offset.0);
        self.batches.retain(|batch| batch.header().last_offset().0 < to);
        self.recovery_point = self.recovery_point.min(self.end);
        self.start = self.start.min(self.end);
    }

    fn visible(&self, from: i64, upper: i64) -> Vec<&StoredBatch> {
        let wanted = |batch: &&StoredBatch| {
            let header = batch.header();
            header.last_offset().0 >= from && header.last_offset().0 < upper
        };
        if from >= upper { Vec::new() } else { self.batches.iter().filter(wanted).collect() }
    }

    fn find_time(&self, timestamp: i64) -> Option<i64> {
        let records = self.batches.iter().flat_map(|batch| {
            let header = batch.header();
            (0..i64::from(header.record_count))
                .map(move |at| (header.base_offset.0 + at, header.base_timestamp + at))
        });
        let mut records = records.filter(|(offset, _)| *offset >= self.start);
        records.find(|(_, time)| *time >= timestamp).map(|(offset, _)| offset)
    }
}

fn reopen(rig: &Rig, model: &Model, shutdown: LastShutdown) -> Log {
    let mut options = options(shutdown, model.recovery_point);
    options.log_start = Offset(model.start);
    rig.open(&options).unwrap().0
}

fn newest_segment(rig: &Rig) -> PathBuf {
    let names = rig.fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
    let newest = names.filter(|name| name.ends_with(".log")).max();
    Path::new(DIR).join(newest.unwrap())
}

fn run(steps: Vec<Step>) {
    let config = LogConfig { retention_bytes: 1500, ..small() };
    let rig = Rig::new(config);
    let mut model = Model::default();
    let mut log = rig.create().unwrap();
    for step in steps {
        let what = format!("{step:?}");
        match step {
            Step::Append(pieces) => {
                let mut end = model.end;
                let mut batches = Vec::new();
                for (count, size, time) in pieces {
                    batches.push(batch(end, count, size, time));
                    end += count as i64;
                }
                log.append(&batches, 0).unwrap();
                model.batches.extend(batches);
                model.end = end;
            }
            Step::Roll => drop(log.roll(0).unwrap()),
            Step::Read { at, max_bytes, upper, at_least_one } => {
                let (from, upper) = (model.offset(at), model.offset(upper));
                let slice = log.read(Offset(from), max_bytes, Offset(upper), at_least_one).unwrap();
                let visible = model.visible(from, upper);
                let all = bytes_of(&visible.iter().map(|batch| (*batch).clone()).collect::<Vec<_>>());
                assert!(all.starts_with(&slice.bytes), "{what}");
                let first = visible.first().map_or(usize::MAX, |first| first.total_size());
                let expected = first <= max_bytes || (at_least_one && !visible.is_empty());
                assert_eq!(!slice.bytes.is_empty(), expected, "{what} from {from} upper {upper}");
                assert!(slice.bytes.len() <= max_bytes || slice.bytes.len() == first, "{what}");
            }
            Step::FindTime(timestamp) => {
                let found = log.offset_for_timestamp(timestamp, log.log_end()).unwrap();
                assert_eq!(found.map(|found| found.offset.0), model.find_time(timestamp), "{what}");
            }
            Step::Truncate(to) => {
                let to = model.offset(to);
                model.truncate(to);
                assert_eq!(log.truncate_to(Offset(to)).unwrap().0, model.end, "{what}");
            }
            Step::AdvanceStart(to) => {
                model.start = model.offset(to);
                log.advance_log_start(Offset(model.start));
            }
            Step::Retain { high_watermark } => {
                let high_watermark = model.offset(high_watermark);
                log.retention(0, Offset(high_watermark)).unwrap();
                assert!(log.log_start() <= Offset(high_watermark.max(model.start)), "{what}");
                model.start = log.log_start().0;
            }
            Step::Flush => model.recovery_point = log.flush().unwrap().0,
            Step::Snapshot => log.take_snapshot(&[], log.log_end()).unwrap(),
            Step::Close => {
                model.recovery_point = log.close(&[]).unwrap().0;
                log = reopen(&rig, &model, LastShutdown::Clean);
            }
            Step::ProcessDies => {
                drop(log);
                log = reopen(&rig, &model, LastShutdown::ProcessCrash);
            }
            Step::PowerFails { kept } => {
                drop(log);
                if model.batches.is_empty() {
                    // Nothing has made the directory durable yet.
                    log = reopen(&rig, &model, LastShutdown::ProcessCrash);
                } else {
                    // Written back in order: a hole before valid batches is the business of `damage`.
                    let newest = newest_segment(&rig);
                    rig.fs.lose_power(|path, synced, written| {
                        if *path == newest { synced + (written - synced) * kept / 4 } else { written }
                    });
                    log = reopen(&rig, &model, LastShutdown::Unclean);
                    assert!(log.log_end().0 >= model.recovery_point, "{what}");
                    model.truncate(log.log_end().0);
                    // A log that lost all behind its start begins anew there.
                    (model.start, model.end) = (log.log_start().0, log.log_end().0);
                }
            }
        }
        model.batches.retain(|batch| batch.header().last_offset().0 >= model.start);
        assert_eq!((log.log_start().0, log.log_end().0), (model.start, model.end), "{what}");
        assert_eq!(content(&log, 700), bytes_of(&model.batches), "{what}");
        assert!(log.recovery_point() <= log.log_end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_equals_a_list_of_batches(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
