//! Any sequence of appends, transactions, rolls, cleanings, truncations, crashes and restarts: a reader from the start
//! sees each key's last value, at growing offsets; producers are those of the log that was never cleaned; times lead
//! to the right records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use milena_log::fs::{Fault, FileSystem};
use milena_log::{AbortedTransaction, LastShutdown, Log, LogConfig};
use milena_partition::{ProducerEntry, Producers};
use milena_records::{Compression, Offset, ProducerId, StoredBatch, TransactionResult};
use proptest::prelude::*;

use crate::compacted::*;
use crate::support::{DIR, Rig, options, small};

#[derive(Clone, Debug)]
enum Step {
    /// By nobody in particular, in a codec.
    Append(Vec<(u8, bool)>, usize),
    ByIdempotent(i64, Vec<(u8, bool)>),
    ByTransactional(i64, Vec<(u8, bool)>),
    End(i64, bool),
    Commit,
    Roll,
    Snapshot,
    /// With room for this many keys, this much later; may die at a change to the files, with or without the power.
    Clean {
        keys: usize,
        later_ms: i64,
        dies: Option<(u64, bool)>,
    },
    Truncate(u16),
    Restart {
        clean: bool,
    },
}

fn records() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0u8..12, prop::bool::weighted(0.8)), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let dies = prop::option::of((0u64..25, any::<bool>()));
    prop_oneof![
        4 => (records(), 0usize..5).prop_map(|(records, codec)| Step::Append(records, codec)),
        4 => (1i64..4, records()).prop_map(|(id, records)| Step::ByIdempotent(id, records)),
        5 => (11i64..14, records()).prop_map(|(id, records)| Step::ByTransactional(id, records)),
        5 => (11i64..14, any::<bool>()).prop_map(|(id, commits)| Step::End(id, commits)),
        4 => Just(Step::Commit),
        5 => Just(Step::Roll),
        1 => Just(Step::Snapshot),
        5 => (1usize..30, 0i64..80, dies)
            .prop_map(|(keys, later_ms, dies)| Step::Clean { keys, later_ms, dies }),
        1 => any::<u16>().prop_map(Step::Truncate),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
    ]
}

/// What was ever appended and not truncated, as it was appended.
#[derive(Default)]
struct Model {
    history: Vec<StoredBatch>,
    high_watermark: i64,
    sequences: BTreeMap<i64, i32>,
    /// Producers whose last batch was truncated and who have not written since. Of them a cleaning before may have
    /// left nothing, as the batch that it would have kept was not the last then (as in Kafka).
    cut_off: BTreeSet<i64>,
    now_ms: i64,
}

impl Model {
    fn end(&self) -> i64 {
        self.history.last().map_or(0, |last| last.header().next_offset().0)
    }

    fn cut(&mut self, to: i64) {
        let gone = self.history.iter().map(StoredBatch::header).filter(|it| it.last_offset().0 >= to);
        self.cut_off.extend(gone.map(|header| header.producer_id.0));
        self.history.retain(|batch| batch.header().last_offset().0 < to);
        self.high_watermark = self.high_watermark.min(self.end());
    }

    fn producers(&self) -> Producers {
        producers_of(&self.history)
    }

    /// Where the oldest transaction begins whose marker is not committed, or the high watermark.
    fn stable(&self) -> i64 {
        let committed = self.history.iter().filter(|it| it.header().last_offset().0 < self.high_watermark);
        open_since(&committed.cloned().collect::<Vec<_>>())
            .into_iter()
            .chain([self.high_watermark])
            .min()
            .unwrap()
    }
}

struct World {
    rig: Rig,
    log: Option<Log>,
    model: Model,
}

