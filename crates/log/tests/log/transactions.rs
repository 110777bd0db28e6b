//! Transactions interleaved in a log: whatever happens to it, aborted ones are found exactly, and open ones are those of
//! a replay from the first batch on (catalogue row T11).

use std::path::Path;

use milena_log::{AbortedIndex, AbortedTransaction, LastShutdown, Log, LogConfig, ReplayEvent, Storage};
use milena_partition::Producers;
use milena_records::{
    BatchBuilder, Compression, ControlRecord, LeaderEpoch, Offset, ProducerEpoch, ProducerId, StoredBatch,
    TransactionResult,
};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Written {
    Data { producer: i64, count: usize },
    Marker { producer: i64, abort: bool },
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Written>),
    Roll,
    Flush,
    Truncate(u16),
    Close,
    ProcessDies,
    PowerFails,
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        3 => (0i64..4, 1usize..4).prop_map(|(producer, count)| Written::Data { producer, count }),
        2 => (0i64..4, any::<bool>()).prop_map(|(producer, abort)| Written::Marker { producer, abort }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(written(), 1..5).prop_map(Step::Append),
        2 => Just(Step::Roll),
        2 => Just(Step::Flush),
        1 => any::<u16>().prop_map(Step::Truncate),
        1 => Just(Step::Close),
        1 => Just(Step::ProcessDies),
        1 => Just(Step::PowerFails),
    ]
}

fn data(base: i64, producer: i64, count: usize) -> StoredBatch {
    let mut batch = BatchBuilder::new(Compression::None)
        .producer(ProducerId(producer), ProducerEpoch(0), base as i32)
        .transactional();
    for index in 0..count {
        batch.push(base + index as i64, None, Some(b"a value"), &[]);
    }
    stamped(batch.build(), base)
}

fn marker(base: i64, producer: i64, abort: bool) -> StoredBatch {
    let result = if abort { TransactionResult::Abort } else { TransactionResult::Commit };
    let batch = ControlRecord::end_transaction(result, 5, ProducerId(producer), ProducerEpoch(0), base);
    stamped(batch, base)
}

fn stamped(mut batch: StoredBatch, base: i64) -> StoredBatch {
    batch.stamp(Offset(base), LeaderEpoch(0));
    batch
}

fn record(producers: &mut Producers, batch: &StoredBatch) -> Option<AbortedTransaction> {
    let header = batch.header();
    let Some(ControlRecord::EndTransaction { result, coordinator_epoch }) = batch.control() else {
        producers.record(&header);
        return None;
    };
    let ended = producers.record_marker(&header, result, coordinator_epoch);
    ended.filter(|ended| ended.aborted).map(|ended| (&ended).into())
}

/// The log's owner, and a plain list of what is in the log.
struct Owner {
    rig: Rig,
    log: Option<Log>,
    producers: Producers,
    batches: Vec<StoredBatch>,
    recovery_point: i64,
}

