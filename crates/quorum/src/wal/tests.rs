//! The log on a disk that fails, fills up and loses power.

use super::*;
use crate::sim_disk::{Fault, SimDisk};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::mpsc;

const DIR: &str = "/raft";
/// Small, so that a handful of records spans several segments.
const SEGMENT: u64 = 700;

fn open(disk: &SimDisk) -> Result<(Wal, Recovery), OpenError> {
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), SEGMENT)
}

fn path(segment: u32) -> PathBuf {
    segment_path(Path::new(DIR), segment)
}

/// A step of a scenario. Indices are made up when it runs, so that any sequence is legal.
#[derive(Clone, Debug)]
enum Step {
    Append {
        group: u8,
        count: usize,
        size: usize,
    },
    Vote {
        group: u8,
        committed: bool,
    },
    /// Keeps this share of the live entries, in tenths.
    Truncate {
        group: u8,
        keep: u64,
    },
    Purge {
        group: u8,
        share: u64,
    },
    Commit {
        group: u8,
    },
}

/// What a log must say after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    groups: BTreeMap<u8, ModelGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelGroup {
    vote: Option<StoredVote>,
    purged: Option<Position>,
    first: u64,
    entries: Vec<(u64, Bytes)>,
}

impl ModelGroup {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn at(&self, index: u64) -> Option<Position> {
        let (term, _) = self.entries.get(index.checked_sub(self.first)? as usize)?;
        Some(Position { term: *term, index })
    }
}

impl Model {
    /// Runs a step on the log and on the model. `done` runs when it is durable; `false` if the
    /// log refused it.
    fn run(&mut self, wal: &Wal, nth: usize, step: &Step, done: Done) -> bool {
        let term = nth as u64 / 8 + 1;
        match *step {
            Step::Append { group, count, size } => {
                let model = self.groups.entry(group).or_default();
                let mut entries = Vec::new();
                for n in 0..count {
                    let payload = Bytes::from(vec![(nth + n) as u8; size]);
                    let index = model.end();
                    entries.push(RawEntry { kind: Kind::Command, index, term, payload: payload.clone() });
                    model.entries.push((term, payload));
                }
                wal.append(group, entries, done).is_ok()
            }
            Step::Vote { group, committed } => {
                let vote = StoredVote { term, node: nth as u64, committed };
                self.groups.entry(group).or_default().vote = Some(vote);
                match committed {
                    // Nobody is told that it is durable.
                    true => wal.note_vote(group, vote).is_ok(),
                    false => wal.save_vote(group, vote, done).is_ok(),
                }
            }
            Step::Truncate { group, keep } => {
                let model = self.groups.entry(group).or_default();
                let keep = model.entries.len() as u64 * keep / 10;
                let last = match keep {
                    0 => model.purged,
                    keep => model.at(model.first + keep - 1),
                };
                model.entries.truncate(keep as usize);
                wal.truncate_after(group, last).map(|()| done(Ok(()))).is_ok()
            }
            Step::Purge { group, share } => {
                let model = self.groups.entry(group).or_default();
                let gone = model.entries.len() as u64 * share / 10;
                let Some(upto) = gone.checked_sub(1).and_then(|last| model.at(model.first + last)) else {
                    done(Ok(()));
                    return true;
                };
                model.entries.drain(..gone as usize);
                (model.first, model.purged) = (upto.index + 1, Some(upto));
                wal.purge(group, upto).map(|()| done(Ok(()))).is_ok()
            }
            Step::Commit { group } => {
                let model = self.groups.entry(group).or_default();
                let last = model.end().checked_sub(1).and_then(|last| model.at(last));
                wal.save_committed(group, last).map(|()| done(Ok(()))).is_ok()
            }
        }
    }

