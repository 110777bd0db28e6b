//! Keyed batches, transactions, cleanings, and what a reader makes of a compacted log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use milena_log::fs::FileSystem;
use milena_log::{CleaningError, CleaningOptions, CleaningStats, Log, ReplayEvent};
use milena_partition::{OpenTransactions, ProducerEntry, Producers};
use milena_records::{
    BatchBuilder, BatchHeader, BatchRecords, Compression, ControlRecord, LeaderEpoch, Offset, ProducerEpoch,
    ProducerId, StoredBatch, TransactionResult,
};

use crate::support::{DIR, Rig, content};

/// Who writes a batch, and how.
pub trait Writer {
    fn begin(&self) -> BatchBuilder;
}

pub struct Plain;
pub struct Coded(pub Compression);
pub struct Idempotent {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}
pub struct Transactional {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
}

impl Writer for Plain {
    fn begin(&self) -> BatchBuilder {
        BatchBuilder::new(Compression::None)
    }
}

impl Writer for Coded {
    fn begin(&self) -> BatchBuilder {
        BatchBuilder::new(self.0)
    }
}

impl Writer for Idempotent {
    fn begin(&self) -> BatchBuilder {
        Plain.begin().producer(ProducerId(self.id), ProducerEpoch(self.epoch), self.sequence)
    }
}

impl Writer for Transactional {
    fn begin(&self) -> BatchBuilder {
        Coded(Compression::Snappy)
            .begin()
            .producer(ProducerId(self.id), ProducerEpoch(self.epoch), self.sequence)
            .transactional()
    }
}

