//! What `validate` refuses, and with which of Kafka's error codes.

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BatchFault, BatchHeader, Compression, Corruption, CrcMismatch, HeaderError, Invalid,
    MAX_RECORD_ERRORS, Offset, ProducerEpoch, ProducerId, RecordError, RecordsError, Rejection, Rules,
    TimestampType, validate,
};

const NOW: i64 = 1_000_000_000;

fn rules() -> Rules {
    Rules { now: NOW, before_max_ms: 1_000, after_max_ms: 500, ..Rules::default() }
}

fn batch(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for (index, timestamp) in timestamps.iter().enumerate() {
        let key = (index % 2 == 0).then_some(&b"key"[..]);
        builder.push(*timestamp, key, Some(b"value"), &[]);
    }
    builder.build().to_bytes()
}

/// A batch of three records whose header is changed, and its checksum after that.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let batch = batch(&[NOW, NOW, NOW]);
    let mut header = BatchHeader::parse(&batch).unwrap();
    change(&mut header);
    header.crc = header.compute_crc(&batch[BatchHeader::SIZE..]);
    [&header.to_bytes()[..], &batch[BatchHeader::SIZE..]].concat().into()
}

/// A batch of `count` records that are given as bytes.
fn with_records(count: i32, codec: Compression, records: &[u8]) -> Bytes {
    let mut header = BatchHeader::parse(&batch(&[NOW])).unwrap();
    header.attributes = codec as i16;
    header.record_count = count;
    header.last_offset_delta = count - 1;
    header.batch_length = 49 + records.len() as i32;
    header.crc = header.compute_crc(records);
    [&header.to_bytes()[..], records].concat().into()
}

fn fault(fault: BatchFault) -> Invalid {
    Invalid::InvalidRecord(fault)
}

fn header(error: HeaderError) -> Invalid {
    fault(BatchFault::Header(error))
}

fn unreadable(index: i32, error: RecordsError) -> Invalid {
    fault(BatchFault::Records { index, error })
}

#[test]
fn framing_is_that_of_kafka() {
    let good = batch(&[NOW]);
    let size = good.len();
    let length = size as i32 - 12;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(changed)
    };
    let and = |more: &[u8]| Bytes::from([&good[..], more].concat());
    let corrupt = |error| Invalid::CorruptMessage(Corruption::Header(error));
    for (bytes, want) in [
        (Bytes::new(), fault(BatchFault::Cut { declared: 0, found: 0 })),
        (good.slice(..40), fault(BatchFault::Cut { declared: length, found: 40 })),
        (good.slice(..size - 1), fault(BatchFault::Cut { declared: length, found: size - 1 })),
        (and(&good), fault(BatchFault::SeveralBatches)),
        (and(&[0; 20]), corrupt(HeaderError::Length(0))),
        (with(16, &[1]), header(HeaderError::Magic(1))),
        (with(16, &[3]), corrupt(HeaderError::Magic(3))),
        (with(16, &[0xff]), corrupt(HeaderError::Magic(-1))),
        (with(8, &13_i32.to_be_bytes()), corrupt(HeaderError::Length(13))),
        (with(8, &(-1_i32).to_be_bytes()), corrupt(HeaderError::Length(-1))),
        (with(8, &14_i32.to_be_bytes()), corrupt(HeaderError::TooShort(26))),
    ] {
        assert_eq!(validate(&bytes, &rules()), Err(want), "{bytes:?}");
    }
    for more in [&[0][..], &[0; 11], &good[..size - 1]] {
        assert_eq!(validate(&and(more), &rules()), validate(&good, &rules()), "{more:?}");
    }
}

#[test]
fn changed_bytes_are_corrupt() {
    let good = batch(&[NOW]);
    let stored = BatchHeader::parse(&good).unwrap().crc;
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let computed = BatchHeader::parse(&bad).unwrap().compute_crc(&bad[61..]);
    assert_eq!(
        validate(&bad.into(), &rules()),
        Err(Invalid::CorruptMessage(Corruption::Crc(CrcMismatch { stored, computed }))),
    );
}

