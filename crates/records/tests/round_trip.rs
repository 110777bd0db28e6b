//! What the builder writes, validation takes and iteration reads back, for every codec.

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BatchRecords, Compression, Invalid, LeaderEpoch, Level, Offset, ProducerEpoch, ProducerId,
    RecordHeader, Rules, TimestampType, Validated, batches, recompress, validate,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const NOW: i64 = 1_790_000_000_000;

type OwnedHeader = (String, Option<Vec<u8>>);

#[derive(Clone, Debug, PartialEq)]
struct OwnedRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || option::of(vec(any::<u8>(), 0..300));
    let headers = vec(("[a-zé]{0,8}", option::of(vec(any::<u8>(), 0..20))), 0..4);
    (NOW - 1_000_000..NOW + 1_000, bytes(), bytes(), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers })
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL)
}

fn build(codec: Compression, records: &[OwnedRecord]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    builder.build().to_bytes()
}

fn read(batch: &Bytes, base_offset: i64) -> Vec<OwnedRecord> {
    let records = BatchRecords::open(batch, 1 << 24).expect("a batch that was validated opens");
    let mut read = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let record = record.expect("a record that was validated can be read");
        assert_eq!(record.offset, Offset(base_offset + index as i64));
        let headers =
            record.headers.map(|it| (it.key_text().into_owned(), it.value.map(<[u8]>::to_vec))).collect();
        read.push(OwnedRecord {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        });
    }
    read
}

fn rules() -> Rules {
    Rules { now: NOW, ..Rules::default() }
}

fn accept(batch: &Bytes) -> Validated {
    validate(batch, &rules()).expect("what the builder writes is valid")
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(codec in codec(), records in vec(record(), 1..40), base in 0i64..1 << 60) {
        let batch = build(codec, &records);
        let validated = accept(&batch);
        let times = records.iter().map(|it| it.timestamp);
        let max = times.clone().max().unwrap();
        prop_assert!(!validated.rewritten_crc);
        prop_assert_eq!(validated.max_timestamp, max);
        prop_assert_eq!(validated.max_timestamp_delta, times.clone().position(|it| it == max).unwrap() as i32);
        prop_assert_eq!(validated.record_count as usize, records.len());

        let stored = validated.into_stored(Offset(base), LeaderEpoch(7)).to_bytes();
        let run = Bytes::from([&stored[..], &stored[..], &stored[..stored.len() - 1]].concat());
        let cut: Vec<_> = batches(&run).map(|it| it.unwrap().1).collect();
        prop_assert_eq!(&cut, &[stored.clone(), stored.clone()]);
        let header = accept(&batch).header;
        prop_assert_eq!(header.verify_crc(&stored), Ok(()));
        prop_assert_eq!(read(&stored, base), records);
    }

    #[test]
    fn changing_the_codec_keeps_the_records(from in codec(), to in codec(), records in vec(record(), 1..40)) {
        let batch = build(from, &records);
        let changed = recompress(accept(&batch), to, Level::Default, &rules()).unwrap();
        prop_assert_eq!(changed.header.compression(), to);
        let stored = changed.into_stored(Offset::ZERO, LeaderEpoch::NONE).to_bytes();
        let again = accept(&stored);
        prop_assert!(!again.rewritten_crc);
        prop_assert_eq!(read(&stored, 0), records);
    }
}

#[test]
fn log_append_time_is_stamped_and_read() {
    for codec in Compression::ALL {
        let mut builder =
            BatchBuilder::new(codec).producer(ProducerId(9), ProducerEpoch(1), 0).transactional();
        builder.push(5, None, Some(b"a"), &[]);
        builder.push(3, None, Some(b"b"), &[]);
        let batch = builder.build().to_bytes();
        let rules = Rules { now: 42, timestamp_type: TimestampType::LogAppendTime, ..Rules::default() };
        let validated = validate(&batch, &rules).unwrap();
        assert!(validated.rewritten_crc, "{codec}");
        assert_eq!((validated.max_timestamp, validated.max_timestamp_delta), (42, 0), "{codec}");
        let stored = validated.into_stored(Offset(100), LeaderEpoch(2));
        let header = stored.header();
        assert_eq!(header.verify_crc(&stored.to_bytes()), Ok(()), "{codec}");
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime, "{codec}");
        assert!(header.is_transactional(), "{codec}");
        let records = BatchRecords::of(header, stored.body, 1 << 20).unwrap();
        let times: Vec<_> = records.iter().map(|it| it.unwrap().timestamp).collect();
        assert_eq!(times, [42, 42], "{codec}");
    }
}

#[test]
fn recompression_past_the_largest_message_is_refused() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(0, None, Some(&vec![7; 2_000_000]), &[]);
    let validated = validate(&builder.build().to_bytes(), &Rules::default()).unwrap();
    let size = 61 + validated.inflated_size as usize;
    assert_eq!(
        recompress(validated, Compression::None, Level::Default, &Rules::default()),
        Err(Invalid::MessageTooLarge { size, limit: 1_048_588 }),
    );
}