    /// What the log says.
    fn read(wal: &Wal) -> Model {
        let groups: Vec<u8> = wal.shared.lock().groups.keys().copied().collect();
        let read = |group| {
            let at = wal.positions(group);
            let entries = wal.read(group, 0, u64::MAX, usize::MAX).expect("readable");
            let first = at.first;
            let entries = entries.into_iter().enumerate().map(|(n, entry)| {
                assert_eq!(entry.index, first + n as u64);
                (entry.term, entry.payload)
            });
            ModelGroup { vote: at.vote, purged: at.purged, first, entries: entries.collect() }
        };
        Model { groups: groups.into_iter().map(|group| (group, read(group))).collect() }.without_traces()
    }

    /// A group that was only looked at, or emptied again, leaves no record of where it began.
    fn without_traces(mut self) -> Model {
        for group in self.groups.values_mut() {
            if group.entries.is_empty() {
                group.first = group.purged.map_or(0, |purged| purged.index + 1);
            }
        }
        self.groups.retain(|_, group| *group != ModelGroup::default());
        self
    }
}

/// Durability as the log reports it: how many of the first steps are done, failures aside.
struct Acknowledged {
    sender: mpsc::Sender<(usize, bool)>,
    receiver: mpsc::Receiver<(usize, bool)>,
}

impl Acknowledged {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Acknowledged { sender, receiver }
    }

    fn done(&self, nth: usize) -> Done {
        let sender = self.sender.clone();
        Box::new(move |result| sender.send((nth, result.is_ok())).expect("the test waits"))
    }

    /// The last durable step that is recorded in the stream.
    fn last(self, durable: &[Step]) -> Option<usize> {
        drop(self.sender);
        let is_flushed = |nth: &usize| matches!(durable[*nth], Step::Append { .. } | Step::Vote { .. });
        self.receiver.iter().filter(|(_, ok)| *ok).map(|(nth, _)| nth).filter(is_flushed).max()
    }
}

/// Every state that a crash may leave, with the number of whole steps in it.
type States = Vec<(usize, Model)>;

/// Runs the steps until the disk fails, in bursts: within one, nothing is awaited.
/// Answers the states the log went through, and the last step that was acknowledged.
fn run(disk: &SimDisk, start: Model, steps: &[Step], burst: usize) -> (States, Option<usize>) {
    let mut states = vec![(0, start.clone())];
    let acknowledged = Acknowledged::new();
    let Ok((wal, _)) = open(disk) else {
        return (states, None);
    };
    let mut model = start;
    for (nth, step) in steps.iter().enumerate() {
        let before = model.clone();
        let accepted = model.run(&wal, nth, step, acknowledged.done(nth));
        states.extend(parts(&before, &model, step).map(|part| (nth, part)));
        if !accepted {
            break;
        }
        states.push((nth + 1, model.clone()));
        if nth % burst == burst - 1 {
            let (done, durable) = mpsc::channel();
            let vote = StoredVote { term: 1, node: 0, committed: false };
            // A vote of a group of its own, to wait for the writer.
            let waiting = wal.save_vote(255, vote, Box::new(move |_| done.send(()).expect("awaited")));
            if waiting.is_err() || durable.recv().is_err() {
                break;
            }
        }
    }
    wal.close();
    drop(wal);
    (states, acknowledged.last(steps))
}