#[test]
fn header_rules_are_kafkas() {
    type Change = fn(&mut BatchHeader);
    let changes: [(Change, Invalid); 12] = [
        (|it| it.base_offset = Offset(1), fault(BatchFault::BaseOffset(1))),
        (|it| it.record_count = 0, fault(BatchFault::Count { last_offset_delta: 2, count: 0 })),
        (|it| it.record_count = 2, fault(BatchFault::Count { last_offset_delta: 2, count: 2 })),
        (|it| it.last_offset_delta = 9, fault(BatchFault::Count { last_offset_delta: 9, count: 3 })),
        (|it| it.record_count = -1, header(HeaderError::Negative { field: "record count", value: -1 })),
        (|it| it.attributes = 0x20, fault(BatchFault::Control)),
        (|it| it.attributes = 0x10, fault(BatchFault::TransactionalWithoutProducer)),
        (|it| it.attributes = 0x40, fault(BatchFault::Attributes(0x40))),
        (|it| it.attributes = 0x80, fault(BatchFault::Attributes(0x80))),
        (|it| it.attributes = i16::MIN, fault(BatchFault::Attributes(i16::MIN))),
        (|it| it.attributes = 5, header(HeaderError::Codec(5))),
        (|it| it.producer_id = ProducerId(7), fault(BatchFault::Sequence { sequence: -1, producer_id: 7 })),
    ];
    for (change, want) in changes {
        assert_eq!(validate(&with_header(change), &rules()), Err(want));
    }
    let idempotent = with_header(|it| {
        it.producer_id = ProducerId(7);
        it.producer_epoch = ProducerEpoch(0);
        it.base_sequence = 0;
        it.attributes = 0x10;
    });
    assert!(validate(&idempotent, &rules()).is_ok());
}

#[test]
fn size_is_that_of_the_whole_batch_as_sent() {
    let good = batch(&[NOW]);
    let limit = |max_message_bytes| Rules { max_message_bytes, ..rules() };
    assert!(validate(&good, &limit(good.len())).is_ok());
    assert_eq!(
        validate(&good, &limit(good.len() - 1)),
        Err(Invalid::MessageTooLarge { size: good.len(), limit: good.len() - 1 }),
    );
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(NOW, None, None, &[]);
    let batch = builder.build().to_bytes();
    let old = Rules { zstd_allowed: false, ..rules() };
    assert_eq!(validate(&batch, &old), Err(Invalid::UnsupportedCompressionType(Compression::Zstd)));
    assert!(validate(&batch, &rules()).is_ok());
}

#[test]
fn records_fill_the_batch_exactly() {
    // length, attributes, timestamp delta, offset delta, null key, null value, no headers
    const FIRST: &[u8] = &[12, 0, 0, 0, 1, 1, 0];
    const SECOND: &[u8] = &[12, 0, 0, 2, 1, 1, 0];
    let both = [FIRST, SECOND].concat();
    for codec in Compression::ALL {
        let packed = |records: &[u8]| milena_records::compress(codec, Default::default(), records);
        let check = |count, records: &[u8]| validate(&with_records(count, codec, &packed(records)), &rules());
        let taken = check(2, &both).unwrap_or_else(|invalid| panic!("{codec}: {invalid}"));
        assert_eq!((taken.inflated_size, taken.record_count), (14, 2), "{codec}");
        for (count, records, want) in [
            (1, &both[..], unreadable(1, RecordsError::Trailing)),
            (3, &both, unreadable(2, RecordsError::Truncated)),
            (2, &both[..13], unreadable(1, RecordsError::Truncated)),
            (1, SECOND, fault(BatchFault::OffsetDelta { index: 0, delta: 1 })),
            (2, &[FIRST, FIRST].concat(), fault(BatchFault::OffsetDelta { index: 1, delta: 0 })),
            (1, &[14, 0, 0, 0, 1, 1, 0, 0], unreadable(0, RecordsError::Length { declared: 7, found: 6 })),
            (1, &[11, 0, 0, 0, 1, 1, 0], unreadable(0, RecordsError::Length { declared: -6, found: 6 })),
            (1, &[12, 0, 0, 0, 1, 1, 1], unreadable(0, RecordsError::HeaderCount(-1))),
            (1, &[16, 0, 0, 0, 1, 1, 2, 1, 0], unreadable(0, RecordsError::HeaderKey(-1))),
            (1, &[12, 0, 0, 0, 100, 1, 0], unreadable(0, RecordsError::Truncated)),
            (1, &[0xff, 0xff, 0xff, 0xff, 0xff, 1], unreadable(0, RecordsError::VarintTooLong)),
        ] {
            assert_eq!(check(count, records), Err(want), "{codec} {count} {records:?}");
        }
    }
}

