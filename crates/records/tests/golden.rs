//! Batches of real clients are taken and read, and ours are theirs byte for byte.

use bytes::Bytes;
use milena_records::{
    BatchBuilder, BatchRecords, Compression, LeaderEpoch, Offset, ProducerEpoch, ProducerId, RecordHeader,
    Rules, TimestampType, Validated, validate,
};

fn golden(client: &str, codec: Compression) -> Bytes {
    let path = format!("{}/tests/golden/{client}-{codec}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn accept(client: &str, codec: Compression) -> Validated {
    let batch = golden(client, codec);
    let rules = Rules { now: 1_795_300_000_000, ..Rules::default() };
    let validated = validate(&batch, &rules).unwrap_or_else(|invalid| panic!("{client} {codec}: {invalid}"));
    assert_eq!(validated.header.compression(), codec, "{client} {codec}");
    assert_eq!(validated.header.timestamp_type(), TimestampType::CreateTime, "{client} {codec}");
    assert!(!validated.rewritten_crc, "{client} {codec}");
    validated
}

/// The twenty records that the programs beside the files write.
fn twenty() -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None).producer(ProducerId(4711), ProducerEpoch(3), 42);
    for index in 0..20_usize {
        let key = (index % 4 != 3).then(|| format!("key-{index}"));
        let value = (index % 5 != 4).then(|| format!("value {index} ").repeat(index * 10));
        let mark = format!("x{index}");
        let headers = [
            RecordHeader { key: "h\u{e9}ader".as_bytes(), value: Some(mark.as_bytes()) },
            RecordHeader { key: b"null", value: None },
        ];
        let headers = if index % 3 == 0 { &headers[..] } else { &[] };
        let timestamp = 1_760_000_000_000 + (index as i64 * 7919) % 100;
        let (key, value) = (key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes));
        builder.push(timestamp, key, value, headers);
    }
    builder
}

#[test]
fn builder_writes_what_java_and_kafka_python_write() {
    let mut built = twenty().build();
    assert!(built.to_bytes() == golden("java-4.3.1", Compression::None));
    // The leader epoch is the broker's to write: kafka-python leaves 0 there where Java and we leave -1.
    built.stamp(Offset::ZERO, LeaderEpoch(0));
    assert!(built.to_bytes() == golden("kafka-python-3.0.12", Compression::None));
}

#[test]
fn every_codec_of_java_and_kafka_python_reads_as_the_same_records() {
    let want = twenty().build();
    let want = BatchRecords::of(want.header(), want.body, 1 << 20).unwrap();
    let want: Vec<_> = want.iter().map(Result::unwrap).collect();
    for client in ["java-4.3.1", "kafka-python-3.0.12"] {
        for codec in Compression::ALL {
            let validated = accept(client, codec);
            assert_eq!(validated.max_timestamp, 1_760_000_000_095, "{client} {codec}");
            assert_eq!(validated.max_timestamp_delta, 5, "{client} {codec}");
            let read = BatchRecords::of(validated.header, validated.body, 1 << 20).unwrap();
            let read: Vec<_> = read.iter().map(Result::unwrap).collect();
            assert_eq!(read.len(), want.len(), "{client} {codec}");
            for (read, want) in read.iter().zip(&want) {
                assert_eq!((read.offset, read.timestamp), (want.offset, want.timestamp), "{client} {codec}");
                assert_eq!((read.key, read.value), (want.key, want.value), "{client} {codec}");
                assert!(read.headers.eq(want.headers), "{client} {codec}");
            }
        }
    }
}

#[test]
fn every_codec_of_librdkafka_reads_as_the_lines_given_to_kcat() {
    for codec in Compression::ALL {
        let validated = accept("librdkafka-2.0.2", codec);
        let header = validated.header;
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        assert_eq!(producer, (ProducerId(4711), ProducerEpoch(3), 0), "{codec}");
        let read = BatchRecords::of(header, validated.body, 1 << 20).unwrap();
        let mut count = 0;
        for (index, record) in read.iter().map(Result::unwrap).enumerate() {
            let (key, value) = (format!("key-{index}"), format!("value {index} ").repeat(index * 10));
            assert_eq!(record.key, Some(key.as_bytes()), "{codec}");
            assert_eq!(record.value, Some(value.as_bytes()), "{codec}");
            assert!(record.headers.eq([RecordHeader { key: b"h", value: Some(b"1") }]), "{codec}");
            count += 1;
        }
        assert_eq!(count, 20, "{codec}");
    }
}

#[test]
fn snappy_is_there_in_both_forms() {
    let body = |client| accept(client, Compression::Snappy).body;
    assert!(body("java-4.3.1").starts_with(b"\x82SNAPPY\0"));
    assert!(!body("librdkafka-2.0.2").starts_with(b"\x82SNAPPY\0"));
}
