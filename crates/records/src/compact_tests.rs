use super::*;
use crate::{BatchBuilder, LeaderEpoch, ProducerEpoch, ProducerId, RecordHeader};

const LIMIT: usize = 1 << 20;

/// Ten records `k0..k9` from offset 100 on, every third a tombstone, one millisecond apart.
fn sample(codec: Compression) -> BatchRecords {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(3), 40).transactional();
    for index in 0..10 {
        let (key, value) = (format!("k{index}"), format!("value {index}"));
        let header = RecordHeader { key: b"trace", value: Some(b"x") };
        builder.push(
            5_000 + index,
            Some(key.as_bytes()),
            (index % 3 != 0).then_some(value.as_bytes()),
            &[header],
        );
    }
    let mut batch = builder.build();
    batch.stamp(Offset(100), LeaderEpoch(9));
    BatchRecords::open(&batch.to_bytes(), LIMIT).unwrap()
}

/// Offset, time, key, value and number of headers.
type Row = (i64, i64, Vec<u8>, Option<Vec<u8>>, usize);

fn contents(batch: &StoredBatch) -> Vec<Row> {
    let bytes = batch.to_bytes();
    batch.header().verify_crc(&bytes).unwrap();
    let records = BatchRecords::open(&bytes, LIMIT).unwrap();
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let value = record.value.map(<[u8]>::to_vec);
            (record.offset.0, record.timestamp, record.key.unwrap().to_vec(), value, record.headers.len())
        })
        .collect()
}

#[test]
fn records_that_stay_are_what_they_were_and_the_header_keeps_offsets_and_producer() {
    for codec in Compression::ALL {
        for horizon in [None, Some(90_000_000), Some(17)] {
            let batch = sample(codec);
            let original = contents(&StoredBatch::new(batch.header(), raw_body(codec)));
            let selection = batch.select(|record| [101, 102, 106].contains(&record.offset.0)).unwrap();
            assert_eq!((selection.kept(), selection.is_all()), (3, false));
            let rewritten = batch.rewrite(&selection, horizon);
            let expected: Vec<_> =
                original.into_iter().filter(|(offset, ..)| [101, 102, 106].contains(offset)).collect();
            assert_eq!(contents(&rewritten), expected, "{codec} {horizon:?}");
            let (header, old) = (rewritten.header(), *batch.header());
            assert_eq!(header.delete_horizon(), horizon);
            assert_eq!((header.max_timestamp, header.record_count), (5_006, 3));
            assert_eq!(header.compression(), codec);
            let facts = |it: &BatchHeader| {
                (it.base_offset, it.last_offset(), it.partition_leader_epoch, it.is_transactional())
            };
            assert_eq!(facts(&header), facts(&old));
            let producer = |it: &BatchHeader| (it.producer_id, it.producer_epoch, it.base_sequence);
            assert_eq!(producer(&header), producer(&old));
            assert_eq!(header.last_sequence(), 49);
        }
    }
}

fn raw_body(codec: Compression) -> Bytes {
    match codec {
        Compression::None => Bytes::copy_from_slice(sample(codec).body()),
        _ => compress(codec, Level::Default, sample(codec).body()).into(),
    }
}

#[test]
fn a_horizon_once_set_stays_when_more_records_go() {
    let batch = sample(Compression::Lz4);
    let all = batch.select(|_| true).unwrap();
    assert!(all.is_all());
    let first = batch.rewrite(&all, Some(1_000_000));
    let again = BatchRecords::open(&first.to_bytes(), LIMIT).unwrap();
    let selection = again.select(|record| !record.is_tombstone).unwrap();
    let second = again.rewrite(&selection, None);
    assert_eq!(second.header().delete_horizon(), Some(1_000_000));
    assert_eq!(
        contents(&second),
        contents(&first).into_iter().filter(|it| it.3.is_some()).collect::<Vec<_>>()
    );
    assert_eq!(second.header().max_timestamp, 5_008);
}

#[test]
fn an_emptied_batch_holds_its_offsets_and_its_producers_sequence() {
    let batch = sample(Compression::Zstd);
    let emptied = batch.header().emptied();
    assert_eq!(emptied.total_size(), BatchHeader::SIZE);
    assert_eq!(contents(&emptied), []);
    let header = emptied.header();
    assert_eq!(
        (header.base_offset, header.last_offset(), header.last_sequence()),
        (Offset(100), Offset(109), 49)
    );
    assert_eq!((header.max_timestamp, header.delete_horizon()), (5_009, None));
    assert!(header.is_transactional());
}

#[test]
fn outlines_tell_keys_and_tombstones() {
    let mut seen = Vec::new();
    sample(Compression::Gzip)
        .outlines(|it| {
            seen.push((it.offset.0, it.key.unwrap().to_vec(), it.is_tombstone));
            seen.len() < 4
        })
        .unwrap();
    let expected: Vec<_> = (0..4).map(|at| (100 + at, format!("k{at}").into_bytes(), at % 3 == 0)).collect();
    assert_eq!(seen, expected);
}