#[test]
fn a_codec_that_refuses_the_bytes_is_named() {
    for codec in &Compression::ALL[1..] {
        let refused = validate(&with_records(1, *codec, b"\xff\xff\xff\xff\xff not compressed"), &rules());
        match refused {
            Err(Invalid::InvalidRecord(BatchFault::Records {
                index: 0,
                error: RecordsError::Codec { codec: named, .. },
            })) => {
                assert_eq!(named, *codec);
            }
            other => panic!("{codec}: {other:?}"),
        }
    }
}

fn timestamp_error(batch_index: i32, timestamp: i64) -> RecordError {
    RecordError {
        batch_index,
        reason: Rejection::Timestamp { timestamp, least: NOW - 1_000, most: NOW + 500 },
    }
}

#[test]
fn timestamps_lie_within_the_topics_bounds() {
    let bounds = [NOW - 1_000, NOW + 500, -1];
    let taken = validate(&batch(&bounds), &rules()).unwrap();
    assert_eq!((taken.max_timestamp, taken.max_timestamp_delta), (NOW + 500, 1));
    let beyond = [NOW - 1_001, NOW, NOW + 501, 0];
    let errors = vec![timestamp_error(0, NOW - 1_001), timestamp_error(2, NOW + 501), timestamp_error(3, 0)];
    assert_eq!(validate(&batch(&beyond), &rules()), Err(Invalid::InvalidTimestamp(errors)));
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    assert!(validate(&batch(&beyond), &stamped).is_ok());
    let extremes = Rules { before_max_ms: i64::MAX, after_max_ms: i64::MAX, ..rules() };
    assert!(validate(&batch(&[i64::MAX]), &extremes).is_ok());
}

#[test]
fn a_claim_of_log_append_time_is_put_right_or_refused() {
    // As in Kafka: every record then has the max timestamp, and a time in range is a time in range.
    let claimed = with_header(|it| {
        it.attributes = 0x08;
        it.max_timestamp = NOW + 3;
    });
    let taken = validate(&claimed, &rules()).unwrap();
    assert_eq!(taken.header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!((taken.max_timestamp, taken.max_timestamp_delta, taken.rewritten_crc), (NOW + 3, 0, true));
    let stamped = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let error = |batch_index| RecordError { batch_index, reason: Rejection::LogAppendTime };
    let refused = Err(Invalid::InvalidTimestamp((0..3).map(error).collect()));
    assert_eq!(validate(&claimed, &stamped), refused);
    let timeless = with_header(|it| {
        it.attributes = 0x08;
        it.max_timestamp = -1;
    });
    assert_eq!(validate(&timeless, &rules()), refused);
}

#[test]
fn compacted_topics_need_keys() {
    let compacted = Rules { compacted: true, ..rules() };
    let no_key = RecordError { batch_index: 1, reason: Rejection::NullKey };
    assert_eq!(validate(&batch(&[NOW, NOW, NOW]), &compacted), Err(Invalid::RejectedRecords(vec![no_key])),);
    // As in Kafka the key is looked at first, and one time out of range decides the code.
    assert_eq!(
        validate(&batch(&[NOW, 0, 0]), &compacted),
        Err(Invalid::InvalidTimestamp(vec![no_key, timestamp_error(2, 0)])),
    );
    assert!(validate(&batch(&[NOW]), &compacted).is_ok());
}

#[test]
fn refusals_name_a_bounded_number_of_records() {
    let refused = validate(&batch(&vec![0; 5_000]), &rules()).unwrap_err();
    assert_eq!(refused.record_errors().len(), MAX_RECORD_ERRORS);
}

#[test]
fn wrong_max_timestamp_is_put_right() {
    let wrong = with_header(|it| it.max_timestamp = NOW + 100);
    let taken = validate(&wrong, &rules()).unwrap();
    let right = BatchHeader::parse(&batch(&[NOW, NOW, NOW])).unwrap();
    assert_eq!((taken.header, taken.rewritten_crc), (right, true));
}

#[test]
fn batch_without_times_has_none() {
    let taken = validate(&batch(&[-1, -1]), &rules()).unwrap();
    assert_eq!((taken.max_timestamp, taken.max_timestamp_delta, taken.rewritten_crc), (-1, 0, false));
}