/// The states in the middle of an append of several entries.
fn parts<'a>(before: &Model, after: &'a Model, step: &Step) -> impl Iterator<Item = Model> + 'a {
    let (group, count) = match *step {
        Step::Append { group, count, .. } => (group, count),
        _ => (0, 0),
    };
    let had = before.groups.get(&group).map_or(0, |group| group.entries.len());
    (had + 1..had + count).map(move |len| {
        let mut part = after.clone();
        part.groups.get_mut(&group).expect("appended to").entries.truncate(len);
        part
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 0..2u8;
    let step = prop_oneof![
        6 => (group.clone(), 1..4usize, 0..200usize).prop_map(|(group, count, size)| Step::Append { group, count, size }),
        2 => (group.clone(), any::<bool>()).prop_map(|(group, committed)| Step::Vote { group, committed }),
        1 => (group.clone(), 0..10u64).prop_map(|(group, keep)| Step::Truncate { group, keep }),
        2 => (group.clone(), 0..=10u64).prop_map(|(group, share)| Step::Purge { group, share }),
        1 => group.prop_map(|group| Step::Commit { group }),
    ];
    prop::collection::vec(step, 1..25)
}

fn without_waiting_votes(mut model: Model) -> Model {
    model.groups.remove(&255);
    model.without_traces()
}

/// The heart of it: after a fault at any operation and the loss of any unflushed sector, the log
/// is a prefix of what was submitted, and holds everything that was acknowledged.
fn check_fault(steps: &[Step], burst: usize, at: u64, fault: Fault, luck: u64) -> bool {
    let disk = SimDisk::default().with_fault(at, fault);
    let (states, acknowledged) = run(&disk, Model::default(), steps, burst);
    let mut random = luck.wrapping_mul(2).wrapping_add(1);
    let after = disk.after_power_loss(|| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        luck == 1 || (luck != 0 && random >> 63 == 1)
    });
    let (wal, _) = open(&after).unwrap_or_else(|error| panic!("fault at operation {at}: {error}"));
    let found = without_waiting_votes(Model::read(&wal));
    wal.close();
    let least = acknowledged.map_or(0, |nth| nth + 1);
    let allowed = states.into_iter().filter(|(steps, _)| *steps >= least);
    let allowed: Vec<Model> = allowed.map(|(_, model)| model.without_traces()).collect();
    assert!(
        allowed.contains(&found),
        "{fault:?} at operation {at}, luck {luck}: found {found:?}\nacknowledged {acknowledged:?} of {steps:?}"
    );
    // The log goes on from there.
    let go_on = [Step::Append { group: 0, count: 2, size: 10 }, Step::Vote { group: 1, committed: false }];
    let go_on: Vec<Step> = steps.iter().map(|_| Step::Commit { group: 0 }).chain(go_on).collect();
    let (states, acknowledged) = run(&after, found, &go_on, 1);
    assert_eq!(acknowledged, Some(go_on.len() - 1), "fault at operation {at}");
    let (wal, _) = open(&after).expect("sound");
    let (_, want) = states.into_iter().next_back().expect("it began with one");
    let want = want.without_traces();
    assert_eq!(without_waiting_votes(Model::read(&wal)), want);
    wal.close();
    disk.tripped()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn crash_at_any_operation_keeps_what_was_acknowledged(steps in steps(), burst in 1..5usize, luck in 0..9u64) {
        for at in 0.. {
            if !check_fault(&steps, burst, at, Fault::PowerLoss, luck) {
                break;
            }
        }
    }

    #[test]
    fn full_disk_and_failed_flush_lose_nothing_acknowledged(steps in steps(), burst in 1..5usize, luck in 0..9u64) {
        for fault in [Fault::Full, Fault::FlushFails] {
            for at in 0..60 {
                if !check_fault(&steps, burst, at, fault, luck) {
                    break;
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_record_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(record::decode(&bytes), None);
    }

    #[test]
    fn decode_of_encode_is_identity(
        index: u64, term: u64, group: u8, previous: u32, durable: u32,
        payload in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let head = Head { kind: Kind::Command, group, index, term };
        let mut bytes = Vec::new();
        let crc = record::encode(&mut bytes, head, &payload, previous, durable);
        let want = record::Found { head, crc, previous, durable, payload_len: payload.len() };
        prop_assert_eq!(record::decode(&bytes), Some(want));
        prop_assert_eq!(&bytes[HEADER..], &payload[..]);
    }
}

/// Ten entries of 20 bytes, each flushed by itself.
fn ten_entries() -> SimDisk {
    let disk = SimDisk::default();
    let steps = vec![Step::Append { group: 0, count: 1, size: 20 }; 10];
    let (_, acknowledged) = run(&disk, Model::default(), &steps, 1);
    assert_eq!(acknowledged, Some(9));
    disk
}

#[test]
fn flipped_bit_is_reported_and_never_cut() {
    let disk = ten_entries();
    let last = wal_of(&disk).shared.lock().segment;
    for segment in 1..=last {
        let contents = disk.contents(&path(segment));
        let records = record_starts(&contents);
        // The very last write cannot be told from one that never completed.
        let final_record = record::decode(&contents[records[records.len() - 1]..]).expect("sound");
        let end = if segment == last { final_record.durable as usize } else { contents.len() };
        for byte in (0..end).step_by(7) {
            let damaged = disk.after_power_loss(|| true);
            damaged.flip(&path(segment), byte, (byte % 8) as u8);
            let record = *records.iter().rfind(|start| **start <= byte).expect("the first starts at 0");
            match open(&damaged).map(drop) {
                Err(OpenError::Damaged(damage)) => {
                    assert_eq!((damage.file, damage.position), (path(segment), record as u64), "byte {byte}");
                }
                other => panic!("segment {segment} byte {byte}: {other:?}"),
            }
            assert_eq!(damaged.contents(&path(segment)).len(), contents.len());
        }
    }
}

#[test]
fn torn_tail_is_cut_and_counted() {
    let disk = ten_entries();
    let last = wal_of(&disk).shared.lock().segment;
    let contents = disk.contents(&path(last));
    let tail = *record_starts(&contents).last().expect("there are some");
    for keep in tail + 1..contents.len() {
        let torn = disk.after_power_loss(|| true);
        torn.overwrite(&path(last), contents[..keep].to_vec());
        let (wal, report) = open(&torn).expect("a torn tail is no damage");
        assert_eq!(report.torn_bytes, (keep - tail) as u64);
        assert_eq!(torn.contents(&path(last)).len(), tail);
        wal.close();
    }
}

#[test]
fn missing_middle_segment_is_damage() {
    let disk = ten_entries();
    // Renamed over: a file of this log in a wrong place.
    let other = disk.contents(&path(1));
    disk.overwrite(&path(2), other);
    match open(&disk).map(drop) {
        Err(OpenError::Damaged(damage)) => assert_eq!((damage.file, damage.position), (path(2), 0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn purged_segments_are_deleted_and_votes_survive_that() {
    let disk = SimDisk::default();
    let mut steps = vec![Step::Vote { group: 1, committed: true }];
    steps.extend(vec![Step::Append { group: 0, count: 1, size: 100 }; 40]);
    steps.push(Step::Purge { group: 0, share: 9 });
    steps.push(Step::Append { group: 0, count: 1, size: 100 });
    let (states, _) = run(&disk, Model::default(), &steps, 1);
    let left = disk.list(Path::new(DIR)).unwrap();
    assert!(left.len() <= 3, "{left:?}");
    let (wal, _) = open(&disk).unwrap();
    assert_eq!(without_waiting_votes(Model::read(&wal)), states.last().unwrap().1);
    assert_eq!(wal.positions(1).vote, Some(StoredVote { term: 1, node: 0, committed: true }));
    wal.close();
}

#[test]
fn entries_out_of_memory_are_read_from_their_file() {
    let disk = ten_entries();
    let wal = wal_of(&disk);
    let all = wal.read(0, 0, u64::MAX, usize::MAX).unwrap();
    assert_eq!(all.iter().map(|entry| entry.index).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let some = wal.read(0, 3, 8, 45).unwrap();
    assert_eq!(some, all[3..5]);
    let one = wal.read(0, 3, 8, 0).unwrap();
    assert_eq!(one, all[3..4]);
}

fn wal_of(disk: &SimDisk) -> Wal {
    open(disk).expect("sound").0
}

fn record_starts(contents: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = record::decode(&contents[at..]) {
        starts.push(at);
        at += found.size();
    }
    starts
}