impl World {
    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open between steps")
    }

    fn append(&mut self, batch: StoredBatch) {
        let now_ms = self.model.now_ms;
        self.log().append(std::slice::from_ref(&batch), now_ms).unwrap();
        self.model.cut_off.remove(&batch.header().producer_id.0);
        self.model.history.push(batch);
    }

    fn write(&mut self, records: &[(u8, bool)], writer: &dyn Writer) {
        let base = self.model.end();
        let texts: Vec<_> = records.iter().map(|(key, _)| (format!("k{key}"), format!("{base}"))).collect();
        let rows: Vec<_> = records
            .iter()
            .zip(&texts)
            .map(|((_, is_value), (key, value))| (&**key, is_value.then_some(&**value)))
            .collect();
        // Times go up and down.
        let time = 1 + (base * 7) % 40;
        self.append(keyed(base, &rows, time, writer));
    }

    fn sequence(&mut self, id: i64, count: usize) -> i32 {
        let next = self.model.sequences.entry(id).or_default();
        let first = *next;
        *next += count as i32;
        first
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(records, codec) => self.write(records, &Coded(Compression::ALL[*codec])),
            Step::ByIdempotent(id, records) => {
                let sequence = self.sequence(*id, records.len());
                self.write(records, &Idempotent { id: *id, epoch: 0, sequence });
            }
            Step::ByTransactional(id, records) => {
                let sequence = self.sequence(*id, records.len());
                self.write(records, &Transactional { id: *id, epoch: 0, sequence });
            }
            Step::End(id, commits) => {
                if is_open(&self.model.history, *id) {
                    let result = if *commits { TransactionResult::Commit } else { TransactionResult::Abort };
                    let first_offset = Offset(open_transactions(&self.model.history)[id]);
                    let last_offset = Offset(self.model.end());
                    self.append(marker(last_offset.0, *id, 0, result));
                    if !commits {
                        let others = open_since(&self.model.history).into_iter().map(Offset).min();
                        let last_stable_offset = others.unwrap_or(last_offset + 1);
                        let producer_id = ProducerId(*id);
                        let ended =
                            AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
                        self.log().note_aborted(ended).unwrap();
                    }
                }
            }
            Step::Commit => self.model.high_watermark = self.model.end(),
            Step::Roll => {
                let now_ms = self.model.now_ms;
                self.log().roll(now_ms).unwrap();
            }
            Step::Snapshot => {
                let (entries, end) = (self.model.producers().entries(), self.model.end());
                self.log().take_snapshot(&entries, Offset(end)).unwrap();
            }
            Step::Clean { keys, later_ms, dies } => self.clean(*keys, *later_ms, *dies),
            Step::Truncate(number) => {
                let span = self.model.end() - self.model.high_watermark + 1;
                let to = self.model.high_watermark + i64::from(*number) % span;
                self.model.cut(to);
                let end = self.log().truncate_to(Offset(to)).unwrap().0;
                assert!(end <= to);
                self.rewind_sequences();
            }
            Step::Restart { clean: true } => {
                let entries = self.model.producers().entries();
                self.log.take().unwrap().close(&entries).unwrap();
                self.open(LastShutdown::Clean, self.model.end());
            }
            Step::Restart { clean: false } => {
                self.log = None;
                self.open(LastShutdown::ProcessCrash, 0);
            }
        }
    }

    fn clean(&mut self, keys: usize, later_ms: i64, dies: Option<(u64, bool)>) {
        self.model.now_ms += later_ms;
        let how = Cleaning {
            stable: self.model.stable(),
            map_bytes: 24 * (keys + 1),
            now_ms: self.model.now_ms,
            delete_retention_ms: 50,
            active_producers: self.model.producers().entries(),
        };
        let recovery_point = self.log().flush().unwrap().0;
        if let Some((nth, _)) = dies {
            self.rig.fs.fail_at(nth, Fault::Crash { after_bytes: 30 });
        }
        let cleaned = clean(self.log(), &how);
        if !self.rig.fs.is_dead() {
            // The chosen change may lie behind the cleaning.
            self.rig.fs.restart();
            cleaned.unwrap();
            return;
        }
        self.log = None;
        if dies.is_some_and(|(_, power)| power) {
            self.rig.fs.lose_power(|_, synced, _| synced);
            self.open(LastShutdown::Unclean, recovery_point);
        } else {
            self.rig.fs.restart();
            self.open(LastShutdown::ProcessCrash, recovery_point);
        }
        let left = self.rig.fs.list(Path::new(DIR)).unwrap().into_iter().map(|it| it.name);
        let left: Vec<_> = left.filter(|it| it.ends_with("cleaned") || it.ends_with("swap")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn open(&mut self, shutdown: LastShutdown, recovery_point: i64) {
        self.log = Some(self.rig.open(&options(shutdown, recovery_point)).unwrap().0);
    }

    /// Producers go on with what the log has.
    fn rewind_sequences(&mut self) {
        let last = self.model.producers().entries();
        self.model.sequences =
            last.into_iter().map(|entry| (entry.producer_id.0, entry.last_sequence + 1)).collect();
    }

    fn check(&mut self) {
        let end = self.model.end();
        let log = self.log.as_ref().unwrap();
        assert_eq!(log.log_end(), Offset(end));
        let original = self.model.history.clone();
        let rows: BTreeMap<_, _> = records_in(&original).into_iter().map(|row| (row.0, row)).collect();
        for row in crate::compacted::records(log) {
            assert_eq!(Some(&row), rows.get(&row.0), "a record that was never written");
        }
        assert_eq!(latest(log), latest_in(&original));
        check_cleaned(log);
        let known = |entry: &ProducerEntry| !self.model.cut_off.contains(&entry.producer_id.0);
        let of = |entries: Vec<ProducerEntry>| entries.into_iter().filter(known).collect::<Vec<_>>();
        assert_eq!(of(producers(log)), of(comparable(&self.model.producers())));
        check_times(log);
        check_aborted(log);
    }
}

fn run(steps: &[Step]) {
    let rig = Rig::new(LogConfig { segment_bytes: 1500, ..small() });
    let log = rig.create().unwrap();
    rig.fs.sync_dir(Path::new("/")).unwrap();
    let mut world = World { rig, log: Some(log), model: Model::default() };
    for (at, step) in steps.iter().enumerate() {
        world.step(step);
        let is_check = matches!(step, Step::Clean { .. } | Step::Restart { .. } | Step::Truncate(_));
        if is_check || at + 1 == steps.len() {
            world.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_reads_as_the_one_that_was_never_cleaned(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}

/// A snapshot from before the marker would tell for ever of a transaction that nothing ends any more.
#[test]
fn a_dropped_marker_takes_the_snapshots_before_it_along() {
    let tombstone = || vec![(0, false)];
    let clean = |later_ms| Step::Clean { keys: 1, later_ms, dies: None };
    let crash = || Step::Restart { clean: false };
    run(&[
        Step::ByTransactional(11, vec![(1, false)]),
        Step::Append(tombstone(), 0),
        Step::Snapshot,
        Step::End(11, false),
        Step::Append(tombstone(), 0),
        Step::Append(tombstone(), 0),
        Step::Roll,
        Step::Append(tombstone(), 0),
        Step::ByTransactional(11, tombstone()),
        Step::Commit,
        clean(0),
        crash(),
        clean(0),
        clean(16),
        crash(),
        clean(34),
    ]);
}

/// What a producer commits in the dirty section supersedes what lies before, though an aborted transaction of the same
/// producer ended in the clean one. Otherwise a tombstone would go when its time is over, and what it deleted would stay.
#[test]
fn a_transaction_aborted_before_the_dirty_section_says_nothing_of_those_within() {
    let clean = |later_ms| Step::Clean { keys: 20, later_ms, dies: None };
    run(&[
        Step::ByTransactional(11, vec![(0, true)]),
        Step::End(11, false),
        Step::Roll,
        Step::Commit,
        clean(0),
        Step::ByTransactional(11, vec![(1, true)]),
        Step::End(11, true),
        Step::ByTransactional(11, vec![(1, false)]),
        Step::End(11, true),
        Step::Roll,
        Step::Commit,
        clean(0),
        Step::Append(vec![(2, true)], 0),
        Step::Roll,
        Step::Commit,
        clean(50),
    ]);
}

/// The part of a batch that the table has room for supersedes what lies before, also when the dirty section begins with
/// that batch. Otherwise its tombstones would go when their time is over, and what they deleted would stay.
#[test]
fn a_first_dirty_batch_of_more_keys_than_the_table_holds_supersedes_in_parts() {
    let clean = |later_ms| Step::Clean { keys: 1, later_ms, dies: None };
    run(&[
        Step::Append(vec![(0, true)], 0),
        Step::Roll,
        Step::Commit,
        clean(0),
        Step::Append(vec![(0, false), (1, true)], 0),
        Step::Roll,
        Step::Commit,
        clean(0),
        clean(0),
        Step::Append(vec![(2, true)], 0),
        Step::Roll,
        Step::Commit,
        clean(50),
    ]);
}

/// A history of transactions alone, for the test of the test.
#[cfg(feature = "bugs")]
#[test]
fn a_marker_that_is_dropped_too_early_is_missed() {
    use milena_bugs::{Bug, with};

    let steps = [
        Step::Append(vec![(1, true)], 0),
        Step::ByTransactional(11, vec![(1, true), (2, true)]),
        Step::End(11, true),
        Step::ByTransactional(12, vec![(2, true)]),
        Step::End(12, false),
        Step::Append(vec![(3, true)], 0),
        Step::Roll,
        Step::Commit,
        Step::Clean { keys: 20, later_ms: 1, dies: None },
    ];
    with(None, || run(&steps));
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = std::panic::catch_unwind(|| with(Some(Bug::T9), || run(&steps)));
    assert!(noticed.is_err());
}