/// A batch at `base`, record `i` with time `timestamp + i`.
pub fn keyed(
    base: i64,
    records: &[(&str, Option<&str>)],
    timestamp: i64,
    writer: &dyn Writer,
) -> StoredBatch {
    let mut builder = writer.begin();
    for (index, (key, value)) in records.iter().enumerate() {
        builder.push(timestamp + index as i64, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    let mut batch = builder.build();
    batch.stamp(Offset(base), LeaderEpoch(0));
    batch
}

pub fn marker(base: i64, id: i64, epoch: i16, result: TransactionResult) -> StoredBatch {
    let mut batch = ControlRecord::end_transaction(result, 3, ProducerId(id), ProducerEpoch(epoch), base);
    batch.stamp(Offset(base), LeaderEpoch(0));
    batch
}

/// Ends the transaction of a producer, as the owner of a log does.
pub fn append_marker(log: &mut Log, id: i64, result: TransactionResult) {
    let marker = marker(log.log_end().0, id, 0, result);
    let mut open = OpenTransactions::default();
    for header in headers(log).into_iter().filter(BatchHeader::is_transactional) {
        if header.is_control() {
            open.complete(header.producer_id, header.last_offset(), TransactionResult::Commit);
        } else {
            open.begin(header.producer_id, header.base_offset);
        }
    }
    let at = marker.header().last_offset();
    log.append(&[marker], 0).unwrap();
    if let Some(ended) = open.complete(ProducerId(id), at, result)
        && ended.aborted
    {
        log.note_aborted((&ended).into()).unwrap();
    }
}

/// How to clean.
#[derive(Clone, Debug)]
pub struct Cleaning {
    pub stable: i64,
    pub map_bytes: usize,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
    pub active_producers: Vec<ProducerEntry>,
}

impl Default for Cleaning {
    fn default() -> Self {
        Self {
            stable: i64::MAX,
            map_bytes: 1 << 20,
            now_ms: 0,
            delete_retention_ms: 1_000_000,
            active_producers: Vec::new(),
        }
    }
}

pub fn begin(log: &Log, how: &Cleaning) -> Result<milena_log::Cleaning, CleaningError> {
    let range = log.cleanable(Offset(how.stable), 0, how.now_ms);
    let options = CleaningOptions {
        map_bytes: how.map_bytes,
        load_factor: 0.9,
        io_bytes: 300,
        delete_retention_ms: how.delete_retention_ms,
        now_ms: how.now_ms,
    };
    Ok(log.begin_cleaning(range, &how.active_producers, options)?)
}

/// A whole cleaning.
pub fn clean(log: &mut Log, how: &Cleaning) -> Result<CleaningStats, CleaningError> {
    log.flush()?;
    let mut cleaning = begin(log, how)?;
    let end = cleaning.map_keys(&mut |_| true)?;
    while let Some(group) = cleaning.next_group(&mut |_| true)? {
        assert!(log.swap(group, how.now_ms)?);
    }
    log.cleaned(&cleaning, end);
    Ok(cleaning.stats())
}

/// Cleans although nothing came since: with a record of its own key behind everything.
pub fn clean_again(log: &mut Log, how: &Cleaning) {
    log.restore_cleaned_to(Offset(0));
    clean(log, how).unwrap();
}

/// The headers of all batches, whose checksums are right and whose offsets grow.
pub fn headers(log: &Log) -> Vec<BatchHeader> {
    let bytes = Bytes::from(content(log, 700));
    let mut end = i64::MIN;
    milena_records::batches(&bytes)
        .map(|batch| {
            let (header, bytes) = batch.unwrap();
            header.verify_crc(&bytes).unwrap();
            assert!(header.base_offset.0 >= end, "{header:?} behind {end}");
            end = header.next_offset().0;
            header
        })
        .collect()
}

fn opened(log: &Log) -> Vec<BatchRecords> {
    let bytes = Bytes::from(content(log, 700));
    milena_records::batches(&bytes).map(|batch| open(&batch.unwrap().1)).collect()
}

fn open(batch: &Bytes) -> BatchRecords {
    BatchRecords::open(batch, 1 << 20).unwrap()
}

fn opened_all(batches: &[StoredBatch]) -> Vec<BatchRecords> {
    batches.iter().map(|batch| open(&batch.to_bytes())).collect()
}

pub type Row = (i64, String, Option<String>);

pub fn owned((offset, key, value): (i64, &str, Option<&str>)) -> Row {
    (offset, key.into(), value.map(Into::into))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// All records that are no markers, committed or not.
pub fn records(log: &Log) -> Vec<Row> {
    rows(&opened(log))
}

/// The same, of batches.
pub fn records_in(batches: &[StoredBatch]) -> Vec<Row> {
    rows(&opened_all(batches))
}

fn rows(batches: &[BatchRecords]) -> Vec<Row> {
    let data = batches.iter().filter(|batch| !batch.header().is_control());
    let records = data.flat_map(|batch| batch.iter().map(|record| record.unwrap()));
    records.map(|it| (it.offset.0, it.key.map(text).unwrap_or_default(), it.value.map(text))).collect()
}

/// Offsets of all records, markers included.
pub fn offsets(log: &Log) -> Vec<i64> {
    times(log).into_iter().map(|(offset, _)| offset).collect()
}

/// Offsets and times of all records, markers included.
pub fn times(log: &Log) -> Vec<(i64, i64)> {
    let all = opened(log);
    all.iter()
        .flat_map(|batch| batch.iter().map(|it| it.unwrap()).map(|it| (it.offset.0, it.timestamp)))
        .collect()
}

/// Each key's last value, as a consumer with `read_committed` learns it from the first offset on: records of a
/// transaction count when its marker comes.
pub fn latest(log: &Log) -> BTreeMap<String, String> {
    latest_of(&opened(log))
}

/// The same, of batches.
pub fn latest_in(batches: &[StoredBatch]) -> BTreeMap<String, String> {
    latest_of(&opened_all(batches))
}

fn latest_of(batches: &[BatchRecords]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open: BTreeMap<i64, Vec<(i64, String, Option<String>)>> = BTreeMap::new();
    let mut committed = Vec::new();
    for batch in batches {
        let (header, id) = (*batch.header(), batch.header().producer_id.0);
        let rows = batch.iter().map(|record| record.unwrap());
        if header.is_control() {
            let Some(record) = rows.map(|it| ControlRecord::parse(it.key, it.value)).next() else { continue };
            let rows = open.remove(&id).unwrap_or_default();
            if let Some(ControlRecord::EndTransaction { result: TransactionResult::Commit, .. }) = record {
                committed.extend(rows);
            }
        } else {
            let rows = rows.map(|it| (it.offset.0, it.key.map(text).unwrap_or_default(), it.value.map(text)));
            let to = if header.is_transactional() { open.entry(id).or_default() } else { &mut committed };
            to.extend(rows);
        }
    }
    committed.sort();
    for (_, key, value) in committed {
        match value {
            Some(value) => found.insert(key, value),
            None => found.remove(&key),
        };
    }
    found
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// Producers as whoever opens the log without a snapshot rebuilds them. Their times, which compaction may set back
/// to the newest record that stays, and the epochs of coordinators, which go with markers, are left out.
pub fn producers(log: &Log) -> Vec<ProducerEntry> {
    let mut producers = Producers::default();
    log.replay(&mut |event: ReplayEvent<'_>| event.apply(&mut producers)).unwrap();
    comparable(&producers)
}

pub fn comparable(producers: &Producers) -> Vec<ProducerEntry> {
    let facts = |entry: ProducerEntry| ProducerEntry { timestamp: 0, coordinator_epoch: -1, ..entry };
    producers.entries().into_iter().map(facts).collect()
}

/// Below the offset up to which the log is cleaned a key has one record at most.
pub fn check_cleaned(log: &Log) {
    let mut found = BTreeMap::new();
    for (offset, key, _) in records(log).into_iter().filter(|row| row.0 < log.cleaned_to().0) {
        let before = found.insert(key, offset);
        assert_eq!(before, None, "superseded by {offset}, cleaned up to {}", log.cleaned_to());
    }
}

/// ListOffsets by time finds what a look at every record finds.
pub fn check_times(log: &Log) {
    let all = times(log);
    let most = all.iter().map(|(_, time)| *time).max().unwrap_or(-1);
    for time in 0..=most + 1 {
        let want = all.iter().find(|(_, at)| *at >= time).map(|(offset, _)| *offset);
        let found = log.offset_for_timestamp(time, log.log_end()).unwrap();
        assert_eq!(found.map(|it| it.offset.0), want, "first at or after {time} of {all:?}");
    }
    let want = all.iter().find(|(_, at)| *at == most).map(|(offset, _)| *offset);
    assert_eq!(log.max_timestamp(log.log_end()).unwrap().map(|it| it.offset.0), want, "{all:?}");
}

pub fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

pub fn names(rig: &Rig) -> Vec<String> {
    let mut names: Vec<_> = rig.fs.list(Path::new(DIR)).unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    names
}

/// Producers that appended these batches.
pub fn producers_of(batches: &[StoredBatch]) -> Producers {
    let mut producers = Producers::default();
    for batch in batches {
        match batch.control() {
            Some(ControlRecord::EndTransaction { result, coordinator_epoch }) => {
                producers.record_marker(&batch.header(), result, coordinator_epoch);
            }
            _ => producers.record(&batch.header()),
        }
    }
    producers
}

/// Where the transactions begin that have no marker yet.
pub fn open_since(batches: &[StoredBatch]) -> Vec<i64> {
    open_transactions(batches).into_values().collect()
}

/// Whether a producer's transaction has no marker yet.
pub fn is_open(batches: &[StoredBatch], id: i64) -> bool {
    open_transactions(batches).contains_key(&id)
}

/// Where the transactions begin that have no marker yet, by producer.
pub fn open_transactions(batches: &[StoredBatch]) -> BTreeMap<i64, i64> {
    let mut open = BTreeMap::new();
    for header in batches.iter().map(StoredBatch::header).filter(|header| header.is_transactional()) {
        if header.is_control() {
            open.remove(&header.producer_id.0);
        } else {
            open.entry(header.producer_id.0).or_insert(header.base_offset.0);
        }
    }
    open
}

/// A consumer that is told of aborted transactions skips what one who reads on to the markers skips, up to the first
/// open transaction.
pub fn check_aborted(log: &Log) {
    let all = opened(log);
    let mut open = BTreeMap::new();
    let mut committed = BTreeSet::new();
    for batch in all.iter().filter(|batch| batch.header().is_transactional()) {
        let (header, id) = (*batch.header(), batch.header().producer_id.0);
        if !header.is_control() {
            open.entry(id).or_insert_with(Vec::new).push(header.base_offset);
            continue;
        }
        let marker = batch.iter().next().map(|it| it.unwrap());
        let marker = marker.and_then(|it| ControlRecord::parse(it.key, it.value));
        let batches = open.remove(&id).unwrap_or_default();
        if let Some(ControlRecord::EndTransaction { result: TransactionResult::Commit, .. }) = marker {
            committed.extend(batches);
        }
    }
    let stable = open.values().map(|batches| batches[0]).min().unwrap_or(log.log_end());
    let mut told = log.aborted_transactions(log.log_start(), stable).unwrap();
    told.sort_by_key(|it| it.first_offset);
    let (mut told, mut skipped) = (told.into_iter().peekable(), BTreeSet::new());
    for header in all.iter().map(BatchRecords::header).take_while(|it| it.base_offset < stable) {
        while let Some(begun) = told.next_if(|it| it.first_offset <= header.last_offset()) {
            skipped.insert(begun.producer_id.0);
        }
        let id = header.producer_id.0;
        if header.is_control() {
            skipped.remove(&id);
        } else if header.is_transactional() && header.record_count > 0 {
            assert_eq!(!skipped.contains(&id), committed.contains(&header.base_offset), "{header:?}");
        }
    }
}