impl Owner {
    fn new() -> Self {
        let rig =
            Rig::new(LogConfig { segment_bytes: 700, index_interval_bytes: 100, ..LogConfig::default() });
        let mut log = rig.create().unwrap();
        log.flush().unwrap();
        Self { rig, log: Some(log), producers: Producers::default(), batches: Vec::new(), recovery_point: 0 }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    /// As a follower does: several batches at once, the snapshot behind them.
    fn append(&mut self, pieces: &[Written]) {
        let mut end = self.log().log_end().0;
        let mut batches = Vec::new();
        for piece in pieces {
            let batch = match *piece {
                Written::Data { producer, count } => data(end, producer, count),
                Written::Marker { producer, abort } => marker(end, producer, abort),
            };
            end = batch.header().next_offset().0;
            batches.push(batch);
        }
        let info = self.log().append(&batches, 0).unwrap();
        for batch in &batches {
            if let Some(aborted) = record(&mut self.producers, batch) {
                self.log().note_aborted(aborted).unwrap();
            }
        }
        if info.rolled {
            let entries = self.producers.entries();
            self.log().take_snapshot(&entries, info.log_end).unwrap();
        }
        self.batches.extend(batches);
    }

    fn truncate(&mut self, to: i64) {
        self.log().lower_recovery_point(Offset(to));
        self.log().truncate_to(Offset(to)).unwrap();
        self.recovery_point = self.log().recovery_point().0;
        let mut producers = Producers::default();
        self.log().replay(&mut |event: ReplayEvent<'_>| event.apply(&mut producers)).unwrap();
        self.producers = producers;
        self.forget();
    }

    /// What the log no longer has: its end, or after a power failure anything that was never flushed.
    fn forget(&mut self) {
        let log = self.log.as_ref().expect("open");
        self.batches.retain(|batch| {
            let base = batch.header().base_offset;
            let found = log.read(base, 1, log.log_end(), true);
            found.is_ok_and(|slice| slice.base_offset == base && !slice.bytes.is_empty())
        });
        let end = self.batches.last().map_or(Offset::ZERO, |last| last.header().next_offset());
        assert_eq!(log.log_end(), end, "a log ends where its last batch does");
    }

    fn reopen(&mut self, shutdown: LastShutdown) {
        let storage = Storage::new(std::sync::Arc::new(self.rig.fs.clone()), 4);
        let options = options(shutdown, self.recovery_point);
        let mut producers = Producers::default();
        let mut replay = |event: ReplayEvent<'_>| event.apply(&mut producers);
        let config = self.rig.config.clone();
        let opened = Log::open(&storage, Path::new(DIR), config, &options, &mut replay).unwrap();
        self.log = Some(opened.0);
        self.producers = producers;
        self.forget();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(pieces) => self.append(&pieces),
            Step::Roll => {
                if self.log().roll(0).unwrap() {
                    let (entries, end) = (self.producers.entries(), self.log().log_end());
                    self.log().take_snapshot(&entries, end).unwrap();
                }
            }
            Step::Flush => self.recovery_point = self.log().flush().unwrap().0,
            Step::Truncate(to) => {
                let end = self.log().log_end().0;
                self.truncate(i64::from(to) % (end + 1));
            }
            Step::Close => {
                let entries = self.producers.entries();
                self.recovery_point = self.log.take().unwrap().close(&entries).unwrap().0;
                self.reopen(LastShutdown::Clean);
            }
            Step::ProcessDies => {
                self.log = None;
                self.reopen(LastShutdown::ProcessCrash);
            }
            Step::PowerFails => {
                self.log = None;
                self.rig.fs.lose_power(|_, synced, _| synced);
                self.reopen(LastShutdown::Unclean);
            }
        }
    }

    /// All that is derived, against the list.
    fn check(&mut self, what: &str) {
        let mut producers = Producers::default();
        let aborted: Vec<_> = self.batches.iter().filter_map(|batch| record(&mut producers, batch)).collect();
        let end = self.log().log_end();
        assert_eq!(self.producers.entries(), producers.entries(), "{what}");
        assert_eq!(self.producers.first_unstable_offset(end), producers.first_unstable_offset(end), "{what}");
        for from in 0..=end.0 {
            for to in from..=end.0 {
                let (from, to) = (Offset(from), Offset(to));
                let overlaps = |it: &&AbortedTransaction| it.last_offset >= from && it.first_offset < to;
                // Nothing is asked of an empty range.
                let want: Vec<_> = aborted.iter().filter(overlaps).copied().filter(|_| from < end).collect();
                assert_eq!(self.log().aborted_transactions(from, to).unwrap(), want, "{what} {from}..{to}");
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut owner = Owner::new();
    for step in steps {
        let what = format!("{step:?}");
        owner.take(step);
        owner.check(&what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_derived_from_a_log_is_always_that_of_its_batches(steps in prop::collection::vec(step(), 1..25)) {
        run(steps);
    }
}

/// A broker searches step by step, and holds the log for no longer than a step.
#[test]
fn an_aborted_transaction_is_told_once_though_the_log_grows_meanwhile() {
    let mut owner = Owner::new();
    let aborted = [Written::Data { producer: 1, count: 2 }, Written::Marker { producer: 1, abort: true }];
    // As this one is open, more transactions from before the end may end behind it.
    owner.append(&[Written::Data { producer: 2, count: 1 }]);
    owner.append(&aborted);
    let end = owner.log().log_end();
    let mut steps = 0;
    let index_at = |next| {
        if (1..4).contains(&steps) {
            owner.append(&aborted);
        }
        if steps == 2 {
            owner.take(Step::Roll);
        }
        steps += 1;
        owner.log().aborted_index(next)
    };
    let found = AbortedIndex::search(Offset::ZERO, end, index_at).unwrap();
    let markers: Vec<_> = found.iter().map(|it| it.last_offset.0).collect();
    assert_eq!(markers, [3]);
}

#[test]
fn an_index_of_aborted_transactions_that_cannot_be_right_is_made_anew() {
    let mut owner = Owner::new();
    for round in 0..8 {
        owner.append(&[
            Written::Data { producer: round % 3, count: 3 },
            Written::Data { producer: 3, count: 1 },
            Written::Marker { producer: round % 3, abort: true },
        ]);
    }
    owner.check("before");
    owner.take(Step::Close);
    let index = Path::new(DIR).join("00000000000000000000.txnindex");
    // The version of an entry, its producer's sign, its offsets.
    for byte in [1, 2, 10, 18] {
        owner.log = None;
        let len = owner.rig.fs.content(&index).unwrap().len();
        owner.rig.fs.flip(&index, len - 34 + byte, 0x80);
        owner.reopen(LastShutdown::Clean);
        owner.check(&format!("byte {byte}"));
    }
}

/// What a restart costs that finds very many producers: one file of 5 MB to read, and no batch to look at.
#[test]
fn a_clean_start_reads_very_many_producers_from_the_snapshot_alone() {
    const PRODUCERS: i64 = 100_000;
    let rig = Rig::new(LogConfig::default());
    let mut log = rig.create().unwrap();
    let mut producers = Producers::default();
    log.append(&[data(0, 0, PRODUCERS as usize)], 0).unwrap();
    for producer in 0..PRODUCERS {
        record(&mut producers, &data(producer, producer, 1));
    }
    let entries = producers.entries();
    log.close(&entries).unwrap();
    let storage = Storage::new(std::sync::Arc::new(rig.fs.clone()), 4);
    let options = options(LastShutdown::Clean, PRODUCERS);
    let mut restored = Producers::default();
    let began = std::time::Instant::now();
    let mut replay = |event: ReplayEvent<'_>| event.apply(&mut restored);
    let (_, report) = Log::open(&storage, Path::new(DIR), rig.config.clone(), &options, &mut replay).unwrap();
    println!("{PRODUCERS} producers restored in {:?}", began.elapsed());
    assert!(report.batches_walked < 1000, "{report:?}");
    assert_eq!(restored.entries(), entries);
    assert_eq!(restored.first_unstable_offset(Offset(PRODUCERS)), Some(Offset(0)));
}
